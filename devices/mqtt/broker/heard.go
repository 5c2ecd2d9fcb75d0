package broker

import (
	"sort"
	"sync"
	"time"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

// most is how many topics and sign-ins are remembered for people to look at.
const most = 256

// mostSample is how much of a payload is remembered, in bytes.
const mostSample = 4 << 10

// Unbound is a topic that a device publishes to and no point is bound to.
type Unbound struct {
	Device    string
	Topic     string
	Forbidden bool      // it is not the device's own: the message was refused
	Bytes     int       // of the last payload; 0 where it was refused
	Sample    []byte    // beginning of the last payload; nil where it was refused
	At        time.Time // of the last message
	Count     int64
}

type unboundTopics struct {
	mu     sync.Mutex
	topics map[[2]string]*Unbound
}

// note remembers a message and says whether its topic is new.
func (u *unboundTopics) note(m Unbound) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := [2]string{m.Device, m.Topic}
	t, ok := u.topics[key]
	if !ok {
		if u.topics == nil {
			u.topics = make(map[[2]string]*Unbound)
		}
		if len(u.topics) >= most {
			u.forgetOldest()
		}
		t = &Unbound{}
		u.topics[key] = t
	}
	m.Count = t.Count + 1
	*t = m
	return !ok
}

func (u *unboundTopics) forgetOldest() {
	var oldest *Unbound
	for _, t := range u.topics {
		if oldest == nil || t.At.Before(oldest.At) {
			oldest = t
		}
	}
	delete(u.topics, [2]string{oldest.Device, oldest.Topic})
}

// list gives those that still are unbound, newest first.
func (u *unboundTopics) list(still func(device, topic string) bool) []Unbound {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := make([]Unbound, 0, len(u.topics))
	for key, t := range u.topics {
		if !still(key[0], key[1]) {
			delete(u.topics, key)
			continue
		}
		list = append(list, *t)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].At.After(list[j].At) })
	return list
}

// Refused is a user name whose sign-in was refused.
type Refused struct {
	Username string           // as it was given, at most 64 bytes of it
	Remote   string           // address it came from last
	Code     string           // unknown_device, bad_password, no_password, bad_will
	Problem  *devices.Problem // the last reason, and its cure
	At       time.Time
	Count    int64
}

type refusedSignIns struct {
	mu    sync.Mutex
	names map[string]*Refused
}

// note remembers a refusal and says whether it is a new one.
func (r *refusedSignIns) note(username, remote string, why *devices.Problem, at time.Time) bool {
	username = username[:min(len(username), 64)]
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := r.names[username]
	if !ok {
		if r.names == nil {
			r.names = make(map[string]*Refused)
		}
		if len(r.names) >= most {
			r.forgetOldest()
		}
		n = &Refused{Username: username}
		r.names[username] = n
	}
	fresh := n.Code != why.Code
	n.Remote, n.Code, n.Problem, n.At = remote, why.Code, why, at
	n.Count++
	return fresh
}

func (r *refusedSignIns) forgetOldest() {
	var oldest *Refused
	for _, n := range r.names {
		if oldest == nil || n.At.Before(oldest.At) {
			oldest = n
		}
	}
	delete(r.names, oldest.Username)
}

func (r *refusedSignIns) list() []Refused {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Refused, 0, len(r.names))
	for _, n := range r.names {
		list = append(list, *n)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].At.After(list[j].At) })
	return list
}

// heard gives what the devices publish to topics of their own that no point is
// bound to, with what could be bound, newest first. A device of "" means all.
func (b *Broker) heard(device string) []payload.Heard {
	var list []payload.Heard
	for _, u := range b.Unbound() {
		if u.Forbidden || (device != "" && u.Device != device) {
			continue
		}
		h := payload.Heard{Device: u.Device, Topic: u.Topic, Count: u.Count, At: u.At, Sample: devices.SampleOf(u.Sample)}
		if len(u.Sample) == u.Bytes { // of a part nothing can be said
			h.Offers = payload.Offers(u.Topic, u.Sample, b.cfg.Formats)
		}
		list = append(list, h)
	}
	return list
}
