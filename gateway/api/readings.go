package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

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

// span is what a query of history asks for.
type span struct {
	from, to time.Time
	most     int
	every    time.Duration // zero: raw values
	fns      []string
}

var allFunctions = []string{"mean", "min", "max", "count", "first", "last"}

// mostWindows bounds what a store computes for one answer, empty windows included.
const mostWindows = 10000

func spanOf(q *query) span {
	sp := span{from: q.time("from"), to: q.time("to"), most: q.number("max", 10000, 100000)}
	if sp.to.IsZero() {
		sp.to = time.Now()
	}
	if sp.from.IsZero() {
		sp.from = sp.to.Add(-time.Hour)
	}
	if !sp.from.Before(sp.to) {
		q.ps.Add(devices.Invalid("to", "empty_span", "结束时间须晚于开始时间", "the end must come after the start"))
	}
	window, fn := q.text("window"), q.text("fn")
	switch {
	case window != "":
		sp.every = parseWindow(q, window)
	case fn != "":
		q.ps.Add(devices.Invalid("window", "missing", "计算 fn 须给出时间窗口，例如 1h", "fn needs a window such as 1h"))
	}
	if fn == "" {
		fn = "mean,min,max,count"
	}
	sp.fns = strings.Split(fn, ",")
	for _, f := range sp.fns {
		if !slices.Contains(allFunctions, f) {
			q.ps.Add(devices.Invalid("fn", "not_one_of", "请从 "+strings.Join(allFunctions, "、")+" 中选择，可用逗号分隔多个", "choose of "+strings.Join(allFunctions, ", ")+", several with commas"))
		}
	}
	sp.from, sp.to = sp.from.Truncate(time.Millisecond), sp.to.Truncate(time.Millisecond)
	return sp
}

// parseWindow reads "1m", "90s", "1h", also "1d".
func parseWindow(q *query, text string) time.Duration {
	hours := text
	if days, ok := strings.CutSuffix(text, "d"); ok {
		hours = days + "h"
	}
	d, err := time.ParseDuration(hours)
	if hours != text {
		d *= 24
	}
	if err != nil || d < time.Second || d > 366*24*time.Hour {
		q.ps.Add(devices.Invalid("window", "bad_window", "时间窗口须写作 1m、1h、1d，最短 1s", "write a window as 1m, 1h or 1d, at least 1s"))
		return time.Second
	}
	return d
}

func (a *API) listReadings(c echo.Context) error {
	q := query{c: c}
	if q.text("point") == "" {
		q.ps.Add(devices.Invalid("point", "missing", "请给出测点", "name the point"))
	}
	sp := spanOf(&q)
	q.known("point", "from", "to", "window", "fn", "max")
	if err := q.ps.Err(); err != nil {
		return err
	}
	p, site, err := a.pointEver(c, q.text("point"))
	if err != nil {
		return err
	}
	body := Readings{Point: p.ID, Unit: p.Unit, From: sp.from.UTC(), To: sp.to.UTC(), Window: q.text("window")}
	series := timeseries.Series{Site: site, Point: p.ID}
	if sp.every == 0 {
		err = a.samples(c.Request().Context(), &body, series, sp)
	} else {
		err = a.windows(c.Request().Context(), &body, series, sp)
	}
	if err != nil {
		return fmt.Errorf("history of %s: %w", p.ID, err)
	}
	return c.JSON(http.StatusOK, body)
}

func (a *API) samples(ctx context.Context, body *Readings, series timeseries.Series, sp span) error {
	list, err := a.History.Range(ctx, series, sp.from, sp.to, sp.most+1)
	if err != nil {
		return err
	}
	if len(list) > sp.most {
		body.Next = list[sp.most].At
		list = list[:sp.most]
	}
	samples := make([]Sample, len(list))
	for i, s := range list {
		samples[i] = Sample{At: s.At, Value: s.Value, Quality: s.Quality, Mark: s.Quality.Mark()}
	}
	body.Samples = &samples
	return nil
}

// windows computes at most sp.most windows at a time, empty ones counted too:
// the span is cut at a border of windows and the rest is the next page.
func (a *API) windows(ctx context.Context, body *Readings, series timeseries.Series, sp span) error {
	to := sp.to
	if end := timeseries.Align(sp.from, sp.every).Add(time.Duration(min(sp.most, mostWindows)) * sp.every); end.Before(to) {
		to, body.Next = end, end
	}
	list, err := a.History.Windows(ctx, series, sp.from, to, sp.every)
	if err != nil {
		return err
	}
	windows := make([]Window, len(list))
	for i, w := range list {
		windows[i] = window(w, sp.fns)
	}
	body.Windows = &windows
	return nil
}

func window(w timeseries.Window, fns []string) Window {
	v := Window{Start: w.Start, Count: w.Count}
	for _, fn := range fns {
		switch fn {
		case "mean":
			v.Mean = &w.Mean
		case "min":
			v.Min = &w.Min
		case "max":
			v.Max = &w.Max
		case "first":
			v.First = &w.First
		case "last":
			v.Last = &w.Last
		}
	}
	return v
}
