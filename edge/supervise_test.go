package edge

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

func TestSuperviseStartsAgainAfterPauses(t *testing.T) {
	tests := []struct {
		name string
		runs time.Duration // how long each run takes
		want int           // starts within 25 s
	}{
		{"fails at once", 0, 3}, // at 0 s, 10 s and 20 s
		{"fails after 4 s", 4 * time.Second, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
				defer cancel()
				starts := 0
				err := Supervise(ctx, quiet, func(int) time.Duration { return 10 * time.Second }, func(ctx context.Context) error {
					starts++
					select {
					case <-time.After(tt.runs):
					case <-ctx.Done():
					}
					return errors.New("broken")
				})
				if starts != tt.want {
					t.Errorf("started %d times, want %d", starts, tt.want)
				}
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("ended by %v", err)
				}
			})
		})
	}
}

func TestSuperviseForgetsFailuresOfATaskThatRanLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var failures []int
		runs := 0
		_ = Supervise(ctx, quiet, func(n int) time.Duration { failures = append(failures, n); return time.Second }, func(context.Context) error {
			runs++
			if runs == 3 {
				time.Sleep(2 * time.Minute)
			}
			if runs > 4 {
				cancel()
			}
			return errors.New("broken")
		})
		want := []int{0, 1, 0, 1}
		if len(failures) < 4 || failures[2] != want[2] || failures[3] != want[3] {
			t.Errorf("failures told to the pause: %v, want %v", failures, want)
		}
	})
}

func TestBackOffStaysInItsBounds(t *testing.T) {
	pause := BackOff(time.Second, time.Minute)
	for n := range 100 {
		want := min(time.Minute, time.Second<<min(n, 10))
		if d := pause(n); d < want/2 || d > want {
			t.Errorf("pause(%d) = %s, want %s to %s", n, d, want/2, want)
		}
	}
}
