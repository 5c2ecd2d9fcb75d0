package register

import (
	"bytes"
	"math"
	"testing"

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
			got, err := Decode(&devices.Register{Type: tt.typ, Order: tt.order, Bit: 3, Width: 3, Length: 4}, tt.bytes)
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
			if v, problem := Value(&devices.Binding{Register: &tt.reg}, tt.b); problem == nil {
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
			got, problem := Encode(&tt.reg, tt.raw, []byte{0xff, 0x0f})
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
		v, problem := Value(&devices.Binding{Register: reg, Scale: 1e300, Offset: 1}, data)
		if problem == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
			t.Errorf("%v became a reading", v)
		}
		if problem == nil && len(data) != 2*reg.Words() {
			t.Errorf("%d bytes taken for a %s", len(data), reg.Type)
		}
		if problem == nil && reg.Type != "string" && len(data) > 1 { // what was read may be written
			raw, _ := Decode(reg, data)
			if b, problem := Encode(reg, raw, data); problem == nil {
				if again, err := Decode(reg, b); err != nil || again != raw {
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
