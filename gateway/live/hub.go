// Package live sends what changes to browsers as server-sent events.
//
// The [Hub] fans messages out to subscribers and never waits for one. Of values
// (the newest of each key counts) a subscriber gets the newest, collected over
// Config.Coalesce; of other messages each, as long as it keeps up. A subscriber
// that lets more than Config.Queue of them wait loses the queue: it is told
// `lost` with the count, and then gets the whole state again.
//
// On the wire (text/event-stream) every message is "event: NAME", "data: JSON"
// on one line, and an empty line; a comment line ": " comes when nothing else
// has come for Config.Heartbeat. Values travel together as
// {"items":[…]} under the name `readings`.
package live

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Names of the messages that the hub itself sends.
const (
	nameState  = "state"
	nameValues = "readings"
	nameLost   = "lost"
)

// Config sets the pace. Zero fields mean the defaults.
type Config struct {
	Coalesce  time.Duration // values are collected this long; 200 ms
	Heartbeat time.Duration // 5 s
	Deadline  time.Duration // a subscriber that takes nothing for this long is dropped; 15 s
	Queue     int           // messages that may wait for one subscriber; 256
	Most      int           // subscribers at once; 200
	Log       *slog.Logger
}

func (c *Config) setDefaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Coalesce, 200*time.Millisecond)
	def(&c.Heartbeat, 5*time.Second)
	def(&c.Deadline, 15*time.Second)
	if c.Queue == 0 {
		c.Queue = 256
	}
	if c.Most == 0 {
		c.Most = 200
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Message is one thing to tell.
type Message struct {
	Name string // event name on the wire
	Site string // only those who may see this site hear of it; empty: everybody
	Data any    // to be written as JSON
}

// Hub fans messages out.
type Hub struct {
	cfg  Config
	lost atomic.Int64

	listeners atomic.Int64 // len(subs), to be asked without the lock

	mu   sync.Mutex
	subs map[*subscriber]struct{}
}

// New makes a hub without subscribers.
func New(cfg Config) *Hub {
	cfg.setDefaults()
	return &Hub{cfg: cfg, subs: map[*subscriber]struct{}{}}
}

// Subscribers is how many listen now.
func (h *Hub) Subscribers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs)
}

// Lost is how many messages slow subscribers have missed since the start.
func (h *Hub) Lost() int64 { return h.lost.Load() }

// Tell gives m to every subscriber that may see its site.
func (h *Hub) Tell(m Message) error {
	f, err := frame(m.Name, m.Data)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		if m.Site == "" || s.sees(m.Site) {
			s.push(f, h.cfg.Queue, &h.lost)
		}
	}
	return nil
}

// Idle says that nobody listens: there is no need to prepare anything.
func (h *Hub) Idle() bool { return h.listeners.Load() == 0 }

// Value gives the newest value of key, in place of any that still waits. It is
// written as JSON when it is sent, and must not change until then.
func (h *Hub) Value(site, key string, value any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		if s.sees(site) {
			s.set(key, value)
		}
	}
}

// Renew makes every subscriber get the whole state again, for when messages
// were lost before they reached the hub.
func (h *Hub) Renew(missed int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		s.renew(missed)
	}
	h.lost.Add(missed)
}

// frame writes one message as it goes over the wire. JSON holds no line feed.
func frame(name string, data any) ([]byte, error) {
	body, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("write message %s: %w", name, err)
	}
	f := make([]byte, 0, len(name)+len(body)+16)
	f = append(f, "event: "...)
	f = append(f, name...)
	f = append(f, "\ndata: "...)
	f = append(f, body...)
	return append(f, "\n\n"...), nil
}

// subscriber is what waits for one listener.
type subscriber struct {
	sees func(site string) bool
	wake chan struct{} // one token at most

	mu     sync.Mutex
	queue  [][]byte
	values map[string]any
	order  []string // keys of values, in order of their first change
	lost   int64    // since the last state
}

func newSubscriber(sees func(string) bool) *subscriber {
	return &subscriber{sees: sees, wake: make(chan struct{}, 1), values: map[string]any{}}
}

func (s *subscriber) push(f []byte, most int, total *atomic.Int64) {
	s.mu.Lock()
	if s.lost > 0 || len(s.queue) >= most {
		// A state will follow and says all; until then nothing needs to wait.
		n := int64(len(s.queue) + 1)
		s.lost += n
		total.Add(n)
		s.queue = nil
	} else {
		s.queue = append(s.queue, f)
	}
	s.mu.Unlock()
	s.ring()
}

func (s *subscriber) set(key string, value any) {
	s.mu.Lock()
	if _, waits := s.values[key]; !waits {
		s.order = append(s.order, key)
	}
	s.values[key] = value
	s.mu.Unlock()
	s.ring()
}

func (s *subscriber) renew(missed int64) {
	s.mu.Lock()
	s.lost += missed
	s.mu.Unlock()
	s.ring()
}

func (s *subscriber) ring() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take gives what waits. When something was lost it gives the count alone, and
// drops the rest: the state that follows holds it.
func (s *subscriber) take() (queue [][]byte, values []any, lost int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	queue, lost = s.queue, s.lost
	for _, key := range s.order {
		values = append(values, s.values[key])
	}
	s.queue, s.lost, s.order = nil, 0, nil
	clear(s.values)
	if lost > 0 {
		return nil, nil, lost
	}
	return queue, values, 0
}
