package streams

import (
	"math/rand/v2"
	"time"
)

// pressStep is between the frames of a group that is caught up.
const pressStep = TickRate / 10000

// RTPClock gives the RTP time stamps of one stream. They grow by the camera's
// own times; but frames that a viewer gets late, to decode and not to see, are
// pressed together: a player would take their true distance for the pace to
// play at, and stay as far behind as they are old.
type RTPClock struct {
	last       uint32
	at         time.Time // when last was given
	connection uint64    // that offset is of; 0: of none
	offset     uint32
}

// NewRTPClock gives a clock that begins anywhere (RFC 3550, 5.1).
func NewRTPClock() *RTPClock {
	return &RTPClock{last: rand.Uint32()} //nolint:gosec // nothing depends on it
}

// Stamp gives the time stamp of f, which is sent now.
func (c *RTPClock) Stamp(f *Frame, late bool, now time.Time) uint32 {
	ts := c.offset + Ticks(f.PTS)
	switch {
	case late:
		ts = c.last + pressStep
		c.connection = 0
	case c.connection != f.Connection:
		// Here the camera's clock is tied to ours.
		step := uint32(pressStep)
		if passed := Ticks(now.Sub(c.at)); !c.at.IsZero() {
			step = max(step, passed)
		}
		ts = c.last + step
		c.offset = ts - Ticks(f.PTS)
		c.connection = f.Connection
	case int32(ts-c.last) <= 0 && f.PTS == f.DTS: //nolint:gosec // wraps as RTP's clock does
		ts = c.last + 1
	}
	c.last, c.at = ts, now
	return ts
}
