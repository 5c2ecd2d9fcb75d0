package modbus

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Sizes of frames (Modbus Messaging on TCP/IP V1.0b; Modbus over Serial Line
// V1.02).
const (
	tcpHeader  = 7
	tcpLongest = 260
	rtuLongest = 256
	frameRoom  = 2 * tcpLongest
)

var errGarbage = errors.New("not a Modbus frame")

// readTCP takes one whole frame from r. A frame cut short by a deadline stays
// in r and is taken by the next call.
func readTCP(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(tcpHeader)
	if err != nil {
		return nil, cutShort(head, err)
	}
	protocol, length := binary.BigEndian.Uint16(head[2:]), int(binary.BigEndian.Uint16(head[4:]))
	if protocol != 0 || length < 3 || length > tcpLongest-tcpHeader+1 {
		return nil, fmt.Errorf("%w: header % x", errGarbage, head)
	}
	return take(r, tcpHeader-1+length)
}

// readRTU takes one whole frame with a right checksum from r, whoever sent it
// and whatever it answers. A frame cut short by a deadline stays in r.
func readRTU(r *bufio.Reader) ([]byte, error) {
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
		return nil, fmt.Errorf("%w: begins % x", errGarbage, head)
	}
	frame, err := take(r, length)
	if err != nil {
		return nil, err
	}
	body := frame[:length-2]
	if got, want := binary.LittleEndian.Uint16(frame[length-2:]), crc16(body); got != want {
		return nil, fmt.Errorf("%w: checksum %04x, want %04x", errGarbage, got, want)
	}
	return frame, nil
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

// crc16 is the checksum of Modbus over Serial Line V1.02, 6.2.2; it goes on the
// wire low byte first.
func crc16(b []byte) uint16 {
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
