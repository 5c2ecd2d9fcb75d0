package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/edge/audit"
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
	return answersFor(s, t.Key(), want)
}

func inSite(s *registry.Snapshot, t devices.Thing, want string) bool {
	site, bound := siteOf(s, t)
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
		q := query{c: c}
		retired, after, most := q.yes("retired"), q.text("after"), q.number("max", 1000, 5000)
		q.known(names...)
		if err := q.ps.Err(); err != nil {
			return err
		}
		s := a.Registry.Snapshot()
		all := s.List(k.kind)
		if retired {
			var err error
			if all, err = a.Registry.Retired(c.Request().Context(), k.kind); err != nil {
				return err
			}
		}
		return c.JSON(http.StatusOK, page(all, after, most, func(t devices.Thing) bool {
			for name, fits := range k.filters {
				if want := q.text(name); want != "" && !fits(s, t, want) {
					return false
				}
			}
			return sees(Who(c), s, t)
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

// thing gives the live thing that the path names, if who asks may see it.
func (a *API) thing(c echo.Context, kind devices.Kind) (devices.Thing, error) {
	return visible(Who(c), a.Registry.Snapshot(), kind, c.Param("id"))
}

// visible gives a live thing. What lies outside the asker's sites is not found
// in the same words as what is not there.
func visible(p Principal, s *registry.Snapshot, kind devices.Kind, id string) (devices.Thing, error) {
	t := s.Get(kind, id)
	if t == nil || !sees(p, s, t) {
		return nil, notFound("没有 "+string(kind)+" "+id, "there is no "+string(kind)+" "+id)
	}
	return t, nil
}

func (a *API) getThing(k thingKind) echo.HandlerFunc {
	return func(c echo.Context) error {
		t, err := a.thing(c, k.kind)
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
		if err := decode(c, body); err != nil {
			return err
		}
		made := body
		err := a.edit(c, func(ctx context.Context, e *registry.Edit) (audit.Entry, error) {
			var err error
			if made, err = registry.Clone(body); err != nil { // the edit may run again
				return audit.Entry{}, err
			}
			if p := mayChange(Who(c), e.Snapshot(), made, true); p != nil {
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
		if now := a.Registry.Snapshot().Get(k.kind, made.Key()); now != nil {
			made = now
		}
		c.Response().Header().Set("Location", Base+"/"+k.path+"/"+made.Key())
		return answer(c, http.StatusCreated, made)
	}
}

func (a *API) replaceThing(k thingKind) echo.HandlerFunc {
	return func(c echo.Context) error {
		old, err := a.thing(c, k.kind)
		if err != nil {
			return err
		}
		body := k.fresh()
		if err := decode(c, body); err != nil {
			return err
		}
		if body.Key() != old.Key() {
			return devices.Invalid("id", "id_fixed", "编号不可更改，须与地址中的一致", "an id never changes; give the one of the address")
		}
		version, err := versionOf(c, body.Life().Version)
		if err != nil {
			return err
		}
		err = a.edit(c, func(_ context.Context, e *registry.Edit) (audit.Entry, error) {
			fresh, err := registry.Clone(body)
			if err != nil {
				return audit.Entry{}, err
			}
			before, err := visible(Who(c), e.Snapshot(), k.kind, fresh.Key())
			if err != nil {
				return audit.Entry{}, err
			}
			for _, t := range []devices.Thing{before, fresh} {
				if p := mayChange(Who(c), e.Snapshot(), t, false); p != nil {
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
		now, err := a.thing(c, k.kind)
		if err != nil {
			return err
		}
		return answer(c, http.StatusOK, now)
	}
}

// versionOf reads the version that is to be replaced from If-Match, else from the body.
func versionOf(c echo.Context, inBody int64) (int64, error) {
	if match := c.Request().Header.Get("If-Match"); match != "" {
		v, err := strconv.ParseInt(strings.Trim(match, `"`), 10, 64)
		if err != nil || v < 1 {
			return 0, devices.Invalid("version", "bad_version", "If-Match 须为读取时的 ETag，例如 \"3\"", `give in If-Match the ETag as it was read, such as "3"`)
		}
		return v, nil
	}
	if inBody < 1 {
		return 0, devices.Invalid("version", "missing", "请给出读取时的 version，或使用 If-Match", "give the version as it was read, or If-Match")
	}
	return inBody, nil
}

func (a *API) retireThing(k thingKind) echo.HandlerFunc {
	return func(c echo.Context) error {
		if _, err := a.thing(c, k.kind); err != nil {
			return err
		}
		id := c.Param("id")
		err := a.edit(c, func(_ context.Context, e *registry.Edit) (audit.Entry, error) {
			before, err := visible(Who(c), e.Snapshot(), k.kind, id)
			if err != nil {
				return audit.Entry{}, err
			}
			_, isSite := before.(*devices.Site)
			if p := mayChange(Who(c), e.Snapshot(), before, isSite); p != nil {
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

// edit changes the registry and writes the trail in one transaction.
func (a *API) edit(c echo.Context, fn func(ctx context.Context, e *registry.Edit) (audit.Entry, error)) error {
	ctx := c.Request().Context()
	return a.Registry.Update(ctx, func(e *registry.Edit) error {
		entry, err := fn(ctx, e)
		if err != nil {
			return err
		}
		return a.Audit.Append(ctx, e.Tx(), by(c, entry))
	})
}

// by fills in who, from where and when.
func by(c echo.Context, e audit.Entry) audit.Entry {
	who := Who(c)
	e.At, e.Who, e.From = time.Now().UTC(), who.ID, who.From
	if e.Result == "" {
		e.Result = "ok"
	}
	return e
}
