package commissioning

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// mostBound is how many bindings one probe tries.
const mostBound = 200

// Probers are the probers of each driver.
type Probers map[string]devices.Prober

// Probe tries a device by its driver's prober.
func (ps Probers) Probe(ctx context.Context, dev devices.Device, bounds []devices.Bound) ([]devices.Step, error) {
	prober := ps[dev.Driver]
	if prober == nil {
		return nil, devices.Invalid("driver", "not_probed", "此类设备不能测试；请保存后看其读数", "a device of this driver cannot be probed; save it and look at its readings")
	}
	return prober.Probe(ctx, dev, bounds)
}

// probeDevice tries a form. The trail has the attempt before it is made.
func (a *API) probeDevice(c echo.Context) error {
	var body contract.ProbeRequest
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	if len(body.Bindings) > mostBound || len(body.Points) > mostBound {
		return devices.Invalid("bindings", "too_many", fmt.Sprintf("一次最多测试 %d 个绑定", mostBound), fmt.Sprintf("probe at most %d bindings at once", mostBound))
	}
	dev, bounds, err := a.form(request.Who(c), &body)
	if err != nil {
		return err
	}
	ctx, done, err := a.engage(c, probeTime, audit.Entry{Act: "device.probe", What: "device/" + dev.ID + " " + dev.Endpoint, After: audit.Hash(&dev)})
	if err != nil {
		return err
	}
	defer done()
	steps, err := a.Prober.Probe(ctx, dev, bounds)
	if err != nil {
		return byPlace(err, body.Bindings)
	}
	return c.JSON(http.StatusOK, contract.ProbeReport{Steps: append([]devices.Step{}, steps...)})
}

// form gives the device and its bindings as they would be once saved. A point is
// that of the form, else the registered one. A password that is not sent again
// is the registered device's.
func (a *API) form(who request.Principal, body *contract.ProbeRequest) (devices.Device, []devices.Bound, error) {
	s, dev := a.desk.Registry.Snapshot(), body.Device
	if p := request.MayChange(who, s, &dev, true); p != nil {
		return dev, nil, p
	}
	if p := hidden(who, s, &dev); p != nil {
		return dev, nil, p
	}
	dev = a.withSecrets(who, s, dev)
	if dev.Password.Kept() {
		return dev, nil, typeAgain("device.password")
	}
	points := make(map[string]devices.Point, len(body.Points))
	for _, p := range body.Points {
		points[p.ID] = p
	}
	bounds := make([]devices.Bound, len(body.Bindings))
	for i, b := range body.Bindings {
		point, given := points[b.Point]
		if saved := s.Points[b.Point]; !given && saved != nil && request.Sees(who, s, saved) {
			point = *saved
		}
		bounds[i] = devices.Bound{Binding: b, Point: point, Site: dev.Site}
	}
	return dev, bounds, nil
}

// hidden refuses a form that names a device that the asker may not see: what
// listeners have heard of it would be shown.
func hidden(who request.Principal, s *registry.Snapshot, form *devices.Device) *devices.Problem {
	for _, saved := range s.Devices {
		sameMN := form.HJ212 != nil && saved.HJ212 != nil && saved.HJ212.MN == form.HJ212.MN
		if (saved.ID == form.ID || sameMN) && !request.Sees(who, s, saved) {
			return devices.Invalid("device.id", "taken", "该编号或 MN 已被占用；请更换", "this id or MN is taken; choose another")
		}
	}
	return nil
}

// withSecrets gives dev with the stored secrets of the registered device for
// those that are not sent again. Who may not see that device gets none.
func (a *API) withSecrets(who request.Principal, s *registry.Snapshot, dev devices.Device) devices.Device {
	saved := s.Devices[dev.ID]
	if saved == nil || !request.Sees(who, s, saved) || dev.Endpoint != saved.Endpoint { // another broker is not told the password
		return dev
	}
	if dev.Password.Kept() {
		dev.Password = saved.Password
	}
	if dev.MQTT != nil && saved.MQTT != nil && dev.MQTT.Key.Kept() {
		settings := *dev.MQTT
		settings.Key = saved.MQTT.Key
		dev.MQTT = &settings
	}
	if dev.HJ212 != nil && saved.HJ212 != nil && dev.HJ212.SM4Key.Kept() {
		settings := *dev.HJ212
		settings.SM4Key = saved.HJ212.SM4Key
		dev.HJ212 = &settings
	}
	return dev
}

// typeAgain says that a stored secret is not sent to another address.
func typeAgain(field string) *devices.Problem {
	return devices.Invalid(field, "secret_needed", "地址已更改，已保存的密码不会发往新地址；请重新输入密码", "the address has changed, and the stored password is not sent to another one; type it again")
}

// byPlace names the fields of bindings as the body has them: bindings[0], not by
// id.
func byPlace(err error, bindings []devices.Binding) error {
	var ps devices.Problems
	if !errors.As(err, &ps) {
		return err
	}
	named := make(devices.Problems, len(ps))
	for i, p := range ps {
		fresh := *p
		for at, b := range bindings {
			id := b.ID
			if id == "" {
				id = fmt.Sprint(at)
			}
			if rest, ok := strings.CutPrefix(p.Field, "bindings."+id+"."); ok {
				fresh.Field = fmt.Sprintf("bindings[%d].%s", at, rest)
				break
			}
		}
		named[i] = &fresh
	}
	return named
}
