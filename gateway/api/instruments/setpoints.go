package instruments

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// writeTime is how long a set point may take.
const writeTime = 25 * time.Second

// writePoint writes a set point.
func (a *API) writePoint(c echo.Context) error {
	thing, err := a.desk.Thing(c, devices.KindPoint)
	if err != nil {
		return err
	}
	var body contract.SetPointRequest
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	if err := checkSetPoint(&body); err != nil {
		return err
	}
	entry := audit.Entry{Act: "point.write", What: "point/" + thing.Key(), Purpose: strings.TrimSpace(body.Reason), Detail: "set " + figure(*body.Value)}
	bound, writer, err := a.writable(thing.Key(), *body.Value)
	if err != nil {
		return a.desk.Refused(c, entry, err)
	}
	dev, point := a.desk.Registry.Snapshot().Devices[bound.Device], thing.(*devices.Point)
	if dev == nil { // retired meanwhile
		return echo.ErrNotFound
	}
	var w devices.Written
	err = a.desk.Attempt(c, entry, func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, writeTime)
		defer cancel()
		known := false
		w, err = writer.Write(ctx, *dev, *bound, *body.Value, func(before float64) error {
			known = true
			return unchanged(before, *body.Seen, point)
		})
		if !known {
			return "", err
		}
		return "before " + figure(w.Before) + ", after " + figure(w.After), err
	})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, contract.SetPoint{Point: thing.Key(), Device: dev.ID, Before: w.Before, After: w.After, Unit: point.Unit, Raw: w.Raw})
}

func checkSetPoint(r *contract.SetPointRequest) error {
	var ps devices.Problems
	for _, f := range []struct {
		field string
		v     *float64
	}{{"value", r.Value}, {"seen", r.Seen}} {
		if f.v == nil || math.IsNaN(*f.v) || math.IsInf(*f.v, 0) {
			ps.Add(devices.Invalid(f.field, "missing", "请填写数值；0 也须写明", "give a number; 0 must be written too"))
		}
	}
	ps.Add(request.Reasoned(r.Reason))
	return ps.Err()
}

// writable gives the binding by which value may be written to a point.
func (a *API) writable(point string, value float64) (*devices.Binding, Writer, error) {
	s := a.desk.Registry.Snapshot()
	b := bindingOf(s, point, time.Now())
	if b == nil {
		return nil, nil, devices.Invalid("point", "not_bound", "测点当前没有绑定设备，无法写入；请先绑定", "no device is bound to the point now, so nothing can be written; bind it first")
	}
	dev := s.Devices[b.Device]
	if b.Write == nil || dev == nil || a.Writers[dev.Driver] == nil {
		return nil, nil, devices.Invalid("point", "not_writable", "该测点不允许写入；如确需写入，请先在其绑定中填写可写范围", "nothing may be written to this point; if it must be, give its binding a range of set points first")
	}
	if !b.Write.Holds(value) {
		return nil, nil, devices.Invalid("value", "out_of_range",
			"设定值须在 "+figure(b.Write.Low)+" 与 "+figure(b.Write.High)+" 之间", "a set point here lies between "+figure(b.Write.Low)+" and "+figure(b.Write.High))
	}
	return b, a.Writers[dev.Driver], nil
}

// bindingOf gives the binding of a point that is in force at at, or nil.
func bindingOf(s *registry.Snapshot, point string, at time.Time) *devices.Binding {
	for _, b := range s.Bindings {
		if b.Point == point && !at.Before(b.From) && (b.To == nil || at.Before(*b.To)) {
			return b
		}
	}
	return nil
}

// unchanged says that what stands there is what the person has seen, by the
// digits that are shown of the point: what an instrument measures itself, or a
// knob sets, trembles in those behind.
func unchanged(is, seen float64, p *devices.Point) error {
	if half := 0.5 * math.Pow10(-p.Digits); math.Abs(is-seen) <= half*(1+1e-9) {
		return nil
	}
	unit := p.Unit
	return &devices.Problem{
		Kind: devices.ErrConflict, Code: "value_changed", Field: "seen",
		ZH: fmt.Sprintf("仪表中现为 %s %s，与您看到的 %s 不同，未写入；请核对后再试", figure(is), unit, figure(seen)),
		EN: fmt.Sprintf("the instrument now says %s %s, not %s as you saw it; nothing was written, look again", figure(is), unit, figure(seen)),
	}
}

// figure writes a value with the seven digits that a register of 32 bits may have.
func figure(v float64) string { return strconv.FormatFloat(v, 'g', 7, 64) }
