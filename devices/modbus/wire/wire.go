// Package wire cuts Modbus frames out of a stream of bytes, and says in words
// what captured ones mean.
//
//	TCP    transaction 2, protocol 2 (zero), length 2, unit 1, PDU up to 253 bytes
//	RTU    unit 1, PDU, CRC-16 low byte first; an end is known by the function's length
//	ASCII  ':' and, in hexadecimal, unit 1, PDU, LRC 1; then CR LF
//
// (Modbus Messaging on TCP/IP V1.0b; Modbus over Serial Line V1.02.) ReadTCP,
// ReadRTU and ReadASCII give answers, exceptions among them; a frame cut short by
// a deadline stays in the reader and is taken by the next call. [Reader] reads
// whole frames in either direction.
package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Sizes of frames in bytes.
const (
	tcpHeader    = 7
	tcpLongest   = 260
	rtuLongest   = 256
	asciiLongest = 513
	// Room is how large a buffered reader must be to hold any frame.
	Room = 1024
)

// ErrGarbage is what no Modbus frame begins or ends with.
var ErrGarbage = errors.New("not a Modbus frame")

// ReadTCP takes one whole frame from r.
func ReadTCP(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(tcpHeader)
	if err != nil {
		return nil, cutShort(head, err)
	}
	protocol, length := binary.BigEndian.Uint16(head[2:]), int(binary.BigEndian.Uint16(head[4:]))
	if protocol != 0 || length < 3 || length > tcpLongest-tcpHeader+1 {
		return nil, fmt.Errorf("%w: header % x", ErrGarbage, head)
	}
	return take(r, tcpHeader-1+length)
}

// ReadRTU takes one whole frame with a right checksum from r, whoever sent it
// and whatever it answers.
func ReadRTU(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(3)
	if err != nil {
		return nil, cutShort(head, err)
	}
	length := 0
	switch function := head[1]; {
	case function&0x80 != 0:
		length = 5
	case function >= 1 && function <= 4:
		length = 5 + int(head[2])
	case function == 5 || function == 6 || function == 15 || function == 16:
		length = 8
	}
	if length == 0 || length > rtuLongest {
		return nil, fmt.Errorf("%w: begins % x", ErrGarbage, head)
	}
	frame, err := take(r, length)
	if err != nil {
		return nil, err
	}
	body := frame[:length-2]
	if got, want := binary.LittleEndian.Uint16(frame[length-2:]), CRC16(body); got != want {
		return nil, fmt.Errorf("%w: checksum %04x, want %04x", ErrGarbage, got, want)
	}
	return frame, nil
}

// ReadASCII takes one whole line with a right checksum from r, from its colon
// on, and gives also the bytes that it spells: unit and PDU. What stands before
// the last colon of the line was noise.
func ReadASCII(r *bufio.Reader) (line, body []byte, err error) {
	for {
		seen, err := r.Peek(r.Buffered())
		if err != nil {
			return nil, nil, err
		}
		if end := bytes.IndexByte(seen, '\n'); end >= 0 {
			line, err = take(r, end+1)
			if err != nil {
				return nil, nil, err
			}
			break
		}
		if len(seen) > asciiLongest {
			return nil, nil, fmt.Errorf("%w: a line of more than %d characters", ErrGarbage, asciiLongest)
		}
		if _, err := r.Peek(len(seen) + 1); err != nil {
			return nil, nil, cutShort(seen, err)
		}
	}
	line = line[max(0, bytes.LastIndexByte(line, ':')):]
	body, err = spelt(line)
	return line, body, err
}

// spelt gives the bytes of a line without its checksum.
func spelt(line []byte) ([]byte, error) {
	digits, crlf := bytes.CutSuffix(line, []byte("\r\n"))
	digits, colon := bytes.CutPrefix(digits, []byte(":"))
	b := make([]byte, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(b, digits); err != nil || !crlf || !colon || len(line) > asciiLongest || len(b) < 4 {
		return nil, fmt.Errorf("%w: line %.40q", ErrGarbage, line)
	}
	body := b[:len(b)-1]
	if got, want := b[len(body)], LRC(body); got != want {
		return nil, fmt.Errorf("%w: checksum %02X, want %02X", ErrGarbage, got, want)
	}
	return body, nil
}

// take copies n bytes out of r, all or none.
func take(r *bufio.Reader, n int) ([]byte, error) {
	b, err := r.Peek(n)
	if err != nil {
		return nil, cutShort(b, err)
	}
	frame := append([]byte(nil), b...)
	_, err = r.Discard(n)
	return frame, err
}

// cutShort tells an end inside a frame from an end between two.
func cutShort(got []byte, err error) error {
	if errors.Is(err, io.EOF) && len(got) > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// CRC16 is the checksum of Modbus over Serial Line V1.02, 6.2.2; it goes on the
// wire low byte first.
func CRC16(b []byte) uint16 {
	crc := uint16(0xffff)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			odd := crc&1 != 0
			crc >>= 1
			if odd {
				crc ^= 0xa001
			}
		}
	}
	return crc
}

// LRC is the checksum of Modbus over Serial Line V1.02, 6.2.1: with it the bytes
// add up to zero.
func LRC(b []byte) byte {
	var sum byte
	for _, c := range b {
		sum += c
	}
	return -sum
}
