// Package register turns the bytes of Modbus registers into numbers and back, as
// the package comment of modbus describes them.
package register

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"offsite/devices"
)

// Decode gives the number that stands in the bytes of a register as they
// arrived, before scale and offset. b holds 2 × reg.Words() bytes; a coil is
// the lowest bit of two. A 64-bit integer beyond 2^53 is rounded.
func Decode(reg *devices.Register, b []byte) (float64, error) {
	if want := 2 * reg.Words(); want == 0 || len(b) != want {
		return 0, fmt.Errorf("decode %s: %d bytes, want %d", reg.Type, len(b), want)
	}
	v := make([]byte, len(b))
	arrange(v, b, reg.Order)
	switch reg.Type {
	case "bit":
		return float64(binary.BigEndian.Uint16(v) >> (reg.Bit & 15) & 1), nil
	case "bits":
		return float64(binary.BigEndian.Uint16(v) >> (reg.Bit & 15) & (1<<reg.Width - 1)), nil
	case "int16":
		return float64(int16(binary.BigEndian.Uint16(v))), nil
	case "uint16":
		return float64(binary.BigEndian.Uint16(v)), nil
	case "int32":
		return float64(int32(binary.BigEndian.Uint32(v))), nil
	case "uint32":
		return float64(binary.BigEndian.Uint32(v)), nil
	case "int64":
		return float64(int64(binary.BigEndian.Uint64(v))), nil
	case "uint64":
		return float64(binary.BigEndian.Uint64(v)), nil
	case "float32":
		return float64(math.Float32frombits(binary.BigEndian.Uint32(v))), nil
	case "bcd16", "bcd32":
		return bcd(v)
	case "string":
		return spelt(v)
	default: // float64, the only other type that has words
		return math.Float64frombits(binary.BigEndian.Uint64(v)), nil
	}
}

// bcd reads two decimal digits a byte.
func bcd(v []byte) (float64, error) {
	n := 0
	for _, b := range v {
		if b>>4 > 9 || b&15 > 9 {
			return 0, fmt.Errorf("%02x is not two decimal digits", b)
		}
		n = 100*n + int(10*(b>>4)+b&15)
	}
	return float64(n), nil
}

// spelt reads the number that a text spells, between spaces and zero bytes.
func spelt(v []byte) (float64, error) {
	text := strings.Trim(string(v), " \x00\t\r\n")
	if strings.Trim(text, "0123456789+-.eE") != "" { // nor Inf, NaN, hexadecimal
		return 0, fmt.Errorf("%q is not a number", text)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	return f, nil
}

// arrange puts the bytes of src into dst, most significant first.
func arrange(dst, src []byte, order string) {
	wordsReversed := order == "CDAB" || order == "DCBA"
	bytesSwapped := order == "BADC" || order == "DCBA"
	for i := range src {
		from := i
		if wordsReversed {
			from = len(src) - 2 - i&^1 + i&1
		}
		if bytesSwapped {
			from ^= 1
		}
		dst[i] = src[from]
	}
}

// Encode gives the bytes, as they travel, of a number before scale and offset.
// Bits change within now, the bytes of the register as they arrived last.
func Encode(reg *devices.Register, raw float64, now []byte) ([]byte, *devices.Problem) {
	low, high, whole := extent(reg)
	if whole {
		rounded := math.Round(raw)
		if math.Abs(rounded-raw) > 1e-6*max(1, math.Abs(raw)) {
			return nil, devices.Invalid("value", "between_steps",
				fmt.Sprintf("寄存器只能存整数步，%g 落在两步之间；请按缩放的步长给值", raw),
				fmt.Sprintf("the register holds whole steps and %g lies between two; give a value that fits its scale", raw))
		}
		raw = rounded
	}
	if math.IsNaN(raw) || raw < low || raw > high {
		return nil, devices.Invalid("value", "out_of_range",
			fmt.Sprintf("寄存器类型 %s 存不下 %g", reg.Type, raw), fmt.Sprintf("a register of type %s cannot hold %g", reg.Type, raw))
	}
	var v []byte
	switch reg.Type {
	case "bit", "bits":
		word, mask := make([]byte, 2), uint16(high)<<reg.Bit
		arrange(word, now[:2], reg.Order)
		v = binary.BigEndian.AppendUint16(nil, binary.BigEndian.Uint16(word)&^mask|uint16(raw)<<reg.Bit)
	case "int16":
		v = binary.BigEndian.AppendUint16(nil, uint16(int16(raw)))
	case "uint16":
		v = binary.BigEndian.AppendUint16(nil, uint16(raw))
	case "int32":
		v = binary.BigEndian.AppendUint32(nil, uint32(int32(raw)))
	case "uint32":
		v = binary.BigEndian.AppendUint32(nil, uint32(raw))
	case "int64":
		v = binary.BigEndian.AppendUint64(nil, uint64(int64(raw)))
	case "uint64":
		v = binary.BigEndian.AppendUint64(nil, uint64(raw))
	case "float32":
		v = binary.BigEndian.AppendUint32(nil, math.Float32bits(float32(raw)))
	case "float64":
		v = binary.BigEndian.AppendUint64(nil, math.Float64bits(raw))
	case "bcd16", "bcd32":
		v = toBCD(uint64(raw), 2*reg.Words())
	default:
		return nil, devices.Invalid("register.type", "not_writable", "此类型的寄存器不能写入", "a register of this type cannot be written")
	}
	b := make([]byte, len(v))
	arrange(b, v, reg.Order) // an order undoes itself
	return b, nil
}

// extent is what a type holds, and whether whole numbers only.
func extent(reg *devices.Register) (low, high float64, whole bool) {
	switch reg.Type {
	case "bit":
		return 0, 1, true
	case "bits":
		return 0, float64(uint16(1)<<reg.Width - 1), true
	case "int16":
		return math.MinInt16, math.MaxInt16, true
	case "uint16":
		return 0, math.MaxUint16, true
	case "int32":
		return math.MinInt32, math.MaxInt32, true
	case "uint32":
		return 0, math.MaxUint32, true
	case "int64":
		return -1 << 53, 1 << 53, true // beyond, the number given is not the one written
	case "uint64":
		return 0, 1 << 53, true
	case "bcd16":
		return 0, 9999, true
	case "bcd32":
		return 0, 99999999, true
	case "float32":
		return -math.MaxFloat32, math.MaxFloat32, false
	default:
		return -math.MaxFloat64, math.MaxFloat64, false
	}
}

func toBCD(n uint64, length int) []byte {
	v := make([]byte, length)
	for i := length - 1; i >= 0; i-- {
		v[i] = byte(n%10 | n/10%10<<4)
		n /= 100
	}
	return v
}

// Value is decode with the binding's scale and offset, checked: a reading is
// never NaN or infinite.
func Value(b *devices.Binding, data []byte) (float64, *devices.Problem) {
	raw, err := Decode(b.Register, data)
	if err != nil {
		return 0, notDecoded(b.Register, data, err)
	}
	v := b.Conversion().Value(raw)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, notFinite(b.Register, raw)
	}
	return v, nil
}

func notDecoded(reg *devices.Register, data []byte, err error) *devices.Problem {
	p := devices.Invalid("register.type", "not_decoded",
		fmt.Sprintf("寄存器 %d 的内容（% x）不是 %s；请核对类型与字节序", reg.Address, data, reg.Type),
		fmt.Sprintf("what register %d holds (% x) is not %s; check type and order", reg.Address, data, reg.Type))
	p.Cause = err
	return p
}

func notFinite(reg *devices.Register, raw float64) *devices.Problem {
	return devices.Invalid("register", "not_finite",
		fmt.Sprintf("寄存器 %d 解码为 %v，不是有效数值；请检查字节序、类型与仪表状态", reg.Address, raw),
		fmt.Sprintf("register %d decodes to %v, which is no value; check word order, type and the instrument", reg.Address, raw))
}

// Quality says whether v lies in the point's stated range.
func Quality(p *devices.Point, v float64) devices.Quality {
	if (p.Min != nil && v < *p.Min) || (p.Max != nil && v > *p.Max) {
		return devices.UncertainRange
	}
	return devices.Good
}
