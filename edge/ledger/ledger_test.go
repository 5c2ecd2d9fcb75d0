package ledger

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"offsite/devices"
	"offsite/edge/yardtest"
	"offsite/timeseries"
)

// lossRow is a row of the ledger in a short form.
type lossRow struct {
	Subject, Code string
	Span          time.Duration
	Count         int64
	Open          bool
}

// lossRows gives the ledger's rows, oldest first.
func lossRows(t testing.TB, g *Ledger) []lossRow {
	t.Helper()
	list, err := g.Losses(t.Context(), Filter{Max: 1000})
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]lossRow, len(list))
	for i, l := range list {
		rows[len(list)-1-i] = lossRow{l.Subject, l.Why.Code, l.To.Sub(l.From).Round(10 * time.Millisecond), l.Count, l.Open}
	}
	return rows
}

func openLedger(t *testing.T) *Ledger {
	t.Helper()
	g, err := Open(t.Context(), yardtest.OpenDB(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestLedgerTellsHowLongTheGatewayWasAway(t *testing.T) {
	start := time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	tests := []struct {
		name  string
		alive int // last note of the former run; 0: there was none
		stops bool
		heard int // last record of the log
		now   int
		want  []lossRow
	}{
		{"first start", 0, false, 0, 100, []lossRow{}},
		{"stopped in good order", 50, true, 40, 100, []lossRow{{"gateway", "gateway_stopped", 50 * time.Second, 1, false}}},
		{"cut off while idle", 50, false, 20, 100, []lossRow{{"gateway", "gateway_cut_off", 50 * time.Second, 1, false}}},
		{"cut off while busy", 50, false, 57, 100, []lossRow{{"gateway", "gateway_cut_off", 43 * time.Second, 1, false}}},
		{"the clock was set back", 50, false, 57, 10, []lossRow{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			db := yardtest.OpenDB(t, t.TempDir())
			former, err := Open(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			heard := time.Time{}
			if tt.heard > 0 {
				heard = at(tt.heard)
			}
			if tt.alive > 0 {
				former.resumed.Store(true)
				if err := former.Alive(t.Context(), at(tt.alive), at(tt.alive), tt.stops); err != nil {
					t.Fatal(err)
				}
			}
			ledger, err := Open(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			if err := ledger.Alive(t.Context(), at(tt.now), at(tt.now), false); err != nil { // before the log could be opened
				t.Fatal(err)
			}
			if _, err := ledger.Resume(t.Context(), heard, at(tt.now)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, lossRows(t, ledger)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTheTimeGivenAtReceiptIsRemembered notes one that leads, and begins anew again and
// again.
func TestTheTimeGivenAtReceiptIsRemembered(t *testing.T) {
	db := yardtest.OpenDB(t, t.TempDir())
	ran, stamp := yardtest.After(10_000), yardtest.After(3_600_000)
	for i, want := range []Past{{}, {Last: ran, Stamp: stamp}, {Last: yardtest.After(20_000), Stamp: stamp}, {Last: yardtest.After(5_000_000), Stamp: yardtest.After(5_000_000)}} {
		g, err := Open(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		now := []time.Time{yardtest.After(0), yardtest.After(20_000), yardtest.After(5_000_000), yardtest.After(5_000_001)}[i]
		past, err := g.Resume(t.Context(), time.Time{}, now)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, past, cmpopts.IgnoreUnexported(Past{})); diff != "" {
			t.Errorf("start %d: %s", i, diff)
		}
		if i == 0 {
			if err := g.Alive(t.Context(), ran, stamp, false); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestLedgerEndsWhatTheFormerRunLeftOpen(t *testing.T) {
	ledger := openLedger(t)
	gap := Loss{Kind: LossGap, Subject: "device/a", Why: yardtest.Trouble("cut"), From: yardtest.After(0), To: yardtest.After(0), Count: 1, Open: true}
	if err := ledger.Add(t.Context(), gap); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Resume(t.Context(), time.Time{}, yardtest.After(60_000)); err != nil {
		t.Fatal(err)
	}
	want := []lossRow{{"device/a", "cut", time.Minute, 1, false}}
	if diff := cmp.Diff(want, lossRows(t, ledger)); diff != "" {
		t.Error(diff)
	}
}

func TestLedgerTrimsWhatIsOver(t *testing.T) {
	ledger := openLedger(t)
	err := ledger.db.Update(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			INSERT INTO losses (kind, subject, code, zh, en, from_ms, to_ms, count, open) SELECT 'gap', 'device/a', 'cut', '', '', i, i, 1, i = 7 FROM n`, 1000)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.Trim(t.Context(), 900); err != nil {
		t.Fatal(err)
	}
	var rows, least int64
	if err := ledger.db.Read().QueryRow(`SELECT count(*), min(id) FROM losses`).Scan(&rows, &least); err != nil {
		t.Fatal(err)
	}
	if rows != 901 || least != 7 {
		t.Errorf("%d rows from %d on, want the newest 900 and the open one", rows, least)
	}
}

func TestTheLastErrorIsTheOpenOneOrElseTheNewest(t *testing.T) {
	ledger, err := Open(t.Context(), yardtest.OpenDB(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	for i, l := range []Loss{
		{Subject: "device/p", Why: &devices.Problem{Code: "timeout", ZH: "超时", EN: "timed out"}, Open: true},
		{Subject: "device/q", Why: &devices.Problem{Code: "timeout"}},
		{Subject: "device/q", Why: &devices.Problem{Code: "refused"}},
		{Subject: "device/r", Why: &devices.Problem{Code: "timeout"}},
	} {
		l.Kind, l.From, l.Count = LossGap, now.Add(time.Duration(i-10)*time.Hour), 1
		l.To = l.From
		if err := ledger.Add(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ledger.LastErrors(t.Context(), []string{"device/p", "device/q", "point/none.x"}, now)
	if err != nil || len(got) != 2 || got["device/p"].Why.ZH != "超时" || !got["device/p"].To.Equal(now) || got["device/q"].Why.Code != "refused" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDeadLettersShareARow(t *testing.T) {
	ledger := openLedger(t)
	letter := func(ms int, topic string) timeseries.Record {
		return timeseries.Record{Delivery: devices.Delivery{
			Origin: devices.Origin{Device: "d"}, Received: yardtest.After(ms),
			Letter: &devices.DeadLetter{Topic: topic, Problem: devices.Invalid("t", "not_json", "不是 JSON", "not JSON")},
		}}
	}
	err := ledger.db.Update(t.Context(), func(tx *sql.Tx) error {
		return PutDead(t.Context(), tx, []timeseries.Record{letter(1000, "old"), letter(3000, "new")})
	})
	if err != nil {
		t.Fatal(err)
	}
	losses, err := ledger.Losses(t.Context(), Filter{Max: 10})
	if err != nil || len(losses) != 1 || losses[0].Kind != LossDeadLetter || losses[0].Count != 2 || losses[0].Detail != "new" || losses[0].To.Sub(losses[0].From) != 2*time.Second {
		t.Errorf("losses %+v, %v", losses, err)
	}
}

func TestOverGivesWhatReachesIntoATime(t *testing.T) {
	g := openLedger(t)
	why := yardtest.Trouble("away")
	for _, l := range []Loss{
		{Kind: LossGap, Subject: "camera/a", Why: why, From: yardtest.After(0), To: yardtest.After(5000), Count: 1},
		{Kind: LossGap, Subject: "camera/b", Why: why, From: yardtest.After(0), To: yardtest.After(5000), Count: 1},
		{Kind: LossRecording, Subject: "recording/a", Why: why, From: yardtest.After(200_000), To: yardtest.After(300_000), Count: 1},
		{Kind: LossGap, Subject: "camera/a", Why: why, From: yardtest.After(400_000), To: yardtest.After(400_000), Count: 1, Open: true},
	} {
		if err := g.Add(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name     string
		from, to int // ms
		want     []int64
	}{
		{"all", 0, 600_000, []int64{5000, 300_000, 600_000}},
		{"the first alone", 1000, 2000, []int64{5000}},
		{"between", 100_000, 150_000, nil},
		{"what goes on", 500_000, 600_000, []int64{600_000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, err := g.Over(t.Context(), []string{"camera/a", "recording/a"}, yardtest.After(tt.from), yardtest.After(tt.to), yardtest.After(600_000))
			if err != nil {
				t.Fatal(err)
			}
			var ends []int64
			for _, l := range list {
				ends = append(ends, l.To.Sub(yardtest.Noon).Milliseconds())
			}
			if diff := cmp.Diff(tt.want, ends); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestEveryLossIsOnOnePage reads all rows by pages, also those of one subject among
// many others.
func TestEveryLossIsOnOnePage(t *testing.T) {
	g := openLedger(t)
	err := g.db.Update(t.Context(), func(tx *sql.Tx) error { // three of each end: the rest is in their ids
		_, err := tx.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
			INSERT INTO losses (kind, subject, code, zh, en, from_ms, to_ms, count, open) SELECT 'gap', iif(i % 500, 'device/a', 'device/b'), 'cut', '', '', 0, i / 3, 1, 0 FROM n`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		of    func(subject string) bool
		most  int
		want  int
		pages int
	}{
		{"all", nil, 400, 2500, 7},
		{"as many as a page unless it is told", nil, 0, 2500, 26},
		{"the few of one", func(subject string) bool { return subject == "device/b" }, 2, 5, 3},
		{"none", func(string) bool { return false }, 100, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := Filter{Of: tt.of, Max: tt.most}
			seen, pages, last := map[int64]bool{}, 0, yardtest.Noon
			for more := true; more; pages++ {
				page, err := g.Losses(t.Context(), f)
				if err != nil {
					t.Fatal(err)
				}
				for i := range page {
					if seen[page[i].ID] || page[i].To.After(last) {
						t.Fatalf("row %d came twice or out of order", page[i].ID)
					}
					seen[page[i].ID], last, f.Before = true, page[i].To, page[i].Cursor()
				}
				more = len(page) == max(tt.most, 1) || tt.most == 0 && len(page) == 100
			}
			if len(seen) != tt.want || pages != tt.pages {
				t.Errorf("%d rows on %d pages, want %d on %d", len(seen), pages, tt.want, tt.pages)
			}
		})
	}
	for _, bad := range []string{"7", "a.b", "7.", ".7", "7.8.9", "7.8x"} {
		if _, err := g.Losses(t.Context(), Filter{Before: bad}); !errors.Is(err, devices.ErrInvalid) {
			t.Errorf("a page before %q: %v", bad, err)
		}
	}
}
