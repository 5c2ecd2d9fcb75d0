package register

import (
	"fmt"
	"strings"

	"offsite/devices"
)

// Probed is what the bytes of one binding say, in its own order and in others.
func Probed(bound *devices.Bound, data []byte) devices.Probed {
	out := devices.Probed{Raw: fmt.Sprintf("% X", data)}
	if bound.Binding.Register.Bits() {
		out.Raw = fmt.Sprint(data[1])
	}
	v, problem := Value(&bound.Binding, data)
	if problem == nil {
		out.Value, out.Label = &v, bound.Point.Label(v)
		out.Plausible = bound.Point.Plausible(v)
	} else {
		out.ZH, out.EN = problem.ZH, problem.EN
	}
	out.Orders = inOrders(bound, data)
	if problem == nil && !out.Plausible {
		out.ZH, out.EN = "数值不合量程，请核对字节序、类型与缩放", "the value does not fit the point's range; check word order, type and scale"
	}
	if fitting := fittingOrders(out.Orders); !out.Plausible && fitting != "" {
		out.ZH += "；合量程的字节序：" + fitting
		out.EN += "; word orders that fit: " + fitting
	}
	return out
}

// inOrders reads the same bytes in every order that makes a difference.
func inOrders(bound *devices.Bound, data []byte) []devices.OrderedValue {
	orders := []string{"ABCD", "CDAB", "BADC", "DCBA"}
	switch reg := bound.Binding.Register; {
	case reg.Bits():
		return nil
	case reg.Words() == 1 || reg.Type == "string":
		orders = []string{"ABCD", "BADC"}
	}
	list := make([]devices.OrderedValue, 0, len(orders))
	for _, order := range orders {
		reg, b := *bound.Binding.Register, bound.Binding
		reg.Order, b.Register = order, &reg
		o := devices.OrderedValue{Order: order}
		if v, problem := Value(&b, data); problem == nil {
			o.Value, o.Plausible = &v, bound.Point.Plausible(v)
		}
		list = append(list, o)
	}
	return list
}

// fittingOrders names those that give something plausible.
func fittingOrders(list []devices.OrderedValue) string {
	var names []string
	for _, o := range list {
		if o.Plausible {
			names = append(names, o.Order)
		}
	}
	return strings.Join(names, " ")
}
