package memory

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	boundEvery = time.Second
	boundShare = 0.88      // of the group's limit: less than is shed at, so that garbage sends nobody away
	leastShare = 0.5       // that is left to Go however much others take: below it collecting would be all that it does
	boundStep  = 1.0 / 100 // of the limit, below which a change is let be: each stops the world for a moment
)

// Bound sets the soft limit of the memory that Go takes (runtime/debug.SetMemoryLimit)
// to what the others of the group leave of boundShare, until ctx ends: the children that
// decode, SQLite, the embedded decoder and the kernel's buffers take their part as they
// need it, and no fixed share would be right for all machines. It changes nothing where
// group is nil, or where the operator has set GOMEMLIMIT. It sets the process's limit
// and belongs into a program, once.
func Bound(ctx context.Context, group *Group) error {
	if group == nil || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	tick := time.NewTicker(boundEvery)
	defer tick.Stop()
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	for set := int64(math.MaxInt64); ; {
		if use, err := group.Use(); err == nil { // what cannot be measured bounds nothing anew
			want := soft(use, taken())
			if step := int64(boundStep * float64(use.Limit)); want < set-step || want > set+step {
				debug.SetMemoryLimit(want)
				set = want
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// soft is the limit of Go's memory, of which it has taken so much.
func soft(use Use, taken int64) int64 {
	limit, others := float64(use.Limit), float64(max(use.Used-taken, 0))
	return int64(max(boundShare*limit-others, leastShare*limit))
}

// taken is the memory that counts for Go's limit.
func taken() int64 {
	m := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(m)
	return int64(m[0].Value.Uint64() - m[1].Value.Uint64()) //nolint:gosec // far below
}
