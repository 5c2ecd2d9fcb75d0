package hj212

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"net"
	"regexp"
	"strconv"
	"sync"
	"time"

	"offsite/devices"
	"offsite/devices/hj212/wire"
)

const (
	farewell    = time.Second // for the last bytes to a logger that is being closed
	readAtOnce  = 2 << 10
	writeBuffer = 16 << 10 // bytes that the kernel holds for one connection
	strangeMost = 8        // frames refused on a connection before it is known whose it is
)

// session is one connection. Its reader reads, decodes and hands over; its
// writer writes the answers in the order in which packets came.
type session struct {
	host    *Host
	conn    net.Conn
	remote  string
	began   time.Time
	settle  func(error) // done of every packet; a field so that it is made once
	writing sync.WaitGroup

	// These are set once, by the reader, before anybody else sees the session.
	mn      string
	device  string
	secrets [sha256.Size]byte

	decoder wire.Decoder // the reader's alone
	strange int          // frames refused before it was known whose they are; the reader's

	mu      sync.Mutex
	wake    sync.Cond // for the writer: something to write, or closed
	room    sync.Cond // for the reader: the queue has become shorter
	queue   []owed
	ready   int // the first ready elements of queue may be answered
	out     []byte
	closed  bool
	cause   *devices.Problem     // why we closed it; nil when the logger did
	st      string               // kind of system that it last sent as
	flag    int                  // version bits of its last packet
	fresh   string               // password that 1072 gives it: it may send either
	pending map[string]*exchange // commands that wait for their answers, by QN
	ended   chan struct{}        // closed with the session
}

// owed is a packet in order of receipt.
type owed struct {
	answer []byte // nil where none is wanted
	key    uint64 // of new data; 0 for everything else
	logger *logger
	waits  bool // for the disk
}

var errClosed = errors.New("connection closed")

// serve serves one connection to its end.
func (h *Host) serve(ctx context.Context, conn net.Conn) {
	s := &session{host: h, conn: conn, remote: conn.RemoteAddr().String(), began: time.Now(), pending: map[string]*exchange{}, ended: make(chan struct{})}
	s.wake.L, s.room.L = &s.mu, &s.mu
	s.settle = s.stored
	s.decoder = wire.Decoder{Tolerant: true, Key: h.cipher}
	if t := s.tcp(); t != nil {
		_ = t.SetWriteBuffer(writeBuffer) // so that a deaf logger is noticed
	}
	h.mu.Lock()
	crowded := len(h.open) >= h.cfg.Connections
	if !crowded {
		h.open[s] = true
	}
	h.mu.Unlock()
	if crowded || ctx.Err() != nil {
		h.left(s, nil)
		_ = conn.Close()
		return
	}
	s.writing.Go(s.runWriter)
	err := s.read(ctx)
	s.close(nil)
	s.writing.Wait()
	h.left(s, err)
}

// tcp gives the connection beneath, nil where it is none of TCP.
func (s *session) tcp() *net.TCPConn {
	conn := s.conn
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	t, _ := conn.(*net.TCPConn)
	return t
}

func (h *Host) cipher(mn string) *wire.Cipher {
	if l := h.logger(mn); l != nil {
		return l.cipher
	}
	return nil
}

// read reads until the connection ends.
func (s *session) read(ctx context.Context) error {
	buf := make([]byte, readAtOnce)
	for {
		wait := s.host.cfg.Idle
		if s.mn == "" {
			wait = s.host.cfg.SignIn - time.Since(s.began)
		}
		_ = s.conn.SetReadDeadline(time.Now().Add(wait))
		if s.isClosed() {
			return errClosed
		}
		n, err := s.conn.Read(buf)
		received := time.Now().UTC()
		_, _ = s.decoder.Write(buf[:n])
		for {
			f, ok := s.decoder.Next()
			if !ok {
				break
			}
			if err := s.take(ctx, f, received); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// take handles one frame. An error ends the connection.
func (s *session) take(ctx context.Context, f wire.Frame, received time.Time) error {
	if s.mn == "" {
		known, err := s.identify(f, received)
		if !known || err != nil {
			return err
		}
		s.decoder.Again() // now by the rules of its registration
		return nil
	}
	l := s.host.logger(s.mn)
	if l == nil {
		return errClosed // it was retired a moment ago
	}
	s.decoder.Tolerant = l.settings.Tolerant // for the frames behind this one
	if f.Packet == nil {
		s.host.counts.refused.Add(1)
		l.frames.note("refused", &f, received)
		return s.hand(l, owed{}, l.delivery(devices.Origin{Device: s.device}, scrub(f.Raw), received, opened{problem: f.Refused}))
	}
	p := f.Packet
	if p.MN != s.mn {
		s.refuse(p, l.device.ID, foreignMN(p.MN), received)
		return s.owe(owed{answer: returned(p, returnMN)})
	}
	if !l.admits(p.PW) && !s.renewed(p.PW) {
		s.refuse(p, l.device.ID, wrongPassword(), received)
		return s.owe(owed{answer: returned(p, returnPW)})
	}
	if _, data := kinds[p.CN]; data || f.Refused != nil {
		l.frames.note(p.CN+"/"+strconv.Itoa(p.PNO), &f, received)
	}
	s.mu.Lock()
	s.st, s.flag = p.ST, max(p.Flag, 0)&^3
	s.mu.Unlock()
	if f.Refused != nil {
		return s.bury(l, f, received)
	}
	return s.packet(ctx, l, f, received)
}

// identify learns from the first packet whose connection this is.
func (s *session) identify(f wire.Frame, received time.Time) (bool, error) {
	p := f.Packet
	if p == nil || p.MN == "" {
		s.host.counts.refused.Add(1)
		s.host.notes.add(Note{Remote: s.remote, Problem: f.Refused, At: received, Detail: wire.Quote(string(f.Raw[:min(len(f.Raw), 32)]))}, false)
		if s.strange++; s.strange >= strangeMost {
			return false, errClosed
		}
		return false, nil
	}
	l := s.host.logger(p.MN)
	var problem *devices.Problem
	code := returnPW
	switch {
	case l == nil:
		problem, code = unknownMN(p.MN), returnMN
	case l.device.Password == "":
		problem = noPassword()
	case !l.admits(p.PW):
		problem = wrongPassword()
	}
	if problem != nil {
		id := ""
		if l != nil {
			id = l.device.ID
			s.host.tellAbsent(l, problem)
		}
		s.refuse(p, id, problem, received)
		_ = s.owe(owed{answer: returned(p, code)})
		return false, errClosed
	}
	s.mn, s.device, s.secrets = p.MN, l.device.ID, l.secrets
	s.decoder.Tolerant = l.settings.Tolerant
	if l.cipher == nil { // it is asked for no more; a new key ends the connection
		s.decoder.Key = nil
	}
	s.host.joined(s, l)
	return true, nil
}

func (l *logger) admits(pw string) bool {
	given := sha256.Sum256([]byte(pw))
	return l.device.Password != "" && subtle.ConstantTimeCompare(given[:], l.pw[:]) == 1
}

// refuse notes a packet that is not this connection's.
func (s *session) refuse(p *wire.Packet, device string, problem *devices.Problem, at time.Time) {
	s.host.counts.strangers.Add(1)
	if s.host.notes.add(Note{Device: device, MN: p.MN, Remote: s.remote, Problem: problem, At: at}, false) {
		s.host.cfg.Log.Warn("packet refused", "device", device, "addr", s.remote, "err", problem)
	}
}

// scrubbed is what people see of the password.
const scrubbed = "PW=[redacted]"

var password = regexp.MustCompile(`PW=[^;]*`)

// scrub takes the password out of a frame that people will see.
func scrub(raw []byte) []byte { return password.ReplaceAll(raw, []byte(scrubbed)) }

// owe puts o at the end of the queue. It blocks, and so stops the reading,
// while the queue is full.
func (s *session) owe(o owed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) >= s.host.cfg.Waiting && !s.closed {
		s.room.Wait()
	}
	if s.closed {
		return errClosed
	}
	s.queue = append(s.queue, o)
	if !o.waits && s.ready == len(s.queue)-1 {
		s.ready++
		s.wake.Signal()
	}
	return nil
}

// hand gives a delivery to the sink; o is answered when it is on disk.
func (s *session) hand(l *logger, o owed, d devices.Delivery) error {
	o.waits, o.logger = true, l
	if err := s.owe(o); err != nil {
		return err
	}
	s.host.sink.Accept(d, s.settle)
	return nil
}

// stored is told by the sink, in order, what became of the packets that wait.
func (s *session) stored(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.queue[s.ready]
	o.waits = false
	if err != nil {
		s.host.counts.failed.Add(1)
		o.answer = nil
		if o.key != 0 {
			o.logger.forget(o.key)
		}
		if !s.closed {
			s.host.counts.disconnected.Add(1)
			s.closeLocked(storageProblem(err))
		}
	} else if o.key != 0 {
		s.host.counts.accepted.Add(1)
	}
	for s.ready < len(s.queue) && !s.queue[s.ready].waits {
		s.ready++
	}
	s.wake.Signal()
}

func (s *session) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *session) why() *devices.Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// close lets reader and writer end; it never blocks.
func (s *session) close(cause *devices.Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked(cause)
}

func (s *session) closeLocked(cause *devices.Problem) {
	if s.closed {
		return
	}
	s.closed, s.cause = true, cause
	close(s.ended)
	now := time.Now()
	_ = s.conn.SetReadDeadline(now)
	_ = s.conn.SetWriteDeadline(now.Add(farewell))
	s.wake.Broadcast()
	s.room.Broadcast()
}
