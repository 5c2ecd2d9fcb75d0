package edge

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/timeseries"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logOf is a log that holds recs and never grows.
type logOf struct {
	recs     []timeseries.Record
	cursor   map[string]uint64
	caughtUp func() // called when a cursor has reached the end
	idle     func() // called when somebody waits for more
}

func (l *logOf) Durable() uint64 { return uint64(len(l.recs)) }

func (l *logOf) Wait(ctx context.Context, after uint64) error {
	if after < l.Durable() {
		return nil
	}
	if l.idle != nil {
		l.idle()
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func (l *logOf) Read(after uint64, most int) ([]timeseries.Record, error) {
	end := min(uint64(len(l.recs)), after+uint64(most))
	return l.recs[min(after, end):end], nil
}

func (l *logOf) Cursor(name string) uint64 { return l.cursor[name] }

func (l *logOf) Advance(name string, seq uint64) error {
	l.cursor[name] = seq
	if seq == l.Durable() && l.caughtUp != nil {
		l.caughtUp()
	}
	return nil
}

// shelf is a store in memory that can fail.
type shelf struct {
	timeseries.Store
	held    map[timeseries.Series]map[int64]timeseries.Sample
	fail    int // writes that fail first
	refuse  float64
	durable uint64
}

func newShelf() *shelf { return &shelf{held: map[timeseries.Series]map[int64]timeseries.Sample{}} }

func (s *shelf) Durable() uint64 { return 0 }

func (s *shelf) Write(_ context.Context, recs []timeseries.Record) (timeseries.Written, error) {
	if s.fail > 0 {
		s.fail--
		return timeseries.Written{Durable: s.durable}, devices.ErrUnavailable
	}
	var w timeseries.Written
	for _, rec := range recs {
		for _, r := range rec.Readings {
			series := timeseries.Series{Site: r.Site, Point: r.Point}
			if s.refuse != 0 && r.Value == s.refuse {
				w.Refused = append(w.Refused, timeseries.Refusal{Seq: rec.Seq, Series: series, At: r.At, Value: r.Value, Reason: devices.Invalid("", "refused", "拒收", "refused")})
				continue
			}
			if s.held[series] == nil {
				s.held[series] = map[int64]timeseries.Sample{}
			}
			s.held[series][r.At.UnixMilli()] = timeseries.Sample{At: r.At, Value: r.Value, Quality: r.Quality}
		}
		s.durable = rec.Seq
	}
	w.Durable = s.durable
	return w, nil
}

func (s *shelf) Flush(context.Context) (timeseries.Written, error) {
	return timeseries.Written{Durable: s.durable}, nil
}

func (s *shelf) Last(_ context.Context, series timeseries.Series) (timeseries.Sample, error) {
	var last timeseries.Sample
	for _, v := range s.held[series] {
		if v.At.After(last.At) {
			last = v
		}
	}
	if last.At.IsZero() {
		return last, timeseries.NoSample(series)
	}
	return last, nil
}

func (s *shelf) At(_ context.Context, series timeseries.Series, at []time.Time) (map[int64]timeseries.Sample, error) {
	got := map[int64]timeseries.Sample{}
	for _, t := range at {
		if v, ok := s.held[series][t.UnixMilli()]; ok {
			got[t.UnixMilli()] = v
		}
	}
	return got, nil
}

func openLedger(t *testing.T) *Ledger {
	t.Helper()
	db, err := state.Open(t.Context(), state.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	ledger, err := OpenLedger(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return ledger
}

// records makes one record of each (millisecond, value).
func records(pairs ...[2]float64) []timeseries.Record {
	recs := make([]timeseries.Record, len(pairs))
	for i, p := range pairs {
		recs[i] = timeseries.Record{Seq: uint64(i + 1), Delivery: devices.Delivery{Readings: []devices.Reading{{Site: "s", Point: "o.p", At: ms(int(p[0])), Value: p[1]}}}}
	}
	return recs
}

// runOver runs a recorder over the log until it has written everything.
func runOver(t *testing.T, log *logOf, store *shelf, ledger *Ledger) (reports []*devices.Problem) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	log.caughtUp = cancel
	r := &recorder{
		log: log, store: store, ledger: ledger, logger: quiet, flush: time.Millisecond,
		pause:  func(int) time.Duration { return time.Millisecond },
		report: func(p *devices.Problem) { reports = append(reports, p) },
	}
	if err := r.run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("the recorder ended with %v", err)
	}
	return reports
}

func TestRecorderTellsCorrectionsOnce(t *testing.T) {
	tests := []struct {
		name  string
		recs  []timeseries.Record
		want  [][3]float64 // at, old, new
		final map[int64]float64
	}{
		{"in order", records([2]float64{1, 5}, [2]float64{2, 6}), nil, map[int64]float64{1: 5, 2: 6}},
		{"late, new place", records([2]float64{5, 1}, [2]float64{3, 9}), nil, map[int64]float64{3: 9, 5: 1}},
		{"repeated, equal", records([2]float64{5, 1}, [2]float64{5, 1}), nil, map[int64]float64{5: 1}},
		{"corrected", records([2]float64{5, 1}, [2]float64{5, 2}), [][3]float64{{5, 1, 2}}, map[int64]float64{5: 2}},
		{"corrected twice", records([2]float64{5, 1}, [2]float64{5, 2}, [2]float64{5, 3}), [][3]float64{{5, 1, 2}, {5, 2, 3}}, map[int64]float64{5: 3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ledger, store := openLedger(t), newShelf()
			// The second and third pass are what follows a kill before the
			// cursor was stored: the same records come again.
			for range 3 {
				runOver(t, &logOf{recs: tt.recs, cursor: map[string]uint64{}}, store, ledger)
			}
			got, err := ledger.Corrections(t.Context(), "o.p", noon, noon.Add(time.Second))
			if err != nil {
				t.Fatal(err)
			}
			var rows [][3]float64
			for _, c := range got {
				rows = append(rows, [3]float64{float64(c.At.Sub(noon).Milliseconds()), c.Old.Value, c.New.Value})
			}
			if diff := cmp.Diff(tt.want, rows); diff != "" {
				t.Error(diff)
			}
			for at, v := range tt.final {
				if s := store.held[timeseries.Series{Site: "s", Point: "o.p"}][ms(int(at)).UnixMilli()]; s.Value != v {
					t.Errorf("at %d ms stands %g, want %g", at, s.Value, v)
				}
			}
		})
	}
}

func TestRecorderWaitsForItsStoreAndTellsRefusals(t *testing.T) {
	ledger, store := openLedger(t), newShelf()
	store.fail, store.refuse = 3, 7
	log := &logOf{recs: records([2]float64{1, 5}, [2]float64{2, 7}, [2]float64{3, 6}), cursor: map[string]uint64{}}
	reports := runOver(t, log, store, ledger)
	if len(reports) < 2 || reports[0] == nil || reports[len(reports)-1] != nil {
		t.Errorf("reports %v: want trouble, then its end", reports)
	}
	losses, err := ledger.Losses(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int64{}
	for _, l := range losses {
		kinds[l.Kind] += l.Count
	}
	if diff := cmp.Diff(map[string]int64{LossRefused: 1}, kinds); diff != "" {
		t.Error(diff)
	}
}

func TestRecorderOnTheLogsOwnDiskGivesItsErrorUp(t *testing.T) {
	store := newShelf()
	store.fail = 1
	r := &recorder{
		log: &logOf{recs: records([2]float64{1, 1}), cursor: map[string]uint64{}}, store: store, onLog: true, ledger: openLedger(t),
		logger: quiet, flush: time.Millisecond, pause: func(int) time.Duration { return 0 }, report: func(*devices.Problem) {},
	}
	if err := r.run(t.Context()); !errors.Is(err, devices.ErrUnavailable) {
		t.Errorf("ended with %v", err)
	}
}

func TestDeadLettersAreToldOnce(t *testing.T) {
	ledger := openLedger(t)
	letter := timeseries.Record{Seq: 4, Delivery: devices.Delivery{
		Origin: devices.Origin{Device: "d"}, Received: noon,
		Letter: &devices.DeadLetter{Topic: "t", Payload: []byte("?"), Problem: devices.Invalid("t", "not_json", "不是 JSON", "not JSON")},
	}}
	for range 2 {
		err := ledger.db.Update(t.Context(), func(tx *sql.Tx) error { return ledger.bury(t.Context(), tx, []timeseries.Record{letter}) })
		if err != nil {
			t.Fatal(err)
		}
	}
	losses, err := ledger.Losses(t.Context(), 10)
	if err != nil || len(losses) != 1 || losses[0].Kind != LossDeadLetter || losses[0].Count != 1 || losses[0].Detail != "t" {
		t.Errorf("losses %+v, %v", losses, err)
	}
}

func TestRecorderWritesNothingThatTheLogHasGivenUp(t *testing.T) {
	store := newShelf()
	store.fail = 2
	log := &logOf{recs: records([2]float64{1, 5}, [2]float64{2, 7}, [2]float64{3, 6}), cursor: map[string]uint64{}}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	log.caughtUp = cancel
	r := &recorder{
		log: log, store: store, ledger: openLedger(t), logger: quiet, flush: time.Millisecond,
		pause: func(int) time.Duration {
			log.cursor[followHistory] = 2 // while the recorder waits, the backlog overflows
			return time.Millisecond
		},
		report: func(*devices.Problem) {},
	}
	if err := r.run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("the recorder ended with %v", err)
	}
	held := store.held[timeseries.Series{Site: "s", Point: "o.p"}]
	if _, ok := held[ms(3).UnixMilli()]; len(held) != 1 || !ok {
		t.Errorf("the store holds %v, want the reading that was not given up", held)
	}
}
