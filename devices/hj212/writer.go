package hj212

import (
	"errors"
	"os"
	"time"

	"offsite/devices"
)

// send adds a frame to what waits to be written.
func (s *session) send(frame []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.out = append(s.out, frame...)
	s.wake.Signal()
	return nil
}

// runWriter writes until the session is closed, and then closes the connection.
func (s *session) runWriter() {
	defer func() { _ = s.conn.Close() }()
	var out []byte
	for {
		var open bool
		if out, open = s.takeOut(out[:0]); !open {
			if len(out) > 0 {
				_, _ = s.conn.Write(out) // within the farewell
			}
			return
		}
		if len(out) == 0 {
			continue
		}
		s.mu.Lock()
		if !s.closed { // else the farewell's deadline stays in force
			_ = s.conn.SetWriteDeadline(time.Now().Add(s.host.cfg.Patience))
		}
		s.mu.Unlock()
		if _, err := s.conn.Write(out); err != nil {
			s.writeFailed(err)
		}
	}
}

// takeOut waits for something to write and takes it. After the session is closed
// it gives the last bytes and false.
func (s *session) takeOut(out []byte) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.out) == 0 && s.ready == 0 && !s.closed {
		s.wake.Wait()
	}
	for i := range s.queue[:s.ready] {
		out = append(out, s.queue[i].answer...)
	}
	out = append(out, s.out...)
	s.out = s.out[:0]
	rest := copy(s.queue, s.queue[s.ready:])
	clear(s.queue[rest:])
	s.queue, s.ready = s.queue[:rest], 0
	s.room.Broadcast()
	return out, !s.closed
}

func (s *session) writeFailed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var cause *devices.Problem
	if errors.Is(err, os.ErrDeadlineExceeded) && !s.closed {
		s.host.counts.deaf.Add(1)
		if t := s.tcp(); t != nil {
			_ = t.SetLinger(0) // what it does not read must not stay with the kernel
		}
		cause = &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "deaf_device",
			ZH: "数采仪不接收网关发出的应答，已断开；请检查数采仪的程序与网络",
			EN: "the logger reads none of the gateway's answers and was disconnected; check its program and the network",
		}
	}
	s.closeLocked(cause)
}
