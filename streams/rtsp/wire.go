package rtsp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"time"

	"github.com/pion/rtcp"
)

const (
	wireBuffer = 64 << 10
	mostText   = 64 << 10  // bytes of a message's head, and of a line of it
	mostBody   = 128 << 10 // bytes of a message's body; a real description has two thousand
)

// errEndless ends a connection whose camera sends a head or a body without end.
var errEndless = errors.New("message without end")

// wire is the connection to a camera as gortsplib reads it: its messages are
// mended on the way (see mend), its packets pass. It reads a camera's burst with
// one system call and not more of it than rate.
type wire struct {
	net.Conn
	r    *bufio.Reader
	host string // that was dialled, for redirections
	text []byte // mended, to be read next
	left int    // bytes of the interleaved frame that is being read

	rate   int64  // bytes a second
	braked func() // called whenever the camera has sent more than rate
	second time.Time
	read   int64 // bytes in this second
}

func newWire(c net.Conn, host string, rate int64) *wire {
	return &wire{Conn: c, r: bufio.NewReaderSize(c, wireBuffer), host: host, rate: rate, braked: func() {}}
}

// Read gives what is there, several packets at once, and waits for the first byte.
func (w *wire) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		switch {
		case len(w.text) > 0:
			k := copy(b[n:], w.text)
			w.text = w.text[k:]
			n += k
		case w.left > 0:
			k, err := w.r.Read(b[n:min(len(b), n+w.left)])
			w.left -= k
			n += k
			if err != nil {
				return n, err
			}
		case n > 0 && w.r.Buffered() < 4:
			w.brake(n)
			return n, nil
		default:
			if err := w.next(); err != nil {
				return n, err
			}
		}
		if n > 0 && w.r.Buffered() == 0 {
			break
		}
	}
	w.brake(n)
	return n, nil
}

// next finds what begins at the reader's place: an interleaved frame (RFC 2326,
// 10.12), a message or rubbish, of which it leaves out one byte.
func (w *wire) next() error {
	head, err := w.r.Peek(4)
	if err != nil {
		return err
	}
	switch {
	case head[0] == '$':
		size := int(head[2])<<8 | int(head[3])
		if head[1]%2 == 1 && size <= 1500 {
			return w.report(size)
		}
		w.left = 4 + size
		return nil
	case bytes.Equal(head, []byte("RTSP")):
		return w.message(true)
	case upper(head[0]) && upper(head[1]) && upper(head[2]):
		return w.message(false)
	}
	_, err = w.r.Discard(1)
	return err
}

func upper(c byte) bool { return c >= 'A' && c <= 'Z' }

// report passes an RTCP packet. Where its later parts cannot be read (some
// Hanwha cameras) the sender report that it begins with is kept alone.
func (w *wire) report(size int) error {
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
func (w *wire) message(response bool) error {
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
func (w *wire) head() ([]string, error) {
	var lines []string
	total := 0
	for {
		line, err := w.r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, errEndless
		}
		if err != nil {
			return nil, err
		}
		if total += len(line); total > mostText {
			return nil, errEndless
		}
		text := string(bytes.TrimRight(line, "\r\n"))
		if text == "" {
			return lines, nil
		}
		lines = append(lines, text)
	}
}

// brake waits where the camera sends more than rate: its own buffers fill up then
// and it has to leave out pictures itself.
func (w *wire) brake(n int) {
	now := time.Now()
	if now.Sub(w.second) >= time.Second {
		w.second, w.read = now, 0
	}
	if w.read += int64(n); w.read > w.rate {
		w.braked()
		time.Sleep(time.Second - now.Sub(w.second))
	}
}
