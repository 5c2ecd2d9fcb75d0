package modbus

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

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

// maxRegisters is how many registers one request may ask for (Modbus
// Application Protocol V1.1b3, 6.3).
const maxRegisters = 125

// defaultGap is how many unused registers one request reads over.
const defaultGap = 8

// block is one request and the bindings that it serves, by address.
type block struct {
	table    string
	start    uint16
	quantity uint16
	bounds   []*devices.Bound
	gap      int // that it was planned with
	breaker  breaker
}

// plan puts neighbouring registers together into few requests: never across
// tables, never over more than gap unused registers, never above 125.
func plan(bounds []*devices.Bound, gap int) []*block {
	sorted := slices.Clone(bounds)
	slices.SortStableFunc(sorted, func(a, b *devices.Bound) int {
		ra, rb := a.Binding.Register, b.Binding.Register
		return cmp.Or(cmp.Compare(ra.Table, rb.Table), cmp.Compare(ra.Address, rb.Address), cmp.Compare(a.Point.ID, b.Point.ID))
	})
	var blocks []*block
	for _, b := range sorted {
		reg := b.Binding.Register
		start, end := int(reg.Address), int(reg.Address)+reg.Words()
		if n := len(blocks); n > 0 {
			last := blocks[n-1]
			lastEnd := int(last.start) + int(last.quantity)
			if last.table == reg.Table && start-lastEnd <= gap && end-int(last.start) <= maxRegisters {
				last.quantity = uint16(max(lastEnd, end) - int(last.start))
				last.bounds = append(last.bounds, b)
				continue
			}
		}
		blocks = append(blocks, &block{table: reg.Table, start: reg.Address, quantity: uint16(end - start), bounds: []*devices.Bound{b}, gap: gap})
	}
	return blocks
}

// split cuts a block that the device refuses as a whole ("illegal data
// address" for one unused register in it) into blocks without gaps, and those
// into single bindings. It gives nil when there is nothing to cut.
func (b *block) split() []*block {
	if len(b.bounds) < 2 {
		return nil
	}
	if b.gap > 0 {
		if parts := plan(b.bounds, 0); len(parts) > 1 {
			return parts
		}
	}
	var parts []*block
	for _, bound := range b.bounds {
		parts = append(parts, plan([]*devices.Bound{bound}, 0)...)
	}
	return parts
}

// of gives the bytes of one binding out of the answer to the whole block.
func (b *block) of(bound *devices.Bound, data []byte) []byte {
	from := 2 * (int(bound.Binding.Register.Address) - int(b.start))
	return data[from : from+2*bound.Binding.Register.Words()]
}
