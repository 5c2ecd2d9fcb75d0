package mqtt

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"offsite/devices"
)

// Times of a session.
const (
	gather  = 20 * time.Millisecond  // for more devices, before it connects
	soonest = 100 * time.Millisecond // from the end of a connection to the next try
	latest  = 10 * time.Second
	steady  = 30 * time.Second // that a connection lasts, for failures to be forgotten
)

// session is what all devices of one account at one broker share: one
// connection at a time, and in between the devices that wait for the next.
//
// mu is held for reading while a message is handed to its devices, so that a
// device that has left gets none; it comes before the lock of a link.
type session struct {
	driver *Driver // of the device that came first: broker and account are those of all
	counts *counters
	cancel func()
	ended  chan struct{}
	wake   chan struct{} // devices have come or gone
	users  int           // guarded by the pool's lock

	mu      sync.RWMutex
	guests  map[*Driver]*guest
	version int              // of guests
	leaving map[string]byte  // filters of devices that have left, with their QoS, until hold
	hold    time.Time        // until then messages for nobody wait for their device
	known   bool             // something was told of the connection
	problem *devices.Problem // what was told last; nil while it works
	link    *link            // the connection; nil between two
	over    bool             // the last device has left
	begun   time.Time        // until then devices are expected that have not come since the start
	away    map[string]bool  // ids of devices that have left and are expected back until hold
}

// guest is a device whose driver runs.
type guest struct {
	driver *Driver
	sink   devices.Sink
	fresh  bool // its topics were not asked for yet
}

func newSession(d *Driver, counts *counters) *session {
	s := &session{
		driver: d, counts: counts, ended: make(chan struct{}), wake: make(chan struct{}, 1),
		guests: map[*Driver]*guest{}, leaving: map[string]byte{}, away: map[string]bool{},
	}
	s.begun = s.holdUntil()
	s.hold = s.begun
	return s
}

func (s *session) holdUntil() time.Time { return time.Now().Add(max(0, s.driver.cfg.Hold)) }

// holds is how long messages for nobody still wait for their device.
func (s *session) holds() time.Duration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return time.Until(s.hold)
}

// add takes in a device, and gives it the messages that have waited for it
// before any that come later.
func (s *session) add(d *Driver, sink devices.Sink) {
	d.inbox.Begin()
	s.mu.Lock()
	defer s.mu.Unlock()
	g := &guest{driver: d, sink: sink, fresh: true}
	s.guests[d] = g
	s.version++
	if delete(s.away, d.dev.ID); len(s.away) == 0 && s.hold.After(s.begun) {
		s.hold = s.begun // all are back: what they no longer want holds nobody up
	}
	if s.known && s.problem != nil {
		d.tell(sink, s.problem)
	}
	if s.link != nil {
		s.link.claim(g)
	}
	s.nudge()
}

// remove lets a device go. Its topics stay subscribed for a while: most likely
// it was only edited and comes back at once. Behind the last one nothing more is
// taken.
func (s *session) remove(d *Driver, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.guests, d)
	if s.over = last; last {
		return // its topics stay with the broker, whose session outlives this one
	}
	s.version++
	s.hold = s.holdUntil()
	s.away[d.dev.ID] = true
	for _, f := range d.inbox.Filters() {
		s.leaving[f] = max(s.leaving[f], d.qos)
	}
	s.nudge()
}

func (s *session) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run connects again and again until ctx ends.
func (s *session) run(ctx context.Context) {
	log := s.driver.cfg.Log
	sleep(ctx, gather)
	for failures := 0; ctx.Err() == nil; failures++ {
		began := time.Now()
		problem := newLink(s).run(ctx)
		if ctx.Err() != nil {
			return
		}
		s.counts.lost.Add(1)
		if s.tell(problem) {
			log.WarnContext(ctx, "broker connection ended", "addr", s.driver.address, "err", problem)
		}
		if time.Since(began) > steady {
			failures = 0
		}
		pause := latest
		if failures < 8 {
			pause = min(latest, soonest<<failures)
		}
		sleep(ctx, pause/2+rand.N(pause/2))
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// tell reports a problem of the connection to all devices, and says whether it
// is another one than before.
func (s *session) tell(problem *devices.Problem) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	news = !s.known || s.problem == nil || s.problem.Code != problem.Code
	s.known, s.problem = true, problem
	for _, g := range s.guests {
		g.driver.tell(g.sink, problem)
	}
	return news
}

// answered tells every device's sink that wants to know it how long the broker
// took to answer a ping.
func (s *session) answered(took time.Duration) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for d, g := range s.guests {
		if meter, ok := g.sink.(devices.Meter); ok {
			meter.Answered(d.dev.ID, took)
		}
	}
}

// begin makes l the connection of the session: all topics are to be subscribed.
func (s *session) begin(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link = l
	for _, g := range s.guests {
		g.fresh = true
		g.driver.inbox.Begin()
	}
}

// finish takes l away.
func (s *session) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link = nil
}

// wanted gives the filters that are to be subscribed, with their QoS, and of
// them those that bring a newcomer what the broker has retained for it; nil when
// the last device has left.
func (s *session) wanted() (filters map[string]byte, anew map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil, nil
	}
	filters, anew = map[string]byte{}, map[string]bool{}
	if time.Now().After(s.hold) {
		clear(s.leaving)
		clear(s.away)
	}
	for f, qos := range s.leaving {
		filters[f] = qos
	}
	var fresh []string
	for _, g := range s.guests {
		for _, f := range g.driver.inbox.Filters() {
			filters[f] = max(filters[f], g.driver.qos)
			if g.fresh {
				fresh = append(fresh, f)
			}
		}
		g.fresh = false
	}
	wide := reduce(filters)
	for _, f := range fresh {
		anew[coverOf(f, filters, wide)] = true
	}
	return filters, anew
}

// reduce takes out the filters that others cover, whose QoS is theirs if it is
// higher, and gives those that cover more than one topic.
func reduce(filters map[string]byte) (wide []string) {
	all := make([]string, 0, len(filters))
	for f := range filters {
		all = append(all, f)
	}
	kept := map[string]bool{}
	for _, f := range devices.WithoutCovered(all) {
		if kept[f] = true; hasWildcard(f) {
			wide = append(wide, f)
		}
	}
	for f, qos := range filters {
		if !kept[f] {
			by := coverOf(f, nil, wide)
			filters[by] = max(filters[by], qos)
			delete(filters, f)
		}
	}
	return wide
}

// coverOf gives the filter that takes in f: itself, or a wide one.
func coverOf(f string, filters map[string]byte, wide []string) string {
	if _, itself := filters[f]; itself {
		return f
	}
	for _, w := range wide {
		if devices.Covers(w, f) {
			return w
		}
	}
	return f
}

// granted tells every device what became of its topics: codes are the broker's
// answers by filter.
func (s *session) granted(codes map[string]byte) {
	var wide []string
	for f := range codes {
		if hasWildcard(f) {
			wide = append(wide, f)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.problem = true, nil
	for _, g := range s.guests {
		if g.fresh {
			continue // it came after these were asked for
		}
		for _, f := range g.driver.inbox.Filters() {
			if code, ok := codes[coverOf(f, codes, wide)]; ok {
				g.driver.tellSubscription(g.sink, f, code >= 0x80)
			}
		}
		g.driver.tell(g.sink, nil)
	}
}
