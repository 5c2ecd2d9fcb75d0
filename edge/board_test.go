package edge

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

func trouble(code string) *devices.Problem {
	return &devices.Problem{Kind: devices.ErrUnavailable, Code: code, ZH: "故障", EN: "trouble"}
}

// inBoardYard runs body beside a Board that writes to a ledger of its own.
func inBoardYard(t *testing.T, body func(t *testing.T, b *Board)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db := openDB(t, dir)
		ledger, err := OpenLedger(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		b := newBoard(ledger, newLive(), quiet)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = b.run(ctx) }()
		defer func() {
			cancel()
			<-ended
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}()
		body(t, b)
	})
}

// step is one thing that happens to the Board, at so many seconds.
type step struct {
	at     float64
	device string
	points []string
	code   string // empty: it works again
	begin  bool   // the device is opened anew
	expect map[string]bool
}

func play(b *Board, steps []step) {
	began := time.Now()
	for _, s := range steps {
		<-time.After(time.Until(began.Add(time.Duration(s.at * float64(time.Second)))))
		synctest.Wait()
		switch {
		case s.expect != nil:
			b.expect(s.expect, time.Now())
		case s.begin:
			b.begin(s.device, time.Now())
		default:
			r := devices.Report{Device: s.device, Points: s.points, At: time.Now().UTC()}
			if s.code != "" {
				r.Problem = trouble(s.code)
			}
			b.Report(r)
		}
	}
	<-time.After(3 * time.Second)
	synctest.Wait()
}

func TestBoardWritesGapsAsTheyWere(t *testing.T) {
	a := map[string]bool{"a": true}
	seconds := func(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
	tests := []struct {
		name  string
		steps []step
		want  []lossRow
	}{
		{"well from the start", []step{{expect: a}, {at: 1, device: "a"}}, []lossRow{}},
		{"never heard of", []step{{expect: a}, {at: 70, expect: a}}, []lossRow{{"device/a", "device_silent", 0, 1, true}}},
		{"nothing is bound, nothing is missed", []step{{expect: map[string]bool{"a": false}}, {at: 90, expect: map[string]bool{"a": false}}}, []lossRow{}},
		{"came late", []step{{expect: a}, {at: 90, device: "a"}}, []lossRow{{"device/a", "device_silent", seconds(90), 1, false}}},
		{
			"away and back",
			[]step{{expect: a}, {at: 1, device: "a"}, {at: 10, device: "a", code: "cut"}, {at: 40, device: "a"}},
			[]lossRow{{"device/a", "cut", seconds(30), 1, false}},
		},
		{
			"away for two reasons",
			[]step{{expect: a}, {at: 10, device: "a", code: "cut"}, {at: 40, device: "a", code: "password"}, {at: 50, device: "a"}},
			[]lossRow{{"device/a", "cut", seconds(30), 1, false}, {"device/a", "password", seconds(10), 1, false}},
		},
		{
			"tried again and again",
			[]step{{expect: a}, {at: 10, device: "a", code: "cut"}, {at: 70, device: "a", code: "cut"}, {at: 700, device: "a", code: "cut"}},
			[]lossRow{{"device/a", "cut", seconds(690), 3, true}},
		},
		{
			"two gaps far apart are two rows",
			[]step{{expect: a}, {at: 10, device: "a", code: "cut"}, {at: 20, device: "a"}, {at: 100, device: "a", code: "cut"}, {at: 110, device: "a"}},
			[]lossRow{{"device/a", "cut", seconds(10), 1, false}, {"device/a", "cut", seconds(10), 1, false}},
		},
		{
			"retired",
			[]step{{expect: a}, {at: 10, device: "a", points: []string{"o.p"}, code: "exception"}, {at: 11, device: "a", code: "cut"}, {at: 20, expect: map[string]bool{}}, {at: 25, device: "a", code: "cut"}},
			[]lossRow{{"point/o.p", "exception", seconds(10), 1, false}, {"device/a", "cut", seconds(9), 1, false}},
		},
		{"a point stays unread while the device is away", []step{
			{expect: a},
			{at: 1, device: "a"},
			{at: 10, device: "a", points: []string{"o.p"}, code: "exception"},
			{at: 20, device: "a", code: "cut"},
			{at: 30, device: "a"},
			{at: 40, device: "a", points: []string{"o.p"}},
		}, []lossRow{{"device/a", "cut", seconds(10), 1, false}, {"point/o.p", "exception", seconds(30), 1, false}}},
		{"what an earlier opening said of points does not outlive it", []step{
			{expect: a},
			{at: 1, device: "a"},
			{at: 10, device: "a", points: []string{"o.p"}, code: "exception"},
			{at: 20, device: "a", begin: true},
			{at: 21, device: "a"},
		}, []lossRow{{"point/o.p", "exception", seconds(10), 1, false}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBoardYard(t, func(t *testing.T, b *Board) {
				play(b, tt.steps)
				if diff := cmp.Diff(tt.want, lossRows(t, b.ledger)); diff != "" {
					t.Error(diff)
				}
				for _, d := range b.Devices() {
					if len(d.Points) != 0 && tt.name != "retired" {
						t.Errorf("points of %s still fail: %v", d.Device, d.Points)
					}
				}
			})
		})
	}
}

func TestBoardOfABabblingDeviceFillsNoTable(t *testing.T) {
	inBoardYard(t, func(t *testing.T, b *Board) {
		b.expect(map[string]bool{"a": true, "b": true}, time.Now())
		for i := range 5000 {
			now := time.Now().UTC()
			b.Report(devices.Report{Device: "a", Points: []string{"o.p"}, At: now, Problem: trouble(fmt.Sprint("code-", i%2))})
			b.Report(devices.Report{Device: "a", Points: []string{"o.p"}, At: now})
			b.warn("a", now, 3, trouble("ahead"))
			if i%100 == 0 {
				<-time.After(100 * time.Millisecond)
			}
		}
		b.Report(devices.Report{Device: "b", At: time.Now(), Problem: trouble("cut")})
		<-time.After(3 * time.Second)
		synctest.Wait()
		rows := map[string]int64{}
		for _, r := range lossRows(t, b.ledger) {
			rows[r.Subject+" "+r.Code] += r.Count
		}
		want := map[string]int64{"device/a ahead": 15000, "device/b cut": 1}
		if rows["point/o.p code-0"]+rows["point/o.p code-1"] != 5000 {
			t.Errorf("failures of the point: %v, want 5000", rows)
		}
		delete(rows, "point/o.p code-0")
		delete(rows, "point/o.p code-1")
		if diff := cmp.Diff(want, rows); diff != "" {
			t.Error(diff)
		}
		if n := len(lossRows(t, b.ledger)); n > 5 {
			t.Errorf("%d rows", n)
		}
	})
}

func TestBoardOfAFlappingDeviceSharesRows(t *testing.T) {
	inBoardYard(t, func(t *testing.T, b *Board) {
		steps := []step{{expect: map[string]bool{"a": true}}}
		for i := range 40 {
			at := float64(i * 90)
			steps = append(steps, step{at: at + 1, device: "a", code: "cut"}, step{at: at + 11, device: "a"})
		}
		play(b, steps)
		rows := lossRows(t, b.ledger)
		var count int64
		for _, r := range rows {
			count += r.Count
		}
		if len(rows) != gapsAnHour || count != 40 {
			t.Errorf("%d rows count %d gaps, want %d and 40", len(rows), count, gapsAnHour)
		}
	})
}

func TestBoardKeepsWhatTheLedgerDoesNotTake(t *testing.T) {
	inBoardYard(t, func(t *testing.T, b *Board) {
		jam := func(statement string) {
			if err := b.ledger.db.Update(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(statement); return err }); err != nil {
				t.Fatal(err)
			}
		}
		jam(`CREATE TRIGGER jam BEFORE INSERT ON losses BEGIN SELECT RAISE(ABORT, 'jammed'); END`)
		b.expect(map[string]bool{"a": true}, time.Now())
		play(b, []step{{at: 1, device: "a", code: "cut"}, {at: 5, device: "a"}, {at: 10, device: "a", code: "cut"}, {at: 15, device: "a"}})
		jam(`DROP TRIGGER jam`)
		<-time.After(2 * time.Second)
		synctest.Wait()
		want := []lossRow{{"device/a", "cut", 14 * time.Second, 2, false}}
		if diff := cmp.Diff(want, lossRows(t, b.ledger)); diff != "" {
			t.Error(diff)
		}
	})
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
			db := openDB(t, t.TempDir())
			former, err := OpenLedger(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			heard := time.Time{}
			if tt.heard > 0 {
				heard = at(tt.heard)
			}
			if tt.alive > 0 {
				former.resumed.Store(true)
				if err := former.Alive(t.Context(), at(tt.alive), tt.stops); err != nil {
					t.Fatal(err)
				}
			}
			ledger, err := OpenLedger(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			if err := ledger.Alive(t.Context(), at(tt.now), false); err != nil { // before the log could be opened
				t.Fatal(err)
			}
			if err := ledger.Resume(t.Context(), heard, at(tt.now)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, lossRows(t, ledger)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLedgerEndsWhatTheFormerRunLeftOpen(t *testing.T) {
	ledger := openLedger(t)
	gap := Loss{Kind: LossGap, Subject: "device/a", Why: trouble("cut"), From: ms(0), To: ms(0), Count: 1, Open: true}
	if err := ledger.Add(t.Context(), gap); err != nil {
		t.Fatal(err)
	}
	if err := ledger.Resume(t.Context(), time.Time{}, ms(60_000)); err != nil {
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
