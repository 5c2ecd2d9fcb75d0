package field

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/edge/ledger"
	"offsite/edge/yardtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// asReceived is the time of a reading where no clock was ever set.
func asReceived(at time.Time) time.Time { return at }

// boardYard is a Board whose notes a Clerk writes to a ledger.
type boardYard struct {
	*Board
	db     *state.DB
	ledger *ledger.Ledger
	clerk  *ledger.Clerk
}

// inBoardYard runs body beside a Board at work.
func inBoardYard(t *testing.T, body func(t *testing.T, b *boardYard)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := &boardYard{db: yardtest.OpenDB(t, dir)}
		var err error
		if b.ledger, err = ledger.Open(t.Context(), b.db); err != nil {
			t.Fatal(err)
		}
		b.clerk = ledger.NewClerk(b.ledger, asReceived, quiet)
		b.Board = NewBoard(b.clerk, func(Status) {}, quiet)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = b.Run(ctx) })
		all.Go(func() { _ = b.clerk.Run(ctx) })
		defer func() {
			cancel()
			all.Wait()
			if err := b.db.Close(); err != nil {
				t.Error(err)
			}
		}()
		body(t, b)
	})
}

// lossRow is a row of the ledger in a short form.
type lossRow struct {
	Subject, Code string
	Span          time.Duration
	Count         int64
	Open          bool
}

// lossRows gives the ledger's rows, oldest first.
func lossRows(t testing.TB, g *ledger.Ledger) []lossRow {
	t.Helper()
	list, err := g.Losses(t.Context(), ledger.Filter{Max: 1000})
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]lossRow, len(list))
	for i, l := range list {
		rows[len(list)-1-i] = lossRow{l.Subject, l.Why.Code, l.To.Sub(l.From).Round(10 * time.Millisecond), l.Count, l.Open}
	}
	return rows
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

func play(b *boardYard, steps []step) {
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
				r.Problem = yardtest.Trouble(s.code)
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
			inBoardYard(t, func(t *testing.T, b *boardYard) {
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
	inBoardYard(t, func(t *testing.T, b *boardYard) {
		b.expect(map[string]bool{"a": true, "b": true}, time.Now())
		for i := range 5000 {
			now := time.Now().UTC()
			b.Report(devices.Report{Device: "a", Points: []string{"o.p"}, At: now, Problem: yardtest.Trouble(fmt.Sprint("code-", i%2))})
			b.Report(devices.Report{Device: "a", Points: []string{"o.p"}, At: now})
			b.clerk.Tell(ledger.Loss{Kind: ledger.LossClock, Subject: "device/a", Why: yardtest.Trouble("ahead"), From: now, To: now, Count: 3})
			if i%100 == 0 {
				<-time.After(100 * time.Millisecond)
			}
		}
		b.Report(devices.Report{Device: "b", At: time.Now(), Problem: yardtest.Trouble("cut")})
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
	inBoardYard(t, func(t *testing.T, b *boardYard) {
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
		if len(rows) != 6 || count != 40 {
			t.Errorf("%d rows count %d gaps, want 6 and 40", len(rows), count)
		}
	})
}

func TestBoardKeepsWhatTheLedgerDoesNotTake(t *testing.T) {
	inBoardYard(t, func(t *testing.T, b *boardYard) {
		jam := func(statement string) {
			if err := b.db.Update(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(statement); return err }); err != nil {
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
