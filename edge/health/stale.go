package health

import (
	"slices"
	"time"

	"offsite/devices"
	"offsite/devices/registry"
)

// staleAfter is the shortest silence after which a point is stale.
const staleAfter = 60 * time.Second

// patience is how long a point may be silent of which something is expected each
// period.
func patience(period time.Duration) time.Duration { return max(3*period, staleAfter) }

// learn takes the time between two deliveries into a learned period. One long
// silence must not teach it to be patient for hours.
func learn(learned, gap time.Duration) time.Duration {
	if learned == 0 {
		return gap
	}
	return learned + (min(gap, max(4*learned, staleAfter))-learned)/8
}

// period is the expected one, zero if nothing is known of it.
func (p *pointHealth) period() time.Duration {
	if p.stated > 0 {
		return p.stated
	}
	return p.learned
}

// silent says whether the point is stale at now.
func (p *pointHealth) silent(now time.Time) bool {
	return p.device != "" && now.Sub(later(p.heard, p.known)) > patience(p.period())
}

// periodOf gives the period that device and binding state, zero if they do not.
func periodOf(dev *devices.Device, b *devices.Binding) time.Duration {
	switch {
	case b.Factor != nil && b.Factor.Kind == devices.KindMinute:
		return max(dev.Period.D(), 10*time.Minute)
	case b.Factor != nil && b.Factor.Kind == devices.KindHour:
		return time.Hour
	case b.Factor != nil && b.Factor.Kind == devices.KindDay:
		return 24 * time.Hour
	case dev.Driver == devices.DriverModbus && dev.Period == 0:
		return time.Second
	default:
		return dev.Period.D()
	}
}

// Stale says whether a point is stale at now: it is silent for longer than
// three times its expected period and than a minute. at is the time of the value
// that stands, which says it where nothing was heard since the start.
func (t *Tracker) Stale(point string, at, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.byPoint[point]
	if p == nil {
		return now.Sub(at) > staleAfter
	}
	last := later(p.heard, at)
	if !p.heard.IsZero() {
		last = p.heard
	}
	return now.Sub(last) > patience(p.period())
}

// StaleAfter gives the silence after which a point was stale in [from, to), of
// which gaps are those between what was kept, in order. It is the rule of now
// where the span has one binding: three times the period, and a minute. Of
// several bindings the longest period counts. Where one of them states none, or
// none is left, it is as learned, from what is heard now and from gaps.
func (t *Tracker) StaleAfter(s *registry.Snapshot, point string, from, to time.Time, gaps []time.Duration) time.Duration {
	var period time.Duration
	stated := false
	for _, b := range s.Bindings {
		if b.Point != point || !b.From.Before(to) || (b.To != nil && !b.To.After(from)) {
			continue
		}
		var own time.Duration
		if dev := s.Devices[b.Device]; dev != nil {
			own = periodOf(dev, b)
		}
		if own == 0 {
			return patience(max(t.learned(point), learnedFrom(gaps), period))
		}
		period, stated = max(period, own), true
	}
	if !stated {
		period = max(t.learned(point), learnedFrom(gaps))
	}
	return patience(period)
}

func (t *Tracker) learned(point string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.byPoint[point]; p != nil {
		return p.learned
	}
	return 0
}

// learnedFrom gives the longest period that would have been learned on the way.
// It begins with what was usual: the first gap may be an outage.
func learnedFrom(gaps []time.Duration) time.Duration {
	if len(gaps) == 0 {
		return 0
	}
	learned := slices.Sorted(slices.Values(gaps))[len(gaps)/2]
	longest := learned
	for _, gap := range gaps {
		learned = learn(learned, gap)
		longest = max(longest, learned)
	}
	return longest
}
