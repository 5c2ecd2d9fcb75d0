package outbox

import (
	"container/heap"
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	scanPage   = 500         // rows read at once
	mostLanes  = 20000       // in memory; what lies beyond waits for room
	rescan     = time.Minute // finds what was put by one who died before Wake
	outageFrom = 3           // failures in a row that count as an outage
)

// entry is the head of a lane.
type entry struct {
	seq      int64
	key      string
	after    string
	refusals int
}

// lane is an order of messages of which one, the head, may be under way.
type lane struct {
	name     string
	head     entry
	failures int       // of the head, in a row
	due      time.Time // next try, while it waits for one
	asked    bool      // the destination chose that time
}

// schedule decides what is delivered next. It belongs to one goroutine, so
// that reading new rows and going on in a lane cannot miss each other.
type schedule struct {
	o       *Outbox
	lanes   map[string]*lane // every lane that has a head
	ready   []*lane          // heads that can go, first come first served
	waiting dueHeap          // heads that wait for their next try
	held    map[string][]*lane

	scanned  int64 // rows up to it have been seen
	stale    bool  // there may be rows beyond
	full     bool  // no room for the lane of the next row
	started  bool  // the rows found at start have been seen
	inFlight int
	streak   int // failures in a row, of all lanes
	until    time.Time
	probing  bool // one at a time, until the destination takes something
}

func newSchedule(o *Outbox) *schedule {
	return &schedule{o: o, lanes: make(map[string]*lane), held: make(map[string][]*lane), stale: true}
}

func (s *schedule) run(ctx context.Context, work chan<- *lane, finished <-chan outcome) error {
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	tick := time.NewTicker(rescan)
	defer tick.Stop()
	for {
		if err := s.scan(ctx); err != nil {
			return fmt.Errorf("outbox: read waiting messages: %w", err)
		}
		s.release(time.Now())
		out, next := s.offer(work)
		alarm.Reset(s.sleep(time.Now()))
		select {
		case out <- next:
			s.ready = s.ready[1:]
			s.inFlight++
		case f := <-finished:
			s.inFlight--
			if err := s.finish(ctx, f); err != nil {
				return fmt.Errorf("outbox: go on in lane %s: %w", f.lane.name, err)
			}
		case <-s.o.wake:
			s.stale = true
		case <-tick.C:
			s.stale = true
		case <-s.o.resume:
			s.until = time.Time{}
			s.recall()
		case <-alarm.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// offer gives the channel to send the next head to, nil when nothing may go.
func (s *schedule) offer(work chan<- *lane) (chan<- *lane, *lane) {
	if len(s.ready) == 0 || time.Now().Before(s.until) || (s.probing && s.inFlight > 0) {
		return nil, nil
	}
	return work, s.ready[0]
}

// sleep is how long nothing can happen by itself.
func (s *schedule) sleep(now time.Time) time.Duration {
	if s.unseen() {
		return 0
	}
	d := time.Hour
	if len(s.waiting) > 0 {
		d = min(d, s.waiting[0].due.Sub(now))
	}
	if s.until.After(now) {
		d = min(d, s.until.Sub(now))
	}
	return max(d, 0)
}

// scan reads a page of rows not yet seen and makes the first of each new lane its head.
func (s *schedule) scan(ctx context.Context) error {
	if !s.unseen() {
		return nil
	}
	heads, names, err := s.query(ctx, sqlScan, s.scanned, scanPage)
	if err != nil {
		return err
	}
	for i, head := range heads {
		if s.full = len(s.lanes) >= s.o.cfg.Lanes; s.full {
			return nil
		}
		s.scanned = head.seq
		if s.lanes[names[i]] != nil {
			continue
		}
		l := &lane{name: names[i]}
		s.lanes[l.name] = l
		if err := s.place(ctx, l, head); err != nil {
			return err
		}
	}
	s.stale = len(heads) == scanPage
	s.started = s.started || !s.stale
	return nil
}

// unseen says that there may be rows to read and room for them. Once full it
// lets some room come together, so that a page is not read for one lane.
func (s *schedule) unseen() bool {
	return s.stale && (!s.full || len(s.lanes) <= s.o.cfg.Lanes*3/4)
}

// place makes head the lane's head and puts the lane where it belongs.
func (s *schedule) place(ctx context.Context, l *lane, head entry) error {
	l.head, l.failures = head, 0
	if head.after != "" {
		var held bool
		if err := s.o.db.Read().QueryRowContext(ctx, sqlHeld, head.after).Scan(&held); err != nil {
			return err
		}
		if held {
			s.held[head.after] = append(s.held[head.after], l)
			return nil
		}
	}
	if s.started || s.o.cfg.Spread <= 0 {
		s.ready = append(s.ready, l)
		return nil
	}
	s.wait(l, s.spread())
	return nil
}

// finish takes the outcome of a delivery and moves its lane on.
func (s *schedule) finish(ctx context.Context, f outcome) error {
	l := f.lane
	s.judge(f)
	if !f.gone {
		l.failures++
		s.wait(l, pauseFor(l.failures, f.verdict.After))
		l.asked = f.verdict.After > 0
		return nil
	}
	s.ready = append(s.ready, s.held[l.head.key]...)
	delete(s.held, l.head.key)
	heads, _, err := s.query(ctx, sqlNext, l.name, l.head.seq)
	if err != nil {
		return err
	}
	if len(heads) == 0 {
		delete(s.lanes, l.name)
		return nil
	}
	return s.place(ctx, l, heads[0])
}

// judge learns from an outcome how the destination fares.
func (s *schedule) judge(f outcome) {
	log, l := s.o.cfg.Log, f.lane
	switch f.verdict.Class {
	case Pause:
		s.streak++
		pause := s.o.cfg.Pause
		if f.verdict.After > 0 {
			pause = min(f.verdict.After, longestAsked)
		}
		s.until, s.probing = time.Now().Add(pause), true
		log.Error("destination paused", "key", l.head.key, "err", f.verdict.Reason, "until", s.until)
		s.o.setStatus(Status{Until: s.until, Reason: f.verdict.Reason})
	case Retry:
		s.streak++
		log.Debug("delivery failed", "key", l.head.key, "err", f.verdict.Reason, "failures", l.failures+1)
	default:
		if s.probing && !time.Now().Before(s.until) {
			s.probing = false
			log.Info("destination takes messages again")
			s.o.setStatus(Status{})
		}
		if s.streak >= outageFrom {
			s.recall()
		}
		s.streak = 0
	}
}

// recall brings forward the next try of every lane whose time was our own choice.
func (s *schedule) recall() {
	all := s.waiting
	s.waiting = nil
	now := time.Now()
	for _, l := range all {
		if due := now.Add(s.spread()); !l.asked && due.Before(l.due) {
			l.due = due
		}
		heap.Push(&s.waiting, l)
	}
}

func (s *schedule) spread() time.Duration {
	if s.o.cfg.Spread <= 0 {
		return 0
	}
	return rand.N(s.o.cfg.Spread)
}

func (s *schedule) wait(l *lane, d time.Duration) {
	l.due, l.asked = time.Now().Add(d), false
	heap.Push(&s.waiting, l)
}

// release makes ready what has waited long enough.
func (s *schedule) release(now time.Time) {
	for len(s.waiting) > 0 && !s.waiting[0].due.After(now) {
		s.ready = append(s.ready, heap.Pop(&s.waiting).(*lane))
	}
}

func (s *schedule) query(ctx context.Context, query string, args ...any) (heads []entry, lanes []string, err error) {
	rows, err := s.o.db.Read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var e entry
		var name string
		if err := rows.Scan(&e.seq, &e.key, &name, &e.after, &e.refusals); err != nil {
			return nil, nil, err
		}
		heads, lanes = append(heads, e), append(lanes, name)
	}
	return heads, lanes, rows.Err()
}

// pauseFor is the time before the next try: what the destination asked for, or
// full jitter below a bound that doubles with each failure.
func pauseFor(failures int, asked time.Duration) time.Duration {
	if asked > 0 {
		return min(asked, longestAsked)
	}
	bound := longestPause
	if failures < 10 {
		bound = min(longestPause, shortestPause<<(failures-1))
	}
	return rand.N(bound) + time.Millisecond
}

// dueHeap orders lanes by their next try.
type dueHeap []*lane

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is heap.Interface's.
func (h *dueHeap) Push(x any) { *h = append(*h, x.(*lane)) }

// Pop is heap.Interface's.
func (h *dueHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return l
}
