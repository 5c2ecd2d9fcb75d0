package bus

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/goburrow/modbus"

	"offsite/devices"
	"offsite/devices/modbus/wire"
)

// Query is one request for registers or bits.
type Query struct {
	Unit     uint8
	Function byte // one of those of package wire
	Start    uint16
	Quantity uint16        // of registers or bits
	Values   []byte        // to write, as they travel
	Timeout  time.Duration // for the answer
	Patience time.Duration // that neighbours have with it

	pause  time.Duration // of the bus before it
	settle time.Duration // of the bus between connecting and it
}

// size is how many bytes of values answer a read, 0 for a write.
func (q Query) size() int {
	switch q.Function {
	case wire.ReadCoils, wire.ReadDiscrete:
		return (int(q.Quantity) + 7) / 8
	case wire.ReadHolding, wire.ReadInput:
		return 2 * int(q.Quantity)
	default:
		return 0
	}
}

// ask puts the query to goburrow's client. A write gives nothing that counts.
func (q Query) ask(c modbus.Client) ([]byte, error) {
	switch q.Function {
	case wire.ReadCoils:
		return c.ReadCoils(q.Start, q.Quantity)
	case wire.ReadDiscrete:
		return c.ReadDiscreteInputs(q.Start, q.Quantity)
	case wire.ReadInput:
		return c.ReadInputRegisters(q.Start, q.Quantity)
	case wire.WriteCoil:
		return c.WriteSingleCoil(q.Start, binary.BigEndian.Uint16(q.Values))
	case wire.WriteRegister:
		return c.WriteSingleRegister(q.Start, binary.BigEndian.Uint16(q.Values))
	case wire.WriteCoils:
		return c.WriteMultipleCoils(q.Start, q.Quantity, q.Values)
	case wire.WriteRegisters:
		return c.WriteMultipleRegisters(q.Start, q.Quantity, q.Values)
	default:
		return c.ReadHoldingRegisters(q.Start, q.Quantity)
	}
}

// otherQuantity is one near that of q, which no debt has the length of.
func otherQuantity(q Query, debts []owed) uint16 {
	stride, most := 1, mostPlaces(q.Function)
	if most == devices.MostCoils {
		stride = 8 // bits in a byte
	}
	for step := stride; ; step += stride {
		for _, candidate := range []int{int(q.Quantity) - step, int(q.Quantity) + step} {
			if candidate < 1 || candidate > most {
				continue
			}
			other := Query{Function: q.Function, Quantity: uint16(candidate)}
			if !slices.ContainsFunc(debts, func(o owed) bool { return o.size == other.size() }) {
				return other.Quantity
			}
		}
	}
}

// mostPlaces is how many registers or bits a read may ask for.
func mostPlaces(function byte) int {
	if function == wire.ReadCoils || function == wire.ReadDiscrete {
		return devices.MostCoils
	}
	return devices.MostRegisters
}
