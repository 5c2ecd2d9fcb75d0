package hls

import "time"

// cadence evens out when pictures are shown. Cameras that stamp by arrival are
// some milliseconds off each time, but parts of a playlist must be of nearly one
// length (RFC 8216, second edition, 4.4.3.7), or iPhones refuse it. It follows the
// camera's rate as a phase-locked loop of second order does; its zero is ready.
type cadence struct {
	step  time.Duration // between pictures; zero: not known yet
	last  time.Duration
	begun bool
	off   bool // pictures come in another order than they are shown in
}

const (
	phaseGain = 16  // part of a stamp's error that is believed, one in
	rateGain  = 512 // the same of its change of rate
	wayOff    = 3   // steps of error that are no jitter
)

// even gives the time at which the picture stamped shown is to be shown.
func (c *cadence) even(shown, decoded time.Duration) time.Duration {
	c.off = c.off || shown != decoded
	if c.off {
		return shown
	}
	if !c.begun {
		c.begun, c.last = true, shown
		return shown
	}
	if c.step <= 0 {
		c.step = max(shown-c.last, 0)
	}
	wrong := shown - (c.last + c.step)
	if wrong.Abs() > wayOff*c.step {
		c.last = max(shown, c.last+time.Millisecond)
		return c.last
	}
	c.last = max(c.last+c.step+wrong/phaseGain, c.last+time.Millisecond)
	c.step += wrong / rateGain
	return c.last
}

// stepOf is the mean distance of a group's pictures; zero where there are too
// few to tell.
func stepOf(decoded []time.Duration) time.Duration {
	n := len(decoded) - 1
	if n < 4 {
		return 0
	}
	return (decoded[n] - decoded[0]) / time.Duration(n)
}
