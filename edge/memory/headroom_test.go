package memory

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

func TestPercentLeavesTheRingsOut(t *testing.T) {
	const mib = 1 << 20
	tests := []struct {
		name              string
		live, rings, rate int64
		want              int64
	}{
		{"nothing known", 0, 0, 0, 100},
		{"no rings", 40 * mib, 0, 0, 100},
		{"little", 4 * mib, 3 * mib, 0, 50},
		{"rings are half", 160 * mib, 80 * mib, 0, 45},
		{"rings are nearly all, and are filled again", 160 * mib, 150 * mib, mib / 2, 1},
		{"rings are nearly all, and are let go", 160 * mib, 150 * mib, 5 * mib, 5},
		{"rings of a hundred cameras are nearly all", 1000 * mib, 990 * mib, 25 * mib, 1},
		{"rings have grown since", 40 * mib, 60 * mib, 0, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := percent(tt.live, tt.rings, tt.rate); got != tt.want {
				t.Errorf("%d %%, want %d", got, tt.want)
			}
		})
	}
}

func TestHeadroomIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ballast := make([]byte, 80<<20)
		runtime.GC() // else what is in use is not known
		before := debug.SetGCPercent(100)
		defer debug.SetGCPercent(before)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- Headroom(ctx, func() int64 { return 1 << 40 }) }()
		time.Sleep(headroomEvery + time.Second)
		synctest.Wait()
		during := debug.SetGCPercent(leastPercent)
		runtime.KeepAlive(ballast)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		after := debug.SetGCPercent(100)
		if during > 10 || after != 100 {
			t.Errorf("%d %% during, %d %% after", during, after)
		}
	})
}
