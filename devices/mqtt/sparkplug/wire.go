package sparkplug

import (
	"encoding/binary"
	"errors"
	"math"
)

var (
	errCut     = errors.New("the message ends in the middle of a field")
	errVarint  = errors.New("a number has more than 64 bits")
	errField   = errors.New("a field has number 0 or an unknown wire type")
	errTooMany = errors.New("more than 20,000 metrics")
)

// Wire types of protocol buffers.
const (
	varint  = 0
	fixed64 = 1
	bytes   = 2
	fixed32 = 5
)

// field is one field of a protobuf message. Data shares the message's memory.
type field struct {
	number int
	kind   int
	value  uint64 // of varint, fixed64 and fixed32
	data   []byte // of bytes
}

func (f *field) float() float64 {
	if f.kind == fixed32 {
		return float64(math.Float32frombits(uint32(f.value)))
	}
	return math.Float64frombits(f.value)
}

// next takes the first field off msg.
func next(msg []byte) (f field, rest []byte, err error) {
	key, msg, err := uvarint(msg)
	if err != nil {
		return f, nil, err
	}
	if key>>3 == 0 || key>>3 > 1<<29-1 {
		return f, nil, errField
	}
	f.number, f.kind = int(key>>3), int(key&7)
	switch f.kind {
	case varint:
		f.value, msg, err = uvarint(msg)
	case fixed64:
		if len(msg) < 8 {
			return f, nil, errCut
		}
		f.value, msg = binary.LittleEndian.Uint64(msg), msg[8:]
	case fixed32:
		if len(msg) < 4 {
			return f, nil, errCut
		}
		f.value, msg = uint64(binary.LittleEndian.Uint32(msg)), msg[4:]
	case bytes:
		var n uint64
		if n, msg, err = uvarint(msg); err != nil {
			return f, nil, err
		}
		if n > uint64(len(msg)) {
			return f, nil, errCut
		}
		f.data, msg = msg[:n], msg[n:]
	default: // groups are long gone
		return f, nil, errField
	}
	return f, msg, err
}

func uvarint(msg []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(msg)
	switch {
	case n == 0:
		return 0, nil, errCut
	case n < 0:
		return 0, nil, errVarint
	}
	return v, msg[n:], nil
}

// each calls take for every field of msg.
func each(msg []byte, take func(*field) error) error {
	for len(msg) > 0 {
		f, rest, err := next(msg)
		if err != nil {
			return err
		}
		if err := take(&f); err != nil {
			return err
		}
		msg = rest
	}
	return nil
}
