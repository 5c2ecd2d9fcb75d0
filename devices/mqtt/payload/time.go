package payload

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"offsite/devices"
)

// Times that a number without a stated format may mean: 2000 to 2100.
const (
	firstYear = 946684800  // 2000-01-01T00:00:00Z, Unix seconds
	lastYear  = 4102444800 // 2100-01-01T00:00:00Z
)

// endOfTime is the year 10000 in Unix milliseconds. What lies beyond is no wrong
// clock but a wrong format: milliseconds read as seconds.
const endOfTime = 253402300800000

// time finds when the value was true; zero means that the message does not say.
func (p *place) time(doc document) (time.Time, *devices.Problem) {
	if p.timePath != "" {
		return p.statedTime(doc)
	}
	if p.path != "" || !doc.json {
		return time.Time{}, nil
	}
	return p.timeBeside(doc)
}

// timeBeside looks for a time by the names that it usually has.
func (p *place) timeBeside(doc document) (time.Time, *devices.Problem) {
	for _, name := range [...]string{"time", "ts", "t"} {
		r := gjson.Get(doc.text, name)
		if !r.Exists() || r.Type == gjson.Null {
			continue
		}
		at, ok := p.readTime(r)
		if !ok && name == "t" {
			return time.Time{}, nil // many a device calls its temperature t
		}
		if !ok {
			return time.Time{}, p.timeFault(name, r)
		}
		return at, nil
	}
	return time.Time{}, nil
}

func (p *place) statedTime(doc document) (time.Time, *devices.Problem) {
	var r gjson.Result
	if doc.json {
		r = gjson.Get(doc.text, p.timePath)
	}
	if !r.Exists() {
		return time.Time{}, devices.Invalid(p.timePath, "time_missing",
			fmt.Sprintf("报文中没有时间路径 %s；请核对绑定的时间路径，或留空以接收时刻为准", p.timePath),
			fmt.Sprintf("the message has no time at %s; correct the binding's time path, or clear it to use the time of receipt", p.timePath))
	}
	at, ok := p.readTime(r)
	if !ok {
		return time.Time{}, p.timeFault(p.timePath, r)
	}
	return at, nil
}

func badTime(path, text string) *devices.Problem {
	return devices.Invalid(path, "bad_time",
		fmt.Sprintf("%s 处的时间 %s 无法识别；须为带时区的 RFC 3339（2026-01-02T15:04:05+08:00）、Unix 秒或毫秒，请核对绑定的时间格式", path, devices.Quoted(text)),
		fmt.Sprintf("cannot read the time %s at %s; want RFC 3339 with a zone (2026-01-02T15:04:05+08:00), Unix seconds or milliseconds; check the binding's time format", devices.Quoted(text), path))
}

func noZone(path, text string) *devices.Problem {
	return devices.Invalid(path, "no_zone",
		fmt.Sprintf("%s 处的时间 %s 不含时区；请在绑定的时区（topic.zone）中选择仪器所用的时区，如 Asia/Shanghai，再重新解析报文", path, devices.Quoted(text)),
		fmt.Sprintf("the time %s at %s states no zone; choose the instrument's zone in the binding (topic.zone), such as Asia/Shanghai, and read the message again", devices.Quoted(text), path))
}

// timeFault says why a time cannot be read.
func (p *place) timeFault(path string, r gjson.Result) *devices.Problem {
	if p.zone == nil && p.timeFormat != devices.TimeUnix && p.timeFormat != devices.TimeUnixMS {
		if _, local := localTime(r, time.UTC); local {
			return noZone(path, r.Raw)
		}
	}
	return badTime(path, r.Raw)
}

// readTime reads a time in the binding's format and zone.
func (p *place) readTime(r gjson.Result) (time.Time, bool) {
	at, ok := readTime(r, p.timeFormat)
	if !ok && p.zone != nil && p.timeFormat != devices.TimeUnix && p.timeFormat != devices.TimeUnixMS {
		return localTime(r, p.zone)
	}
	return at, ok
}

// localLayouts are the forms of times without a zone; all may have a fraction of
// a second.
var localLayouts = [...]string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006/01/02 15:04:05", "20060102150405"}

// localTime reads a time that states no zone as one of zone.
func localTime(r gjson.Result, zone *time.Location) (time.Time, bool) {
	text := r.Str
	if r.Type == gjson.Number {
		text = r.Raw
	}
	for _, layout := range localLayouts {
		if at, err := time.ParseInLocation(layout, text, zone); err == nil && at.Year() >= 1 {
			return at.UTC().Truncate(time.Millisecond), true
		}
	}
	return time.Time{}, false
}

// readTime reads a time in the given format, or by its looks.
func readTime(r gjson.Result, format string) (time.Time, bool) {
	text := r.Raw
	if r.Type == gjson.String {
		text = r.Str
	} else if r.Type != gjson.Number {
		return time.Time{}, false
	}
	if r.Type == gjson.String && (format == devices.TimeRFC3339 || (format == "" && strings.IndexByte(text, '-') == 4)) {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil || at.Year() < 1 {
			return time.Time{}, false
		}
		return at.UTC().Truncate(time.Millisecond), true
	}
	if format == devices.TimeRFC3339 {
		return time.Time{}, false
	}
	return numericTime(text, format)
}

func numericTime(text, format string) (time.Time, bool) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return time.Time{}, false
	}
	if format == "" {
		switch {
		case v >= firstYear && v < lastYear:
			format = devices.TimeUnix
		case v >= firstYear*1000 && v < lastYear*1000:
			format = devices.TimeUnixMS
		default:
			return time.Time{}, false
		}
	}
	if format == devices.TimeUnix {
		v *= 1000
	}
	if !(v >= 0 && v < endOfTime) {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(math.Round(v))).UTC(), true
}
