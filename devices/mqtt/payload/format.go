package payload

import (
	"sync"
	"time"

	"offsite/devices"
)

// Format reads messages whose values have names of their own. One of them reads
// the messages of one device, in order and one at a time, and may remember what
// it needs from one to the next; what it remembers is bounded.
type Format interface {
	// Read gives what the message holds. It keeps nothing of payload. With a
	// Problem the message, or part of it, cannot be read.
	Read(topic string, payload []byte, received time.Time) (Sheet, *devices.Problem)
}

// Formats makes formats by their names.
type Formats map[string]func() Format

// Remembering gives formats of which each is made only once, so that what it has
// learnt outlives a change of its device's bindings.
func (f Formats) Remembering() Formats {
	kept := make(Formats, len(f))
	for name, open := range f {
		one := sync.OnceValue(func() Format { return &shared{format: open()} })
		kept[name] = func() Format { return one() }
	}
	return kept
}

// shared is a format that two inboxes of a device may have for a moment, while
// one takes the place of the other.
type shared struct {
	mu     sync.Mutex
	format Format
}

// Read reads one message at a time.
func (s *shared) Read(topic string, payload []byte, received time.Time) (Sheet, *devices.Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.format.Read(topic, payload, received)
}

// Sheet is what one message of a [Format] holds.
type Sheet struct {
	Samples []Sample
	Whole   bool // every bound name must be in it: what is missing is a fault, not merely unchanged
	Foreign bool // a pack of free names: when none of them is bound, that is a fault

	Life  Life
	Scope string           // topic filter of those whose Life this is, and whom Gap concerns
	Gap   *devices.Problem // messages before this one are missing
	Ask   *Outgoing        // to be published, to hear what is missing
}

// Life is what a message says of its sender.
type Life int

// What can be said.
const (
	LifeUnsaid Life = iota
	Born            // it is there, and this is all it has
	Died            // it has gone
)

// Sample is one named value of a [Sheet].
type Sample struct {
	Name  string
	Value float64
	At    time.Time        // zero: the time of receipt
	Unit  string           // as the format writes it; for people only
	Bad   bool             // the device itself marks it invalid
	Null  bool             // the name is there, but it has no value yet
	Fault *devices.Problem // there is no number; the rest then means nothing
}

// Outgoing is a message that a [Format] wants published.
type Outgoing struct {
	Topic   string
	Payload []byte
}
