package api

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/devices/template"
	"offsite/edge/audit"
)

// templateRequest is what an engineer fills in, and how it is registered.
type templateRequest struct {
	template.Request
	TakeOver bool `json:"take_over,omitempty"` // end the present bindings of points that exist already
}

func newTemplateResult() *TemplateResult {
	return &TemplateResult{Points: []Point{}, Bindings: []Binding{}, Limits: []Limit{}}
}

// add puts a thing where it belongs.
func (r *TemplateResult) add(t devices.Thing) {
	switch t := t.(type) {
	case *devices.Device:
		r.Device = *t
	case *devices.Point:
		r.Points = append(r.Points, *t)
	case *devices.Binding:
		r.Bindings = append(r.Bindings, *t)
	case *devices.Limit:
		r.Limits = append(r.Limits, *t)
	}
}

// field is where a fault of the thing that comes next would stand in the result.
func (r *TemplateResult) field(t devices.Thing, name string) string {
	switch t.(type) {
	case *devices.Point:
		return fmt.Sprintf("points[%d].%s", len(r.Points), name)
	case *devices.Binding:
		return fmt.Sprintf("bindings[%d].%s", len(r.Bindings), name)
	case *devices.Limit:
		return fmt.Sprintf("limits[%d].%s", len(r.Limits), name)
	default:
		return "device." + name
	}
}

func (a *API) listTemplates(c echo.Context) error {
	q := query{c: c}
	kind, driver := q.text("kind"), q.text("driver")
	q.known("driver", "kind")
	if err := q.ps.Err(); err != nil {
		return err
	}
	list := TemplateList{Items: []TemplateSummary{}}
	for _, t := range a.Templates.List() {
		if (kind == "" || t.Kind == kind) && (driver == "" || t.Driver == driver) {
			list.Items = append(list.Items, TemplateSummary{
				ID: t.ID, Brand: t.Brand, Model: t.Model, Kind: t.Kind, Name: t.Name, Driver: t.Driver, OutletKind: t.OutletKind, Own: t.Own,
			})
		}
	}
	return c.JSON(http.StatusOK, list)
}

func (a *API) template(c echo.Context) (*template.Template, error) {
	id := c.Param("id")
	if t := a.Templates.Find(id); t != nil {
		return t, nil
	}
	return nil, notFound("没有模板 "+id, "there is no template "+id)
}

func (a *API) getTemplate(c echo.Context) error {
	t, err := a.template(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, t)
}

// filledIn reads the request; what it leaves open is filled in.
func (a *API) filledIn(c echo.Context) (*template.Template, *templateRequest, error) {
	t, err := a.template(c)
	if err != nil {
		return nil, nil, err
	}
	r := &templateRequest{}
	if err := decode(c, r); err != nil {
		return nil, nil, err
	}
	if r.Device == "" {
		random := make([]byte, 5)
		_, _ = rand.Read(random) // never fails
		name := t.ID[:min(len(t.ID), 55)]
		r.Device = name + "-" + strings.ToLower(base32.StdEncoding.EncodeToString(random))
	}
	if r.Site == "" {
		s := a.Registry.Snapshot()
		if r.Site = siteOfOutlet(s, r.Outlet); r.Site == "" || !Who(c).Sees(r.Site) {
			return nil, nil, devices.Invalid("outlet", "unknown_outlet", "没有该监测点位，请先登记或更正编号", "there is no such outlet; register it first or correct the id")
		}
	}
	return t, r, nil
}

func (a *API) renderTemplate(c echo.Context) error {
	t, r, err := a.filledIn(c)
	if err != nil {
		return err
	}
	things, err := t.Render(r.Request)
	if err != nil {
		return err
	}
	result := newTemplateResult()
	for _, thing := range things {
		result.add(thing)
	}
	return c.JSON(http.StatusOK, result)
}

func (a *API) registerTemplate(c echo.Context) error {
	t, r, err := a.filledIn(c)
	if err != nil {
		return err
	}
	var made *TemplateResult
	ctx := c.Request().Context()
	err = a.Registry.Update(ctx, func(e *registry.Edit) error {
		things, err := t.Render(r.Request) // afresh: the edit may run again
		if err != nil {
			return err
		}
		made = newTemplateResult()
		w := registering{api: a, c: c, ctx: ctx, edit: e, before: e.Snapshot(), takeOver: r.TakeOver, at: time.Now().UTC().Truncate(time.Millisecond), result: made}
		for _, thing := range things {
			if err := w.thing(thing); err != nil {
				return err
			}
		}
		return w.ps.Err()
	})
	if err != nil {
		return err
	}
	c.Response().Header().Set("Location", Base+"/devices/"+made.Device.ID)
	return c.JSON(http.StatusCreated, made)
}

// registering is a device being registered with what belongs to it.
type registering struct {
	api      *API
	c        echo.Context
	ctx      context.Context // of the one request
	edit     *registry.Edit
	before   *registry.Snapshot
	takeOver bool
	at       time.Time
	result   tally
	ps       devices.Problems
}

// tally keeps what is registered and knows where a fault of what comes next
// stands.
type tally interface {
	add(t devices.Thing)
	field(t devices.Thing, name string) string
}

// thing registers one and writes the trail. What is wrong with it is kept to be
// told with all others; an error ends the edit.
func (w *registering) thing(t devices.Thing) error {
	if p, ok := t.(*devices.Point); ok && w.before.Points[p.ID] != nil {
		w.known(p)
		return nil
	}
	if p := mayChange(Who(w.c), w.before, t, true); p != nil {
		w.tell(t, p)
		return nil
	}
	if b, ok := t.(*devices.Binding); ok {
		if len(w.ps) > 0 {
			return nil // what it refers to is missing for a reason that is told
		}
		b.From = w.at
		if w.takeOver {
			if err := w.release(b.Point); err != nil {
				return err
			}
		}
	}
	if _, ok := t.(*devices.Limit); ok && len(w.ps) > 0 {
		return nil
	}
	if err := w.edit.Create(t); err != nil {
		if !errors.Is(err, devices.ErrInvalid) && !errors.Is(err, devices.ErrConflict) {
			return err
		}
		for _, p := range devices.AllProblems(err) {
			w.tell(t, p)
		}
		return nil
	}
	w.result.add(t)
	return w.record(string(t.Kind())+".create", t, nil)
}

func (w *registering) tell(t devices.Thing, p *devices.Problem) {
	named := *p
	named.Field = w.result.field(t, p.Field)
	w.ps.Add(&named)
}

// known lets a point that exists go on with its history if it is the same
// quantity.
func (w *registering) known(p *devices.Point) {
	old := w.before.Points[p.ID]
	switch {
	case !sees(Who(w.c), w.before, old):
		w.tell(p, mayChange(Who(w.c), w.before, old, false))
	case old.Factor != p.Factor || old.Unit != p.Unit:
		w.tell(p, devices.Invalid("id", "point_differs",
			fmt.Sprintf("测点“%s”已登记为 %s（%s）；请为新测点换一个编号，或先统一因子和单位", p.ID, old.Factor, old.Unit),
			fmt.Sprintf("point %q is registered already as %s in %q; give the new one another id, or make factor and unit agree first", p.ID, old.Factor, old.Unit)))
	default:
		w.result.add(old)
	}
}

// release ends the bindings of a point that hold now or later.
func (w *registering) release(point string) error {
	for _, t := range w.before.List(devices.KindBinding) {
		old := t.(*devices.Binding)
		if old.Point != point || (old.To != nil && !old.To.After(w.at)) {
			continue
		}
		if !old.From.Before(w.at) {
			if err := w.edit.Retire(devices.KindBinding, old.ID); err != nil {
				return err
			}
			if err := w.record("binding.retire", nil, old); err != nil {
				return err
			}
			continue
		}
		ended := *old
		ended.To = &w.at
		if err := w.edit.Replace(&ended, old.Version); err != nil {
			return err
		}
		if err := w.record("binding.replace", &ended, old); err != nil {
			return err
		}
	}
	return nil
}

func (w *registering) record(act string, after, before devices.Thing) error {
	entry := audit.Entry{Act: act}
	for t, hash := range map[devices.Thing]*string{after: &entry.After, before: &entry.Before} {
		if t != nil {
			entry.What = string(t.Kind()) + "/" + t.Key()
			*hash = audit.Hash(t)
		}
	}
	return w.api.Audit.Append(w.ctx, w.edit.Tx(), by(w.c, entry))
}
