package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"offsite/devices"
)

// Request is what an engineer fills in.
type Request struct {
	Site       string         `json:"site"`             // site id
	Outlet     string         `json:"outlet"`           // outlet id, of points that are not placed otherwise
	Device     string         `json:"device"`           // id of the device to be made
	Name       string         `json:"name"`             // its name; empty means the template's
	Language   string         `json:"language"`         // of the names: zh (the default) or en
	Parameters map[string]any `json:"parameters"`       // by name; text, number or boolean
	Points     []Placement    `json:"points,omitempty"` // those wanted; empty means all
	Limits     []string       `json:"limits,omitempty"` // ids of the suggestions to take over
}

// Placement puts one point of the template somewhere.
type Placement struct {
	Point string `json:"point"`        // id in the template, with its number where it repeats: gas-3
	ID    string `json:"id,omitempty"` // "outlet.point"; empty means Outlet and Point
}

// Render makes the device, its points, their bindings and the limits that were
// chosen, in an order in which they can be registered. Ids of bindings and
// limits are left empty, for the registry to make. It returns Problems; those
// of a parameter are named "parameters.NAME".
func (t *Template) Render(r Request) ([]devices.Thing, error) {
	e, err := t.values(r.Parameters)
	if err != nil {
		return nil, err
	}
	w := rendering{t: t, request: r, values: e}
	w.device()
	for i := range t.Points {
		w.repeated(i)
	}
	w.unplaced()
	w.limits()
	if err := w.ps.Err(); err != nil {
		return nil, err
	}
	things := []devices.Thing{w.dev}
	for _, p := range w.points {
		things = append(things, p)
	}
	for _, b := range w.bindings {
		things = append(things, b)
	}
	for _, l := range w.chosen {
		things = append(things, l)
	}
	return things, nil
}

// values reads all parameters and tells every fault at once.
func (t *Template) values(given map[string]any) (values, error) {
	var ps devices.Problems
	e := values{}
	for i := range t.Parameters {
		p := &t.Parameters[i]
		v, fault := p.value(given[p.Name])
		ps.Add(fault)
		e[p.Name] = v
	}
	for name := range given {
		if _, ok := e[name]; !ok {
			ps.Add(devices.Invalid("parameters."+name, "unknown_parameter", "模板没有该参数", "the template has no such parameter"))
		}
	}
	slices.SortFunc(ps, func(a, b *devices.Problem) int { return strings.Compare(a.Field, b.Field) })
	return e, ps.Err()
}

// rendering is one Render under way.
type rendering struct {
	t       *Template
	request Request
	values  values
	ps      devices.Problems

	dev      *devices.Device
	points   []*devices.Point
	bindings []*devices.Binding
	chosen   []*devices.Limit
	placed   map[string][]*devices.Point // by id in the template
	offered  []string                    // every point that could be placed
}

func (w *rendering) device() {
	w.dev = &devices.Device{}
	w.decode("device", w.t.Device, w.values, w.dev)
	w.dev.ID, w.dev.Site, w.dev.Driver = w.request.Device, w.request.Site, w.t.Driver
	if w.dev.Name = w.request.Name; w.dev.Name == "" {
		w.dev.Name = w.t.Name.in(w.request.Language)
	}
	for _, p := range devices.AllProblems(w.dev.Check()) {
		switch p.Field {
		case "id":
			w.ps.Add(devices.Invalid("device", p.Code, p.ZH, p.EN))
		case "site", "name", "driver":
			w.ps.Add(p)
		default:
			w.blame(p, "device", w.t.Device)
		}
	}
}

// repeated places the i-th point of the template, as often as it stands there.
func (w *rendering) repeated(i int) {
	p := &w.t.Points[i]
	path := fmt.Sprintf("points[%d]", i)
	count := 1.0
	if p.Repeat != nil {
		v, err := w.values.fill(p.Repeat)
		n, ok := toNumber(v)
		if err != nil || !ok || n < 1 || n > mostRepeats || n != math.Trunc(n) {
			fault := devices.Invalid("repeat", "out_of_range", fmt.Sprintf("重复数须为 1 至 %d 的整数", mostRepeats), fmt.Sprintf("repeat a point 1 to %d times", mostRepeats))
			w.blame(fault, path, map[string]any{"repeat": p.Repeat})
			return
		}
		count = n
	}
	for n := 1.0; n <= count; n++ {
		e := values{"n": n}
		for name, v := range w.values {
			e[name] = v
		}
		w.point(path, p, e)
	}
}

func (w *rendering) point(path string, p *Point, e values) {
	local := w.text(path+".id", p.ID, e)
	w.offered = append(w.offered, local)
	id, wanted := w.placement(local)
	if !wanted {
		return
	}
	point := &devices.Point{
		ID: id, Digits: p.Digits, Factor: w.text(path+".factor", p.Factor, e), Unit: w.text(path+".unit", p.Unit, e),
		Name: w.text(path+".name", p.Name.in(w.request.Language), e),
		Min:  w.number(path+".min", p.Min, e), Max: w.number(path+".max", p.Max, e),
	}
	for _, l := range p.Labels {
		point.Labels = append(point.Labels, devices.Label{Value: l.Value, Text: Text{l.ZH, l.EN}.in(w.request.Language)})
	}
	raw := map[string]any{"factor": p.Factor, "unit": p.Unit, "name": p.Name.in(w.request.Language), "min": p.Min, "max": p.Max}
	for _, fault := range devices.AllProblems(point.Check()) {
		if fault.Field == "id" {
			w.ps.Add(devices.Invalid("outlet", fault.Code, fault.ZH, fault.EN))
			continue
		}
		w.blame(fault, path, raw)
	}
	b := &devices.Binding{}
	w.decode(path+".binding", p.Binding, e, b)
	b.ID, b.Point, b.Device = "", id, w.request.Device
	for _, fault := range devices.AllProblems(b.Check()) {
		if fault.Field != "id" && fault.Field != "point" && fault.Field != "device" {
			w.blame(fault, path+".binding", p.Binding)
		}
	}
	w.points, w.bindings = append(w.points, point), append(w.bindings, b)
	if w.placed == nil {
		w.placed = map[string][]*devices.Point{}
	}
	w.placed[p.ID] = append(w.placed[p.ID], point)
}

// placement says under which id a point of the template is wanted, if at all.
func (w *rendering) placement(local string) (id string, wanted bool) {
	if len(w.request.Points) == 0 {
		return w.request.Outlet + "." + local, true
	}
	for _, p := range w.request.Points {
		if p.Point == local {
			if p.ID != "" {
				return p.ID, true
			}
			return w.request.Outlet + "." + local, true
		}
	}
	return "", false
}

// unplaced tells which of the wanted points the template does not have.
func (w *rendering) unplaced() {
	for i, p := range w.request.Points {
		if !slices.Contains(w.offered, p.Point) {
			list := strings.Join(w.offered, ", ")
			w.ps.Add(devices.Invalid(fmt.Sprintf("points[%d].point", i), "unknown_point", "模板没有该测点，可选："+list, "the template has no such point; there are: "+list))
		}
	}
}

// limits makes the suggestions that were chosen.
func (w *rendering) limits() {
	for i, id := range w.request.Limits {
		field := fmt.Sprintf("limits[%d]", i)
		at := slices.IndexFunc(w.t.Limits, func(s Suggestion) bool { return s.ID == id })
		if at < 0 {
			w.ps.Add(devices.Invalid(field, "unknown_limit", "模板没有该建议限值", "the template suggests no such limit"))
			continue
		}
		s := &w.t.Limits[at]
		if !s.Judged() {
			w.ps.Add(devices.Invalid(field, "averaging_not_judged",
				fmt.Sprintf("“%s”按 %s 平均判定，本网关目前不能按此判定；请勿以瞬时值代替", s.Standard, s.Averaging),
				fmt.Sprintf("%s is judged on the %s mean, which this gateway cannot do yet; do not judge readings by it", s.Standard, s.Averaging)))
			continue
		}
		from, to, _ := s.valid() // validated when the template was read
		for _, p := range w.placed[s.Point] {
			w.chosen = append(w.chosen, &devices.Limit{
				Point: p.ID, Level: s.Level, Value: s.Value, Unit: p.Unit, Averaging: s.Averaging, Deadband: s.Deadband, OnDelay: s.OnDelay,
				Standard: s.Standard, Clause: s.Clause, ValidFrom: from, ValidTo: to,
			})
		}
	}
}

// valid gives the span of a suggestion; the last day is part of it.
func (s *Suggestion) valid() (from, to *time.Time, err error) {
	day := func(text string, after int) *time.Time {
		if text == "" {
			return nil
		}
		t, fault := time.ParseInLocation(time.DateOnly, text, devices.Beijing)
		err = errors.Join(err, fault)
		t = t.AddDate(0, 0, after).UTC()
		return &t
	}
	from, to = day(s.ValidFrom, 0), day(s.ValidTo, 1)
	if from != nil && to != nil && !to.After(*from) {
		err = errors.Join(err, errors.New("ends before it starts"))
	}
	return from, to, err
}

func (w *rendering) text(path, text string, e values) string {
	filled, err := e.string(text)
	if err != nil {
		w.ps.Add(badExpression(path, err))
	}
	return filled
}

func (w *rendering) number(path string, v any, e values) *float64 {
	if v == nil {
		return nil
	}
	filled, err := e.fill(v)
	if err != nil {
		w.ps.Add(badExpression(path, err))
		return nil
	}
	if filled == nil {
		return nil
	}
	n, ok := toNumber(filled)
	if !ok {
		w.ps.Add(devices.Invalid(path, "bad_type", "须为数字", "give a number"))
		return nil
	}
	return &n
}

func badExpression(path string, err error) *devices.Problem {
	return devices.Invalid(path, "bad_expression", "${…} 中只能有参数名、数字和 + - *："+err.Error(), "inside ${…} stand names of parameters, numbers and + - *: "+err.Error())
}

// decode fills raw and reads it as the API's JSON of into, strictly.
func (w *rendering) decode(path string, raw map[string]any, e values, into any) {
	filled, err := e.fill(raw)
	if err != nil {
		w.ps.Add(badExpression(path, err))
		return
	}
	if filled == nil {
		return
	}
	text, err := json.Marshal(filled)
	if err != nil {
		w.ps.Add(devices.Invalid(path, "bad_value", "值不能表示", "a value cannot be written"))
		return
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err = d.Decode(into)
	var wrong *json.UnmarshalTypeError
	var p *devices.Problem
	switch {
	case err == nil:
	case errors.As(err, &wrong):
		w.blame(devices.Invalid(wrong.Field, "bad_type", fmt.Sprintf("值 %s 不合适", wrong.Value), fmt.Sprintf("the value %s does not fit", wrong.Value)), path, raw)
	case errors.As(err, &p):
		w.ps.Add(devices.Invalid(path, p.Code, p.ZH, p.EN))
	default:
		why := strings.TrimPrefix(err.Error(), "json: ")
		w.ps.Add(devices.Invalid(path, "unknown_key", "有不认识的键："+why, "there is a key that nothing knows: "+why))
	}
}

// blame names the parameters that a fault of a rendered field comes from, else
// the field's place in the template.
func (w *rendering) blame(p *devices.Problem, path string, raw map[string]any) {
	var from any = raw
	for step := range strings.SplitSeq(p.Field, ".") {
		m, ok := from.(map[string]any)
		if !ok {
			break
		}
		if from, ok = m[step]; !ok {
			from = nil
		}
	}
	used := names(from)
	if given := slices.DeleteFunc(slices.Clone(used), func(name string) bool { return w.values[name] == nil }); len(given) > 0 {
		used = given // what was left empty is to blame only where nothing was given
	}
	if len(used) == 0 {
		field := path
		if p.Field != "" {
			field += "." + p.Field
		}
		w.ps.Add(devices.Invalid(field, p.Code, p.ZH, p.EN))
		return
	}
	for i := range w.t.Parameters {
		if parameter := &w.t.Parameters[i]; slices.Contains(used, parameter.Name) {
			w.ps.Add(parameter.fault(p.Code, p.ZH, p.EN))
		}
	}
}
