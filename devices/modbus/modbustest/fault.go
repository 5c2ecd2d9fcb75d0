package modbustest

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Kind is a way to misbehave.
type Kind int

// The ways to misbehave.
const (
	Late             Kind = iota // the right answer, after Delay
	Silent                       // none
	Short                        // fewer registers than asked for, in a frame that is right in itself
	Long                         // one register too many, likewise
	Garbage                      // bytes that are no frame
	Noise                        // the right answer and stray bytes behind it
	Cut                          // the first half of the right answer
	WrongTransaction             // another transaction id (TCP)
	WrongUnit                    // another unit id
	WrongFunction                // another function
	BadChecksum                  // a wrong checksum (RTU and ASCII)
	Refuse                       // exception Exception
	Close                        // closes the connection instead
	CloseAfter                   // answers, then closes the connection
)

// Fault is one way in which a unit misbehaves.
type Fault struct {
	Kind      Kind
	Delay     time.Duration      // for Late
	Exception byte               // for Refuse
	Times     int                // how often; zero means for ever
	When      func(Request) bool // nil means always
}

// Misbehave replaces the unit's faults. Of those that apply to a request the
// first does, until its Times are used up; none makes the unit behave.
func (u *Unit) Misbehave(faults ...Fault) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.faults = append([]Fault(nil), faults...)
}

// faultFor notes a request and takes the fault that applies to it.
func (u *Unit) faultFor(req Request) *Fault {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen = append(u.seen, req); len(u.seen) > remembered {
		u.seen = append([]Request(nil), u.seen[remembered/2:]...)
	}
	for i := range u.faults {
		f := u.faults[i]
		if f.When != nil && !f.When(req) {
			continue
		}
		if f.Times > 0 {
			if u.faults[i].Times--; u.faults[i].Times == 0 {
				u.faults = append(u.faults[:i:i], u.faults[i+1:]...)
			}
		}
		return &f
	}
	return nil
}

// bend applies a fault to an answer; nil bytes mean silence.
func (s *Slave) bend(f *Fault, req Request, pdu []byte) []byte {
	switch f.Kind {
	case Silent, Close:
		return nil
	case Short:
		if len(pdu) > 4 && pdu[0] < 0x80 {
			pdu = append([]byte{pdu[0], pdu[1] - 2}, pdu[2:len(pdu)-2]...)
		}
	case Long:
		if pdu[0] <= 4 && pdu[1] < 250 {
			pdu = append([]byte{pdu[0], pdu[1] + 2}, append(pdu[2:len(pdu):len(pdu)], 0x12, 0x34)...)
		}
	case Garbage:
		return []byte("\xde\xad\xbe\xefHTTP/1.1 400 Bad Request\r\n\r\n")
	case WrongTransaction:
		req.transaction += 0x1111
	case WrongUnit:
		req.Unit++
	case WrongFunction:
		pdu = append([]byte{7 - pdu[0]}, pdu[1:]...)
	case Refuse:
		pdu = []byte{req.Function | 0x80, f.Exception}
	}
	frame := s.frame(req, pdu)
	switch {
	case f.Kind == Noise:
		frame = append(frame, 0xff, 0x00, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff)
	case f.Kind == Cut:
		frame = frame[:len(frame)/2]
	case f.Kind == BadChecksum && s.cfg.RTU:
		frame[len(frame)-1] ^= 0xff
	case f.Kind == BadChecksum && s.cfg.ASCII:
		frame[len(frame)-3] ^= 1 // another digit
	}
	return frame
}

// frame wraps an answer for the wire.
func (s *Slave) frame(req Request, pdu []byte) []byte {
	if s.cfg.RTU {
		frame := append([]byte{req.Unit}, pdu...)
		return binary.LittleEndian.AppendUint16(frame, checksum(frame))
	}
	if s.cfg.ASCII {
		body, sum := append([]byte{req.Unit}, pdu...), byte(0)
		for _, b := range body {
			sum -= b
		}
		return fmt.Appendf(nil, ":%X\r\n", append(body, sum))
	}
	frame := binary.BigEndian.AppendUint16(nil, req.transaction)
	frame = append(frame, 0, 0)
	frame = binary.BigEndian.AppendUint16(frame, uint16(1+len(pdu)))
	return append(append(frame, req.Unit), pdu...)
}
