package duty

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
	"offsite/timeseries"
)

// pointEver gives the point that is named, with its site, also one that has been
// retired: its history stays.
func (a *API) pointEver(c echo.Context, id string) (*devices.Point, string, error) {
	s := a.desk.Registry.Snapshot()
	t, err := request.Visible(request.Who(c), s, devices.KindPoint, id)
	if err == nil {
		return t.(*devices.Point), s.SiteOf(id), nil
	}
	ctx := c.Request().Context()
	point, failed := request.Retired[*devices.Point](ctx, a.desk.Registry, devices.KindPoint, id)
	if point == nil || failed != nil {
		return nil, "", errors.Join(failed, err)
	}
	outlet := s.Outlets[point.Outlet()]
	if outlet == nil {
		outlet, failed = request.Retired[*devices.Outlet](ctx, a.desk.Registry, devices.KindOutlet, point.Outlet())
	}
	if outlet == nil || failed != nil || !request.Who(c).Sees(outlet.Site) {
		return nil, "", errors.Join(failed, err)
	}
	return point, outlet.Site, nil
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
func (a *API) last(ctx context.Context, p *devices.Point, site string, heard func(point string) (devices.Reading, bool)) (contract.LastValue, error) {
	if r, ok := heard(p.ID); ok && r.Quality != devices.BadClock {
		return a.withState(lastValue(r, p.Unit)), nil
	}
	s, err := a.History.Last(ctx, timeseries.Series{Site: site, Point: p.ID})
	if errors.Is(err, devices.ErrNotFound) {
		return contract.LastValue{}, &devices.Problem{
			Kind: devices.ErrNotFound, Code: "no_value",
			ZH: "测点 " + p.ID + " 还没有数据，请检查设备和绑定", EN: "point " + p.ID + " has never had a value; look at its device and binding",
		}
	}
	if err != nil {
		return contract.LastValue{}, fmt.Errorf("last value of %s: %w", p.ID, err)
	}
	return a.withState(contract.LastValue{Point: p.ID, Site: site, Value: s.Value, Unit: p.Unit, At: s.At, Quality: s.Quality}), nil
}

func lastValue(r devices.Reading, unit string) contract.LastValue {
	return contract.LastValue{Point: r.Point, Site: r.Site, Value: r.Value, Unit: unit, At: r.At, Quality: r.Quality, Mark: r.Mark}
}

// withState adds to a value whether it is stale and which maintenance concerns it.
func (a *API) withState(v contract.LastValue) contract.LastValue {
	v.Stale, v.Maintenance = a.Points.PointState(v.Point, v.At)
	return v
}

func (a *API) listLast(c echo.Context) error {
	q := request.QueryOf(c)
	site, outlet := q.Text("site"), q.Text("outlet")
	q.Known("site", "outlet")
	if err := q.Err(); err != nil {
		return err
	}
	s := a.desk.Registry.Snapshot()
	items, err := a.lastOf(c.Request().Context(), s, func(p *devices.Point, at string) bool {
		return request.Who(c).Sees(at) && (site == "" || at == site) && (outlet == "" || p.Outlet() == outlet)
	})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, contract.LastValueList{Items: items})
}

// lastOf gives the newest value of each point that is wanted, by id. Those not
// heard since the start are asked of history, a few at once.
func (a *API) lastOf(ctx context.Context, s *registry.Snapshot, wanted func(p *devices.Point, site string) bool) ([]contract.LastValue, error) {
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
	values := make([]*contract.LastValue, len(points))
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
	items := []contract.LastValue{}
	for _, v := range values {
		if v != nil {
			items = append(items, *v)
		}
	}
	return items, nil
}
