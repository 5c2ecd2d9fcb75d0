package bus

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Wishes are what somebody who asks on a bus wants of it, and of its neighbours.
type Wishes struct {
	Period time.Duration // between two polls of a driver
	Pause  time.Duration // that the bus rests between an answer and the next request, whoever's
	Settle time.Duration // that it rests after connecting
}

// Seat is a place on a bus: of a driver that polls there, or of a guest.
type Seat struct {
	bus    *bus
	wishes Wishes
	exit   func() // of the pool
}

// Leave gives the seat up. The connection is closed behind the last one.
func (s *Seat) Leave() {
	s.bus.mu.Lock()
	delete(s.bus.members, s)
	s.bus.mu.Unlock()
	s.exit()
}

// Ask puts a query when its turn has come, and gives the values as they travel,
// none for a write. held is how long the bus served nobody else. The error is an
// [Exception], a *[Fault] or the context's.
func (s *Seat) Ask(ctx context.Context, q Query) (data []byte, held time.Duration, err error) {
	q.pause, q.settle = s.wishes.Pause, s.wishes.Settle
	return s.bus.read(ctx, q)
}

// Reach connects if there is no connection. The error is a *[Fault] or the
// context's.
func (s *Seat) Reach(ctx context.Context) (took time.Duration, err error) {
	t := &turn{queue: &s.bus.queue}
	if err := t.take(ctx); err != nil {
		return 0, err
	}
	defer t.give()
	began := time.Now()
	err = s.bus.connect(ctx)
	return time.Since(began), err
}

// Alone keeps others who want to be alone, such as those who set values, from
// the bus until done. All others ask on.
func (s *Seat) Alone(ctx context.Context) (done func(), err error) {
	select {
	case s.bus.writing <- struct{}{}:
		return func() { <-s.bus.writing }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Polled says whether a driver runs on the bus.
func (s *Seat) Polled() bool { return s.drivers() > 0 }

// Shared says whether several drivers use the bus.
func (s *Seat) Shared() bool { return s.drivers() > 1 }

func (s *Seat) drivers() int {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	return len(s.bus.members)
}

// Quiet is how long a unit must not be asked yet, because a late answer of it
// may still be under way.
func (s *Seat) Quiet(unit uint8) time.Duration {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	return time.Until(s.bus.unit(unit).quiet)
}

// What neighbours must bear from one another.
const (
	leastPatience = 20 * time.Millisecond
	mostPatience  = 100 * time.Millisecond // for a unit known to be quick
)

// Patience is how long q may hold the bus up when others come to wait for it,
// and how many others are left out beside some that are not: they share the time
// that may be lost. While nobody waits, and on TCP also after it stood aside, q
// has its whole timeout.
func (s *Seat) Patience(q Query) (patience time.Duration, leftOut int) {
	b := s.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	shortest := longestWait
	if _, member := b.members[s]; member {
		shortest = s.wishes.Period
	}
	for m, out := range b.members {
		if m == s {
			continue
		}
		if out {
			leftOut++
		}
		shortest = min(shortest, m.wishes.Period)
	}
	slowest := b.unit(q.Unit).slowest
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
	return min(patience, q.Timeout), leftOut
}

// LeaveOut notes that the driver's unit is left out, or is not any more.
func (s *Seat) LeaveOut(out bool) {
	b := s.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	was, member := b.members[s]
	if !member || was == out {
		return
	}
	if !out && !slices.Contains(slices.Collect(maps.Values(b.members)), false) {
		b.revived = time.Now()
	}
	b.members[s] = out
}

// RevivedSince says that the bus, on which everybody was left out, has come
// back since then: all may be tried at once.
func (s *Seat) RevivedSince(t time.Time) bool {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	return s.bus.revived.After(t)
}
