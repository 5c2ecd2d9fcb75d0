package history

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	edgeledger "offsite/edge/ledger"
	"offsite/edge/yardtest"
	"offsite/timeseries"
)

var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logOf is a log that holds recs and never grows.
type logOf struct {
	recs     []timeseries.Record
	cursor   uint64
	caughtUp func() // called when the cursor has reached the end
}

func (l *logOf) Await(ctx context.Context, after uint64, most time.Duration) error {
	if after < uint64(len(l.recs)) {
		return nil
	}
	select {
	case <-time.After(most):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *logOf) Read(after uint64) ([]timeseries.Record, error) {
	return l.recs[min(after, uint64(len(l.recs))):], nil
}

func (l *logOf) Cursor() uint64 { return l.cursor }

func (l *logOf) Advance(seq uint64) error {
	l.cursor = seq
	if seq == uint64(len(l.recs)) && l.caughtUp != nil {
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

func openLedger(t *testing.T) *edgeledger.Ledger {
	t.Helper()
	g, err := edgeledger.Open(t.Context(), yardtest.OpenDB(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// records makes one record of each (millisecond, value).
func records(pairs ...[2]float64) []timeseries.Record {
	recs := make([]timeseries.Record, len(pairs))
	for i, p := range pairs {
		recs[i] = timeseries.Record{Seq: uint64(i + 1), Delivery: devices.Delivery{Readings: []devices.Reading{{Site: "s", Point: "o.p", At: yardtest.After(int(p[0])), Value: p[1]}}}}
	}
	return recs
}

// runOver runs a recorder over the log until it has written everything.
func runOver(t *testing.T, log *logOf, store *shelf, book *edgeledger.Ledger) (reports []*devices.Problem) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	log.caughtUp = cancel
	r := NewRecorder(RecorderConfig{
		Log: log, Store: store, Ledger: book, Logger: quiet, Flush: time.Millisecond,
		Pause:  func(int) time.Duration { return time.Millisecond },
		Report: func(p *devices.Problem) { reports = append(reports, p) },
	})
	if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
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
				runOver(t, &logOf{recs: tt.recs}, store, ledger)
			}
			got, err := ledger.Corrections(t.Context(), "o.p", yardtest.Noon, yardtest.Noon.Add(time.Second))
			if err != nil {
				t.Fatal(err)
			}
			var rows [][3]float64
			for _, c := range got {
				rows = append(rows, [3]float64{float64(c.At.Sub(yardtest.Noon).Milliseconds()), c.Old.Value, c.New.Value})
			}
			if diff := cmp.Diff(tt.want, rows); diff != "" {
				t.Error(diff)
			}
			for at, v := range tt.final {
				if s := store.held[timeseries.Series{Site: "s", Point: "o.p"}][yardtest.After(int(at)).UnixMilli()]; s.Value != v {
					t.Errorf("at %d ms stands %g, want %g", at, s.Value, v)
				}
			}
		})
	}
}

func TestRecorderWaitsForItsStoreAndTellsRefusals(t *testing.T) {
	ledger, store := openLedger(t), newShelf()
	store.fail, store.refuse = 3, 7
	log := &logOf{recs: records([2]float64{1, 5}, [2]float64{2, 7}, [2]float64{3, 6})}
	reports := runOver(t, log, store, ledger)
	if len(reports) < 2 || reports[0] == nil || reports[len(reports)-1] != nil {
		t.Errorf("reports %v: want trouble, then its end", reports)
	}
	losses, err := ledger.Losses(t.Context(), edgeledger.Filter{Max: 10})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int64{}
	for _, l := range losses {
		kinds[l.Kind] += l.Count
	}
	if diff := cmp.Diff(map[string]int64{edgeledger.LossRefused: 1}, kinds); diff != "" {
		t.Error(diff)
	}
}

func TestRecorderOnTheLogsOwnDiskGivesItsErrorUp(t *testing.T) {
	store := newShelf()
	store.fail = 1
	r := NewRecorder(RecorderConfig{
		Log: &logOf{recs: records([2]float64{1, 1})}, Store: store, OnLog: true, Ledger: openLedger(t),
		Logger: quiet, Flush: time.Millisecond, Pause: func(int) time.Duration { return 0 }, Report: func(*devices.Problem) {},
	})
	if err := r.Run(t.Context()); !errors.Is(err, devices.ErrUnavailable) {
		t.Errorf("ended with %v", err)
	}
}

func TestRecorderWritesNothingThatTheLogHasGivenUp(t *testing.T) {
	store := newShelf()
	store.fail = 2
	log := &logOf{recs: records([2]float64{1, 5}, [2]float64{2, 7}, [2]float64{3, 6})}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	log.caughtUp = cancel
	r := NewRecorder(RecorderConfig{
		Log: log, Store: store, Ledger: openLedger(t), Logger: quiet, Flush: time.Millisecond,
		Pause: func(int) time.Duration {
			log.cursor = 2 // while the recorder waits, the backlog overflows
			return time.Millisecond
		},
		Report: func(*devices.Problem) {},
	})
	if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("the recorder ended with %v", err)
	}
	held := store.held[timeseries.Series{Site: "s", Point: "o.p"}]
	if _, ok := held[yardtest.After(3).UnixMilli()]; len(held) != 1 || !ok {
		t.Errorf("the store holds %v, want the reading that was not given up", held)
	}
}
