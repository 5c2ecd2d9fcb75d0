package intake

import (
	"context"
	"time"
)

// Clock finds out when the machine's clock was set, by the monotonic one beside
// it. Where it was set back, the times of receipt are led back to it at half
// speed: each point's times go on, and what lasts a minute lasts at least half
// a minute by them, so that a delay of a limit ends. One goroutine uses it.
type Clock struct {
	read func() (wall time.Time, ran time.Duration)
	wall time.Time
	ran  time.Duration
	lead time.Duration // of the times of receipt before the wall clock
}

// NewClock gives a Clock that reads the wall clock and how long it ran meanwhile.
func NewClock(read func() (wall time.Time, ran time.Duration)) *Clock {
	c := &Clock{read: read}
	c.wall, c.ran = read()
	return c
}

// MachineClock is the machine's clock for NewClock.
func MachineClock() func() (wall time.Time, ran time.Duration) {
	began := time.Now()
	return func() (time.Time, time.Duration) {
		now := time.Now()
		return now.Round(0), now.Sub(began)
	}
}

// Look says how far the clock was set since the last look, forward or back, and
// how far times of receipt are to lead it now. A machine that slept has its
// clock set forward.
func (c *Clock) Look() (step, lead time.Duration) {
	wall, ran := c.read()
	passed := ran - c.ran
	step = wall.Sub(c.wall) - passed
	c.wall, c.ran = wall, ran
	c.lead = max(0, c.lead-passed/2-step)
	return step, c.lead
}

const lookEvery = time.Second // at the clock

// MostStep is by how much the clock may be set without a word.
const MostStep = 2 * time.Second

// Watch keeps the times of receipt even while the machine's clock is set, and
// tells of each step of more than [MostStep], until ctx ends. It begins with the
// lead that [Pipeline.GoOn] left.
func (p *Pipeline) Watch(ctx context.Context, c *Clock, told func(step time.Duration)) error {
	c.lead = time.Duration(p.lead.Load())
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		step, lead := c.Look()
		p.lead.Store(int64(lead))
		if step.Abs() > MostStep {
			told(step)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
