package registration

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// How many devices and points one request makes.
const (
	mostNewDevices = 50
	mostNewPoints  = 200
)

// found is what one request registers of what was found.
type found struct{ contract.AdoptResult }

// add puts a thing where it belongs.
func (r *found) add(t devices.Thing) {
	switch t := t.(type) {
	case *devices.Outlet:
		r.Outlets = append(r.Outlets, *t)
	case *devices.Device:
		r.Devices = append(r.Devices, *t)
	case *devices.Point:
		r.Points = append(r.Points, *t)
	case *devices.Binding:
		r.Bindings = append(r.Bindings, *t)
	}
}

// field is where a fault of the thing that comes next stands in the request.
func (r *found) field(t devices.Thing, name string) string {
	switch t.(type) {
	case *devices.Outlet:
		return "new_outlet." + name
	case *devices.Device:
		return fmt.Sprintf("devices[%d].%s", len(r.Devices), name)
	case *devices.Binding:
		return fmt.Sprintf("points[%d].%s", len(r.Bindings), name)
	default:
		return fmt.Sprintf("points[%d].%s", len(r.Points), name)
	}
}

// adoptDevice registers what was found. What cannot be registered is told with
// all other faults, and then nothing is.
func (a *API) adoptDevice(c echo.Context) error {
	var body contract.AdoptRequest
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	if err := a.checkAdopt(request.Who(c), &body); err != nil {
		return err
	}
	var made *found
	err := a.register(c, func(w *registering) error {
		made = &found{contract.AdoptResult{Outlets: []contract.Outlet{}, Devices: []contract.Device{}, Points: []contract.Point{}, Bindings: []contract.Binding{}}}
		w.result = made
		return w.found(body)
	})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, made.AdoptResult)
}

// checkAdopt tells what the request leaves open or says twice.
func (a *API) checkAdopt(who request.Principal, body *contract.AdoptRequest) error {
	var ps devices.Problems
	s := a.desk.Registry.Snapshot()
	if len(body.Devices) > mostNewDevices {
		ps.Add(devices.Invalid("devices", "too_many", "一次最多登记 50 台设备", "register at most 50 devices at once"))
	}
	if n := len(body.Points); n == 0 || n > mostNewPoints {
		ps.Add(devices.Invalid("points", "out_of_range", fmt.Sprintf("请选择 1 至 %d 个数值", mostNewPoints), fmt.Sprintf("choose 1 to %d values", mostNewPoints)))
	}
	if (body.Outlet == "") == (body.NewOutlet == nil) {
		ps.Add(devices.Invalid("outlet", "missing", "请选择已有监测点位，或填写一个新的", "choose an outlet, or describe a new one"))
	}
	if body.Outlet != "" && (s.Outlets[body.Outlet] == nil || !request.Sees(who, s, s.Outlets[body.Outlet])) {
		ps.Add(devices.Invalid("outlet", "unknown_outlet", "没有该监测点位，请先登记或更正编号", "there is no such outlet; register it first or correct the id"))
	}
	for i := range body.Points {
		field, id := fmt.Sprintf("points[%d].device", i), body.Points[i].Device
		switch dev := s.Devices[id]; {
		case id == "" && len(body.Devices) == 0:
			ps.Add(devices.Invalid(field, "missing", "请选择设备，或填写一台新的", "choose a device, or describe a new one"))
		case id == "" || slices.ContainsFunc(body.Devices, func(d devices.Device) bool { return d.ID == id }):
		case dev == nil || !request.Sees(who, s, dev):
			ps.Add(devices.Invalid(field, "unknown_device", "没有该设备，或已停用；请刷新列表", "there is no such device, it may have been retired; refresh the list"))
		}
	}
	return ps.Err()
}

// found registers the outlet, the devices, and each point with its binding.
func (w *registering) found(body contract.AdoptRequest) error {
	outlet, made := body.Outlet, ""
	if body.NewOutlet != nil {
		o := *body.NewOutlet
		if err := w.named(devices.KindOutlet, &o.ID, o.Name); err != nil {
			return err
		}
		if err := w.thing(&o); err != nil {
			return err
		}
		outlet = o.ID
	}
	for i := range body.Devices {
		d := body.Devices[i]
		if err := w.named(devices.KindDevice, &d.ID, d.Name); err != nil {
			return err
		}
		if err := w.thing(&d); err != nil {
			return err
		}
		if made == "" {
			made = d.ID
		}
	}
	if len(w.ps) > 0 {
		return nil // the points would only repeat it
	}
	w.before = w.edit.Snapshot() // the outlet says whose the points are
	for i := range body.Points {
		if err := w.value(&body.Points[i], outlet, made); err != nil {
			return err
		}
	}
	return nil
}

// value registers a point and its binding to the device of its entry, else to
// the first one that was made.
func (w *registering) value(v *contract.AdoptPoint, outlet, made string) error {
	p := &devices.Point{Name: v.Name, Factor: v.Factor, Unit: v.Unit, Digits: v.Digits}
	if v.ID != "" {
		p.ID = outlet + "." + v.ID
	} else {
		stem := v.Name
		if registry.Readable(stem) == "" { // a name that has no Latin letter
			stem = v.Factor
		}
		var err error
		if p.ID, err = w.edit.Unused(devices.KindPoint, outlet+"."+registry.Readable(stem)); err != nil {
			return err
		}
	}
	if err := w.thing(p); err != nil {
		return err
	}
	b := &devices.Binding{Point: p.ID, Device: v.Device, Topic: v.Topic, Factor: v.Place, Scale: v.Scale}
	if b.Device == "" {
		b.Device = made
	}
	return w.thing(b)
}
