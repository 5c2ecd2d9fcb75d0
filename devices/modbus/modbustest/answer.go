package modbustest

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Exceptions of the Modbus Application Protocol V1.1b3, section 7.
const (
	illegalFunction = 1
	illegalAddress  = 2
	illegalValue    = 3
	gatewayTarget   = 11
)

// answer deals with one request; false means that the connection ends.
func (s *Slave) answer(ctx context.Context, g *errgroup.Group, l *line, req Request) bool {
	u := s.known(req.Unit)
	if u == nil {
		if !s.cfg.serial() {
			l.send(s.frame(req, []byte{req.Function | 0x80, gatewayTarget}))
		}
		return true
	}
	f := u.faultFor(req)
	pdu := u.do(req)
	if f == nil {
		s.later(ctx, g, l, u, s.frame(req, pdu), 0)
		return true
	}
	if frame := s.bend(f, req, pdu); frame != nil {
		s.later(ctx, g, l, u, frame, f.Delay)
	}
	return f.Kind != Close && f.Kind != CloseAfter
}

// later sends a frame after delay. On RTU a unit answers in order, and what
// comes late goes to whoever is connected then, as from a serial device server.
func (s *Slave) later(ctx context.Context, g *errgroup.Group, l *line, u *Unit, frame []byte, delay time.Duration) {
	if s.cfg.serial() {
		u.mu.Lock()
		now := time.Now()
		at := now.Add(delay)
		if at.Before(u.busy) {
			at = u.busy
		}
		u.busy, delay = at, at.Sub(now)
		u.mu.Unlock()
	}
	if delay <= 0 {
		l.send(frame)
		return
	}
	g.Go(func() error {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if s.cfg.serial() {
			s.mu.Lock()
			l = s.newest
			s.mu.Unlock()
		}
		l.send(frame)
		return nil
	})
}

// do carries a request out and gives the answer without its frame.
func (u *Unit) do(req Request) []byte {
	refuse := func(code byte) []byte { return []byte{req.Function | 0x80, code} }
	var exception byte
	var pdu []byte
	switch req.Function {
	case 1, 2:
		pdu, exception = u.readBits(map[byte]Table{1: Coil, 2: Discrete}[req.Function], req)
	case 3, 4:
		pdu, exception = u.readWords(map[byte]Table{3: Holding, 4: Input}[req.Function], req)
	case 5, 6, 15, 16:
		pdu, exception = u.write(req)
	default:
		exception = illegalFunction
	}
	if exception != 0 {
		return refuse(exception)
	}
	return pdu
}

func (u *Unit) readWords(t Table, req Request) ([]byte, byte) {
	if req.Quantity < 1 || req.Quantity > 125 {
		return nil, illegalValue
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	pdu := []byte{req.Function, byte(2 * req.Quantity)}
	for i := range req.Quantity {
		f := u.words[t][req.Start+i]
		if f == nil || int(req.Start)+int(i) > 0xffff {
			return nil, illegalAddress
		}
		pdu = binary.BigEndian.AppendUint16(pdu, f(req.At))
	}
	return pdu, 0
}

func (u *Unit) readBits(t Table, req Request) ([]byte, byte) {
	if req.Quantity < 1 || req.Quantity > 2000 {
		return nil, illegalValue
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	n := (int(req.Quantity) + 7) / 8
	pdu := append([]byte{req.Function, byte(n)}, make([]byte, n)...)
	for i := range req.Quantity {
		f := u.words[t][req.Start+i]
		if f == nil || int(req.Start)+int(i) > 0xffff {
			return nil, illegalAddress
		}
		if f(req.At) != 0 {
			pdu[2+i/8] |= 1 << (i % 8)
		}
	}
	return pdu, 0
}

// write carries out functions 5, 6, 15 and 16 on places that exist.
func (u *Unit) write(req Request) ([]byte, byte) {
	t, words, ok := written(req)
	if !ok {
		return nil, illegalValue
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range words {
		if int(req.Start)+i > 0xffff || u.words[t][req.Start+uint16(i)] == nil {
			return nil, illegalAddress
		}
	}
	for i, w := range words {
		if u.held[t][req.Start+uint16(i)] {
			continue
		}
		u.place(t, req.Start+uint16(i), func(time.Time) uint16 { return w })
	}
	pdu := binary.BigEndian.AppendUint16([]byte{req.Function}, req.Start)
	if req.Function == 5 || req.Function == 6 {
		return append(pdu, req.payload...), 0
	}
	return binary.BigEndian.AppendUint16(pdu, req.Quantity), 0
}

// written gives the table and the words that a write request holds.
func written(req Request) (Table, []uint16, bool) {
	p := req.payload
	switch req.Function {
	case 5:
		v := binary.BigEndian.Uint16(p)
		return Coil, []uint16{v >> 15}, v == 0xff00 || v == 0
	case 6:
		return Holding, []uint16{binary.BigEndian.Uint16(p)}, true
	case 15:
		var bits []uint16
		for i := range int(req.Quantity) {
			if i/8 >= len(p) {
				return 0, nil, false
			}
			bits = append(bits, uint16(p[i/8]>>(i%8)&1))
		}
		return Coil, bits, len(p) == (int(req.Quantity)+7)/8 && len(bits) > 0
	default:
		var words []uint16
		for i := 0; i+1 < len(p); i += 2 {
			words = append(words, binary.BigEndian.Uint16(p[i:]))
		}
		return Holding, words, len(p) == 2*int(req.Quantity) && len(words) > 0
	}
}

// readTCP takes one request of Modbus TCP.
func readTCP(r *bufio.Reader) (Request, error) {
	var head [7]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Request{}, err
	}
	length := int(binary.BigEndian.Uint16(head[4:]))
	if binary.BigEndian.Uint16(head[2:]) != 0 || length < 2 || length > 254 {
		return Request{}, fmt.Errorf("no Modbus TCP header: % x", head)
	}
	pdu := make([]byte, length-1)
	if _, err := io.ReadFull(r, pdu); err != nil {
		return Request{}, err
	}
	req, err := parse(pdu)
	req.Unit, req.transaction = head[6], binary.BigEndian.Uint16(head[:])
	return req, err
}

// readRTU takes one request of RTU.
func readRTU(r *bufio.Reader) (Request, error) {
	frame := make([]byte, 7, 264)
	if _, err := io.ReadFull(r, frame); err != nil {
		return Request{}, err
	}
	rest := 1 // the second half of the checksum
	if frame[1] == 15 || frame[1] == 16 {
		rest = int(frame[6]) + 2
	}
	frame = frame[:7+rest]
	if _, err := io.ReadFull(r, frame[7:]); err != nil {
		return Request{}, err
	}
	body := frame[:len(frame)-2]
	if binary.LittleEndian.Uint16(frame[len(body):]) != checksum(body) {
		return Request{}, errors.New("wrong checksum")
	}
	req, err := parse(body[1:])
	req.Unit = frame[0]
	return req, err
}

// readASCII takes one request of ASCII.
func readASCII(r *bufio.Reader) (Request, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return Request{}, err
	}
	body, err := hex.DecodeString(strings.Trim(line, ":\r\n"))
	if err != nil || len(body) < 3 {
		return Request{}, fmt.Errorf("no ASCII request: %q", line)
	}
	sum := byte(0)
	for _, b := range body {
		sum += b
	}
	if sum != 0 {
		return Request{}, errors.New("wrong checksum")
	}
	req, err := parse(body[1 : len(body)-1])
	req.Unit = body[0]
	return req, err
}

// parse reads function, start, quantity and what follows. A request too short
// for its function cannot be answered.
func parse(pdu []byte) (Request, error) {
	req := Request{At: time.Now(), Function: pdu[0], Quantity: 1}
	if req.Function == 0 || req.Function > 16 || (req.Function > 6 && req.Function < 15) {
		return req, nil // answered by an exception
	}
	if len(pdu) < 5 {
		return req, fmt.Errorf("request too short: % x", pdu)
	}
	req.Start = binary.BigEndian.Uint16(pdu[1:])
	switch req.Function {
	case 5, 6:
		req.payload = pdu[3:5]
	case 15, 16:
		if len(pdu) < 6 {
			return req, fmt.Errorf("request too short: % x", pdu)
		}
		req.Quantity, req.payload = binary.BigEndian.Uint16(pdu[3:]), pdu[6:]
	default:
		req.Quantity = binary.BigEndian.Uint16(pdu[3:])
	}
	return req, nil
}

// checksum is the CRC of RTU frames, by the table that Modbus over Serial Line
// V1.02 unrolls; here nibble by nibble.
func checksum(b []byte) uint16 {
	nibbles := [16]uint16{
		0x0000, 0xcc01, 0xd801, 0x1400, 0xf001, 0x3c00, 0x2800, 0xe401,
		0xa001, 0x6c00, 0x7800, 0xb401, 0x5000, 0x9c01, 0x8801, 0x4400,
	}
	crc := uint16(0xffff)
	for _, c := range b {
		crc = crc>>4 ^ nibbles[(crc^uint16(c))&15]
		crc = crc>>4 ^ nibbles[(crc^uint16(c>>4))&15]
	}
	return crc
}
