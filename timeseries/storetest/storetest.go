// Package storetest is the conformance suite of [timeseries.Store]: what every
// store of history must do, run against each of them.
package storetest

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"offsite/devices"
	"offsite/timeseries"
)

// Peer is a store under test. Open gives it empty; Reopen closes it and opens
// it again on the same data.
type Peer interface {
	Open(t *testing.T) timeseries.Store
	Reopen(t *testing.T, s timeseries.Store) timeseries.Store
}

// Run runs the suite; peer makes a fresh one for every case.
func Run(t *testing.T, peer func(t *testing.T) Peer) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := peer(t)
			h := &harness{t: t, peer: p, store: p.Open(t)}
			c.run(h)
			if err := h.store.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// harness is one case at work.
type harness struct {
	t     *testing.T
	peer  Peer
	store timeseries.Store
	seq   uint64
}

// key is the series that most cases use.
var key = timeseries.Series{Site: "site-1", Point: "stack.so2"}

// noon is 12:00 of a day in Beijing.
var noon = time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)

func reading(s timeseries.Series, at time.Time, v float64, q devices.Quality) devices.Reading {
	return devices.Reading{Site: s.Site, Point: s.Point, At: at, Value: v, Quality: q}
}

func good(at time.Time, v float64) devices.Reading { return reading(key, at, v, devices.Good) }

func sample(at time.Time, v float64) timeseries.Sample {
	return timeseries.Sample{At: at.UTC(), Value: v}
}

// write writes one record a reading.
func (h *harness) write(rs ...devices.Reading) timeseries.Written {
	h.t.Helper()
	var recs []timeseries.Record
	for _, r := range rs {
		h.seq++
		recs = append(recs, timeseries.Record{Seq: h.seq, Delivery: devices.Delivery{Received: noon, Readings: []devices.Reading{r}}})
	}
	w, err := h.store.Write(h.t.Context(), recs)
	if err != nil {
		h.t.Fatalf("Write: %v", err)
	}
	if w.Durable > h.seq {
		h.t.Errorf("durable %d of %d", w.Durable, h.seq)
	}
	return w
}

func (h *harness) flush() {
	h.t.Helper()
	w, err := h.store.Flush(h.t.Context())
	if err != nil {
		h.t.Fatalf("Flush: %v", err)
	}
	if d := h.store.Durable(); d != 0 && (w.Durable != h.seq || d != h.seq) {
		h.t.Errorf("after Flush durable is %d and %d, want %d", w.Durable, d, h.seq)
	}
}

// always runs check as things stand, after a flush, and after a restart.
func (h *harness) always(check func(t *testing.T, s timeseries.Store)) {
	h.t.Run("as written", func(t *testing.T) { check(t, h.store) })
	h.flush()
	h.t.Run("flushed", func(t *testing.T) { check(t, h.store) })
	h.store = h.peer.Reopen(h.t, h.store)
	h.t.Run("reopened", func(t *testing.T) { check(t, h.store) })
}

var inexact = cmp.Options{cmpopts.EquateApprox(1e-12, 0), cmpopts.EquateEmpty()}

func wantRange(t *testing.T, s timeseries.Store, k timeseries.Series, from, to time.Time, most int, want ...timeseries.Sample) {
	t.Helper()
	got, err := s.Range(context.Background(), k, from, to, most)
	if err != nil {
		t.Errorf("Range: %v", err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Range(%s, %s): %s", from, to, diff)
	}
}

func wantWindows(t *testing.T, s timeseries.Store, from, to time.Time, every time.Duration, want ...timeseries.Window) {
	t.Helper()
	got, err := s.Windows(context.Background(), key, from, to, every)
	if err != nil {
		t.Errorf("Windows: %v", err)
	}
	if diff := cmp.Diff(want, got, inexact); diff != "" {
		t.Errorf("Windows(%s, %s, %s): %s", from, to, every, diff)
	}
}

func wantLast(t *testing.T, s timeseries.Store, want timeseries.Sample) {
	t.Helper()
	got, err := s.Last(context.Background(), key)
	if err != nil {
		t.Errorf("Last: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Last: %s", diff)
	}
}

func wantNoLast(t *testing.T, s timeseries.Store, k timeseries.Series) {
	t.Helper()
	if got, err := s.Last(context.Background(), k); !errors.Is(err, devices.ErrNotFound) {
		t.Errorf("Last = %+v, %v, want ErrNotFound", got, err)
	}
}

func wantAt(t *testing.T, s timeseries.Store, at []time.Time, want ...timeseries.Sample) {
	t.Helper()
	got, err := s.At(context.Background(), key, at)
	if err != nil {
		t.Errorf("At: %v", err)
	}
	wanted := map[int64]timeseries.Sample{}
	for _, w := range want {
		wanted[w.At.UnixMilli()] = w
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("At: %s", diff)
	}
}

// window of values that were all the same.
func flat(start time.Time, n int64, v float64) timeseries.Window {
	return timeseries.Window{Start: start.UTC(), Count: n, Mean: v, Min: v, Max: v, First: v, Last: v}
}

// values that lose something where a store does not keep every bit.
var values = []float64{
	0, 1, -1, 12.3, 123 * 0.1, 0.1 + 0.2, 1e-300, -1e300, math.Pi, math.MaxFloat64, math.SmallestNonzeroFloat64,
	float64(float32(20.7)), 1 << 53, 1<<53 + 2, -99999.999, 1e15 + 0.5,
}
