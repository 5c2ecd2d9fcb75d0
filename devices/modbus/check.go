package modbus

import (
	"cmp"
	"fmt"
	"slices"

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
	if m := dev.Modbus; m != nil {
		ps.Add(checkUnit(m.Unit, dev.Endpoint))
		if m.Gap < 0 || m.Gap >= maxRegisters {
			ps.Add(devices.Invalid("modbus.gap", "out_of_range", "合并读取的间隔须为 0 至 124 个寄存器", "a request may read over 0 to 124 unused registers"))
		}
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

func checkUnit(unit uint8, endpoint string) *devices.Problem {
	rtu := len(endpoint) > 10 && endpoint[:10] == "modbus+rtu"
	switch {
	case rtu && (unit < 1 || unit > 247):
		return devices.Invalid("modbus.unit", "out_of_range", "RTU 从站的单元号须为 1 至 247", "an RTU device has a unit id of 1 to 247")
	case unit > 247 && unit < 255:
		return devices.Invalid("modbus.unit", "out_of_range", "单元号须为 1 至 247；0 和 255 指 TCP 设备本身", "a unit id is 1 to 247; 0 and 255 address a TCP device itself")
	}
	return nil
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

// overlaps finds values that share a register without being the same one. One
// register may be read as a whole and bit by bit, and several points may take
// the same value.
func overlaps(bindings []*devices.Binding) devices.Problems {
	sorted := slices.Clone(bindings)
	slices.SortStableFunc(sorted, func(a, b *devices.Binding) int {
		return cmp.Or(cmp.Compare(a.Register.Table, b.Register.Table), cmp.Compare(a.Register.Address, b.Register.Address), cmp.Compare(b.Register.Words(), a.Register.Words()))
	})
	var ps devices.Problems
	for i, b := range sorted {
		for j := i - 1; j >= 0 && j >= i-64; j-- {
			a := sorted[j]
			if a.Register.Table != b.Register.Table || int(a.Register.Address)+4 <= int(b.Register.Address) {
				break
			}
			if int(a.Register.Address)+a.Register.Words() <= int(b.Register.Address) || sameValue(a.Register, b.Register) {
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

func sameValue(a, b *devices.Register) bool {
	if a.Address != b.Address || a.Words() != b.Words() {
		return false
	}
	return a.Words() == 1 || (a.Type == b.Type && a.Order == b.Order)
}
