package broker

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"offsite/devices/mqtt/payload"
)

// listeners are those who hear what devices publish, besides the sink. While
// there is none, messages pass without a lock.
type listeners struct {
	count atomic.Int32

	mu   sync.Mutex
	each map[*listener]bool
}

// listener hears one device, or all where device is empty.
type listener struct {
	device  string
	formats payload.Formats
	heard   map[string]*payload.Topics // by device
}

// mostHeard bounds the topics of one device that a listener keeps apart, and
// how many devices it hears.
const mostHeard = 256

func (ls *listeners) add(l *listener) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.each == nil {
		ls.each = map[*listener]bool{}
	}
	ls.each[l] = true
	ls.count.Add(1)
}

func (ls *listeners) remove(l *listener) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.each, l)
	ls.count.Add(-1)
}

// tell gives every listener a message.
func (ls *listeners) tell(device, topic string, body []byte) {
	if ls.count.Load() == 0 {
		return
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for l := range ls.each {
		if l.device != "" && l.device != device {
			continue
		}
		topics := l.heard[device]
		if topics == nil {
			if len(l.heard) >= mostHeard {
				continue
			}
			topics = &payload.Topics{Formats: l.formats, Most: mostHeard}
			l.heard[device] = topics
		}
		topics.Add(payload.Message{Topic: topic, Payload: body, Received: time.Now()})
	}
}

// Listen hears for a while what a device publishes to topics of its own, be they
// bound or not, and adds what was heard before on unbound ones, by device and
// topic. A device of "" means all. It ends early with ctx.
func (b *Broker) Listen(ctx context.Context, device string, limit time.Duration) []payload.Heard {
	l := &listener{device: device, formats: b.cfg.Formats, heard: map[string]*payload.Topics{}}
	b.listeners.add(l)
	end := time.NewTimer(limit)
	select {
	case <-end.C:
	case <-ctx.Done():
		end.Stop()
	}
	b.listeners.remove(l)
	var list []payload.Heard
	fresh := map[[2]string]bool{}
	for _, id := range slices.Sorted(maps.Keys(l.heard)) {
		heard, _ := l.heard[id].List()
		for _, h := range heard {
			h.Device = id
			fresh[[2]string{id, h.Topic}] = true
			list = append(list, h)
		}
	}
	for _, h := range b.heard(device) {
		if !fresh[[2]string{h.Device, h.Topic}] {
			list = append(list, h)
		}
	}
	slices.SortStableFunc(list, func(x, y payload.Heard) int {
		return strings.Compare(x.Device+"\x00"+x.Topic, y.Device+"\x00"+y.Topic)
	})
	return list
}
