package edge

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/edge/yardtest"
	"offsite/timeseries"
)

func TestLiveWatcherWhoIsSlowLosesAloneAndKnowsHowMuch(t *testing.T) {
	l := newLive()
	slow, stopSlow := l.Watch()
	quick, stopQuick := l.Watch()
	defer stopQuick()
	for range watchDepth + 44 {
		l.Tell(Update{Changed: true})
		<-quick.C
	}
	if slow.Lost() != 44 || quick.Lost() != 0 || l.lost.Load() != 44 {
		t.Errorf("the slow one lost %d, the quick one %d, all together %d; want 44, 0 and 44", slow.Lost(), quick.Lost(), l.lost.Load())
	}
	stopSlow()
	l.Tell(Update{Changed: true})
	if slow.Lost() != 44 {
		t.Error("one who has stopped goes on losing")
	}
}

func TestLiveShowsTheNewestThatMayStand(t *testing.T) {
	retained := func(n int, v float64) devices.Reading {
		return devices.Reading{Point: "o.p", At: yardtest.After(n), Value: v, Stamped: true, Repeat: true}
	}
	plain := func(n int, v float64) devices.Reading {
		return devices.Reading{Point: "o.p", At: yardtest.After(n), Value: v}
	}
	wrong := plain(6, 9)
	wrong.Quality = devices.BadClock
	tests := []struct {
		name string
		in   []devices.Reading
		at   int
		v    float64
	}{
		{"newer", []devices.Reading{plain(1, 1), plain(2, 2)}, 2, 2},
		{"late", []devices.Reading{plain(5, 1), plain(2, 2)}, 5, 1},
		{"corrected", []devices.Reading{plain(5, 1), plain(5, 2)}, 5, 2},
		{"a good one after a wrong clock's", []devices.Reading{wrong, plain(5, 2)}, 5, 2},
		{"retained alone", []devices.Reading{retained(7, 1)}, 7, 1},
		{"retained, the same again", []devices.Reading{plain(1, 1), retained(7, 1)}, 1, 1},
		{"retained, published while we were away", []devices.Reading{plain(1, 1), retained(7, 2)}, 7, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLive()
			for _, r := range tt.in {
				l.Refresh([]devices.Reading{r})
			}
			if r, ok := l.Latest("o.p"); !ok || !r.At.Equal(yardtest.After(tt.at)) || r.Value != tt.v {
				t.Errorf("shows %g of %s", r.Value, r.At)
			}
		})
	}
}

func TestLiveForgetsRetiredPoints(t *testing.T) {
	l := newLive()
	l.Refresh([]devices.Reading{{Point: "o.p", At: yardtest.After(1)}, {Point: "o.q", At: yardtest.After(1)}})
	l.keep(map[string]*devices.Point{"o.q": {ID: "o.q"}})
	var left []string
	for _, r := range l.All() {
		left = append(left, r.Point)
	}
	if diff := cmp.Diff([]string{"o.q"}, left); diff != "" {
		t.Error(diff)
	}
}

func TestLiveFollowsOnThroughAnotherOpeningOfTheLog(t *testing.T) {
	l := newLive()
	w, stop := l.Watch()
	defer stop()
	log := &logOf{recs: records([2]float64{1, 1}, [2]float64{2, 2}, [2]float64{3, 3}, [2]float64{4, 4})}
	l.from(2)
	followTo := func(end int) {
		ctx, cancel := context.WithCancel(t.Context())
		part := &logOf{recs: log.recs[:end], idle: cancel}
		if err := l.follow(ctx, part); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	followTo(3)
	l.from(4) // opened again: what was not told yet comes first
	followTo(4)
	var told []float64
	for range len(w.C) {
		for _, r := range (<-w.C).Readings {
			told = append(told, r.Value)
		}
	}
	if diff := cmp.Diff([]float64{3, 4}, told); diff != "" {
		t.Error(diff)
	}
}

var _ tail = (*logOf)(nil)

func TestLiveEndsWithItsLog(t *testing.T) {
	if err := newLive().follow(t.Context(), brokenLog{}); !errors.Is(err, devices.ErrUnavailable) {
		t.Errorf("ended with %v", err)
	}
}

// brokenLog is a log whose disk has failed.
type brokenLog struct{}

func (brokenLog) Durable() uint64                    { return 0 }
func (brokenLog) Wait(context.Context, uint64) error { return yardtest.Trouble("disk_full") }

func (brokenLog) Read(uint64, int) ([]timeseries.Record, error) {
	return nil, yardtest.Trouble("disk_full")
}
func (brokenLog) Cursor(string) uint64         { return 0 }
func (brokenLog) Advance(string, uint64) error { return nil }

var _ cursors = brokenLog{}
