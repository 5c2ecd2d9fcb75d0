package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/timeseries"
)

// pointEver gives the point that is named, with its site, also one that has been
// retired: its history stays.
func (a *API) pointEver(c echo.Context, id string) (*devices.Point, string, error) {
	s := a.Registry.Snapshot()
	t, err := visible(Who(c), s, devices.KindPoint, id)
	if err == nil {
		return t.(*devices.Point), s.SiteOf(id), nil
	}
	ctx := c.Request().Context()
	point, failed := retired[*devices.Point](ctx, a.Registry, devices.KindPoint, id)
	if point == nil || failed != nil {
		return nil, "", errors.Join(failed, err)
	}
	outlet := s.Outlets[point.Outlet()]
	if outlet == nil {
		outlet, failed = retired[*devices.Outlet](ctx, a.Registry, devices.KindOutlet, point.Outlet())
	}
	if outlet == nil || failed != nil || !Who(c).Sees(outlet.Site) {
		return nil, "", errors.Join(failed, err)
	}
	return point, outlet.Site, nil
}

// retired gives a retired thing, nil where there is none.
func retired[T devices.Thing](ctx context.Context, r *registry.Registry, kind devices.Kind, id string) (found T, err error) {
	list, err := r.Retired(ctx, kind)
	for _, t := range list {
		if t.Key() == id {
			found = t.(T)
		}
	}
	return found, err
}

func (a *API) getLast(c echo.Context) error {
	p, site, err := a.pointEver(c, c.Param("id"))
	if err != nil {
		return err
	}
	v, err := a.last(c.Request().Context(), p, site, a.Updates.Newest)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, v)
}

// last gives the newest value of a point: the one heard since the start, else
// the one that history remembers. One with a wrong clock is never the newest.
func (a *API) last(ctx context.Context, p *devices.Point, site string, heard func(point string) (devices.Reading, bool)) (LastValue, error) {
	if r, ok := heard(p.ID); ok && r.Quality != devices.BadClock {
		return a.withState(lastValue(r, p.Unit)), nil
	}
	s, err := a.History.Last(ctx, timeseries.Series{Site: site, Point: p.ID})
	if errors.Is(err, devices.ErrNotFound) {
		return LastValue{}, &devices.Problem{
			Kind: devices.ErrNotFound, Code: "no_value",
			ZH: "测点 " + p.ID + " 还没有数据，请检查设备和绑定", EN: "point " + p.ID + " has never had a value; look at its device and binding",
		}
	}
	if err != nil {
		return LastValue{}, fmt.Errorf("last value of %s: %w", p.ID, err)
	}
	return a.withState(LastValue{Point: p.ID, Site: site, Value: s.Value, Unit: p.Unit, At: s.At, Quality: s.Quality}), nil
}

func lastValue(r devices.Reading, unit string) LastValue {
	return LastValue{Point: r.Point, Site: r.Site, Value: r.Value, Unit: unit, At: r.At, Quality: r.Quality, Mark: r.Mark}
}

func (a *API) listLast(c echo.Context) error {
	q := query{c: c}
	site, outlet := q.text("site"), q.text("outlet")
	q.known("site", "outlet")
	if err := q.ps.Err(); err != nil {
		return err
	}
	s := a.Registry.Snapshot()
	items, err := a.lastOf(c.Request().Context(), s, func(p *devices.Point, at string) bool {
		return Who(c).Sees(at) && (site == "" || at == site) && (outlet == "" || p.Outlet() == outlet)
	})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, LastValueList{Items: items})
}

// lastOf gives the newest value of each point that is wanted, by id. Those not
// heard since the start are asked of history, a few at once.
func (a *API) lastOf(ctx context.Context, s *registry.Snapshot, wanted func(p *devices.Point, site string) bool) ([]LastValue, error) {
	latest := map[string]devices.Reading{}
	for _, r := range a.Updates.Latest() {
		latest[r.Point] = r
	}
	heard := func(point string) (devices.Reading, bool) { r, ok := latest[point]; return r, ok }
	var points []*devices.Point
	for _, t := range s.List(devices.KindPoint) {
		if p := t.(*devices.Point); wanted(p, s.SiteOf(p.ID)) {
			points = append(points, p)
		}
	}
	values := make([]*LastValue, len(points))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, p := range points {
		g.Go(func() error {
			v, err := a.last(ctx, p, s.SiteOf(p.ID), heard)
			if err == nil {
				values[i] = &v
			}
			if errors.Is(err, devices.ErrNotFound) || errors.Is(err, devices.ErrUnavailable) {
				return nil // the others are still worth showing
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	items := []LastValue{}
	for _, v := range values {
		if v != nil {
			items = append(items, *v)
		}
	}
	return items, nil
}
