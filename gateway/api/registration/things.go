package registration

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// thingKind is what the eight collections differ in.
type thingKind struct {
	kind      devices.Kind
	path      string // of the collection
	one, many string // in operation ids
	fresh     func() devices.Thing
	filters   map[string]func(s *registry.Snapshot, t devices.Thing, want string) bool
}

type filters = map[string]func(s *registry.Snapshot, t devices.Thing, want string) bool

var kinds = []thingKind{
	{devices.KindEntity, "entities", "Entity", "Entities", func() devices.Thing { return new(devices.Entity) }, filters{"site": entityAt}},
	{devices.KindSite, "sites", "Site", "Sites", func() devices.Thing { return new(devices.Site) }, filters{}},
	{devices.KindOutlet, "outlets", "Outlet", "Outlets", func() devices.Thing { return new(devices.Outlet) }, filters{"site": inSite}},
	{devices.KindPoint, "points", "Point", "Points", func() devices.Thing { return new(devices.Point) }, filters{"site": inSite, "outlet": ofOutlet}},
	{devices.KindDevice, "devices", "Device", "Devices", func() devices.Thing { return new(devices.Device) }, filters{"site": inSite}},
	{devices.KindBinding, "bindings", "Binding", "Bindings", func() devices.Thing { return new(devices.Binding) }, filters{"site": inSite, "point": ofPoint, "device": ofDevice}},
	{devices.KindCamera, "cameras", "Camera", "Cameras", func() devices.Thing { return new(devices.Camera) }, filters{"site": inSite, "outlet": ofOutlet}},
	{devices.KindLimit, "limits", "Limit", "Limits", func() devices.Thing { return new(devices.Limit) }, filters{"site": inSite, "point": ofPoint}},
}

func entityAt(s *registry.Snapshot, t devices.Thing, want string) bool {
	return request.AnswersFor(s, t.Key(), want)
}

func inSite(s *registry.Snapshot, t devices.Thing, want string) bool {
	site, bound := request.SiteOf(s, t)
	return bound && site == want
}

func ofOutlet(_ *registry.Snapshot, t devices.Thing, want string) bool {
	switch t := t.(type) {
	case *devices.Point:
		return t.Outlet() == want
	case *devices.Camera:
		return slices.Contains(t.Outlets, want)
	default:
		return false
	}
}

func ofPoint(s *registry.Snapshot, t devices.Thing, want string) bool {
	switch t := t.(type) {
	case *devices.Binding:
		return t.Point == want
	case *devices.Limit:
		return slices.ContainsFunc(s.LimitsOf(want), func(l *devices.Limit) bool { return l.ID == t.ID })
	default:
		return false
	}
}

func ofDevice(_ *registry.Snapshot, t devices.Thing, want string) bool {
	b, ok := t.(*devices.Binding)
	return ok && b.Device == want
}

// thingList is the body of every list of registered things.
type thingList struct {
	Items []devices.Thing `json:"items"`
	Next  string          `json:"next,omitempty"`
}

func (a *API) listThings(k thingKind) echo.HandlerFunc {
	names := []string{"retired", "after", "max"}
	for name := range k.filters {
		names = append(names, name)
	}
	slices.Sort(names)
	return func(c echo.Context) error {
		q := request.QueryOf(c)
		retired, after, most := q.Yes("retired"), q.Text("after"), q.Number("max", 1000, 5000)
		q.Known(names...)
		if err := q.Err(); err != nil {
			return err
		}
		s := a.desk.Registry.Snapshot()
		all := s.List(k.kind)
		if retired {
			var err error
			if all, err = a.desk.Registry.Retired(c.Request().Context(), k.kind); err != nil {
				return err
			}
		}
		return c.JSON(http.StatusOK, page(all, after, most, func(t devices.Thing) bool {
			for name, fits := range k.filters {
				if want := q.Text(name); want != "" && !fits(s, t, want) {
					return false
				}
			}
			return request.Sees(request.Who(c), s, t)
		}))
	}
}

// page cuts a page of those that are wanted out of all, which is sorted by id.
func page(all []devices.Thing, after string, most int, wanted func(devices.Thing) bool) thingList {
	list := thingList{Items: []devices.Thing{}}
	for _, t := range all {
		if t.Key() <= after || !wanted(t) {
			continue
		}
		if len(list.Items) == most {
			list.Next = list.Items[most-1].Key()
			break
		}
		list.Items = append(list.Items, t)
	}
	return list
}

func (a *API) getThing(k thingKind) echo.HandlerFunc {
	return func(c echo.Context) error {
		t, err := a.desk.Thing(c, k.kind)
		if err != nil {
			return err
		}
		return answer(c, http.StatusOK, t)
	}
}

func answer(c echo.Context, status int, t devices.Thing) error {
	c.Response().Header().Set("ETag", fmt.Sprintf("%q", strconv.FormatInt(t.Life().Version, 10)))
	return c.JSON(status, t)
}

func (a *API) createThing(k thingKind) echo.HandlerFunc {
	return func(c echo.Context) error {
		body := k.fresh()
		if err := request.Decode(c, body); err != nil {
			return err
		}
		made := body
		err := a.desk.Edit(c, func(ctx context.Context, e *registry.Edit) (audit.Entry, error) {
			var err error
			if made, err = registry.Clone(body); err != nil { // the edit may run again
				return audit.Entry{}, err
			}
			if p := request.MayChange(request.Who(c), e.Snapshot(), made, true); p != nil {
				return audit.Entry{}, p
			}
			if err := e.Create(made); err != nil {
				return audit.Entry{}, err
			}
			return audit.Entry{Act: string(k.kind) + ".create", What: string(k.kind) + "/" + made.Key(), After: audit.Hash(made)}, nil
		})
		if err != nil {
			return err
		}
		if now := a.desk.Registry.Snapshot().Get(k.kind, made.Key()); now != nil {
			made = now
		}
		c.Response().Header().Set("Location", contract.Base+"/"+k.path+"/"+made.Key())
		return answer(c, http.StatusCreated, made)
	}
}

func (a *API) replaceThing(k thingKind) echo.HandlerFunc {
	return func(c echo.Context) error {
		old, err := a.desk.Thing(c, k.kind)
		if err != nil {
			return err
		}
		body := k.fresh()
		if err := request.Decode(c, body); err != nil {
			return err
		}
		if body.Key() != old.Key() {
			return devices.Invalid("id", "id_fixed", "编号不可更改，须与地址中的一致", "an id never changes; give the one of the address")
		}
		version, err := request.VersionOf(c, body.Life().Version)
		if err != nil {
			return err
		}
		err = a.desk.Edit(c, func(_ context.Context, e *registry.Edit) (audit.Entry, error) {
			fresh, err := registry.Clone(body)
			if err != nil {
				return audit.Entry{}, err
			}
			before, err := request.Visible(request.Who(c), e.Snapshot(), k.kind, fresh.Key())
			if err != nil {
				return audit.Entry{}, err
			}
			for _, t := range []devices.Thing{before, fresh} {
				if p := request.MayChange(request.Who(c), e.Snapshot(), t, false); p != nil {
					return audit.Entry{}, p
				}
			}
			entry := audit.Entry{Act: string(k.kind) + ".replace", What: string(k.kind) + "/" + fresh.Key(), Before: audit.Hash(before)}
			if err := e.Replace(fresh, version); err != nil {
				return audit.Entry{}, err
			}
			entry.After = audit.Hash(fresh)
			return entry, nil
		})
		if err != nil {
			return err
		}
		now, err := a.desk.Thing(c, k.kind)
		if err != nil {
			return err
		}
		return answer(c, http.StatusOK, now)
	}
}

func (a *API) retireThing(k thingKind) echo.HandlerFunc {
	return func(c echo.Context) error {
		if _, err := a.desk.Thing(c, k.kind); err != nil {
			return err
		}
		id := c.Param("id")
		err := a.desk.Edit(c, func(_ context.Context, e *registry.Edit) (audit.Entry, error) {
			before, err := request.Visible(request.Who(c), e.Snapshot(), k.kind, id)
			if err != nil {
				return audit.Entry{}, err
			}
			_, isSite := before.(*devices.Site)
			if p := request.MayChange(request.Who(c), e.Snapshot(), before, isSite); p != nil {
				return audit.Entry{}, p
			}
			entry := audit.Entry{Act: string(k.kind) + ".retire", What: string(k.kind) + "/" + id, Before: audit.Hash(before)}
			return entry, e.Retire(k.kind, id)
		})
		if err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}
}
