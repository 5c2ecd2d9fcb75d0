package health

import (
	"slices"
	"time"

	"offsite/devices"
)

// Span is [From, To).
type Span struct{ From, To time.Time }

// Spans may overlap and stand in any order.
type Spans []Span

// merged gives the same time in order and without overlaps.
func (s Spans) merged() Spans {
	list := slices.Clone(s)
	slices.SortFunc(list, func(a, b Span) int { return a.From.Compare(b.From) })
	var out Spans
	for _, x := range list {
		switch last := len(out) - 1; {
		case !x.From.Before(x.To):
		case last >= 0 && !x.From.After(out[last].To):
			out[last].To = later(out[last].To, x.To)
		default:
			out = append(out, x)
		}
	}
	return out
}

// within gives the part of s in [from, to).
func (s Spans) within(from, to time.Time) Spans {
	var out Spans
	for _, x := range s {
		x.From = later(x.From, from)
		if x.To.After(to) {
			x.To = to
		}
		if x.From.Before(x.To) {
			out = append(out, x)
		}
	}
	return out
}

// without gives s, which is merged, less the time of cut.
func (s Spans) without(cut Spans) Spans {
	cut = cut.merged()
	var out Spans
	for _, x := range s {
		for _, c := range cut {
			if !c.To.After(x.From) || !c.From.Before(x.To) {
				continue
			}
			if x.From.Before(c.From) {
				out = append(out, Span{x.From, c.From})
			}
			if x.From = c.To; !x.From.Before(x.To) {
				break
			}
		}
		if x.From.Before(x.To) {
			out = append(out, x)
		}
	}
	return out
}

func (s Spans) total() (d time.Duration) {
	for _, x := range s {
		d += x.To.Sub(x.From)
	}
	return d
}

// OnlineDay is how long something was online 在线 on one day of Beijing time.
//
// Rate = Online / Expected. Expected is the time of the day so far in which a
// binding was in force, less maintenance and the time for which the gateway
// had been shut down in good order. Online is Expected less the gaps of the
// ledger, among them those in which the gateway was cut off. Gaps that follow
// each other closely share a row of the ledger, so that for a flapping device
// the rate is a lower bound.
type OnlineDay struct {
	Day      time.Time // its beginning
	Expected time.Duration
	Online   time.Duration
}

// Rate is in [0, 1]; ok is false where nothing was expected.
func (d OnlineDay) Rate() (rate float64, ok bool) {
	if d.Expected <= 0 {
		return 0, false
	}
	return float64(d.Online) / float64(d.Expected), true
}

// onlineDays is how many days the health of a device covers, today included.
const onlineDays = 7

// Beginnings gives where each of the last days began, oldest first.
func Beginnings(now time.Time) []time.Time {
	y, m, d := now.In(devices.Beijing).Date()
	list := make([]time.Time, onlineDays)
	for i := range list {
		list[i] = time.Date(y, m, d-(onlineDays-1-i), 0, 0, 0, 0, devices.Beijing)
	}
	return list
}

// Online computes each of the last days. bound, excluded and missed may
// overlap and reach beyond.
func Online(now time.Time, bound, excluded, missed Spans) []OnlineDay {
	var list []OnlineDay
	for _, day := range Beginnings(now) {
		end := day.AddDate(0, 0, 1)
		if end.After(now) {
			end = now
		}
		expected := bound.within(day, end).merged().without(excluded)
		list = append(list, OnlineDay{Day: day.UTC(), Expected: expected.total(), Online: expected.without(missed).total()})
	}
	return list
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
