package payload

import (
	"sort"
	"time"

	"offsite/devices"
)

// Heard is a topic on which something was published, with what could be bound
// to it.
type Heard struct {
	Device   string    `json:"device,omitempty"` // that published it, where the broker is the gateway's own
	Topic    string    `json:"topic"`
	Count    int64     `json:"count"`
	At       time.Time `json:"at"`                 // of the last message
	Retained bool      `json:"retained,omitempty"` // nothing but what the broker had kept
	Sample   string    `json:"sample"`             // beginning of the last payload, as text
	Offers   []Offer   `json:"offers,omitempty"`
}

// Topics gathers what is heard, a bounded number of topics. It is not for
// several goroutines at once.
type Topics struct {
	Formats Formats
	Most    int // topics; zero means 1,024
	byTopic map[string]*heardTopic
	missed  int64
}

type heardTopic struct {
	heard   Heard
	payload []byte
}

// Add takes note of a message. It keeps a copy of payload.
func (t *Topics) Add(m Message) {
	if t.byTopic == nil {
		t.byTopic = make(map[string]*heardTopic)
		if t.Most == 0 {
			t.Most = 1024
		}
	}
	h := t.byTopic[m.Topic]
	if h == nil {
		if len(t.byTopic) >= t.Most {
			t.missed++
			return
		}
		h = &heardTopic{heard: Heard{Topic: m.Topic, Retained: true}}
		t.byTopic[m.Topic] = h
	}
	h.heard.Count++
	h.heard.At = m.Received.UTC()
	h.heard.Retained = h.heard.Retained && m.Retained
	h.payload = append(h.payload[:0], m.Payload[:min(len(m.Payload), devices.MaxPayload)]...)
}

// List gives what was heard by topic, and how many messages were of topics
// beyond the bound.
func (t *Topics) List() ([]Heard, int64) {
	list := make([]Heard, 0, len(t.byTopic))
	for _, h := range t.byTopic {
		h.heard.Sample = devices.SampleOf(h.payload)
		h.heard.Offers = Offers(h.heard.Topic, h.payload, t.Formats)
		list = append(list, h.heard)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Topic < list[j].Topic })
	return list, t.missed
}

// Try reads the last payload of a place's topic as a binding would. ok is false
// where nothing was heard there or no number stands there.
func (t *Topics) Try(place devices.Topic) (value float64, ok bool) {
	if format := place.Format; format != "" && format != "json" {
		return 0, false
	}
	h := t.byTopic[place.Topic]
	if h == nil {
		return 0, false
	}
	good := tried(place.Topic, h.payload, []Offer{{Topic: place}})
	if len(good) == 0 {
		return 0, false
	}
	return good[0].Value, true
}

// Payload gives the last payload of a topic, to be read by others; nil when the
// topic was not heard.
func (t *Topics) Payload(topic string) []byte {
	if h := t.byTopic[topic]; h != nil {
		return h.payload
	}
	return nil
}
