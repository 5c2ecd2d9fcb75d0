package devices

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Message is one MQTT message as it arrived.
type Message struct {
	Topic    string
	Payload  []byte
	ID       string    // packet id; empty for QoS 0
	Received time.Time // by the gateway's clock
	Resent   bool      // DUP was set
	Retained bool      // a broker sent what it had kept, because of a new subscription
}

// Inbox turns the messages of one device into deliveries and remembers which
// points could not be read, so that each change is told once. Its methods may
// be called by several goroutines.
type Inbox struct {
	device  string
	mapping *Mapping

	failing atomic.Int32 // len(faulty), to keep the lock out of the common road
	mu      sync.Mutex
	faulty  map[string]bool // points whose last message could not be read
}

// NewInbox gives the inbox of a device with these bindings. With faulty
// bindings it gives the Problems and an inbox that knows only the others.
func NewInbox(device string, bounds []Bound) (*Inbox, error) {
	m, err := NewMapping(bounds)
	return &Inbox{device: device, mapping: m, faulty: make(map[string]bool)}, err
}

// Filters gives the topics to subscribe to, sorted.
func (in *Inbox) Filters() []string { return in.mapping.Filters() }

// Subscribed says whether filter is among those of Filters.
func (in *Inbox) Subscribed(filter string) bool {
	_, found := slices.BinarySearch(in.mapping.filters, filter)
	return found
}

// Bound says whether any point is bound to topic.
func (in *Inbox) Bound(topic string) bool { return in.mapping.Bound(topic) }

// Names says whether a binding has just this topic or filter, rather than a
// wildcard that takes it in.
func (in *Inbox) Names(filter string) bool { return in.mapping.names(filter) }

// Points gives the ids of the points that are bound to a topic, or to the
// topics that a filter takes in.
func (in *Inbox) Points(filter string) []string { return in.mapping.points(filter) }

// Open decodes m. The reports, seldom any, tell which points have become
// unreadable or readable again by it.
func (in *Inbox) Open(m Message) (Delivery, []Report) {
	readings, letter := in.mapping.Decode(m.Topic, m.Payload, m.Received)
	if m.Retained {
		for i := range readings {
			readings[i].Repeat = true
		}
	}
	d := Delivery{
		Origin:   Origin{Device: in.device, ID: m.ID, Hash: Fingerprint(m.Topic, m.Payload), Resent: m.Resent},
		Received: m.Received.UTC(),
		Readings: readings,
		Letter:   letter,
	}
	if letter == nil && in.failing.Load() == 0 {
		return d, nil
	}
	return d, in.changes(m, readings, letter)
}

func (in *Inbox) changes(m Message, readings []Reading, letter *DeadLetter) []Report {
	in.mu.Lock()
	defer in.mu.Unlock()
	read := make(map[string]bool, len(readings))
	for i := range readings {
		read[readings[i].Point] = true
	}
	var worse, better []string
	for _, p := range in.mapping.places(m.Topic) {
		switch was := in.faulty[p.point]; {
		case read[p.point] && was:
			delete(in.faulty, p.point)
			better = append(better, p.point)
		case !read[p.point] && !was:
			in.faulty[p.point] = true
			worse = append(worse, p.point)
		}
	}
	in.failing.Store(int32(len(in.faulty)))
	var reports []Report
	if len(better) > 0 {
		reports = append(reports, Report{Device: in.device, Points: better, At: m.Received})
	}
	if len(worse) > 0 && letter != nil {
		reports = append(reports, Report{Device: in.device, Points: worse, At: m.Received, Problem: letter.Problem})
	}
	return reports
}
