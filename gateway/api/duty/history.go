package duty

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/registry/table"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
	"offsite/timeseries"
)

// span is what a query of history asks for.
type span struct {
	from, to time.Time
	most     int
	every    time.Duration // zero: raw values
	fns      []string
}

var allFunctions = []string{"mean", "min", "max", "count", "first", "last"}

const (
	mostReadings = 100000 // in one answer
	mostWindows  = 10000  // what a store computes for one answer, empty windows included
)

func spanOf(q *request.Query) span {
	sp := span{from: q.Time("from"), to: q.Time("to"), most: q.Number("max", 10000, mostReadings)}
	if sp.to.IsZero() {
		sp.to = time.Now()
	}
	if sp.from.IsZero() {
		sp.from = sp.to.Add(-time.Hour)
	}
	if !sp.from.Before(sp.to) {
		q.Add(devices.Invalid("to", "empty_span", "结束时间须晚于开始时间", "the end must come after the start"))
	}
	window, fn := q.Text("window"), q.Text("fn")
	switch {
	case window != "":
		sp.every = parseWindow(q, window)
	case fn != "":
		q.Add(devices.Invalid("window", "missing", "计算 fn 须给出时间窗口，例如 1h", "fn needs a window such as 1h"))
	}
	if fn == "" {
		fn = "mean,min,max,count"
	}
	sp.fns = strings.Split(fn, ",")
	for _, f := range sp.fns {
		if !slices.Contains(allFunctions, f) {
			q.Add(devices.Invalid("fn", "not_one_of", "请从 "+strings.Join(allFunctions, "、")+" 中选择，可用逗号分隔多个", "choose of "+strings.Join(allFunctions, ", ")+", several with commas"))
		}
	}
	sp.from, sp.to = sp.from.Truncate(time.Millisecond), sp.to.Truncate(time.Millisecond)
	return sp
}

// parseWindow reads "1m", "90s", "1h", also "1d".
func parseWindow(q *request.Query, text string) time.Duration {
	hours := text
	if days, ok := strings.CutSuffix(text, "d"); ok {
		hours = days + "h"
	}
	d, err := time.ParseDuration(hours)
	if hours != text {
		d *= 24
	}
	if err != nil || d < time.Second || d > 366*24*time.Hour {
		q.Add(devices.Invalid("window", "bad_window", "时间窗口须写作 1m、1h、1d，最短 1s", "write a window as 1m, 1h or 1d, at least 1s"))
		return time.Second
	}
	return d
}

func (a *API) listReadings(c echo.Context) error {
	q := request.QueryOf(c)
	if q.Text("point") == "" {
		q.Add(devices.Invalid("point", "missing", "请给出测点", "name the point"))
	}
	sp := spanOf(q)
	csv := q.OneOf("format", "", "json", "csv") == "csv" || (q.Text("format") == "" && wantsCSV(c))
	q.Known("point", "from", "to", "window", "fn", "max", "format")
	if err := q.Err(); err != nil {
		return err
	}
	if csv && q.Text("max") == "" {
		sp.most = mostReadings
	}
	p, site, err := a.pointEver(c, q.Text("point"))
	if err != nil {
		return err
	}
	body := contract.Readings{Point: p.ID, Unit: p.Unit, From: sp.from.UTC(), To: sp.to.UTC(), Window: q.Text("window")}
	series := timeseries.Series{Site: site, Point: p.ID}
	if sp.every == 0 {
		err = a.samples(c.Request().Context(), &body, series, sp)
	} else {
		err = a.windows(c.Request().Context(), &body, series, sp)
	}
	if err != nil {
		return fmt.Errorf("history of %s: %w", p.ID, err)
	}
	if csv {
		return a.readingsTable(c, &body, sp)
	}
	patience := a.Points.StaleAfter(p.ID, sp.from, sp.to, gaps(&body, sp.every))
	body.StaleAfter = devices.Duration(patience.Round(time.Millisecond))
	return c.JSON(http.StatusOK, body)
}

func (a *API) samples(ctx context.Context, body *contract.Readings, series timeseries.Series, sp span) error {
	list, err := a.History.Range(ctx, series, sp.from, sp.to, sp.most+1)
	if err != nil {
		return err
	}
	if len(list) > sp.most {
		body.Next = list[sp.most].At
		list = list[:sp.most]
	}
	samples := make([]contract.Sample, len(list))
	for i, s := range list {
		samples[i] = contract.Sample{At: s.At, Value: s.Value, Quality: s.Quality, Mark: s.Quality.Mark()}
	}
	body.Samples = &samples
	return nil
}

// windows computes at most sp.most windows at a time, empty ones counted too:
// the span is cut at a border of windows and the rest is the next page.
func (a *API) windows(ctx context.Context, body *contract.Readings, series timeseries.Series, sp span) error {
	to := sp.to
	if end := timeseries.Align(sp.from, sp.every).Add(time.Duration(min(sp.most, mostWindows)) * sp.every); end.Before(to) {
		to, body.Next = end, end
	}
	list, err := a.History.Windows(ctx, series, sp.from, to, sp.every)
	if err != nil {
		return err
	}
	windows := make([]contract.Window, len(list))
	for i, w := range list {
		windows[i] = window(w, sp.fns)
	}
	body.Windows = &windows
	return nil
}

func window(w timeseries.Window, fns []string) contract.Window {
	v := contract.Window{Start: w.Start, Count: w.Count}
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

// gaps gives the times between what r holds, in order. Of a window of several
// values it is the mean between them.
func gaps(r *contract.Readings, every time.Duration) []time.Duration {
	var list []time.Duration
	if r.Samples != nil {
		for i, s := range (*r.Samples)[min(1, len(*r.Samples)):] {
			list = append(list, s.At.Sub((*r.Samples)[i].At))
		}
		return list
	}
	var last time.Time
	for _, w := range *r.Windows {
		switch {
		case w.Count == 0:
			continue
		case w.Count > 1:
			list = append(list, every/time.Duration(w.Count))
		case !last.IsZero():
			list = append(list, w.Start.Sub(last))
		}
		last = w.Start
	}
	return list
}

// wantsCSV says that the client asks for a table and not for JSON.
func wantsCSV(c echo.Context) bool {
	kind, _, err := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderAccept))
	return err == nil && kind == "text/csv"
}

// readingsTable answers with a table for spreadsheets. It is never cut short:
// who reads it could not see that.
func (a *API) readingsTable(c echo.Context, r *contract.Readings, sp span) error {
	if !r.Next.IsZero() {
		most := sp.most
		if r.Windows != nil {
			most = min(most, mostWindows)
		}
		return devices.Invalid("to", "too_many_rows",
			fmt.Sprintf("该时段超过 %d 行；请缩短时段（此表可到 %s），或用更长的时间窗口", most, beijingTime(r.Next)),
			fmt.Sprintf("the span has more than %d rows; make it shorter (this table could end at %s) or take longer windows", most, beijingTime(r.Next)))
	}
	var t strings.Builder
	t.WriteString("\ufeff") // or spreadsheets take the unit for another encoding
	place := table.Cell(r.Point) + "," + table.Cell(r.Unit)
	if r.Windows == nil {
		t.WriteString("point,unit,at,value,quality,mark\r\n")
		for _, s := range *r.Samples {
			fmt.Fprintf(&t, "%s,%s,%s,%s,%s\r\n", place, beijingTime(s.At), number(&s.Value), s.Quality, table.Cell(s.Mark))
		}
	} else {
		fmt.Fprintf(&t, "point,unit,start,window,count,%s\r\n", strings.Join(slices.DeleteFunc(slices.Clone(sp.fns), isCount), ","))
		for _, w := range *r.Windows {
			fmt.Fprintf(&t, "%s,%s,%s,%d%s\r\n", place, beijingTime(w.Start), r.Window, w.Count, figures(&w, sp.fns))
		}
	}
	name := r.Point + "_" + r.From.In(devices.Beijing).Format("20060102T1504") + ".csv"
	c.Response().Header().Set(echo.HeaderContentDisposition, `attachment; filename="`+name+`"`)
	return c.Blob(http.StatusOK, "text/csv; charset=utf-8", []byte(t.String()))
}

func isCount(fn string) bool { return fn == "count" }

// figures are the cells of what was computed for a window, in order of fns.
func figures(w *contract.Window, fns []string) string {
	var cells strings.Builder
	for _, fn := range fns {
		if v, ok := map[string]*float64{"mean": w.Mean, "min": w.Min, "max": w.Max, "first": w.First, "last": w.Last}[fn]; ok {
			cells.WriteString("," + number(v))
		}
	}
	return cells.String()
}

func number(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'f', -1, 64)
}

func beijingTime(t time.Time) string {
	return t.In(devices.Beijing).Format("2006-01-02T15:04:05.000-07:00")
}
