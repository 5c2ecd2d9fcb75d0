package registration

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/template"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// rendered is what a template makes.
type rendered struct{ contract.TemplateResult }

func newRendered() *rendered {
	return &rendered{contract.TemplateResult{Points: []contract.Point{}, Bindings: []contract.Binding{}, Limits: []contract.Limit{}}}
}

// add puts a thing where it belongs.
func (r *rendered) add(t devices.Thing) {
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
func (r *rendered) field(t devices.Thing, name string) string {
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
	q := request.QueryOf(c)
	kind, driver := q.Text("kind"), q.Text("driver")
	q.Known("driver", "kind")
	if err := q.Err(); err != nil {
		return err
	}
	list := contract.TemplateList{Items: []contract.TemplateSummary{}}
	for _, t := range a.Templates.List() {
		if (kind == "" || t.Kind == kind) && (driver == "" || t.Driver == driver) {
			list.Items = append(list.Items, contract.TemplateSummary{
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
	return nil, request.NotFound("没有模板 "+id, "there is no template "+id)
}

func (a *API) getTemplate(c echo.Context) error {
	t, err := a.template(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, t)
}

// filledIn reads the request; what it leaves open is filled in.
func (a *API) filledIn(c echo.Context) (*template.Template, *contract.TemplateRequest, error) {
	t, err := a.template(c)
	if err != nil {
		return nil, nil, err
	}
	r := &contract.TemplateRequest{}
	if err := request.Decode(c, r); err != nil {
		return nil, nil, err
	}
	if r.Device == "" {
		random := make([]byte, 5)
		_, _ = rand.Read(random) // never fails
		name := t.ID[:min(len(t.ID), 55)]
		r.Device = name + "-" + strings.ToLower(base32.StdEncoding.EncodeToString(random))
	}
	if r.Site == "" {
		s := a.desk.Registry.Snapshot()
		if r.Site = request.SiteOfOutlet(s, r.Outlet); r.Site == "" || !request.Who(c).Sees(r.Site) {
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
	result := newRendered()
	for _, thing := range things {
		result.add(thing)
	}
	return c.JSON(http.StatusOK, result.TemplateResult)
}

func (a *API) registerTemplate(c echo.Context) error {
	t, r, err := a.filledIn(c)
	if err != nil {
		return err
	}
	var made *rendered
	err = a.register(c, func(w *registering) error {
		things, err := t.Render(r.Request) // afresh, too
		if err != nil {
			return err
		}
		made = newRendered()
		w.result, w.takeOver = made, r.TakeOver
		for _, thing := range things {
			if err := w.thing(thing); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.Response().Header().Set("Location", contract.Base+"/devices/"+made.Device.ID)
	return c.JSON(http.StatusCreated, made.TemplateResult)
}
