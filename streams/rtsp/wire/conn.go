// Package wire is the connection to an RTSP peer as gortsplib reads it. What cameras
// say is mended on the way, because the standards are kept loosely: status lines,
// heads, transports and session descriptions. All that they send is bounded, and
// the packets of the pictures are taken out before gortsplib sees them.
package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
)

const (
	readAtOnce = 32 << 10  // what a camera sends at once, but for large key frames
	mostText   = 64 << 10  // bytes of a message's head; a line of it is at most what is read at once
	mostBody   = 128 << 10 // bytes of a message's body; a real description has two thousand
)

// ErrEndless ends a connection whose camera sends a head or a body without end.
var ErrEndless = errors.New("message without end")

// Conn is a connection of which gortsplib reads. It reads a camera's burst with one
// system call and not more of it than its rate.
type Conn struct {
	net.Conn
	r    *bufio.Reader
	host string // that was dialled, for redirections
	text []byte // mended, to be read next
	left int    // bytes of the interleaved frame that is being read

	diversion atomic.Pointer[diversion]
	passed    time.Time // when gortsplib last saw that packets come

	rate   int64  // bytes a second
	Braked func() // called whenever the camera has sent more than rate
	second time.Time
	read   int64     // bytes in this second
	at     time.Time // of the newest
}

// diversion takes the packets of one channel.
type diversion struct {
	channel int
	take    func(packet []byte, at time.Time)
}

// passEvery is how often gortsplib is shown that packets come, for its time-out.
const passEvery = time.Second

// parting is how long a peer may take to close its side.
const parting = 300 * time.Millisecond

// New mends what c says. host is the one that was dialled, to which redirections
// are held; rate is the most that is read, in bytes a second.
func New(c net.Conn, host string, rate int64) *Conn {
	w := &Conn{Conn: c, host: host, rate: rate, Braked: func() {}}
	w.r = bufio.NewReaderSize(readerFunc(w.fill), readAtOnce)
	return w
}

// Close lets the peer read what was written last, such as TEARDOWN: a connection that
// is closed while bytes wait on it is reset, and a reset takes that away.
func (w *Conn) Close() error {
	if half, ok := w.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil && w.SetReadDeadline(time.Now().Add(parting)) == nil {
		_, _ = io.Copy(io.Discard, w.Conn) // until the peer closes, too
	}
	return w.Conn.Close()
}

// Divert gives the RTP packets of a channel to take instead of gortsplib, with the
// time at which they came. They are valid while it runs, on the goroutine that reads.
func (w *Conn) Divert(channel int, take func(packet []byte, at time.Time)) {
	w.diversion.Store(&diversion{channel, take})
}

// Read gives what is meant for gortsplib.
func (w *Conn) Read(b []byte) (int, error) {
	for {
		switch {
		case len(w.text) > 0:
			n := copy(b, w.text)
			w.text = w.text[n:]
			return n, nil
		case w.left > 0:
			n, err := w.r.Read(b[:min(len(b), w.left)])
			w.left -= n
			return n, err
		}
		if err := w.next(); err != nil {
			return 0, err
		}
	}
}

// next finds what begins at the reader's place: an interleaved frame (RFC 2326,
// 10.12), a message or rubbish, of which it leaves out one byte.
func (w *Conn) next() error {
	head, err := w.r.Peek(4)
	if err != nil {
		return err
	}
	switch {
	case head[0] == '$':
		return w.frame(int(head[1]), int(head[2])<<8|int(head[3]))
	case bytes.Equal(head, []byte("RTSP")):
		return w.message(true)
	case upper(head[0]) && upper(head[1]) && upper(head[2]):
		return w.message(false)
	}
	_, err = w.r.Discard(1)
	return err
}

// frame takes an interleaved frame or lets it pass.
func (w *Conn) frame(channel, size int) error {
	d := w.diversion.Load()
	switch {
	case d != nil && channel == d.channel:
		whole, err := w.whole(4 + size)
		if err != nil {
			return err
		}
		d.take(whole[4:], w.at)
		if w.at.Sub(w.passed) >= passEvery {
			w.passed = w.at
			// An empty receiver report (RFC 3550, 6.4.2) says nothing.
			w.text = []byte{'$', byte(channel + 1), 0, 8, 0x80, 201, 0, 1, 0, 0, 0, 0} //nolint:gosec // of one byte on the wire
		}
		return nil
	case channel%2 == 1 && size <= 1500:
		return w.report(size)
	}
	w.left = 4 + size
	return nil
}

// whole reads n bytes, which are valid until more are read.
func (w *Conn) whole(n int) ([]byte, error) {
	if n > w.r.Size() {
		b := make([]byte, n)
		_, err := io.ReadFull(w.r, b)
		return b, err
	}
	b, err := w.r.Peek(n)
	if err != nil {
		return nil, err
	}
	_, err = w.r.Discard(n)
	return b, err
}

func upper(c byte) bool { return c >= 'A' && c <= 'Z' }

// report passes an RTCP packet. Where its later parts cannot be read (some
// Hanwha cameras) the sender report that it begins with is kept alone.
func (w *Conn) report(size int) error {
	frame := make([]byte, 4+size)
	if _, err := io.ReadFull(w.r, frame); err != nil {
		return err
	}
	const sender, length = 200, 28 // RFC 3550, 6.4.1
	body := frame[4:]
	if _, err := rtcp.Unmarshal(body); err != nil && size >= length && body[1] == sender {
		frame = frame[:4+length]
		frame[2], frame[3] = 0, length
		frame[4], frame[6], frame[7] = 0x80, 0, length/4-1
	}
	w.text = frame
	return nil
}

// message reads a message whole and mends it. Requests other than OPTIONS, which
// gortsplib would end the connection for, are left out.
func (w *Conn) message(response bool) error {
	lines, err := w.head()
	if err != nil {
		return err
	}
	m := parse(lines)
	size, err := m.length()
	if err != nil {
		return err
	}
	m.body = make([]byte, size)
	if _, err := io.ReadFull(w.r, m.body); err != nil {
		return err
	}
	if response {
		m.mend(w.host)
	} else if !bytes.HasPrefix([]byte(m.first), []byte("OPTIONS ")) {
		return nil
	}
	w.text = m.bytes()
	return nil
}

// head reads lines up to the empty one, which end in a line feed with or without
// a carriage return.
func (w *Conn) head() ([]string, error) {
	var lines []string
	total := 0
	for {
		line, err := w.r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, ErrEndless
		}
		if err != nil {
			return nil, err
		}
		if total += len(line); total > mostText {
			return nil, ErrEndless
		}
		text := string(bytes.TrimRight(line, "\r\n"))
		if text == "" {
			return lines, nil
		}
		lines = append(lines, text)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// fill reads from the camera. It waits where the camera has sent all that it may
// in this second: its own buffers fill up then and it has to leave out pictures
// itself.
func (w *Conn) fill(b []byte) (int, error) {
	if w.read >= w.rate {
		w.Braked()
		time.Sleep(time.Second - time.Since(w.second))
		w.second, w.read = time.Now(), 0
	}
	n, err := w.Conn.Read(b[:min(int64(len(b)), w.rate-w.read)])
	w.at = time.Now()
	if w.at.Sub(w.second) >= time.Second {
		w.second, w.read = w.at, 0
	}
	w.read += int64(n)
	return n, err
}
