package registry

import (
	"fmt"
	"slices"

	"offsite/devices"
)

// check tells every fault of t: its own fields and what it refers to. old is
// what t replaces, nil at creation.
func (e *Edit) check(t, old devices.Thing) error {
	var ps devices.Problems
	if err := t.Check(); err != nil {
		ps = append(ps, devices.AllProblems(err)...)
	}
	bad := make(map[string]bool)
	for _, p := range ps {
		bad[p.Field] = true
	}
	more, err := e.checkReferences(t, old)
	if err != nil {
		return err
	}
	for _, p := range more {
		if !bad[p.Field] { // one field, one fault: the first is the one to cure
			ps = append(ps, p)
		}
	}
	return ps.Err()
}

func (e *Edit) checkReferences(t, old devices.Thing) (ps devices.Problems, err error) {
	switch t := t.(type) {
	case *devices.Site:
		for i, role := range t.Entities {
			ps.Add(e.known(fmt.Sprintf("entities[%d].entity", i), devices.KindEntity, role.Entity))
		}
	case *devices.Outlet:
		return e.checkOutlet(t, old)
	case *devices.Point:
		ps.Add(e.known("id", devices.KindOutlet, t.Outlet()))
		ps = append(ps, e.checkUnits("unit", t, e.kindOf(t.Outlet()))...)
	case *devices.Device:
		ps.Add(e.known("site", devices.KindSite, t.Site))
		ps.Add(e.checkMN(t))
		ps = append(ps, e.checkDeviceBindings(t)...)
	case *devices.Binding:
		return e.checkBinding(t), nil
	case *devices.Camera:
		ps = e.checkCamera(t)
	case *devices.Limit:
		ps = e.checkLimit(t)
	}
	return ps, nil
}

// known says that no live thing has the id. The empty id is for Check to tell.
func (e *Edit) known(field string, kind devices.Kind, id string) *devices.Problem {
	if id == "" || e.Get(kind, id) != nil {
		return nil
	}
	zh, en := words(kind)
	return devices.Invalid(field, "unknown_"+string(kind),
		fmt.Sprintf("没有编号为“%s”的%s；请先登记，或更正编号", id, zh),
		fmt.Sprintf("there is no %s %q; register it first or correct the id", en, id))
}

// checkMN keeps loggers apart: a packet's MN is all that says whose it is.
func (e *Edit) checkMN(d *devices.Device) *devices.Problem {
	if d.Driver != devices.DriverHJ212 || d.HJ212 == nil {
		return nil
	}
	for _, t := range e.things[devices.KindDevice] {
		other := t.(*devices.Device)
		if other.ID != d.ID && other.Driver == devices.DriverHJ212 && other.HJ212 != nil && other.HJ212.MN == d.HJ212.MN {
			return devices.Invalid("hj212.mn", "mn_used",
				fmt.Sprintf("MN 已由设备“%s”使用；请核对数采仪的设备唯一标识", other.ID),
				fmt.Sprintf("device %q has this MN already; check the logger's identity", other.ID))
		}
	}
	return nil
}

// checkOutlet keeps an outlet in its site once it has had points: their
// history is kept under the site.
func (e *Edit) checkOutlet(o *devices.Outlet, old devices.Thing) (ps devices.Problems, err error) {
	ps.Add(e.known("site", devices.KindSite, o.Site))
	if old == nil {
		return ps, nil
	}
	if was := old.(*devices.Outlet).Site; was != o.Site {
		had, err := e.hadPoints(o.ID)
		if err != nil {
			return nil, err
		}
		if had {
			ps.Add(devices.Invalid("site", "site_fixed",
				fmt.Sprintf("该点位已有测点，历史数据归在场所“%s”下，不能更换；请停用后另建点位", was),
				fmt.Sprintf("the outlet has had points, whose history is kept under site %q; retire it and make a new one", was)))
		}
		for _, c := range e.watching(o.ID) {
			ps.Add(devices.Invalid("site", "other_site",
				fmt.Sprintf("摄像机“%s”正在监看该点位，且属于另一场所；请先更改摄像机", c.ID),
				fmt.Sprintf("camera %q watches this outlet and belongs to another site; change the camera first", c.ID)))
		}
	}
	for _, t := range e.things[devices.KindPoint] {
		if p := t.(*devices.Point); p.Outlet() == o.ID {
			ps = append(ps, e.checkUnits("kind", p, o.OutletKind)...)
		}
	}
	return ps, nil
}

func (e *Edit) checkCamera(c *devices.Camera) (ps devices.Problems) {
	ps.Add(e.known("site", devices.KindSite, c.Site))
	for i, id := range c.Outlets {
		field := fmt.Sprintf("outlets[%d]", i)
		ps.Add(e.known(field, devices.KindOutlet, id))
		outlet, ok := find[*devices.Outlet](e.things, devices.KindOutlet, id)
		switch {
		case ok && outlet.Site != c.Site:
			ps.Add(devices.Invalid(field, "other_site",
				fmt.Sprintf("点位“%s”属于场所“%s”；摄像机只能监看本场所的点位", id, outlet.Site),
				fmt.Sprintf("outlet %q belongs to site %q; a camera watches outlets of its own site", id, outlet.Site)))
		case slices.Contains(c.Outlets[:i], id):
			ps.Add(devices.Invalid(field, "named_twice", "同一点位只需填写一次", "name each outlet once"))
		}
	}
	return ps
}

func (e *Edit) checkLimit(l *devices.Limit) (ps devices.Problems) {
	if l.Point != "" {
		ps.Add(e.known("point", devices.KindPoint, l.Point))
	} else if l.OutletKind != "" {
		ps = append(ps, checkOutletKind(l.OutletKind)...)
	}
	if l.Unit == "" {
		return ps
	}
	if l.Point != "" { // found at once, where a table brings 10,000 of them
		if p, ok := find[*devices.Point](e.things, devices.KindPoint, l.Point); ok && p.Unit != l.Unit {
			ps.Add(unitDiffers("unit", l, p))
		}
		return ps
	}
	for _, t := range e.things[devices.KindPoint] {
		p := t.(*devices.Point)
		if applies(l, p, e.kindOf(p.Outlet())) && p.Unit != l.Unit {
			ps.Add(unitDiffers("unit", l, p))
			break
		}
	}
	return ps
}

// checkOutletKind asks the outlet itself which kinds there are.
func checkOutletKind(kind string) (ps devices.Problems) {
	probe := devices.Outlet{ID: "x", Site: "x", Name: "x", OutletKind: kind}
	if err := probe.Check(); err != nil {
		for _, p := range devices.AllProblems(err) {
			ps.Add(devices.Invalid("outlet_kind", p.Code, p.ZH, p.EN))
		}
	}
	return ps
}

// checkUnits compares a point's unit with those of the limits that apply to
// it: a limit in mg/m3 over readings in ug/m3 would never be breached.
func (e *Edit) checkUnits(field string, p *devices.Point, outletKind string) (ps devices.Problems) {
	if e.limits == nil {
		e.limits = make(map[string][]*devices.Limit)
		for _, t := range e.things[devices.KindLimit] {
			l := t.(*devices.Limit)
			e.limits[l.Point] = append(e.limits[l.Point], l)
		}
	}
	for _, list := range [][]*devices.Limit{e.limits[p.ID], e.limits[""]} {
		for _, l := range list {
			if l.Unit != "" && applies(l, p, outletKind) && l.Unit != p.Unit {
				return devices.Problems{unitDiffers(field, l, p)}
			}
		}
	}
	return nil
}

func applies(l *devices.Limit, p *devices.Point, outletKind string) bool {
	if l.Point != "" {
		return l.Point == p.ID
	}
	return l.OutletKind == outletKind && l.Factor == p.Factor
}

func unitDiffers(field string, l *devices.Limit, p *devices.Point) *devices.Problem {
	return devices.Invalid(field, "unit_differs",
		fmt.Sprintf("限值“%s”的单位为“%s”，测点“%s”的单位为“%s”；请统一单位后换算限值", l.ID, l.Unit, p.ID, p.Unit),
		fmt.Sprintf("limit %q is in %q, point %q in %q; use one unit and convert the limit", l.ID, l.Unit, p.ID, p.Unit))
}

// kindOf is the kind of a live outlet, "" when there is none.
func (e *Edit) kindOf(outlet string) string {
	o, ok := find[*devices.Outlet](e.things, devices.KindOutlet, outlet)
	if !ok {
		return ""
	}
	return o.OutletKind
}

func (e *Edit) watching(outlet string) (list []*devices.Camera) {
	for _, t := range e.things[devices.KindCamera] {
		if c := t.(*devices.Camera); slices.Contains(c.Outlets, outlet) {
			list = append(list, c)
		}
	}
	return list
}

// users are the live things that refer to t, as "kind id", sorted. Bindings
// are not among them: they end with their device or point.
func (e *Edit) users(t devices.Thing) []string {
	var users []string
	for _, kind := range Kinds() {
		for _, other := range e.things[kind] {
			if refersTo(other, t) {
				users = append(users, rowName(kind, other.Key()))
			}
		}
	}
	slices.Sort(users)
	return users
}

func refersTo(other, t devices.Thing) bool {
	id := t.Key()
	switch t.Kind() {
	case devices.KindEntity:
		s, ok := other.(*devices.Site)
		return ok && slices.ContainsFunc(s.Entities, func(r devices.Role) bool { return r.Entity == id })
	case devices.KindSite:
		switch o := other.(type) {
		case *devices.Outlet:
			return o.Site == id
		case *devices.Device:
			return o.Site == id
		case *devices.Camera:
			return o.Site == id
		}
	case devices.KindOutlet:
		switch o := other.(type) {
		case *devices.Point:
			return o.Outlet() == id
		case *devices.Camera:
			return slices.Contains(o.Outlets, id)
		}
	case devices.KindPoint:
		l, ok := other.(*devices.Limit)
		return ok && l.Point == id
	}
	return false
}
