package broker

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

// Bounds of what waits to be written to one connection, in bytes.
const (
	enough  = 64 << 10 // then no more messages of other clients are added
	tooMuch = 1 << 20  // then whatever still is added means a client that only asks

	sessionMuch = 32 << 20 // the same for what an earlier connection owed
)

// farewell is the time for the last bytes to a client that is being closed.
const farewell = time.Second

// line is one connection: the net.Conn that mochi reads from and writes to, and
// the queue of the answers that the gateway owes.
//
// mochi writes while it holds locks that others need, so Write never blocks; it
// only adds to out. One goroutine, runWriter, writes out and the answers.
type line struct {
	net.Conn
	host   *host
	remote string
	settle func(error) // done of every message of this line; a field so that it is made once

	// These are the reader's alone.
	readBy time.Time // read deadline in force
	moving bool      // it holds host.moving
	again  uint16    // packet id of a QoS 2 message that is being repeated

	mu     sync.Mutex
	wake   sync.Cond          // for the writer: something to write, or closed
	room   sync.Cond          // for readers: the queue or out has become shorter
	device string             // who signed in
	proof  [sha256.Size]byte  // with which it signed in: hash of the password or fingerprint
	online bool               // it was told that the device is connected
	asks   []payload.Outgoing // to be published by the writer
	queue  []owed
	ready  int // the first ready elements of queue may be answered
	out    []byte
	window int  // messages of QoS 1 and 2 that an MQTT 5 client takes before it acknowledges; 0 for any number
	sent   int  // of them on their way
	served bool // it has its CONNACK and what was owed to it
	closed bool
	cause  *devices.Problem // why we closed it; nil when the device did

	inline *mqtt.Client // passes on this line's messages after their answer; the writer's alone
}

// owed is a message in order of receipt, with what is to be done when it is on disk.
type owed struct {
	packet uint16
	qos    byte
	waits  bool            // for the disk
	client *mqtt.Client    // for QoS 2
	pass   *packets.Packet // on to other subscribers and retention; nil when nobody waits for it
}

func newLine(conn net.Conn, h *host) *line {
	l := &line{Conn: conn, host: h, remote: conn.RemoteAddr().String()}
	l.wake.L, l.room.L = &l.mu, &l.mu
	l.settle = l.stored
	return l
}

// owe puts o at the end of the queue. It blocks, and so stops the reading, while
// the queue is full. It gives errClosed when the line is closed.
func (l *line) owe(o owed) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) >= l.host.broker.cfg.Waiting && !l.closed {
		l.room.Wait()
	}
	if l.closed {
		return errClosed
	}
	l.queue = append(l.queue, o)
	if !o.waits && l.ready == len(l.queue)-1 {
		l.ready++
		l.wake.Signal()
	}
	return nil
}

// ask lets the writer publish what a format wants to hear from the device.
func (l *line) ask(asks []payload.Outgoing) {
	if len(asks) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asks = append(l.asks, asks...)
	l.wake.Signal()
}

// stored is told by the sink, in order, what became of the messages that wait.
func (l *line) stored(err error) {
	counts := &l.host.broker.counts
	l.mu.Lock()
	defer l.mu.Unlock()
	o := &l.queue[l.ready]
	o.waits = false
	switch {
	case err == nil:
		counts.accepted.Add(1)
	case o.qos == 0:
		counts.qos0Lost.Add(1)
	default:
		counts.failed.Add(1)
		l.host.storageFailed()
		if !l.closed {
			counts.disconnected.Add(1)
			l.closeLocked(storageProblem(err)) // and a closed line answers nothing more
		}
	}
	for l.ready < len(l.queue) && !l.queue[l.ready].waits {
		l.ready++
	}
	l.wake.Signal()
}

// Write adds p to what waits to be written. It never blocks.
func (l *line) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, net.ErrClosed
	}
	if len(l.out)+len(p) > tooMuch && l.served || len(l.out)+len(p) > sessionMuch {
		l.host.broker.counts.deaf.Add(1)
		l.closeLocked(deafProblem())
		return 0, net.ErrClosed
	}
	l.out = append(l.out, p...)
	l.wake.Signal()
	return len(p), nil
}

// moved lets messages be passed on again after a session has moved to this line
// and what it owed has been written.
// It may be called twice.
func (l *line) moved() {
	if l.moving {
		l.moving = false
		l.host.moving.Unlock()
	}
}

// pause holds back mochi's writer of messages: until the client has its CONNACK
// and what an earlier connection still owed it, while much waits to be written,
// and while the client's window is full. What is repeated from an earlier
// connection does not wait, because nothing else is passed on meanwhile.
func (l *line) pause(qos byte, repeated bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full := func() bool { return qos > 0 && l.window > 0 && l.sent >= l.window }
	for !repeated && (!l.served || len(l.out) > enough || full()) && !l.closed {
		l.room.Wait()
	}
	if qos > 0 {
		l.sent++
	}
}

// acknowledged opens the client's window by one message.
func (l *line) acknowledged() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = max(0, l.sent-1)
	l.room.Broadcast()
}

// signedIn takes note who it is.
func (l *line) signedIn(c *client, proof [sha256.Size]byte, window int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.device, l.proof, l.window = c.id, proof, window
}

// fingerprint is that of the certificate which the client has shown and proved
// to be its own, or nil.
func (l *line) fingerprint() *[sha256.Size]byte {
	c, ok := l.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	shown := c.ConnectionState().PeerCertificates
	if len(shown) == 0 {
		return nil
	}
	sum := sha256.Sum256(shown[0].Raw)
	return &sum
}

// rest blocks the reader until the given time, or the line's end.
func (l *line) rest(until time.Time) {
	wait := time.Until(until)
	if wait <= 0 {
		return
	}
	l.host.broker.counts.slowed.Add(1)
	timer := time.AfterFunc(wait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.room.Broadcast()
	})
	defer timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for time.Now().Before(until) && !l.closed {
		l.room.Wait()
	}
}

// SetDeadline sets the deadline of reading only, and seldom: mochi calls it for
// every packet. Writing is watched by the writer.
func (l *line) SetDeadline(t time.Time) error {
	if t.IsZero() {
		l.readBy = t
		return l.SetReadDeadline(t)
	}
	if d := l.readBy.Sub(t); d >= 0 && d <= time.Second {
		return nil
	}
	l.readBy = t.Add(time.Second)
	return l.SetReadDeadline(l.readBy)
}

// Close ends the line. What waits to be written is still tried for a moment, so
// that a refused client learns why.
func (l *line) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeLocked(nil)
	return nil
}

// closeLocked lets the writer end the line; it may be called by whoever must not block.
func (l *line) closeLocked(cause *devices.Problem) {
	if l.closed {
		return
	}
	l.closed, l.cause = true, cause
	now := time.Now()
	_ = l.SetReadDeadline(now)
	_ = l.SetWriteDeadline(now.Add(farewell))
	l.wake.Broadcast()
	l.room.Broadcast()
}

// runWriter writes until the line is closed, and then closes the connection.
func (l *line) runWriter() {
	defer func() { _ = l.Conn.Close() }()
	var out []byte
	var due []owed
	for {
		var open bool
		out, due, open = l.take(out[:0], due[:0])
		if !open {
			if len(out) > 0 {
				_, _ = l.Conn.Write(out) // within the farewell that closeLocked allows
			}
			return
		}
		for _, a := range l.takeAsks() {
			l.host.passOn(l, &packets.Packet{
				FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: a.Topic, Payload: a.Payload,
				Origin: "gateway", ProtocolVersion: 4, Created: time.Now().Unix(),
			})
		}
		for i := range due {
			out = l.answer(out, &due[i])
			if due[i].pass != nil {
				l.host.passOn(l, due[i].pass) // first, so that who has an answer finds its message retained
			}
		}
		if err := l.flush(out); err != nil {
			l.writeFailed(err)
		}
		clear(due)
	}
}

// take waits for something to write and swaps it for the empty slices. After
// the line is closed it gives the last bytes and false.
func (l *line) take(out []byte, due []owed) ([]byte, []owed, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.out) == 0 && l.ready == 0 && len(l.asks) == 0 && !l.closed {
		l.wake.Wait()
	}
	out, l.out = l.out, out
	if l.closed {
		return out, due, false
	}
	due = append(due, l.queue[:l.ready]...)
	rest := copy(l.queue, l.queue[l.ready:])
	clear(l.queue[rest:])
	l.queue, l.ready = l.queue[:rest], 0
	l.room.Broadcast()
	return out, due, true
}

func (l *line) takeAsks() []payload.Outgoing {
	l.mu.Lock()
	defer l.mu.Unlock()
	asks := l.asks
	l.asks = nil
	return asks
}

// answer adds the acknowledgement of o to out. Four bytes are a whole PUBACK or
// PUBREC in MQTT 3.1.1 and, with reason "success", in 5.
func (l *line) answer(out []byte, o *owed) []byte {
	switch o.qos {
	case 1:
		return append(out, packets.Puback<<4, 2, byte(o.packet>>8), byte(o.packet))
	case 2:
		l.host.hold(o.client, o.packet)
		return append(out, packets.Pubrec<<4, 2, byte(o.packet>>8), byte(o.packet))
	}
	return out
}

func (l *line) flush(out []byte) error {
	if len(out) == 0 {
		return nil
	}
	l.mu.Lock()
	if !l.closed { // else the farewell's deadline stays in force
		_ = l.SetWriteDeadline(time.Now().Add(l.host.broker.cfg.Patience))
	}
	l.mu.Unlock()
	_, err := l.Conn.Write(out)
	return err
}

func (l *line) writeFailed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var cause *devices.Problem
	if errors.Is(err, os.ErrDeadlineExceeded) && !l.closed {
		l.host.broker.counts.deaf.Add(1)
		cause = deafProblem()
	}
	l.closeLocked(cause)
}

func deafProblem() *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "deaf_device",
		ZH: "设备不接收网关发出的应答，已断开；请检查设备的 MQTT 程序与网络",
		EN: "the device reads none of the gateway's answers and was disconnected; check its MQTT program and the network",
	}
}

func storageProblem(err error) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "storage_failed", Cause: err,
		ZH: "网关无法存盘，报文未确认，设备会重发；请检查网关的磁盘",
		EN: "the gateway cannot store, the message was not acknowledged and the device will send it again; check the gateway's disk",
	}
}
