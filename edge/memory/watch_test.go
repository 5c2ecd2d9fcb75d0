package memory

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

// seen is who is away after a look, and what everybody is told.
type seen struct{ Viewers, Platform, Told string }

func watched() (*Watch, *seen) {
	s := &seen{}
	note := func(into *string) func(*devices.Problem) {
		return func(why *devices.Problem) {
			*into = ""
			if why != nil {
				*into = why.EN[:len("memory is very")]
			}
		}
	}
	return New(Config{Viewers: note(&s.Viewers), Platform: note(&s.Platform), Notice: note(&s.Told)}), s
}

func TestViewersGoBeforeThePlatform(t *testing.T) {
	t.Parallel()
	const short, very = "memory is shor", "memory is very"
	tests := []struct {
		name string
		used []float64
		want seen
	}{
		{"enough", []float64{0.89}, seen{}},
		{"short", []float64{0.90}, seen{Viewers: short, Told: short}},
		{"very short", []float64{0.91, 0.95}, seen{short, very, very}},
		{"very short at once", []float64{0.97}, seen{short, very, very}},
		{"less, but not much", []float64{0.95, 0.86}, seen{short, very, very}},
		{"enough for the platform", []float64{0.95, 0.84}, seen{Viewers: short, Told: short}},
		{"short again", []float64{0.95, 0.84, 0.91}, seen{Viewers: short, Told: short}},
		{"very short again", []float64{0.95, 0.84, 0.95}, seen{short, very, very}},
		{"not yet enough for all", []float64{0.90, 0.80}, seen{Viewers: short, Told: short}},
		{"enough for all", []float64{0.95, 0.79}, seen{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, s := watched()
			for _, used := range tt.used {
				w.Look(used)
			}
			if diff := cmp.Diff(tt.want, *s); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheGroupIsLookedAtEachSecond(t *testing.T) {
	root := lay(t, map[string]string{"memory.max": "100", "memory.current": "92", "memory.stat": ""})
	synctest.Test(t, func(t *testing.T) {
		w, s := watched()
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if err := w.Run(ctx, Find(root, "0::/\n")); err == nil || s.Viewers == "" {
			t.Errorf("%v, %+v", err, *s)
		}
	})
}
