package modbus

import (
	"cmp"
	"slices"

	"offsite/devices"
	"offsite/devices/modbus/bus"
	"offsite/devices/modbus/wire"
)

// reads gives the function that reads a table.
func reads(table string) byte {
	switch table {
	case "coil":
		return wire.ReadCoils
	case "discrete":
		return wire.ReadDiscrete
	case "input":
		return wire.ReadInput
	default:
		return wire.ReadHolding
	}
}

// Defaults and arithmetic of requests.
const (
	defaultGap   = 8 // unused registers that one request reads over
	bitsPerPlace = 16
)

// caps are what one request may ask for, in registers.
type caps struct {
	gap, size int
}

func capsOf(m *devices.ModbusSettings) caps {
	c := caps{gap: m.Gap, size: m.Size}
	switch m.Gap {
	case 0:
		c.gap = defaultGap
	case -1:
		c.gap = 0
	}
	if c.size == 0 {
		c.size = devices.MostRegisters
	}
	return c
}

// in gives the caps in places of reg's table: as many bits as registers hold.
func (c caps) in(reg *devices.Register) caps {
	if reg.Bits() {
		return caps{gap: c.gap * bitsPerPlace, size: min(c.size*bitsPerPlace, devices.MostCoils)}
	}
	return c
}

// block is one request and the bindings that it serves, by address.
type block struct {
	table    string
	start    uint16
	quantity uint16
	bounds   []*devices.Bound
	caps     caps // that it was planned with
	breaker  breaker
}

// plan puts neighbouring places together into few requests: never across
// tables, never over more than the gap of unused ones, never above the size. A
// value longer than the size is asked for alone and whole.
func plan(bounds []*devices.Bound, c caps) []*block {
	sorted := slices.Clone(bounds)
	slices.SortStableFunc(sorted, func(a, b *devices.Bound) int {
		ra, rb := a.Binding.Register, b.Binding.Register
		return cmp.Or(cmp.Compare(ra.Table, rb.Table), cmp.Compare(ra.Address, rb.Address), cmp.Compare(a.Point.ID, b.Point.ID))
	})
	var blocks []*block
	for _, b := range sorted {
		reg := b.Binding.Register
		most := c.in(reg)
		start, end := int(reg.Address), int(reg.Address)+reg.Words()
		if n := len(blocks); n > 0 {
			last := blocks[n-1]
			lastEnd := int(last.start) + int(last.quantity)
			if last.table == reg.Table && start-lastEnd <= most.gap && max(end, lastEnd)-int(last.start) <= max(most.size, int(last.quantity)) {
				last.quantity = uint16(max(lastEnd, end) - int(last.start))
				last.bounds = append(last.bounds, b)
				continue
			}
		}
		blocks = append(blocks, &block{table: reg.Table, start: reg.Address, quantity: uint16(end - start), bounds: []*devices.Bound{b}, caps: c})
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
	dense := caps{size: b.caps.size}
	if b.caps.gap > 0 {
		if parts := plan(b.bounds, dense); len(parts) > 1 {
			return parts
		}
	}
	var parts []*block
	for _, bound := range b.bounds {
		parts = append(parts, plan([]*devices.Bound{bound}, dense)...)
	}
	return parts
}

// query asks for the block.
func (b *block) query() bus.Query {
	return bus.Query{Function: reads(b.table), Start: b.start, Quantity: b.quantity}
}

// of gives the bytes of one binding out of the answer to the whole block; a bit
// of a table of bits as the lowest of two bytes.
func (b *block) of(bound *devices.Bound, data []byte) []byte {
	reg := bound.Binding.Register
	from := int(reg.Address) - int(b.start)
	if reg.Bits() {
		return []byte{0, data[from/8] >> (from % 8) & 1}
	}
	return data[2*from : 2*(from+reg.Words())]
}
