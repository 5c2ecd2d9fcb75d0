package modbus

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

func TestDecode(t *testing.T) {
	tests := []struct {
		name  string
		typ   string
		order string
		bytes []byte
		want  float64
	}{
		{"int16", "int16", "", []byte{0xff, 0xfe}, -2},
		{"int16, bytes swapped", "int16", "BADC", []byte{0xfe, 0xff}, -2},
		{"uint16", "uint16", "ABCD", []byte{0xff, 0xfe}, 65534},
		{"int32 ABCD", "int32", "ABCD", []byte{0x80, 0, 0, 1}, -2147483647},
		{"int32 CDAB", "int32", "CDAB", []byte{0, 1, 0x80, 0}, -2147483647},
		{"int32 BADC", "int32", "BADC", []byte{0, 0x80, 1, 0}, -2147483647},
		{"int32 DCBA", "int32", "DCBA", []byte{1, 0, 0, 0x80}, -2147483647},
		{"uint32", "uint32", "", []byte{0xff, 0xff, 0xff, 0xff}, 4294967295},
		{"float32 1.5", "float32", "", []byte{0x3f, 0xc0, 0, 0}, 1.5},
		{"float32 1.5 CDAB", "float32", "CDAB", []byte{0, 0, 0x3f, 0xc0}, 1.5},
		{"float64 pi ABCD", "float64", "ABCD", []byte{0x40, 0x09, 0x21, 0xfb, 0x54, 0x44, 0x2d, 0x18}, math.Pi},
		{"float64 pi CDAB", "float64", "CDAB", []byte{0x2d, 0x18, 0x54, 0x44, 0x21, 0xfb, 0x40, 0x09}, math.Pi},
		{"float64 pi BADC", "float64", "BADC", []byte{0x09, 0x40, 0xfb, 0x21, 0x44, 0x54, 0x18, 0x2d}, math.Pi},
		{"float64 pi DCBA", "float64", "DCBA", []byte{0x18, 0x2d, 0x44, 0x54, 0xfb, 0x21, 0x09, 0x40}, math.Pi},
		{"bit 3", "bit", "", []byte{0, 8}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decode(&devices.Register{Type: tt.typ, Order: tt.order, Bit: 3}, tt.bytes)
			if err != nil || got != tt.want {
				t.Errorf("decode = %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(uint8(0), uint8(0), uint8(3), []byte{1, 2})
	f.Add(uint8(5), uint8(2), uint8(0), []byte{1, 2, 3, 4, 5, 6, 7, 8})
	types := []string{"int16", "uint16", "int32", "uint32", "float32", "float64", "bit", "", "word"}
	orders := []string{"", "ABCD", "CDAB", "BADC", "DCBA", "XYZW"}
	f.Fuzz(func(t *testing.T, typ, order, bit uint8, data []byte) {
		reg := &devices.Register{Type: types[int(typ)%len(types)], Order: orders[int(order)%len(orders)], Bit: bit}
		v, problem := value(&devices.Binding{Register: reg, Scale: 1e300, Offset: 1}, data)
		if problem == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
			t.Errorf("%v became a reading", v)
		}
		if problem == nil && len(data) != 2*reg.Words() {
			t.Errorf("%d bytes taken for a %s", len(data), reg.Type)
		}
		if len(data)%2 == 0 { // an order undoes itself
			once, twice := make([]byte, len(data)), make([]byte, len(data))
			arrange(once, data, reg.Order)
			arrange(twice, once, reg.Order)
			if !bytes.Equal(twice, data) {
				t.Errorf("order %s: % x became % x", reg.Order, data, twice)
			}
		}
	})
}

func TestPlan(t *testing.T) {
	type req struct {
		Table           string
		Start, Quantity uint16
		Points          int
	}
	at := func(table, typ string, addrs ...uint16) (bs []*devices.Bound) {
		for _, a := range addrs {
			bs = append(bs, &devices.Bound{Binding: devices.Binding{Register: &devices.Register{Table: table, Address: a, Type: typ}}})
		}
		return bs
	}
	run := func(n int, step uint16) (as []uint16) {
		for i := range n {
			as = append(as, uint16(i)*step)
		}
		return as
	}
	tests := []struct {
		name   string
		gap    int
		bounds []*devices.Bound
		want   []req
	}{
		{"nothing", 8, nil, nil},
		{"neighbours", 8, at("holding", "float32", 2, 0, 4), []req{{"holding", 0, 6, 3}}},
		{"over a gap of 8", 8, at("holding", "uint16", 0, 9), []req{{"holding", 0, 10, 2}}},
		{"not over 9", 8, at("holding", "uint16", 0, 10), []req{{"holding", 0, 1, 1}, {"holding", 10, 1, 1}}},
		{"never across tables", 8, append(at("input", "uint16", 1), at("holding", "uint16", 0)...), []req{{"holding", 0, 1, 1}, {"input", 1, 1, 1}}},
		{"125 registers", 0, at("holding", "uint16", run(125, 1)...), []req{{"holding", 0, 125, 125}}},
		{"126 registers", 0, at("holding", "uint16", run(126, 1)...), []req{{"holding", 0, 125, 125}, {"holding", 125, 1, 1}}},
		{"a value is never cut", 8, at("holding", "float64", run(32, 4)...), []req{{"holding", 0, 124, 31}, {"holding", 124, 4, 1}}},
		{"one register, many points", 8, at("holding", "bit", 5, 5, 5), []req{{"holding", 5, 1, 3}}},
		{"the last register", 8, at("holding", "uint16", 65534, 65535), []req{{"holding", 65534, 2, 2}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []req
			for _, b := range plan(tt.bounds, tt.gap) {
				got = append(got, req{b.table, b.start, b.quantity, len(b.bounds)})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOtherQuantity(t *testing.T) {
	for n := uint16(1); n <= maxRegisters; n++ {
		var debts []owed
		for range owedMost {
			q := otherQuantity(n, debts)
			if q < 1 || q > maxRegisters || q == n || slices.ContainsFunc(debts, func(o owed) bool { return o.quantity == q }) {
				t.Fatalf("otherQuantity(%d, %v) = %d", n, debts, q)
			}
			debts = append(debts, owed{quantity: q})
		}
	}
}

func TestCRC16(t *testing.T) {
	if got := crc16([]byte("123456789")); got != 0x4b37 { // the check value of CRC-16/MODBUS
		t.Errorf("crc16 = %04x", got)
	}
}

func FuzzReadTCP(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0, 5, 1, 3, 2, 0, 7})
	f.Add([]byte{0, 1, 0, 0, 0, 3, 1, 0x83, 2, 0, 2, 0, 0, 0, 5, 1, 3, 2, 0, 8})
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		frames(t, data, readTCP, func(frame []byte) bool {
			return len(frame) >= 9 && len(frame) <= tcpLongest && int(frame[4])<<8+int(frame[5]) == len(frame)-6
		})
	})
}

func FuzzReadRTU(f *testing.F) {
	f.Add([]byte{1, 3, 2, 0, 7, 0xf9, 0x86})
	f.Add([]byte{1, 0x83, 2, 0xc0, 0xf1})
	f.Add([]byte{1, 6, 0, 1, 0, 3, 0x98, 0x0b})
	f.Fuzz(func(t *testing.T, data []byte) {
		frames(t, data, readRTU, func(frame []byte) bool {
			n := len(frame) - 2
			return n >= 3 && len(frame) <= rtuLongest && crc16(frame[:n]) == uint16(frame[n])|uint16(frame[n+1])<<8
		})
	})
}

// frames reads data to its end, once whole and once a byte at a time, which
// must give the same frames, each of them right, and all of them in data.
func frames(t *testing.T, data []byte, read func(*bufio.Reader) ([]byte, error), right func([]byte) bool) {
	t.Helper()
	all := func(r io.Reader) (fs [][]byte, err error) {
		in := bufio.NewReaderSize(r, frameRoom)
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
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errGarbage) {
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
