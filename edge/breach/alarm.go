package breach

import (
	"math"
	"time"

	"offsite/devices"
)

// never stands for a time that has not come.
const never = math.MinInt64

// alarm is the state of one limit on one point.
type alarm struct {
	limit, point string

	version int64  // of the limit that judged last; 0 before the first
	at      int64  // At of the last judged reading, Unix milliseconds
	seq     uint64 // of its record
	since   int64  // At of the reading from which a change is pending, or never
	told    float64
	event   *Event // that stands open, or nil
	last    string // id of the open event, or else of the last one

	floor  uint64 // records up to it are in the stored state; replays pass over them
	dirty  bool
	peaked bool // the open event's peak has moved since it was stored
}

// adopt takes up a limit's new version: delays begin anew. It says whether an
// open event cannot stand under it.
func (a *alarm) adopt(l *devices.Limit) (ends bool) {
	if a.version == l.Version {
		return false
	}
	if a.version != 0 {
		a.since = never
	}
	a.version = l.Version
	return a.event != nil && a.event.Level != l.Level
}

// opens says whether the value at the time at opens an alarm that is not open.
func (a *alarm) opens(l *devices.Limit, value float64, at int64) bool {
	if !breached(l, value) {
		a.since = never
		return false
	}
	return a.lasts(at, l.OnDelay)
}

// recovers says whether the value at the time at ends an alarm that is open.
func (a *alarm) recovers(l *devices.Limit, value float64, at int64) bool {
	if !inside(l, value) {
		a.since = never
		return false
	}
	return a.lasts(at, l.OffDelay)
}

// lasts begins a pending change if none is and says whether it is old enough.
func (a *alarm) lasts(at int64, delay devices.Duration) bool {
	if a.since == never {
		a.since = at
	}
	return at-a.since >= delay.D().Milliseconds()
}

// climb keeps the value if it is the farthest so far, and says whether it has
// gone far enough beyond what was last told to be told again.
func (a *alarm) climb(l *devices.Limit, value float64, at int64) (tell bool) {
	ev := a.event
	far := distance(l, ev.LimitValue, value)
	if far <= distance(l, ev.LimitValue, ev.Peak) {
		return false
	}
	ev.Peak, ev.PeakAt, a.peaked = value, milli(at), true
	told := distance(l, ev.LimitValue, a.told)
	if far < 2*told || far-told < math.Abs(ev.LimitValue)/10 {
		return false
	}
	a.told = value
	return true
}

// end closes the open event and gives it.
func (a *alarm) end(reason string, at time.Time) Event {
	ev := a.event
	if at.Before(ev.StartedAt) { // the device's clock runs before ours
		at = ev.StartedAt
	}
	ev.EndedAt, ev.EndReason = &at, reason
	ev.settle()
	a.event, a.since, a.peaked = nil, never, false
	return *ev
}

// breached says that the value does not keep the limit.
func breached(l *devices.Limit, value float64) bool {
	if l.Above() {
		return value > l.Value
	}
	return value < l.Value
}

// inside says that the value keeps the limit by its deadband.
func inside(l *devices.Limit, value float64) bool {
	if l.Above() {
		return value <= l.Value-l.Deadband
	}
	return value >= l.Value+l.Deadband
}

// distance is how far value lies beyond limit, in the direction of a breach.
func distance(l *devices.Limit, limit, value float64) float64 {
	if l.Above() {
		return value - limit
	}
	return limit - value
}

// inForce says whether the limit was valid at the time at.
func inForce(l *devices.Limit, at time.Time) bool {
	return (l.ValidFrom == nil || !at.Before(*l.ValidFrom)) && !expired(l, at)
}

func expired(l *devices.Limit, at time.Time) bool {
	return l.ValidTo != nil && !at.Before(*l.ValidTo)
}

func excludes(l *devices.Limit, mark string) bool {
	for _, m := range l.ExcludeMarks {
		if m == mark {
			return true
		}
	}
	return false
}
