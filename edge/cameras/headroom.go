package cameras

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	headroomEvery = 5 * time.Second
	leastPercent  = 2
	usualPercent  = 100
	leastRoom     = 8 << 20 // bytes; 20 cameras send 5 MB a second
	ringShare     = 16      // rings take this part of their pictures on top, for what stands around each and for rounding
)

// Headroom keeps the garbage collector from taking as much memory again as the
// rings of the last seconds hold, until ctx ends: by itself it lets the heap grow to
// twice of what is in use. Rings are most of that, but hold no pointers and cost
// it little to look through; so only the rest of what is in use counts, as long as
// that leaves room enough to collect every second or two and no more often. It
// sets the process's GC percentage and belongs into a program, once.
func Headroom(ctx context.Context, rings func() int64) error {
	tick := time.NewTicker(headroomEvery)
	defer tick.Stop()
	defer debug.SetGCPercent(debug.SetGCPercent(usualPercent))
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	set := int64(usualPercent)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		metrics.Read(live)
		// Each setting stops the world for a moment: small changes are let be.
		if want := percent(int64(live[0].Value.Uint64()), rings()); want < set*9/10 || want > set*11/10 { //nolint:gosec // far below
			debug.SetGCPercent(int(want))
			set = want
		}
	}
}

// percent is the GC percentage that gives the rings no room to grow into.
func percent(live, rings int64) int64 {
	if live <= 0 {
		return usualPercent
	}
	room := max(live-rings-rings/ringShare, leastRoom)
	return min(max(usualPercent*room/live, leastPercent), usualPercent)
}

// RingBytes is what the rings of all cameras hold.
func (f *Feeds) RingBytes() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var n int64
	for _, cam := range f.list {
		n += cam.feed.State().RingBytes + cam.sub.feed.State().RingBytes
	}
	return n
}
