package wire_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"offsite/devices/modbus/wire"
)

func TestCRC16(t *testing.T) {
	if got := wire.CRC16([]byte("123456789")); got != 0x4b37 { // the check value of CRC-16/MODBUS
		t.Errorf("CRC16 = %04x", got)
	}
}

func FuzzReadTCP(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0, 5, 1, 3, 2, 0, 7})
	f.Add([]byte{0, 1, 0, 0, 0, 3, 1, 0x83, 2, 0, 2, 0, 0, 0, 5, 1, 3, 2, 0, 8})
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		frames(t, data, wire.ReadTCP, func(frame []byte) bool {
			return len(frame) >= 9 && len(frame) <= 260 && int(frame[4])<<8+int(frame[5]) == len(frame)-6
		})
	})
}

func FuzzReadRTU(f *testing.F) {
	f.Add([]byte{1, 3, 2, 0, 7, 0xf9, 0x86})
	f.Add([]byte{1, 0x83, 2, 0xc0, 0xf1})
	f.Add([]byte{1, 6, 0, 1, 0, 3, 0x98, 0x0b})
	f.Fuzz(func(t *testing.T, data []byte) {
		frames(t, data, wire.ReadRTU, func(frame []byte) bool {
			n := len(frame) - 2
			return n >= 3 && len(frame) <= 256 && wire.CRC16(frame[:n]) == uint16(frame[n])|uint16(frame[n+1])<<8
		})
	})
}

// frames reads data to its end, once whole and once a byte at a time, which
// must give the same frames, each of them right, and all of them in data.
func frames(t *testing.T, data []byte, read func(*bufio.Reader) ([]byte, error), right func([]byte) bool) {
	t.Helper()
	all := func(r io.Reader) (fs [][]byte, err error) {
		in := bufio.NewReaderSize(r, wire.Room)
		for {
			frame, err := read(in)
			if err != nil {
				return fs, err
			}
			if !right(frame) {
				t.Errorf("took % x for a frame", frame)
			}
			fs = append(fs, frame)
		}
	}
	whole, err := all(bytes.NewReader(data))
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, wire.ErrGarbage) {
		t.Errorf("ended by %v", err)
	}
	drops, _ := all(iotest.OneByteReader(bytes.NewReader(data)))
	if diff := cmp.Diff(whole, drops); diff != "" {
		t.Error(diff)
	}
	if !bytes.HasPrefix(data, slices.Concat(whole...)) {
		t.Error("frames are not what was read")
	}
}

func TestLRC(t *testing.T) {
	if got := wire.LRC([]byte{0xf7, 0x03, 0x13, 0x89, 0x00, 0x0a}); got != 0x60 { // :F7031389000A60
		t.Errorf("LRC = %02x", got)
	}
}

func TestReadASCII(t *testing.T) {
	tests := []struct {
		name, in string
		want     []byte // nil: garbage
	}{
		{"an answer", ":010302000AF0\r\n", []byte{1, 3, 2, 0, 10}},
		{"in small letters", ":010302000af0\r\n", []byte{1, 3, 2, 0, 10}},
		{"noise before it", "\x00\xff:01:010302000AF0\r\n", []byte{1, 3, 2, 0, 10}},
		{"an exception", ":0183027A\r\n", []byte{1, 0x83, 2}},
		{"wrong checksum", ":010302000AF1\r\n", nil},
		{"without CR", ":010302000AF0\n", nil},
		{"without colon", "010302000AF0\r\n", nil},
		{"half a digit", ":010302000AF\r\n", nil},
		{"too short", ":01FF\r\n", nil},
		{"another language", "HTTP/1.1 400 Bad Request\r\n", nil},
		{"never ending", strings.Repeat("0", 2000), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			line, body, err := wire.ReadASCII(bufio.NewReaderSize(strings.NewReader(tt.in), wire.Room))
			if tt.want == nil {
				if !errors.Is(err, wire.ErrGarbage) {
					t.Errorf("% x of %q, %v", body, line, err)
				}
				return
			}
			if err != nil || !bytes.Equal(body, tt.want) || line[0] != ':' || !bytes.HasSuffix([]byte(tt.in), line) {
				t.Errorf("% x of %q, %v; want % x", body, line, err, tt.want)
			}
		})
	}
}

func FuzzReadASCII(f *testing.F) {
	f.Add([]byte(":010302000AF0\r\n:0183027A\r\n"))
	f.Add([]byte("\x00:01:01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all := func(r io.Reader) (bodies [][]byte) {
			in := bufio.NewReaderSize(r, wire.Room)
			for {
				line, body, err := wire.ReadASCII(in)
				if err != nil {
					return bodies
				}
				if !bytes.Contains(data, line) || len(body) < 3 {
					t.Errorf("%q gave % x", line, body)
				}
				bodies = append(bodies, body)
			}
		}
		if diff := cmp.Diff(all(bytes.NewReader(data)), all(iotest.OneByteReader(bytes.NewReader(data)))); diff != "" {
			t.Error(diff)
		}
	})
}
