package mqtt

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// maxPacket is the largest packet that is taken from a broker, in bytes. paho
// makes room for a whole packet before it reads it.
const maxPacket = 16 << 20

// writeTime is how long a broker may leave what is sent to it unread.
const writeTime = 10 * time.Second

var errTooLarge = errors.New("packet too large")

// conn is a connection whose reads are buffered, because paho reads a few bytes
// at a time, and whose every write has a deadline. It also tells how long the
// broker takes to answer a ping, which paho keeps to itself.
type conn struct {
	net.Conn
	r *bufio.Reader

	answered func(time.Duration) // may be nil; called by the reader
	pinged   atomic.Int64        // when the last ping went out, Unix nanoseconds; 0 once it is answered
	place    place               // the reader's
}

// place is where a stream of MQTT packets is being read.
type place struct {
	kind   byte
	inside bool // the length, whose bytes so far make length
	length int
	shift  uint
	rest   int // bytes of the packet's body still to come
}

// read moves on by p and counts the PINGRESP packets in it.
func (at *place) read(p []byte) (pongs int) {
	for len(p) > 0 {
		if at.rest > 0 {
			n := min(at.rest, len(p))
			at.rest -= n
			p = p[n:]
			continue
		}
		b := p[0]
		p = p[1:]
		if !at.inside {
			*at = place{kind: b >> 4, inside: true}
			continue
		}
		at.length |= int(b&0x7f) << at.shift
		at.shift += 7
		if b&0x80 != 0 && at.shift < 28 {
			continue
		}
		at.inside, at.rest = false, at.length
		if at.kind == packets.Pingresp {
			pongs++
		}
	}
	return pongs
}

// Read reads from the buffer.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) > maxPacket {
		return 0, errTooLarge
	}
	n, err := c.r.Read(p)
	if c.answered != nil && c.place.read(p[:n]) > 0 {
		if sent := c.pinged.Swap(0); sent != 0 {
			c.answered(time.Duration(time.Now().UnixNano() - sent))
		}
	}
	return n, err
}

// Write writes p whole; it may be called by several goroutines.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	if len(p) == 2 && p[0]>>4 == packets.Pingreq {
		c.pinged.Store(time.Now().UnixNano())
	}
	return c.Conn.Write(p)
}

// SetDeadline sets the deadline of reading; writing has its own.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// dial opens the connection, encrypted where the endpoint says mqtts. answered,
// which may be nil, is told how long the broker takes to answer each ping.
func (d *Driver) dial(ctx context.Context, answered func(time.Duration)) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Connect)
	defer cancel()
	raw, err := d.cfg.Dial(ctx, "tcp", d.address)
	if err != nil {
		return nil, err
	}
	if d.secure != nil {
		if raw, err = d.encrypt(ctx, raw); err != nil {
			return nil, err
		}
	}
	return buffered(raw, answered), nil
}

func buffered(raw net.Conn, answered func(time.Duration)) net.Conn {
	return &conn{Conn: raw, r: bufio.NewReaderSize(raw, 64<<10), answered: answered}
}

// encrypt makes the handshake on raw, which it closes when that fails.
func (d *Driver) encrypt(ctx context.Context, raw net.Conn) (*tls.Conn, error) {
	config := d.secure
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(d.address) // Open made it
	}
	secured := tls.Client(raw, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return secured, nil
}
