package registry

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"offsite/devices"
)

// bindingsOf gives the live bindings of a point or a device by id.
func (e *Edit) bindingsOf(kind devices.Kind, id string) []*devices.Binding {
	if e.byPoint == nil {
		e.byPoint = make(map[string]map[string]*devices.Binding)
		e.byDevice = make(map[string]map[string]*devices.Binding)
		for _, t := range e.things[devices.KindBinding] {
			e.index(t.(*devices.Binding))
		}
	}
	var found map[string]*devices.Binding
	switch kind {
	case devices.KindPoint:
		found = e.byPoint[id]
	case devices.KindDevice:
		found = e.byDevice[id]
	}
	return slices.SortedFunc(maps.Values(found), func(a, b *devices.Binding) int { return cmp.Compare(a.ID, b.ID) })
}

func (e *Edit) index(b *devices.Binding) {
	add := func(m map[string]map[string]*devices.Binding, key string) {
		if m[key] == nil {
			m[key] = make(map[string]*devices.Binding)
		}
		m[key][b.ID] = b
	}
	add(e.byPoint, b.Point)
	add(e.byDevice, b.Device)
}

// reindex follows a change of one binding.
func (e *Edit) reindex(old, t devices.Thing, op string) {
	if e.byPoint == nil {
		return
	}
	if was, ok := old.(*devices.Binding); ok {
		delete(e.byPoint[was.Point], was.ID)
		delete(e.byDevice[was.Device], was.ID)
	}
	if op != opDelete {
		e.index(t.(*devices.Binding))
	}
}

func (e *Edit) checkBinding(b *devices.Binding) (ps devices.Problems) {
	ps.Add(e.known("point", devices.KindPoint, b.Point))
	ps.Add(e.known("device", devices.KindDevice, b.Device))
	for _, other := range e.bindingsOf(devices.KindPoint, b.Point) {
		if other.ID != b.ID && overlap(b, other) {
			ps.Add(devices.Invalid("from", "binding_overlap",
				fmt.Sprintf("测点“%s”在 %s 已由绑定“%s”接到设备“%s”；同一时刻只能有一个绑定，请先结束它或更改时间", b.Point, span(other), other.ID, other.Device),
				fmt.Sprintf("point %q is bound to device %q by binding %q for %s; a point has one binding at a time: end that one first or change the times", b.Point, other.Device, other.ID, span(other))))
			break
		}
	}
	d, ok := find[*devices.Device](e.things, devices.KindDevice, b.Device)
	if !ok {
		return ps
	}
	own := fits(b, d.Driver)
	if len(own) > 0 {
		return append(ps, own...)
	}
	// In no order, and the dearest test last: a table may bring thousands of them.
	var first *devices.Binding
	var found *devices.Problem
	for id, other := range e.byDevice[b.Device] {
		if id == b.ID || !overlap(b, other) || (first != nil && first.ID < id) {
			continue
		}
		if p := clash(b, other); p != nil && len(fits(other, d.Driver)) == 0 {
			first, found = other, p
		}
	}
	ps.Add(found)
	return ps
}

// checkDeviceBindings tells which bindings no longer fit a device whose driver
// was changed.
func (e *Edit) checkDeviceBindings(d *devices.Device) (ps devices.Problems) {
	for _, b := range e.bindingsOf(devices.KindDevice, d.ID) {
		if b.To != nil && !b.To.After(e.now) {
			continue // past: it is history, whatever it was read with
		}
		if wrong := fits(b, d.Driver); len(wrong) > 0 {
			ps.Add(devices.Invalid("driver", "bindings_differ",
				fmt.Sprintf("绑定“%s”不适用于驱动 %s（%s）；请先停用该绑定", b.ID, d.Driver, wrong[0].ZH),
				fmt.Sprintf("binding %q does not fit driver %s (%s); retire the binding first", b.ID, d.Driver, wrong[0].EN)))
			return ps
		}
	}
	return ps
}

// fits tells what in b is wrong for a device of that driver.
func fits(b *devices.Binding, driver string) (ps devices.Problems) {
	switch driver {
	case devices.DriverModbus:
		if b.Register == nil {
			ps.Add(devices.Invalid("register", "missing", "Modbus 设备的绑定须填写寄存器", "a binding to a Modbus device needs a register"))
		}
		if b.Topic != nil {
			ps.Add(devices.Invalid("topic", "not_used", "Modbus 设备没有主题，请留空", "a Modbus device has no topics; leave it empty"))
		}
		ps.Add(factorUnused(b))
	case devices.DriverMQTT, devices.DriverBroker:
		if b.Register != nil {
			ps.Add(devices.Invalid("register", "not_used", "MQTT 设备没有寄存器，请留空", "an MQTT device has no registers; leave it empty"))
		}
		ps.Add(factorUnused(b))
		ps = append(ps, b.CheckTopic()...)
	case devices.DriverHJ212:
		if b.Factor == nil {
			ps.Add(devices.Invalid("factor.code", "missing", "数采仪的绑定须填写监测因子编码", "a binding to a data logger needs the factor's code"))
		}
		if b.Register != nil {
			ps.Add(devices.Invalid("register", "not_used", "数采仪没有寄存器，请留空", "a data logger has no registers; leave it empty"))
		}
		if b.Topic != nil {
			ps.Add(devices.Invalid("topic", "not_used", "数采仪没有主题，请留空", "a data logger has no topics; leave it empty"))
		}
	}
	return ps
}

func factorUnused(b *devices.Binding) *devices.Problem {
	if b.Factor == nil {
		return nil
	}
	return devices.Invalid("factor", "not_used", "只有 HJ 212 数采仪的绑定填写因子编码，请留空", "only bindings to HJ 212 data loggers have a factor code; leave it empty")
}

// overlap says that both bindings are in force at some instant.
func overlap(a, b *devices.Binding) bool {
	return (a.To == nil || b.From.Before(*a.To)) && (b.To == nil || a.From.Before(*b.To))
}

func span(b *devices.Binding) string {
	text := b.From.In(devices.Beijing).Format("2006-01-02 15:04:05") + " – "
	if b.To != nil {
		text += b.To.In(devices.Beijing).Format("2006-01-02 15:04:05")
	}
	return text
}

// clash tells why two bindings of one device cannot both be right.
func clash(b, other *devices.Binding) *devices.Problem {
	if b.Register != nil && other.Register != nil {
		return registerClash(b.Register, other)
	}
	if b.Factor != nil || other.Factor != nil {
		return factorClash(b, other)
	}
	if b.Register == nil && other.Register == nil {
		return topicClash(b, other)
	}
	return nil
}

// registerClash refuses registers that overlap in contradiction. The same value
// twice is well, so are bits beside each other and beside their whole word.
func registerClash(r *devices.Register, other *devices.Binding) *devices.Problem {
	o := other.Register
	if !r.Contradicts(o) {
		return nil
	}
	return devices.Invalid("register.address", "register_overlap",
		fmt.Sprintf("寄存器 %s 与绑定“%s”的 %s 重叠；请核对地址和类型", describe(r), other.ID, describe(o)),
		fmt.Sprintf("register %s overlaps %s of binding %q; check address and type", describe(r), describe(o), other.ID))
}

func last(r *devices.Register) int { return int(r.Address) + r.Words() - 1 }

// order is the byte order that takes effect, shown for values of several words.
func order(r *devices.Register) string {
	if r.Words() < 2 {
		return ""
	}
	return cmp.Or(r.Order, "ABCD")
}

func describe(r *devices.Register) string {
	if r.Words() < 2 {
		return fmt.Sprintf("%s %d (%s)", r.Table, r.Address, r.Type)
	}
	return fmt.Sprintf("%s %d–%d (%s %s)", r.Table, r.Address, last(r), r.Type, order(r))
}

// factorClash refuses two points at the same place of a logger's packets: one
// of the two was meant to be another factor, kind or property.
func factorClash(b, other *devices.Binding) *devices.Problem {
	if b.Factor == nil || other.Factor == nil || b.Factor.Full() != other.Factor.Full() {
		return nil
	}
	f := b.Factor.Full()
	return devices.Invalid("factor.code", "factor_bound",
		fmt.Sprintf("该数采仪的 %s（%s，%s）已由绑定“%s”接到测点“%s”；请核对因子、数据类型和数据项", f.Code, f.Kind, f.Field, other.ID, other.Point),
		fmt.Sprintf("%s (%s, %s) of this logger is already bound to point %q by binding %q; check factor, kind and field", f.Code, f.Kind, f.Field, other.Point, other.ID))
}

// topicClash refuses two points that listen to the same value of the same topic
// where one of them did not choose it: points of two outlets that have the same
// local name have the same default topic.
func topicClash(b, other *devices.Binding) *devices.Problem {
	if (chosen(b) && chosen(other)) || path(b) != path(other) {
		return nil
	}
	topic := fullTopic(b)
	if topic == "" || topic != fullTopic(other) {
		return nil
	}
	return devices.Invalid("topic.topic", "topic_collision",
		fmt.Sprintf("默认主题 %s 已由绑定“%s”（测点“%s”）使用；请填写另一个主题或取值路径", topic, other.ID, other.Point),
		fmt.Sprintf("the default topic %s is already that of binding %q (point %q); write another topic or a path", topic, other.ID, other.Point))
}

func chosen(b *devices.Binding) bool { return b.Topic != nil && b.Topic.Topic != "" }

func path(b *devices.Binding) string {
	if b.Topic == nil {
		return ""
	}
	return b.Topic.Path
}

// fullTopic is the topic of b with the default filled in, "" if it is no good.
func fullTopic(b *devices.Binding) string {
	if len(b.CheckTopic()) > 0 {
		return ""
	}
	return b.Listens().Topic
}
