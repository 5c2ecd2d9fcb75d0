package memory

import (
	"context"
	"errors"
	"math"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheOthersPartIsNotGos(t *testing.T) {
	const mib = 1 << 20
	tests := []struct {
		name        string
		limit, used int64
		taken, want int64
	}{
		{"nothing but Go", 500 * mib, 100 * mib, 100 * mib, 440 * mib},
		{"a child decodes", 500 * mib, 200 * mib, 100 * mib, 340 * mib},
		{"others take nearly all", 500 * mib, 450 * mib, 100 * mib, 250 * mib},
		{"Go has more than it has used", 500 * mib, 100 * mib, 120 * mib, 440 * mib},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := soft(Use{tt.used, tt.limit}, tt.taken); got != tt.want {
				t.Errorf("%d MiB, want %d", got/mib, tt.want/mib)
			}
		})
	}
}

func TestTheBoundIsGivenBack(t *testing.T) {
	// What Go has taken is more than this group uses: nobody else takes any.
	root := lay(t, map[string]string{"memory.max": "4000000000000", "memory.current": "1000", "memory.stat": ""})
	for _, tt := range []struct {
		name, operator string
		group          *Group
		want           int64
	}{
		{"bounded", "", Find(root, "0::/\n"), 3_520_000_000_000},
		{"the operator knows better", "5GiB", Find(root, "0::/\n"), math.MaxInt64},
		{"no group", "", nil, math.MaxInt64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("GOMEMLIMIT", tt.operator)
			before := debug.SetMemoryLimit(math.MaxInt64)
			defer debug.SetMemoryLimit(before)
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- Bound(ctx, tt.group) }()
				time.Sleep(boundEvery + time.Second/2)
				synctest.Wait()
				if got := debug.SetMemoryLimit(-1); got != tt.want {
					t.Errorf("%d during, want %d", got, tt.want)
				}
				cancel()
				if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
					t.Errorf("%d after", got)
				}
			})
		})
	}
}
