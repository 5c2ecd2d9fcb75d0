package memory

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	headroomEvery = 2 * time.Second
	leastPercent  = 1
	usualPercent  = 100
	leastRoom     = 2 << 20 // bytes
	busyRoom      = 8 << 20 // bytes; 20 cameras that are recorded let go of 5 MB a second
	busyFor       = 2       // seconds of what is allocated that find room in it
	ringShare     = 12      // rings take this part of their pictures on top, for what stands around each and for rounding
)

// Headroom keeps the garbage collector from taking as much memory again as the
// rings of the last seconds hold, until ctx ends: by itself it lets the heap grow to
// twice of what is in use. Rings are most of that, but hold no pointers and cost
// it little to look through; so only the rest of what is in use counts, as long as
// that leaves room enough to collect every second or two and no more often. Rings
// that nobody looks into fill their memory again and leave nothing to collect. It
// sets the process's GC percentage and belongs into a program, once.
func Headroom(ctx context.Context, rings func() int64) error {
	tick := time.NewTicker(headroomEvery)
	defer tick.Stop()
	defer debug.SetGCPercent(debug.SetGCPercent(usualPercent))
	heap := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(heap)
	set, before := int64(usualPercent), heap[1].Value.Uint64()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		metrics.Read(heap)
		live, all := heap[0].Value.Uint64(), heap[1].Value.Uint64()
		rate := int64(all-before) / int64(headroomEvery/time.Second) //nolint:gosec // far below
		before = all
		// Each setting stops the world for a moment: small changes are let be.
		if want := percent(int64(live), rings(), rate); want < set*9/10 || want > set*11/10 { //nolint:gosec // far below
			debug.SetGCPercent(int(want))
			set = want
		}
	}
}

// percent is the GC percentage that gives the rings no room to grow into, where rate
// bytes a second are allocated.
func percent(live, rings, rate int64) int64 {
	if live <= 0 {
		return usualPercent
	}
	room := max(live-rings-rings/ringShare, min(rate*busyFor, busyRoom), leastRoom)
	return min(max(usualPercent*room/live, leastPercent), usualPercent)
}
