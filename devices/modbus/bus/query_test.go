package bus

import (
	"slices"
	"testing"

	"offsite/devices/modbus/wire"
)

func TestOtherQuantity(t *testing.T) {
	for _, function := range []byte{wire.ReadCoils, wire.ReadDiscrete, wire.ReadHolding, wire.ReadInput} {
		for n := 1; n <= mostPlaces(function); n++ {
			asked := Query{Function: function, Quantity: uint16(n)}
			debts := []owed{{size: asked.size()}}
			for range owedMost {
				asked.Quantity = otherQuantity(asked, debts)
				if asked.Quantity < 1 || int(asked.Quantity) > mostPlaces(function) || slices.ContainsFunc(debts, func(o owed) bool { return o.size == asked.size() }) {
					t.Fatalf("otherQuantity(%d, %v) = %d", n, debts, asked.Quantity)
				}
				debts = append(debts, owed{size: asked.size()})
			}
		}
	}
}
