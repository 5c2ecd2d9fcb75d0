package modbus

import (
	"maps"
	"slices"
	"time"
)

// Numbers of the quarantine.
const (
	failuresToOpen = 2               // in a row; then the unit is left out
	shareOfBus     = 100             // a silent unit may cost one part in so many of the bus's time
	shortestPause  = 5 * time.Second // between two tries of a unit that is left out
	longProbeAfter = 20              // timeouts after opening, the first try with the whole timeout (RTU)
	longProbeEvery = 200             // timeouts between two such tries
)

// breaker leaves out what does not answer. It is open until a moment; the
// first try after that decides.
type breaker struct {
	failures int
	failed   time.Time // last
	until    time.Time // not tried before
	longAt   time.Time // the next try with the whole timeout
}

// open says that now is too early to try again.
func (b *breaker) open(now time.Time) bool { return now.Before(b.until) }

// tripped says that the unit is left out, or being tried.
func (b *breaker) tripped() bool { return b.failures >= failuresToOpen }

// fail notes a failure that held the bus up for held; others is how many
// besides this one are left out on the same bus.
func (b *breaker) fail(now time.Time, held, timeout time.Duration, others int) {
	b.failures++
	b.failed = now
	if !b.tripped() {
		return
	}
	if b.failures == failuresToOpen {
		b.longAt = now.Add(longProbeAfter * timeout)
	}
	b.until = now.Add(max(shortestPause, held*shareOfBus*time.Duration(others+1)))
}

// long says whether this try may take the whole timeout.
func (b *breaker) long(now time.Time, timeout time.Duration) bool {
	if !b.tripped() || now.Before(b.longAt) {
		return false
	}
	b.longAt = now.Add(longProbeEvery * timeout)
	return true
}

func (b *breaker) succeed() { *b = breaker{} }

// What neighbours must bear from one another.
const (
	leastPatience = 20 * time.Millisecond
	mostPatience  = 100 * time.Millisecond // for a unit known to be quick
)

// patience is how long q may hold the bus up when others come to wait for it,
// and how many others are left out beside some that are not: they share the time
// that may be lost. A guest is no driver: d is nil. While nobody waits, and on TCP also after it stood aside, q
// has its whole timeout.
func (b *bus) patience(d *Driver, q query) (patience time.Duration, leftOut int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	shortest := longestWait
	if d != nil {
		shortest = d.dev.Period.D()
	}
	for m, out := range b.members {
		if m == d {
			continue
		}
		if out {
			leftOut++
		}
		shortest = min(shortest, m.dev.Period.D())
	}
	slowest := b.unit(q.unit).slowest
	floor := min(max(shortest/4, leastPatience), mostPatience)
	switch {
	case !b.untagged:
		patience = max(floor, min(2*slowest, shortest/2))
	case slowest > 0:
		patience = max(2*floor, 8*slowest)
	default:
		patience = max(shortest/4, mostPatience) + b.at.under(q)
	}
	if leftOut == len(b.members)-1 {
		leftOut = 0 // nobody is there to be protected
	}
	return min(patience, q.timeout), leftOut
}

// shared says whether several drivers use the bus.
func (b *bus) shared() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.members) > 1
}

// leaveOut notes that d's unit is left out, or is not any more.
func (b *bus) leaveOut(d *Driver, out bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, member := b.members[d]
	if !member || was == out {
		return
	}
	if !out && !slices.Contains(slices.Collect(maps.Values(b.members)), false) {
		b.revived = time.Now()
	}
	b.members[d] = out
}

// revivedSince says that the bus, on which everybody was left out, has come
// back since then: all may be tried at once.
func (b *bus) revivedSince(t time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.revived.After(t)
}

// quiet is how long a unit must not be asked yet, because a late answer of it
// may still be under way.
func (b *bus) quiet(id uint8) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Until(b.unit(id).quiet)
}
