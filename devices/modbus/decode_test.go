package modbus

import (
	"bytes"
	"math"
	"slices"
	"testing"

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
		{"int64", "int64", "", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x85}, -123},
		{"int64 CDAB", "int64", "CDAB", []byte{0, 1, 0, 0, 0, 2, 0, 0}, 1 + 2<<32},
		{"uint64", "uint64", "", []byte{0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 1<<53 - 1},
		{"bcd16", "bcd16", "", []byte{0x12, 0x34}, 1234},
		{"bcd16, bytes swapped", "bcd16", "BADC", []byte{0x34, 0x12}, 1234},
		{"bcd32", "bcd32", "", []byte{0x12, 0x34, 0x56, 0x78}, 12345678},
		{"bcd32 CDAB", "bcd32", "CDAB", []byte{0x56, 0x78, 0x12, 0x34}, 12345678},
		{"bits 3 to 5", "bits", "", []byte{0xff, 0b11101111}, 0b101},
		{"text", "string", "", []byte(" -12.5 \x00"), -12.5},
		{"text, bytes swapped", "string", "BADC", []byte("314.\x00\x00\x00\x00"), 13.4},
		{"text with exponent", "string", "", []byte("+1.2E+02"), 120},
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
			got, err := decode(&devices.Register{Type: tt.typ, Order: tt.order, Bit: 3, Width: 3, Length: 4}, tt.bytes)
			if err != nil || got != tt.want {
				t.Errorf("decode = %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestWhatIsNoNumber(t *testing.T) {
	tests := []struct {
		name string
		reg  devices.Register
		b    []byte
	}{
		{"hexadecimal digit in bcd16", devices.Register{Type: "bcd16"}, []byte{0x12, 0x3a}},
		{"all ones in bcd32", devices.Register{Type: "bcd32"}, []byte{0xff, 0xff, 0xff, 0xff}},
		{"words", devices.Register{Type: "string", Length: 2}, []byte("OVER")},
		{"infinity in words", devices.Register{Type: "string", Length: 2}, []byte("Inf ")},
		{"empty text", devices.Register{Type: "string", Length: 2}, []byte("  \x00\x00")},
		{"hexadecimal text", devices.Register{Type: "string", Length: 2}, []byte("0x1p")},
		{"digits too many", devices.Register{Type: "string", Length: 3}, []byte("1e9999")},
		{"no length", devices.Register{Type: "string"}, nil},
		{"a byte short", devices.Register{Type: "int64"}, make([]byte, 7)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if v, problem := value(&devices.Binding{Register: &tt.reg}, tt.b); problem == nil {
				t.Errorf("% x became %v", tt.b, v)
			}
		})
	}
}

func TestEncode(t *testing.T) {
	reg := func(typ, order string) devices.Register {
		return devices.Register{Type: typ, Order: order, Bit: 4, Width: 3}
	}
	tests := []struct {
		name string
		reg  devices.Register
		raw  float64
		want []byte // nil: refused
		code string
	}{
		{"int16", reg("int16", ""), -2, []byte{0xff, 0xfe}, ""},
		{"uint16, a float's dust", reg("uint16", ""), 252.99999999999997, []byte{0, 253}, ""},
		{"uint16, between two steps", reg("uint16", ""), 25.3, nil, "between_steps"},
		{"uint16, too large", reg("uint16", ""), 65536, nil, "out_of_range"},
		{"uint16, below", reg("uint16", ""), -1, nil, "out_of_range"},
		{"uint32 CDAB", reg("uint32", "CDAB"), 0x12345678, []byte{0x56, 0x78, 0x12, 0x34}, ""},
		{"float32 DCBA", reg("float32", "DCBA"), 1.5, []byte{0, 0, 0xc0, 0x3f}, ""},
		{"float32, too large", reg("float32", ""), 1e39, nil, "out_of_range"},
		{"float64, no number", reg("float64", ""), math.NaN(), nil, "out_of_range"},
		{"bit 4 set", reg("bit", ""), 1, []byte{0xff, 0x1f}, ""},
		{"bits 4 to 6", reg("bits", ""), 5, []byte{0xff, 0x5f}, ""},
		{"bits, too large", reg("bits", ""), 8, nil, "out_of_range"},
		{"bcd32", reg("bcd32", ""), 1234567, []byte{1, 0x23, 0x45, 0x67}, ""},
		{"bcd16, too large", reg("bcd16", ""), 10000, nil, "out_of_range"},
		{"int64, beyond what a float counts", reg("int64", ""), 1 << 60, nil, "out_of_range"},
		{"text", devices.Register{Type: "string", Length: 2}, 1, nil, "not_writable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, problem := encode(&tt.reg, tt.raw, 0xff0f)
			if !bytes.Equal(got, tt.want) || (problem == nil) != (tt.code == "") || (problem != nil && problem.Code != tt.code) {
				t.Errorf("% x, %v; want % x %s", got, problem, tt.want, tt.code)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(uint8(0), uint8(0), uint8(3), []byte{1, 2})
	f.Add(uint8(5), uint8(2), uint8(0), []byte{1, 2, 3, 4, 5, 6, 7, 8})
	types := []string{"int16", "uint16", "int32", "uint32", "float32", "float64", "bit", "", "word", "int64", "uint64", "bcd16", "bcd32", "string", "bits"}
	orders := []string{"", "ABCD", "CDAB", "BADC", "DCBA", "XYZW"}
	f.Fuzz(func(t *testing.T, typ, order, bit uint8, data []byte) {
		reg := &devices.Register{Type: types[int(typ)%len(types)], Order: orders[int(order)%len(orders)], Bit: bit % 16, Width: 1 + bit/16%(16-bit%16)}
		if reg.Type == "string" {
			reg.Length = uint8(len(data) / 2)
		}
		v, problem := value(&devices.Binding{Register: reg, Scale: 1e300, Offset: 1}, data)
		if problem == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
			t.Errorf("%v became a reading", v)
		}
		if problem == nil && len(data) != 2*reg.Words() {
			t.Errorf("%d bytes taken for a %s", len(data), reg.Type)
		}
		if problem == nil && reg.Type != "string" && len(data) > 1 { // what was read may be written
			raw, _ := decode(reg, data)
			if b, problem := encode(reg, raw, uint16(data[0])<<8|uint16(data[1])); problem == nil {
				if again, err := decode(reg, b); err != nil || again != raw {
					t.Errorf("%s %v was written as % x, which is %v", reg.Type, raw, b, again)
				}
			}
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
		{"coils", 8, at("coil", "bit", 0, 7, 136), []req{{"coil", 0, 137, 3}}},
		{"coils too far apart", 8, at("discrete", "bit", 0, 130), []req{{"discrete", 0, 1, 1}, {"discrete", 130, 1, 1}}},
		{"2000 coils", 0, at("coil", "bit", run(2000, 1)...), []req{{"coil", 0, 2000, 2000}}},
		{"2001 coils", 0, at("coil", "bit", run(2001, 1)...), []req{{"coil", 0, 2000, 2000}, {"coil", 2000, 1, 1}}},
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
			for _, b := range plan(tt.bounds, caps{gap: tt.gap, size: 125}) {
				got = append(got, req{b.table, b.start, b.quantity, len(b.bounds)})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCapsOfADevice(t *testing.T) {
	var bounds []*devices.Bound
	for i := range uint16(30) {
		bounds = append(bounds,
			&devices.Bound{Binding: devices.Binding{Register: &devices.Register{Table: "holding", Address: 2 * i, Type: "uint16"}}},
			&devices.Bound{Binding: devices.Binding{Register: &devices.Register{Table: "coil", Address: 2 * i, Type: "bit"}}})
	}
	tests := []struct {
		name     string
		settings devices.ModbusSettings
		want     []int // registers, then coils
	}{
		{"defaults", devices.ModbusSettings{}, []int{59, 59}},
		{"at most 20", devices.ModbusSettings{Size: 20}, []int{19, 19, 19, 59}},
		{"one at a time", devices.ModbusSettings{Size: 1}, append(slices.Repeat([]int{1}, 30), 15, 15, 15, 11)},
		{"over none", devices.ModbusSettings{Gap: -1}, slices.Repeat([]int{1}, 60)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			registers, coils := []int{}, []int{}
			for _, b := range plan(bounds, capsOf(&tt.settings)) {
				if b.table == "coil" {
					coils = append(coils, int(b.quantity))
				} else {
					registers = append(registers, int(b.quantity))
				}
			}
			if diff := cmp.Diff(tt.want, append(registers, coils...)); diff != "" {
				t.Error(diff)
			}
		})
	}
	long := &devices.Bound{Binding: devices.Binding{Register: &devices.Register{Table: "input", Type: "float64"}}}
	if b := plan([]*devices.Bound{long}, caps{size: 2}); len(b) != 1 || b[0].quantity != 4 {
		t.Errorf("a value longer than the size was asked for by %v", b)
	}
}

func TestOtherQuantity(t *testing.T) {
	for _, function := range []byte{readCoils, readDiscrete, readHolding, readInput} {
		for n := 1; n <= mostPlaces(function); n++ {
			asked := query{function: function, quantity: uint16(n)}
			debts := []owed{{size: asked.size()}}
			for range owedMost {
				asked.quantity = otherQuantity(asked, debts)
				if asked.quantity < 1 || int(asked.quantity) > mostPlaces(function) || slices.ContainsFunc(debts, func(o owed) bool { return o.size == asked.size() }) {
					t.Fatalf("otherQuantity(%d, %v) = %d", n, debts, asked.quantity)
				}
				debts = append(debts, owed{size: asked.size()})
			}
		}
	}
}
