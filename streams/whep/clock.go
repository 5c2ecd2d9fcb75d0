package whep

import (
	"time"

	"offsite/streams"
)

// Ticks of RTP's video clock.
const (
	tickRate  = 90000
	pressStep = tickRate / 10000 // between frames of a group that is caught up
)

// clock gives the RTP time stamps of one session. They grow by the camera's own
// times; but frames that a viewer gets late, to decode and not to see, are
// pressed together: a player would take their true distance for the pace to
// play at, and stay as far behind as they are old.
type clock struct {
	last       uint32
	at         time.Time // when last was given
	connection uint64    // that offset is of; 0: of none
	offset     uint32
}

// stamp gives the time stamp of f, which is sent now.
func (c *clock) stamp(f *streams.Frame, late bool, now time.Time) uint32 {
	ts := c.offset + ticks(f.PTS)
	switch {
	case late:
		ts = c.last + pressStep
		c.connection = 0
	case c.connection != f.Connection:
		// Here the camera's clock is tied to ours.
		step := uint32(pressStep)
		if passed := ticks(now.Sub(c.at)); !c.at.IsZero() {
			step = max(step, passed)
		}
		ts = c.last + step
		c.offset = ts - ticks(f.PTS)
		c.connection = f.Connection
	case int32(ts-c.last) <= 0: //nolint:gosec // wraps as RTP's clock does
		ts = c.last + 1
	}
	c.last, c.at = ts, now
	return ts
}

// ticks wraps around as RTP's clock does.
func ticks(d time.Duration) uint32 {
	whole := d / time.Second
	return uint32(int64(whole)*tickRate + int64(d-whole*time.Second)*tickRate/int64(time.Second)) //nolint:gosec // wraps
}
