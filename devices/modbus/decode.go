package modbus

import (
	"encoding/binary"
	"fmt"
	"math"

	"offsite/devices"
)

// decode gives the number that stands in the bytes of a register as they
// arrived, before scale and offset. b holds 2 × reg.Words() bytes.
func decode(reg *devices.Register, b []byte) (float64, error) {
	if want := 2 * reg.Words(); want == 0 || len(b) != want {
		return 0, fmt.Errorf("decode %s: %d bytes, want %d", reg.Type, len(b), want)
	}
	var raw [8]byte
	v := raw[:len(b)]
	arrange(v, b, reg.Order)
	switch reg.Type {
	case "bit":
		return float64(binary.BigEndian.Uint16(v) >> (reg.Bit & 15) & 1), nil
	case "int16":
		return float64(int16(binary.BigEndian.Uint16(v))), nil
	case "uint16":
		return float64(binary.BigEndian.Uint16(v)), nil
	case "int32":
		return float64(int32(binary.BigEndian.Uint32(v))), nil
	case "uint32":
		return float64(binary.BigEndian.Uint32(v)), nil
	case "float32":
		return float64(math.Float32frombits(binary.BigEndian.Uint32(v))), nil
	default: // float64, the only other type that has words
		return math.Float64frombits(binary.BigEndian.Uint64(v)), nil
	}
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

// value is decode with the binding's scale and offset, checked: a reading is
// never NaN or infinite.
func value(b *devices.Binding, data []byte) (float64, *devices.Problem) {
	raw, err := decode(b.Register, data)
	if err != nil {
		p := devices.Invalid("register.type", "not_decoded", "寄存器类型无法解码，请检查绑定", "the register type cannot be decoded; check the binding")
		p.Cause = err
		return 0, p
	}
	scale := b.Scale
	if scale == 0 {
		scale = 1
	}
	v := raw*scale + b.Offset
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, notFinite(b.Register, raw)
	}
	return v, nil
}

func notFinite(reg *devices.Register, raw float64) *devices.Problem {
	return devices.Invalid("register", "not_finite",
		fmt.Sprintf("寄存器 %d 解码为 %v，不是有效数值；请检查字节序、类型与仪表状态", reg.Address, raw),
		fmt.Sprintf("register %d decodes to %v, which is no value; check word order, type and the instrument", reg.Address, raw))
}

// quality says whether v lies in the point's stated range.
func quality(p *devices.Point, v float64) devices.Quality {
	if (p.Min != nil && v < *p.Min) || (p.Max != nil && v > *p.Max) {
		return devices.UncertainRange
	}
	return devices.Good
}
