package request

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
)

// Query reads the parameters of a URL and collects what is wrong with them.
type Query struct {
	c  echo.Context
	ps devices.Problems
}

// QueryOf reads the parameters of a request.
func QueryOf(c echo.Context) *Query { return &Query{c: c} }

// Add tells what else is wrong.
func (q *Query) Add(p *devices.Problem) { q.ps.Add(p) }

// Err is all that is wrong, nil for nothing.
func (q *Query) Err() error { return q.ps.Err() }

// Text is a parameter as it came, empty where it is left out.
func (q *Query) Text(name string) string { return q.c.QueryParam(name) }

// Number is a whole number from 1 to most.
func (q *Query) Number(name string, fallback, most int) int {
	text := q.c.QueryParam(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		q.ps.Add(devices.Invalid(name, "out_of_range", fmt.Sprintf("须为 1 至 %d 的整数", most), fmt.Sprintf("give a whole number from 1 to %d", most)))
		return fallback
	}
	return n
}

// Time is an RFC 3339 time, zero where it is left out.
func (q *Query) Time(name string) time.Time {
	text := q.c.QueryParam(name)
	if text == "" {
		return time.Time{}
	}
	// A plus sign that nobody escaped has become a blank.
	t, err := time.Parse(time.RFC3339, strings.Replace(text, " ", "+", 1))
	if err != nil {
		q.ps.Add(devices.Invalid(name, "bad_time", "时间须写作 2026-01-02T15:04:05+08:00", "write a time as 2026-01-02T15:04:05+08:00"))
	}
	return t
}

// Yes says whether a parameter is true.
func (q *Query) Yes(name string) bool {
	switch q.c.QueryParam(name) {
	case "true", "1":
		return true
	case "", "false", "0":
	default:
		q.ps.Add(devices.Invalid(name, "not_one_of", "须为 true 或 false", "give true or false"))
	}
	return false
}

// OneOf reads a parameter that has a few values, the first of them where it is
// left out.
func (q *Query) OneOf(name string, allowed ...string) string {
	text := q.c.QueryParam(name)
	if text == "" {
		return allowed[0]
	}
	if !slices.Contains(allowed, text) {
		list := strings.Trim(strings.Join(allowed, ", "), ", ")
		q.ps.Add(devices.Invalid(name, "not_one_of", "请从下列值中选择："+list, "choose one of "+list))
	}
	return text
}

// Known refuses parameters that the operation does not have, so that a
// misspelt filter does not show everything.
func (q *Query) Known(names ...string) {
	for name := range q.c.QueryParams() {
		if name != "ticket" && !slices.Contains(names, name) {
			q.ps.Add(devices.Invalid(name, "unknown_parameter", "没有参数 "+name+"，可用："+strings.Join(names, "、"), "there is no parameter "+name+"; there are: "+strings.Join(names, ", ")))
		}
	}
	slices.SortFunc(q.ps, func(x, y *devices.Problem) int { return strings.Compare(x.Field, y.Field) })
}

// VersionOf reads the version that is to be replaced from If-Match, else from the body.
func VersionOf(c echo.Context, inBody int64) (int64, error) {
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
