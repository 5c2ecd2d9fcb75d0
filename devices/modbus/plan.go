package modbus

import (
	"cmp"
	"slices"

	"offsite/devices"
)

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
