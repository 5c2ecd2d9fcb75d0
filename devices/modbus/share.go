package modbus

import "time"

// What neighbours must bear from one another.
const (
	leastPatience = 20 * time.Millisecond
	mostPatience  = 100 * time.Millisecond  // for a unit known to be quick
	rtuByte       = 1100 * time.Microsecond // at 9600 baud
)

// patience is how long the bus may be held up by q while others wait, and how
// many others are left out already. A unit that has the bus for itself may take
// its whole timeout; on TCP it still has that after it stood aside.
func (b *bus) patience(d *Driver, q query) (patience time.Duration, leftOut int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	shortest := time.Duration(0)
	for m, out := range b.members {
		if m == d {
			continue
		}
		if out {
			leftOut++
		}
		if p := m.dev.Period.D(); shortest == 0 || p < shortest {
			shortest = p
		}
	}
	if shortest == 0 {
		return q.timeout, 0
	}
	slowest := b.unit(q.unit).slowest
	floor := min(max(shortest/4, leastPatience), mostPatience)
	switch {
	case !b.rtu:
		patience = max(floor, 2*slowest)
	case slowest > 0:
		patience = max(2*floor, 8*slowest)
	default:
		patience = max(shortest/4, mostPatience) + time.Duration(13+2*int(q.quantity))*rtuByte
	}
	return min(patience, q.timeout), leftOut
}

// shared says whether anybody but d uses the bus.
func (b *bus) shared(d *Driver) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, mine := b.members[d]
	return len(b.members) > 1 || !mine
}

// leaveOut notes that d's unit is left out, or is not any more.
func (b *bus) leaveOut(d *Driver, out bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.members[d]; ok {
		b.members[d] = out
	}
}

// quiet says that a unit must not be asked yet, because a late answer of it may
// still be under way.
func (b *bus) quiet(id uint8, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return now.Before(b.unit(id).quiet)
}
