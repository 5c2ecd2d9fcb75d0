package mqtt

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// maxPacket is the largest packet that is taken from a broker, in bytes. paho
// makes room for a whole packet before it reads it.
const maxPacket = 16 << 20

// writeTime is how long a broker may leave what is sent to it unread.
const writeTime = 10 * time.Second

var errTooLarge = errors.New("packet too large")

// conn is a connection whose reads are buffered, because paho reads a few bytes
// at a time, and whose every write has a deadline.
type conn struct {
	net.Conn
	r *bufio.Reader
}

// Read reads from the buffer.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) > maxPacket {
		return 0, errTooLarge
	}
	return c.r.Read(p)
}

// Write writes p whole; it may be called by several goroutines.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// SetDeadline sets the deadline of reading; writing has its own.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// dial opens the connection, encrypted where the endpoint says mqtts.
func (d *Driver) dial(ctx context.Context) (net.Conn, error) {
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
	return buffered(raw), nil
}

func buffered(raw net.Conn) net.Conn { return &conn{Conn: raw, r: bufio.NewReaderSize(raw, 64<<10)} }

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
