package rtsp

import (
	"time"

	"github.com/pion/rtcp"

	"offsite/streams"
)

const (
	mostBack  = time.Second      // that a stamp may go back: B-frames are sent after what they depend on
	mostAhead = 10 * time.Second // that a stamp may go ahead of what has passed
	mostSame  = 2                // pictures in a row with the stamp of the one before that may be fields of frames
)

// timeline counts RTP's stamps on, which wrap around after 13 hours.
type timeline struct {
	begun bool
	last  uint32
	ticks int64
}

// at gives the time of a stamp; that of the first is zero.
func (t *timeline) at(stamp uint32) time.Duration {
	if t.begun {
		t.ticks += int64(int32(stamp - t.last)) //nolint:gosec // stamps wrap
	}
	t.begun, t.last = true, stamp
	return time.Duration(t.ticks/clockRate)*time.Second + time.Duration(t.ticks%clockRate)*time.Second/clockRate
}

// stamps mends a connection's time stamps: where they leap or stand still the
// time of arrival goes on in their place.
type stamps struct {
	begun  bool
	raw    time.Duration // newest stamp as sent
	mended time.Duration // what was made of it
	at     time.Time     // its arrival
	shift  time.Duration // from sent to mended
	same   int           // pictures in a row with this stamp, beyond the first
	leaps  int
	other  bool // the next stamp counts from elsewhere
}

// anew says that stamps count from elsewhere from now on: they go on by arrival.
func (s *stamps) anew() { s.other = s.begun }

// place gives the stamp of a picture that arrived at.
func (s *stamps) place(raw time.Duration, at time.Time) time.Duration {
	if !s.begun {
		s.begun, s.raw, s.mended, s.at = true, raw, raw, at
		return raw
	}
	step, passed := raw-s.raw, at.Sub(s.at)
	if step == 0 {
		s.same++
	} else {
		s.same = 0
	}
	if s.other {
		s.other, s.same = false, 0
		s.shift = s.mended + max(passed, time.Millisecond) - raw
	} else if step < -mostBack || step > passed+mostAhead || s.same > mostSame {
		s.leaps++
		s.shift = s.mended + max(passed, time.Millisecond) - raw
	}
	s.raw, s.at = raw, at
	s.mended = raw + s.shift
	return s.mended
}

// report is what a sender report says: the camera's time at a stamp.
type report struct {
	at    time.Time
	stamp uint32
}

// firstYear is that from which a camera's clock is believed to have been set.
const firstYear = 2020

// newReport reads a sender report; nil if the camera's clock was never set.
// gortsplib v4.16.2 takes the fraction of a second, which counts 2^-32 s, for
// nanoseconds, and is up to 3.3 s wrong.
func newReport(sr *rtcp.SenderReport) *report {
	const epoch = 2208988800                                           // 1970 in seconds since 1900 (RFC 5905, 6)
	seconds, fraction := int64(sr.NTPTime>>32), sr.NTPTime&0xffff_ffff //nolint:gosec // 32 bits
	at := time.Unix(seconds-epoch, int64(fraction*1e9>>32))            //nolint:gosec // less than 1e9
	if at.Year() < firstYear {
		return nil
	}
	return &report{at, sr.RTPTime}
}

// time gives the camera's time at another stamp.
func (r *report) time(stamp uint32) time.Time {
	return r.at.Add(time.Duration(int32(stamp-r.stamp)) * time.Second / clockRate) //nolint:gosec // stamps wrap
}

const (
	clockWindow = 10 * time.Second
	clockStep   = time.Second // of the offset: the camera's clock was set
	driftAfter  = time.Minute
)

// clock measures the camera's clock against ours by the pictures whose time the
// sender reports tell. Of each window the picture counts that was least held up
// on its way.
type clock struct {
	from    time.Time     // beginning of the window
	best    time.Duration // largest of camera's time less arrival in the window
	first   time.Duration // of the first window since the clock was set
	firstAt time.Time
	told    streams.Clock
}

// note takes one picture and says whether there is news.
func (c *clock) note(taken, at time.Time) (streams.Clock, bool) {
	offset := taken.Sub(at)
	switch {
	case !c.told.Known || (offset-c.told.Offset).Abs() > clockStep && (c.best-c.told.Offset).Abs() > clockStep:
		c.first, c.firstAt = offset, at
		c.from, c.best = at, offset
		c.told = streams.Clock{Known: true, Offset: offset}
		return c.told, true
	case at.Sub(c.from) < clockWindow:
		c.best = max(c.best, offset)
		return c.told, false
	}
	c.told.Offset = c.best
	if passed := at.Sub(c.firstAt); passed >= driftAfter {
		c.told.Drift = float64((c.best - c.first).Microseconds()) / passed.Seconds()
	}
	c.from, c.best = at, offset
	return c.told, true
}
