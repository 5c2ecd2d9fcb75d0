package mqtt

import (
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	paho "github.com/eclipse/paho.mqtt.golang"

	"offsite/devices/mqtt/payload"
)

// heldMost is how many bytes of messages may wait for devices that have not come.
const heldMost = 8 << 20

// owed is a message in order of receipt.
type owed struct {
	packet uint16
	qos    byte
	waits  int          // deliveries that are not on disk yet; guarded by the link's lock
	other  paho.Message // of QoS 2, which a session of ours never asked for
}

// held is a message for a device that has not come.
type held struct {
	owed    *owed
	message payload.Message
}

// waitForRoom waits while the queue is full, and says whether the link goes on.
func (l *link) waitForRoom() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for (len(l.queue) >= l.session.driver.cfg.Waiting || l.heldBytes > heldMost) && !l.closing {
		l.room.Wait()
	}
	return !l.closing
}

// owe puts o at the end of the queue, and says whether the link goes on.
func (l *link) owe(o *owed) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return false
	}
	l.queue = append(l.queue, o)
	l.advance()
	return true
}

// advance counts what may be acknowledged. l.mu is held.
func (l *link) advance() {
	for l.ready < len(l.queue) && l.queue[l.ready].waits == 0 {
		l.ready++
	}
	l.wake.Signal()
}

// stored is told by a sink what became of a delivery of o.
func (l *link) stored(o *owed, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.waits--
	if err != nil {
		l.session.counts.failed.Add(1)
		l.closing, l.ended = true, true // nothing more is taken or acknowledged
		l.wake.Broadcast()
		l.room.Broadcast()
		select {
		case l.failed <- err:
		default:
		}
		return
	}
	l.session.counts.accepted.Add(1)
	l.advance()
}

// wait keeps a message for its device. The session's lock is held.
func (l *link) wait(o *owed, m payload.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = append(l.held, held{o, m})
	l.heldBytes += len(m.Payload)
}

// takeHeld takes out the messages that wait for a device and concern it. The
// session's lock is held.
func (l *link) takeHeld(concern func(topic string) bool) []held {
	l.mu.Lock()
	defer l.mu.Unlock()
	var taken, rest []held
	for _, h := range l.held {
		if !concern(h.message.Topic) {
			rest = append(rest, h)
			continue
		}
		taken = append(taken, h)
		l.heldBytes -= len(h.message.Payload)
	}
	l.held = rest
	l.room.Broadcast()
	return taken
}

// runAcks writes acknowledgements until the link ends.
func (l *link) runAcks() {
	var out []byte
	var due []*owed
	for {
		l.mu.Lock()
		for l.ready == 0 && !l.ended {
			l.wake.Wait()
		}
		if l.ended {
			l.mu.Unlock()
			return
		}
		due = append(due[:0], l.queue[:l.ready]...)
		rest := copy(l.queue, l.queue[l.ready:])
		clear(l.queue[rest:])
		l.queue, l.ready = l.queue[:rest], 0
		l.mu.Unlock()

		out = out[:0]
		for _, o := range due {
			switch o.qos {
			case 1:
				out = append(out, packets.Puback<<4, 2, byte(o.packet>>8), byte(o.packet))
			case 2:
				o.other.Ack()
			}
		}
		if len(out) > 0 {
			if _, err := l.conn.Write(out); err != nil {
				l.closeConn() // paho's reader finds out and tells
			}
		}
		l.mu.Lock()
		l.room.Broadcast() // only now, so that a broker that reads no acknowledgements stops our reading
		l.mu.Unlock()
	}
}

// drain takes no more messages and waits until the last ones are acknowledged,
// but not for long. What still waits for its device, and what came after it, the
// broker keeps.
func (l *link) drain(limit time.Duration) {
	timer := time.AfterFunc(limit, l.end)
	defer timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	if len(l.held) > 0 {
		for i, o := range l.queue {
			if o == l.held[0].owed {
				l.queue = l.queue[:i]
				break
			}
		}
	}
	l.room.Broadcast()
	for len(l.queue) > 0 && !l.ended {
		l.room.Wait()
	}
}

// end stops the acknowledgements.
func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing, l.ended = true, true
	l.wake.Broadcast()
	l.room.Broadcast()
}
