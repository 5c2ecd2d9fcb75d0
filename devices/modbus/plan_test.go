package modbus

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

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
