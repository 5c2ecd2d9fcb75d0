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

// place is where one point's value stands in the messages of a topic.
type place struct {
	site, point string
	each        string
	path        string
	timePath    string
	timeFormat  string
	zone        *time.Location // of times that state none; nil when they are refused
	conversion  devices.Conversion
	low, high   float64 // the point's range
}

func newPlace(b *devices.Bound) place {
	p := place{
		site: b.Site, point: b.Point.ID, conversion: b.Binding.Conversion(),
		low: math.Inf(-1), high: math.Inf(1),
	}
	if p.point == "" {
		p.point = b.Binding.Point
	}
	if b.Point.Min != nil {
		p.low = *b.Point.Min
	}
	if b.Point.Max != nil {
		p.high = *b.Point.Max
	}
	if t := b.Binding.Topic; t != nil {
		p.each, p.path, p.timePath, p.timeFormat = t.Each, t.Path, t.TimePath, t.TimeFormat
		p.zone, _ = t.Location() // it was checked
	}
	return p
}

// read puts the readings of the point behind those of others. With a problem
// there may be readings nevertheless: in a batch some can be good.
func (p *place) read(doc document, received time.Time, into []devices.Reading) ([]devices.Reading, *devices.Problem) {
	if p.each != "" || (p.path == "" && doc.isArray()) {
		return p.readEach(doc, received, into)
	}
	raw, fault := p.value(doc)
	if fault == errColumn {
		return p.readColumn(doc, received, into)
	}
	if fault != nil {
		return into, fault
	}
	at, fault := p.time(doc)
	if fault != nil {
		return into, fault
	}
	r, fault := p.reading(raw, at, received)
	if fault != nil {
		return into, fault
	}
	return append(into, r), nil
}

// reading makes a reading of a raw value; at may be zero.
func (p *place) reading(raw float64, at, received time.Time) (devices.Reading, *devices.Problem) {
	v := p.conversion.Value(raw)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return devices.Reading{}, notFinite(strconv.FormatFloat(v, 'g', -1, 64))
	}
	r := devices.Reading{Site: p.site, Point: p.point, Value: v, At: received, Stamped: true}
	if v < p.low || v > p.high {
		r.Quality = devices.UncertainRange
	}
	if !at.IsZero() {
		r.At, r.Stamped = at, false
	}
	return r, nil
}

// errColumn says that the path leads to an array. It is shown to nobody.
var errColumn = devices.Invalid("", "column", "数组", "array")

// value finds the number, before scale and offset.
func (p *place) value(doc document) (float64, *devices.Problem) {
	if !doc.json {
		if p.path != "" {
			return 0, devices.Invalid(p.path, "not_json",
				fmt.Sprintf("报文不是 JSON，无法按路径 %s 取值；请删去绑定的路径或让设备发送 JSON", p.path),
				fmt.Sprintf("the message is not JSON, so path %s leads nowhere; clear the binding's path or have the device send JSON", p.path))
		}
		return number("payload", doc.text)
	}
	if p.path != "" {
		r := gjson.Get(doc.text, p.path)
		if r.IsArray() {
			return 0, errColumn
		}
		return p.found(p.path, r)
	}
	for _, name := range [...]string{"value", "v"} {
		if r := gjson.Get(doc.text, name); r.Exists() {
			return p.found(name, r)
		}
	}
	return 0, devices.Invalid("value", "path_missing",
		"JSON 中没有 value 或 v；请在绑定中填写取值路径",
		`the JSON holds neither "value" nor "v"; give the binding the path of the value`)
}

func (p *place) found(path string, r gjson.Result) (float64, *devices.Problem) {
	switch r.Type {
	case gjson.Number:
		return number(path, r.Raw)
	case gjson.True:
		return 1, nil
	case gjson.False:
		return 0, nil
	case gjson.String:
		return number(path, r.Str)
	}
	if !r.Exists() {
		return 0, devices.Invalid(path, "path_missing",
			fmt.Sprintf("JSON 中没有路径 %s；请核对绑定的取值路径", path),
			fmt.Sprintf("the JSON has no path %s; correct the binding's path", path))
	}
	return 0, notNumber(path, r.Raw)
}

// number reads a decimal number, true or false.
func number(path, text string) (float64, *devices.Problem) {
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return word(path, text)
		}
	}
	v, err := strconv.ParseFloat(text, 64)
	if err == nil {
		return v, nil
	}
	if math.IsInf(v, 0) {
		return 0, notFinite(devices.Quoted(text))
	}
	return 0, notNumber(path, text)
}

// word reads what is not made of the characters of a decimal number.
func word(path, text string) (float64, *devices.Problem) {
	switch text {
	case "true":
		return 1, nil
	case "false":
		return 0, nil
	}
	switch strings.ToLower(strings.TrimLeft(text, "+-")) {
	case "nan", "inf", "infinity":
		return 0, notFinite(devices.Quoted(text))
	}
	if trimmed := strings.TrimSpace(text); len(trimmed) < len(text) {
		return number(path, trimmed)
	}
	return 0, notNumber(path, text)
}

func notNumber(path, text string) *devices.Problem {
	return devices.Invalid(path, "not_a_number",
		fmt.Sprintf("%s 处应为数字，收到的是 %s；请核对绑定的路径或设备的报文", path, devices.Quoted(text)),
		fmt.Sprintf("want a number at %s, got %s; correct the binding's path or the device's message", path, devices.Quoted(text)))
}

func notFinite(text string) *devices.Problem {
	return devices.Invalid("value", "not_finite",
		fmt.Sprintf("数值 %s 不是有限数；请检查仪器与换算系数", text),
		fmt.Sprintf("the value %s is not a finite number; check the instrument, scale and offset", text))
}
