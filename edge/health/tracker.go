package health

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/devices/state"
)

// Tracker counts how every device and point fares: what came and what failed,
// how long answers took, and which points have fallen silent. It keeps some
// hundred bytes a point and one kibibyte more for each device that is polled.
type Tracker struct {
	db  *state.DB
	log *slog.Logger

	mu       sync.Mutex
	byDevice map[string]*deviceHealth
	byPoint  map[string]*pointHealth
}

type deviceHealth struct {
	tally   tally
	polled  bool     // it is polled, and its driver counts the polls itself
	leftOut bool     // in quarantine
	took    []uint32 // microseconds of the last answers, in a ring
	next    int      // place in took of the next
}

type pointHealth struct {
	tally   tally
	known   time.Time     // since when it ought to be heard
	heard   time.Time     // receipt of the newest reading that was new itself; zero if none since the start
	learned time.Duration // between two of those; zero before the second
	device  string        // bound now; empty if none is
	stated  time.Duration // expected period as device or binding state it; zero if they do not
	stale   bool          // as told
}

// Windows of a tally.
const (
	shortSlot   = 5 * 60  // seconds; 12 make an hour
	longSlot    = 60 * 60 // 24 make a day
	keptAnswers = 256     // of which mean and 99th percentile are told
)

// Count is how many tries succeeded and failed.
type Count struct{ OK, Bad uint32 }

func (c *Count) add(d Count) { c.OK, c.Bad = c.OK+d.OK, c.Bad+d.Bad }

// Rate is in [0, 1]; ok is false where nothing was tried.
func (c Count) Rate() (rate float64, ok bool) {
	if c.OK+c.Bad == 0 {
		return 0, false
	}
	return float64(c.OK) / (float64(c.OK) + float64(c.Bad)), true
}

// tally counts for an hour and for a day, whose oldest slot is not whole.
type tally struct {
	short   [12]Count
	long    [24]Count
	shortAt int64 // number of the slot counted in last
	longAt  int64
}

// turn empties the slots between the last and that of now, in Unix seconds. A
// clock set back counts on in the last.
func (t *tally) turn(now int64) {
	t.shortAt = turn(t.short[:], t.shortAt, now/shortSlot)
	t.longAt = turn(t.long[:], t.longAt, now/longSlot)
}

func turn(slots []Count, at, now int64) int64 {
	if now <= at {
		return at
	}
	n := int64(len(slots))
	for i := max(at+1, now-n+1); i <= now; i++ {
		slots[i%n] = Count{}
	}
	return now
}

func (t *tally) add(now int64, c Count) {
	t.turn(now)
	t.short[t.shortAt%int64(len(t.short))].add(c)
	t.long[t.longAt%int64(len(t.long))].add(c)
}

func (t *tally) sums(now int64) (hour, day Count) {
	t.turn(now)
	for _, c := range t.short {
		hour.add(c)
	}
	for _, c := range t.long {
		day.add(c)
	}
	return hour, day
}

func newTracker() *Tracker {
	return &Tracker{byDevice: map[string]*deviceHealth{}, byPoint: map[string]*pointHealth{}}
}

// Delivered notes what came. It keeps nothing of d.
func (t *Tracker) Delivered(d *devices.Delivery) {
	now := d.Received.Unix()
	t.mu.Lock()
	defer t.mu.Unlock()
	if dev := t.byDevice[d.Origin.Device]; dev != nil && !dev.polled {
		switch {
		case d.Letter != nil:
			dev.tally.add(now, Count{Bad: 1})
		case len(d.Readings) > 0:
			dev.tally.add(now, Count{OK: 1})
		}
	}
	for i := range d.Readings {
		r := &d.Readings[i]
		p := t.byPoint[r.Point]
		if p == nil || r.Repeat { // what is said again was not measured again
			continue
		}
		if r.Quality.Usable() {
			p.tally.add(now, Count{OK: 1})
		} else {
			p.tally.add(now, Count{Bad: 1})
		}
		if !d.Origin.Resent {
			p.hear(d.Received)
		}
	}
}

// hear learns how often the point is heard.
func (p *pointHealth) hear(at time.Time) {
	gap := at.Sub(p.heard)
	switch {
	case p.heard.IsZero():
	case gap <= 0:
		return // of the same delivery, or a clock set back
	default:
		p.learned = learn(p.learned, gap)
	}
	p.heard = at
}

// Polled notes a poll of a device.
func (t *Tracker) Polled(poll devices.Poll) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.byDevice[poll.Device]
	if d == nil {
		return
	}
	now := poll.At.Unix()
	d.polled, d.leftOut = true, poll.LeftOut
	if !poll.Answered {
		d.tally.add(now, Count{Bad: 1})
		return
	}
	d.tally.add(now, Count{OK: 1})
	d.answered(poll.Took)
	for _, id := range poll.Failed {
		if p := t.byPoint[id]; p != nil {
			p.tally.add(now, Count{Bad: 1})
		}
	}
}

// Answered notes how long a device that is not polled took for an answer.
func (t *Tracker) Answered(device string, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := t.byDevice[device]; d != nil {
		d.answered(took)
	}
}

func (d *deviceHealth) answered(took time.Duration) {
	if len(d.took) < keptAnswers {
		d.took = append(d.took, 0)
	}
	d.took[d.next%len(d.took)] = uint32(min(took.Microseconds(), 1<<32-1))
	d.next = (d.next + 1) % keptAnswers
}

// Follow takes up what is registered and bound now, forgets the rest, and gives
// the points that have turned stale, or fresh again, since it was last called.
func (t *Tracker) Follow(s *registry.Snapshot, now time.Time) (turned []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.byDevice {
		if s.Devices[id] == nil {
			delete(t.byDevice, id)
		}
	}
	before := make(map[string]string, len(t.byPoint))
	for id, p := range t.byPoint {
		before[id] = p.device
		if p.device = ""; s.Points[id] == nil {
			delete(t.byPoint, id)
		}
	}
	for id := range s.Devices {
		if t.byDevice[id] == nil {
			t.byDevice[id] = &deviceHealth{}
		}
	}
	for _, b := range s.Bindings {
		dev := s.Devices[b.Device]
		if dev == nil || s.Points[b.Point] == nil || b.From.After(now) || (b.To != nil && !b.To.After(now)) {
			continue
		}
		p := t.byPoint[b.Point]
		if p == nil {
			p = &pointHealth{}
			t.byPoint[b.Point] = p
		}
		if before[b.Point] != b.Device { // another has its own time and pace
			p.known, p.learned = now, 0
		}
		p.device, p.stated = b.Device, periodOf(dev, b)
	}
	for id, p := range t.byPoint {
		if stale := p.silent(now); stale != p.stale {
			p.stale = stale
			turned = append(turned, id)
		}
	}
	slices.Sort(turned)
	return turned
}

// answers gives mean and 99th percentile of the last answers of a device.
func (d *deviceHealth) answers() (count int, mean, p99 time.Duration) {
	count = len(d.took)
	if count == 0 {
		return 0, 0, 0
	}
	sorted := slices.Sorted(slices.Values(d.took))
	var sum uint64
	for _, t := range sorted {
		sum += uint64(t)
	}
	worst := sorted[(count*99+99)/100-1]
	return count, time.Duration(sum/uint64(count)) * time.Microsecond, time.Duration(worst) * time.Microsecond
}
