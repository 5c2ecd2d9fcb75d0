package modbus

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"offsite/devices"
)

// check tells every fault of a device and its bindings at once.
func check(dev *devices.Device, bounds []devices.Bound) error {
	var ps devices.Problems
	if err := dev.Check(); err != nil {
		ps = append(ps, devices.AllProblems(err)...)
	}
	if dev.Driver != devices.DriverModbus {
		ps.Add(devices.Invalid("driver", "not_modbus", "此设备的驱动不是 modbus", "the device's driver is not modbus"))
	}
	if m := dev.Modbus; m != nil && strings.HasPrefix(dev.Endpoint, "modbus+") && (m.Unit == 0 || m.Unit == 255) {
		ps.Add(devices.Invalid("modbus.unit", "out_of_range", "RTU 与 ASCII 从站的单元号须为 1 至 247", "an RTU or ASCII device has a unit id of 1 to 247"))
	}
	var placed []*devices.Binding
	for i := range bounds {
		b := &bounds[i].Binding
		if p := checkBinding(b); p != nil {
			ps = append(ps, p...)
			continue
		}
		placed = append(placed, b)
	}
	ps = append(ps, overlaps(placed)...)
	return ps.Err()
}

// checkBinding gives the binding's own faults, each field behind its id.
func checkBinding(b *devices.Binding) devices.Problems {
	var ps devices.Problems
	if err := b.Check(); err != nil {
		ps = append(ps, devices.AllProblems(err)...)
	}
	if b.Register == nil {
		ps.Add(devices.Invalid("register", "missing", "请填写寄存器（表、地址、类型）", "give the register: table, address and type"))
	}
	for i, p := range ps {
		named := *p
		named.Field = "bindings." + b.ID + "." + p.Field
		ps[i] = &named
	}
	return ps
}

// overlaps finds values that share a register in contradiction. One register may
// be read as a whole and bit by bit, and several points may take the same value.
func overlaps(bindings []*devices.Binding) devices.Problems {
	sorted := slices.Clone(bindings)
	slices.SortStableFunc(sorted, func(a, b *devices.Binding) int {
		return cmp.Or(cmp.Compare(a.Register.Table, b.Register.Table), cmp.Compare(a.Register.Address, b.Register.Address), cmp.Compare(b.Register.Words(), a.Register.Words()))
	})
	var ps devices.Problems
	for i, b := range sorted {
		for j := i - 1; j >= 0 && j >= i-64; j-- {
			a := sorted[j]
			if a.Register.Table != b.Register.Table || int(a.Register.Address)+devices.MostRegisters <= int(b.Register.Address) {
				break
			}
			if !a.Register.Contradicts(b.Register) {
				continue
			}
			ps.Add(devices.Invalid("bindings."+b.ID+".register.address", "register_overlap",
				fmt.Sprintf("寄存器 %d（%s）与绑定 %s 的寄存器 %d（%s）重叠；请核对地址与类型", b.Register.Address, b.Register.Type, a.ID, a.Register.Address, a.Register.Type),
				fmt.Sprintf("register %d (%s) overlaps register %d (%s) of binding %s; compare addresses and types", b.Register.Address, b.Register.Type, a.Register.Address, a.Register.Type, a.ID)))
			break
		}
	}
	return ps
}
