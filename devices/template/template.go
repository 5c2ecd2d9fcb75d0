package template

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"offsite/devices"
)

// Generic is the brand of a template that was made after no single maker's manual.
const Generic = "generic"

// Text is the same in both languages.
type Text struct {
	ZH string `yaml:"zh" json:"zh"`
	EN string `yaml:"en" json:"en"`
}

// in gives the text in a language, "en" or else Chinese.
func (t Text) in(language string) string {
	if language == "en" {
		return t.EN
	}
	return t.ZH
}

// Template says what an instrument needs to be read. It must not be changed.
type Template struct {
	ID         string         `yaml:"id" json:"id"`
	Brand      string         `yaml:"brand" json:"brand"`
	Model      string         `yaml:"model" json:"model,omitempty"`
	Kind       string         `yaml:"kind" json:"kind"`
	Name       Text           `yaml:"name" json:"name"`
	Help       Text           `yaml:"help" json:"help,omitzero"`
	Source     []string       `yaml:"source" json:"source,omitempty"`
	Driver     string         `yaml:"driver" json:"driver"`
	Connection string         `yaml:"connection" json:"-"`
	OutletKind string         `yaml:"outlet_kind" json:"outlet_kind"`
	Parameters []Parameter    `yaml:"parameters" json:"parameters"`
	Device     map[string]any `yaml:"device" json:"device,omitempty"`
	Points     []Point        `yaml:"points" json:"points"`
	Limits     []Suggestion   `yaml:"limits" json:"limits"`
	Own        bool           `yaml:"-" json:"own"` // the user's, not shipped
}

// Parameter is asked of whoever registers the device.
type Parameter struct {
	Name     string   `yaml:"name" json:"name"`
	Type     string   `yaml:"type" json:"type"` // text, host, modbus, integer, number, boolean, choice, duration, secret
	Label    Text     `yaml:"label" json:"label"`
	Help     Text     `yaml:"help" json:"help,omitzero"`
	Unit     string   `yaml:"unit" json:"unit,omitempty"`
	Default  any      `yaml:"default" json:"default,omitempty"`
	Optional bool     `yaml:"optional" json:"optional,omitempty"`
	Example  any      `yaml:"example" json:"example,omitempty"`
	Choices  []Choice `yaml:"choices" json:"choices,omitempty"`
	Min      *float64 `yaml:"min" json:"min,omitempty"`
	Max      *float64 `yaml:"max" json:"max,omitempty"`
}

// Choice is one value of a parameter of type choice.
type Choice struct {
	Value string `yaml:"value" json:"value"`
	ZH    string `yaml:"zh" json:"zh"`
	EN    string `yaml:"en" json:"en"`
}

// Point is a measured quantity and where the device keeps it.
type Point struct {
	ID      string         `yaml:"id" json:"id"` // local to its outlet
	Name    Text           `yaml:"name" json:"name"`
	Factor  string         `yaml:"factor" json:"factor"`
	Unit    string         `yaml:"unit" json:"unit"`
	Min     any            `yaml:"min" json:"min,omitempty"` // number or "${…}"
	Max     any            `yaml:"max" json:"max,omitempty"`
	Digits  int            `yaml:"digits" json:"digits"`
	Labels  []Label        `yaml:"labels" json:"labels,omitempty"`
	Repeat  any            `yaml:"repeat" json:"repeat,omitempty"` // whole number or "${…}"; absent means once
	Binding map[string]any `yaml:"binding" json:"binding"`
}

// Label names one value of an enumeration.
type Label struct {
	Value float64 `yaml:"value" json:"value"`
	ZH    string  `yaml:"zh" json:"zh"`
	EN    string  `yaml:"en" json:"en"`
}

// Suggestion is a limit that a standard gives for a point.
type Suggestion struct {
	ID        string           `yaml:"id" json:"id"`
	Point     string           `yaml:"point" json:"point"` // as in Points
	Level     string           `yaml:"level" json:"level"`
	Value     float64          `yaml:"value" json:"value"` // in the point's unit
	Averaging string           `yaml:"averaging" json:"averaging"`
	Deadband  float64          `yaml:"deadband" json:"deadband,omitempty"`
	OnDelay   devices.Duration `yaml:"on_delay" json:"on_delay,omitempty"`
	Standard  string           `yaml:"standard" json:"standard"`
	Clause    string           `yaml:"clause" json:"clause"`
	ValidFrom string           `yaml:"valid_from" json:"valid_from,omitempty"` // date in Beijing, 2026-03-01
	ValidTo   string           `yaml:"valid_to" json:"valid_to,omitempty"`     // last day
	Unchecked bool             `yaml:"unchecked" json:"unchecked,omitempty"`
	Note      Text             `yaml:"note" json:"note,omitzero"`
}

// Judged says whether the gateway can judge by the averaging that the standard
// asks for. What it cannot is shown and never taken over as something else.
func (s *Suggestion) Judged() bool {
	probe := devices.Limit{ID: "x", Point: "x.x", Level: "H", Averaging: s.Averaging}
	return !slices.ContainsFunc(devices.AllProblems(probe.Check()), func(p *devices.Problem) bool { return p.Field == "averaging" })
}

var (
	localID       = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	repeatedID    = regexp.MustCompile(`^[a-z0-9-]{0,60}\$\{n\}[a-z0-9-]{0,60}$`)
	parameterName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	kindName      = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
)

// mostRepeats is how many channels one point of a template may stand for.
const mostRepeats = 256

// validate tells every fault of t by its path.
func (t *Template) validate() error {
	var ps devices.Problems
	t.validateHead(&ps)
	names := map[string]bool{"n": true}
	for i := range t.Parameters {
		p := &t.Parameters[i]
		path := fmt.Sprintf("parameters[%d]", i)
		if !parameterName.MatchString(p.Name) || names[p.Name] {
			ps.Add(devices.Invalid(path+".name", "bad_name", "参数名须为小写字母开头的字母、数字、下划线，不得重复，也不得为 n", "name a parameter in small letters, digits and underscores, each once and none n"))
		}
		names[p.Name] = true
		p.validate(&ps, path)
	}
	if len(t.Points) == 0 {
		ps.Add(devices.Invalid("points", "missing", "请至少写一个测点", "write at least one point"))
	}
	points := map[string]bool{}
	for i := range t.Points {
		p := &t.Points[i]
		path := fmt.Sprintf("points[%d]", i)
		if points[p.ID] || (p.Repeat == nil && !localID.MatchString(p.ID)) || (p.Repeat != nil && !repeatedID.MatchString(p.ID)) {
			ps.Add(devices.Invalid(path+".id", "bad_id", "测点编号须为小写字母、数字或连字符且不重复；重复测点须含 ${n}", "use small letters, digits and hyphens, each id once; a repeated point's id holds ${n}"))
		}
		points[p.ID] = true
		checkText(&ps, path+".name", p.Name)
	}
	t.validateLimits(&ps, points)
	return ps.Err()
}

func (t *Template) validateHead(ps *devices.Problems) {
	ps.Add(devices.CheckID("id", t.ID))
	if t.Brand == "" {
		ps.Add(devices.Invalid("brand", "missing", "请填写品牌，通用模板写 generic", "name the brand, or write generic"))
	}
	if t.Brand != Generic && len(t.Source) == 0 {
		ps.Add(devices.Invalid("brand", "missing", "写明品牌的模板须给出寄存器表或协议说明的出处", "a template that names a brand cites the register map or description that it was made from"))
	}
	for i, s := range t.Source {
		if !strings.HasPrefix(s, "https://") && !strings.HasPrefix(s, "http://") {
			ps.Add(devices.Invalid(fmt.Sprintf("source[%d]", i), "bad_address", "出处须为网址", "cite an address of the web"))
		}
	}
	if !kindName.MatchString(t.Kind) {
		ps.Add(devices.Invalid("kind", "bad_name", "类别须为小写字母和下划线，如 power_meter", "write the kind in small letters, such as power_meter"))
	}
	checkText(ps, "name", t.Name)
	probe := devices.Outlet{ID: "x", Site: "x", Name: "x", OutletKind: t.OutletKind}
	for _, p := range devices.AllProblems(probe.Check()) {
		ps.Add(devices.Invalid("outlet_kind", p.Code, p.ZH, p.EN))
	}
	for _, own := range []string{"id", "site", "name", "driver"} {
		if _, ok := t.Device[own]; ok {
			ps.Add(devices.Invalid("device."+own, "not_used", "此项在登记时确定，请删去", "this is settled at registration; remove it"))
		}
	}
}

func (t *Template) validateLimits(ps *devices.Problems, points map[string]bool) {
	seen := map[string]bool{}
	for i := range t.Limits {
		l := &t.Limits[i]
		path := fmt.Sprintf("limits[%d]", i)
		if !localID.MatchString(l.ID) || seen[l.ID] {
			ps.Add(devices.Invalid(path+".id", "bad_id", "建议限值的编号须为小写字母、数字或连字符且不重复", "give each suggested limit an id of its own, small letters, digits and hyphens"))
		}
		seen[l.ID] = true
		if !points[l.Point] {
			ps.Add(devices.Invalid(path+".point", "unknown_point", "模板中没有该测点", "the template has no such point"))
		}
		if l.Standard == "" || l.Clause == "" {
			ps.Add(devices.Invalid(path+".standard", "missing", "建议限值须注明标准号和条款", "a suggested limit names its standard and clause"))
		}
		probe := devices.Limit{ID: "x", Point: "x.x", Level: l.Level, Value: l.Value, Averaging: devices.AveragingInstant, Deadband: l.Deadband, OnDelay: l.OnDelay}
		for _, p := range devices.AllProblems(probe.Check()) {
			ps.Add(devices.Invalid(path+"."+p.Field, p.Code, p.ZH, p.EN))
		}
		if l.Averaging == "" {
			ps.Add(devices.Invalid(path+".averaging", "missing", "请注明平均时段，如 instant、hour、day", "name the averaging, such as instant, hour or day"))
		}
		if _, _, err := l.valid(); err != nil {
			ps.Add(devices.Invalid(path+".valid_from", "bad_time", "日期须写作 2026-03-01，止日不早于起日", "write dates as 2026-03-01, the last day not before the first"))
		}
	}
}

func checkText(ps *devices.Problems, path string, t Text) {
	if t.ZH == "" || t.EN == "" {
		ps.Add(devices.Invalid(path, "missing", "请同时写中文（zh）和英文（en）", "write it in Chinese (zh) and in English (en)"))
	}
}

// tryOut renders t with its examples: a template whose examples give no good
// device is no good.
func (t *Template) tryOut() error {
	request := Request{Site: "site", Outlet: "outlet", Device: "device", Parameters: map[string]any{}}
	for i := range t.Parameters {
		if p := &t.Parameters[i]; p.Default == nil && !p.Optional && p.Example != nil {
			request.Parameters[p.Name] = p.Example
		}
	}
	_, err := t.Render(request)
	return err
}
