package template_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/template"
)

const small = `id: small
brand: generic
kind: level_meter
name: {zh: 液位计, en: Level gauge}
driver: modbus
connection: modbus
outlet_kind: tank
parameters:
  - {name: base, type: integer, label: {zh: 首地址, en: First register}, default: 0, min: 0, max: 100000}
points:
  - id: level
    name: {zh: 液位, en: Level}
    factor: level
    unit: m
    min: 0
    max: 20
    digits: 3
    binding:
      register: {table: holding, address: "${base + 2*3 - 1}", type: float32, order: CDAB}
      scale: 0.001
limits:
  - {id: high, point: level, level: H, value: 18, averaging: instant, standard: GB 1, clause: "5"}
  - {id: mean, point: level, level: upper, value: 17, averaging: moonlight, standard: GB 1, clause: "6", valid_from: "2026-03-01", valid_to: "2026-03-31"}
`

func parse(t *testing.T, text string) *template.Template {
	t.Helper()
	tpl, err := template.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

func TestShippedTemplates(t *testing.T) {
	c, err := template.Open(template.Config{})
	must(t, err)
	list := c.List()
	if len(list) < 20 {
		t.Errorf("%d templates, want at least 20", len(list))
	}
	chinese := regexp.MustCompile(`\p{Han}`)
	for _, tpl := range list {
		if c.Find(tpl.ID) != tpl || tpl.Own {
			t.Errorf("%s is not found", tpl.ID)
		}
		if tpl.Brand != template.Generic && len(tpl.Source) == 0 {
			t.Errorf("%s names a brand without a source", tpl.ID)
		}
		texts := []template.Text{tpl.Name, tpl.Help}
		for _, p := range tpl.Parameters {
			texts = append(texts, p.Label, p.Help)
		}
		for _, l := range tpl.Limits {
			texts = append(texts, l.Note)
		}
		for _, text := range texts {
			if chinese.MatchString(text.EN) || (text.ZH == "") != (text.EN == "") {
				t.Errorf("%s: %+v", tpl.ID, text)
			}
		}
		for _, l := range tpl.Limits {
			if l.Standard == "" || l.Clause == "" {
				t.Errorf("%s: limit %s has no standard or clause", tpl.ID, l.ID)
			}
		}
	}
	if c.Find("none") != nil {
		t.Error("found what is not there")
	}
}

func TestRender(t *testing.T) {
	tpl := parse(t, small)
	things, err := tpl.Render(template.Request{
		Site: "s", Outlet: "o", Device: "d", Name: "大罐", Limits: []string{"high"},
		Parameters: map[string]any{"address": "plc.local:1502", "unit": "3", "base": 10.0, "period": "2s"},
	})
	must(t, err)
	low, high := 0.0, 20.0
	want := []devices.Thing{
		&devices.Device{ID: "d", Site: "s", Name: "大罐", Driver: "modbus", Endpoint: "modbus://plc.local:1502", Period: devices.Duration(2e9), Modbus: &devices.ModbusSettings{Unit: 3}},
		&devices.Point{ID: "o.level", Name: "液位", Factor: "level", Unit: "m", Min: &low, Max: &high, Digits: 3},
		&devices.Binding{Point: "o.level", Device: "d", Register: &devices.Register{Table: "holding", Address: 15, Type: "float32", Order: "CDAB"}, Scale: 0.001},
		&devices.Limit{Point: "o.level", Level: "H", Value: 18, Unit: "m", Averaging: "instant", Standard: "GB 1", Clause: "5"},
	}
	if diff := cmp.Diff(want, things); diff != "" {
		t.Error(diff)
	}
}

func TestAddressesAsPeopleWriteThem(t *testing.T) {
	tpl := parse(t, small)
	for given, want := range map[string]string{
		"192.168.1.20": "modbus://192.168.1.20:502", " 192.168.1.20:503 ": "modbus://192.168.1.20:503", "plc": "modbus://plc:502", "fe80::1": "modbus://[fe80::1]:502",
		"modbus+rtu://10.0.0.1:4001": "modbus+rtu://10.0.0.1:4001", "/dev/ttyUSB0": "modbus+rtu:///dev/ttyUSB0",
		"": "", "http://x": "", "a b": "", "10.0.0.1/x": "", "modbus://u:p@h": "", "x:y:z:": "",
	} {
		things, err := tpl.Render(template.Request{Site: "s", Outlet: "o", Device: "d", Parameters: map[string]any{"address": given}})
		if want == "" {
			if ps := devices.AllProblems(err); len(ps) != 1 || ps[0].Field != "parameters.address" {
				t.Errorf("%q: %v", given, err)
			}
			continue
		}
		if err != nil || things[0].(*devices.Device).Endpoint != want {
			t.Errorf("%q: %v, want %s", given, err, want)
		}
	}
	things, err := tpl.Render(template.Request{Site: "s", Outlet: "o", Device: "d", Parameters: map[string]any{"address": "/dev/ttyS1", "baud": 19200, "parity": "even"}})
	must(t, err)
	if s := things[0].(*devices.Device).Modbus.Serial; s == nil || s.Baud != 19200 || s.Parity != "even" {
		t.Errorf("serial line %+v", s)
	}
}

func TestFaultsNameTheParameter(t *testing.T) {
	good := func() template.Request {
		return template.Request{Site: "s", Outlet: "o", Device: "d", Parameters: map[string]any{"address": "h"}}
	}
	tests := []struct {
		name   string
		change func(r *template.Request)
		want   []string
	}{
		{"nothing given", func(r *template.Request) { r.Parameters = nil }, []string{"parameters.address missing"}},
		{"all at once", func(r *template.Request) {
			r.Parameters = map[string]any{"unit": 300, "base": 1.5, "basis": 1, "address": 5.0}
		}, []string{"parameters.base bad_type", "parameters.basis unknown_parameter", "parameters.unit out_of_range"}},
		{"unit of no device", func(r *template.Request) { r.Parameters["unit"] = 250 }, []string{"parameters.unit out_of_range"}},
		{"period", func(r *template.Request) { r.Parameters["period"] = "1ms" }, []string{"parameters.period out_of_range"}},
		{"line of a network", func(r *template.Request) { r.Parameters["baud"] = 9600 }, []string{"parameters.baud not_used"}},
		{"beyond the registers", func(r *template.Request) { r.Parameters["base"] = 65530 }, []string{"parameters.base out_of_range"}},
		{"beyond 16 bits", func(r *template.Request) { r.Parameters["base"] = 99999 }, []string{"parameters.base bad_type"}},
		{"ids", func(r *template.Request) { r.Device, r.Outlet, r.Site = "D 1", "o.", "" }, []string{"device bad_id", "site bad_id", "outlet bad_point_id"}},
		{"a point that is not there", func(r *template.Request) { r.Points = []template.Placement{{Point: "lvl"}} }, []string{"points[0].point unknown_point"}},
		{"a limit that is not there", func(r *template.Request) { r.Limits = []string{"low"} }, []string{"limits[0] unknown_limit"}},
		{"a mean that cannot be judged", func(r *template.Request) { r.Limits = []string{"mean"} }, []string{"limits[0] averaging_not_judged"}},
	}
	tpl := parse(t, small)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := good()
			tt.change(&r)
			_, err := tpl.Render(r)
			var got []string
			for _, p := range devices.AllProblems(err) {
				got = append(got, p.Field+" "+p.Code)
				if p.ZH == "" || p.EN == "" {
					t.Errorf("%+v does not speak both languages", p)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBadTemplatesAreRefusedWithTheirLines(t *testing.T) {
	swap := func(old, fresh string) string {
		if !strings.Contains(small, old) {
			t.Fatalf("nothing to swap for %q", fresh)
		}
		return strings.Replace(small, old, fresh, 1)
	}
	tests := []struct {
		name, text string
		want       []string // code and line, "" without one
	}{
		{"not YAML", "id: [\n", []string{"yaml_syntax line 1"}},
		{"nothing", "", []string{"not_one_document"}},
		{"two documents", small + "---\n" + small, []string{"not_one_document"}},
		{"a list", "- id: x\n", []string{"not_an_object line 1"}},
		{"unknown keys", swap("    unit: m\n", "    unit: m\n    uint: m\n") + "colour: red\n", []string{"unknown_key line 15", "unknown_key line 25"}},
		{"wrong kinds", swap("digits: 3", "digits: three"), []string{"bad_type line 17"}},
		{"anchor", swap("unit: m", "unit: &u m"), []string{"alias line 14"}},
		{"brand without source", swap("brand: generic", "brand: Acme"), []string{"missing line 2"}},
		{"name in one language", swap(", en: Level gauge", ""), []string{"missing line 4"}},
		{"driver", swap("driver: modbus", "driver: modem"), []string{"not_one_of line 5"}},
		{"connection", swap("connection: modbus", "connection: pigeon"), []string{"not_one_of line 6"}},
		{"outlet kind", swap("outlet_kind: tank", "outlet_kind: tanks"), []string{"not_one_of line 7"}},
		{"default out of range", swap("default: 0, min", "default: -1, min"), []string{"out_of_range line 9"}},
		{"unknown parameter", swap("${base +", "${bass +"), []string{"bad_expression line 18"}},
		{"register field", swap("order: CDAB", "ordre: CDAB"), []string{"unknown_key line 18"}},
		{"register type", swap("type: float32", "type: float31"), []string{"not_one_of line 19"}},
		{"limit of no point", swap("point: level, level: H", "point: lvl, level: H"), []string{"unknown_point line 22"}},
		{"limit without clause", swap(`clause: "5"`, `clause: ""`), []string{"missing line 22"}},
		{"dates", swap("2026-03-31", "2026-02-01"), []string{"bad_time line 23"}},
		{"own id in device", small + "device: {id: x}\n", []string{"not_used line 24"}},
		{"deep", "id: " + strings.Repeat("[", 1000), []string{"too_large"}},
		{"large", small + strings.Repeat("#", 256<<10), []string{"too_large"}},
	}
	line := regexp.MustCompile(`line \d+`)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := template.Parse([]byte(tt.text))
			var got []string
			for _, p := range devices.AllProblems(err) {
				got = append(got, strings.TrimSpace(p.Code+" "+line.FindString(p.EN)))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s\n%v", diff, err)
			}
		})
	}
}

func TestOwnTemplatesReplaceShippedOnes(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"mine.yaml": small, "meter.yml": strings.Replace(small, "id: small", "id: power-meter", 1),
		"again.yaml": small, "broken.yaml": "id: [", "notes.txt": "not a template",
	}
	for name, text := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	c, err := template.Open(template.Config{Dir: dir})
	must(t, err)
	if c.Find("small") == nil || !c.Find("small").Own || !c.Find("power-meter").Own || c.Find("eastron-sdm630").Own {
		t.Errorf("own templates: %+v", c.Find("small"))
	}
	var told []string
	for _, p := range c.Faults() {
		told = append(told, p.Code)
		if !strings.Contains(p.ZH, ".yaml") || !strings.Contains(p.EN, ".yaml") {
			t.Errorf("no file in %q", p.Bilingual())
		}
	}
	if diff := cmp.Diff([]string{"yaml_syntax", "id_twice"}, told); diff != "" {
		t.Error(diff)
	}
	c, err = template.Open(template.Config{Dir: filepath.Join(dir, "none")})
	must(t, err)
	if ps := c.Faults(); len(ps) != 1 || ps[0].Code != "directory_unreadable" || c.Find("power-meter") == nil {
		t.Errorf("without its directory: %v", ps)
	}
}

func TestRepeatedPoints(t *testing.T) {
	c, err := template.Open(template.Config{})
	must(t, err)
	tpl := c.Find("gas-detector-controller")
	r := template.Request{
		Site: "s", Outlet: "o", Device: "d", Parameters: map[string]any{"address": "h", "channels": 3, "base": 100},
		Points: []template.Placement{{Point: "lel-3"}, {Point: "lel-1", ID: "west.lel"}}, Limits: []string{"lel-h"},
	}
	things, err := tpl.Render(r)
	must(t, err)
	var got []string
	for _, thing := range things {
		switch thing := thing.(type) {
		case *devices.Point:
			got = append(got, thing.ID)
		case *devices.Binding:
			got = append(got, thing.Point+" at "+string(rune('0'+thing.Register.Address-100)))
		case *devices.Limit:
			got = append(got, "limit of "+thing.Point)
		}
	}
	want := []string{"west.lel", "o.lel-3", "west.lel at 0", "o.lel-3 at 2", "limit of west.lel", "limit of o.lel-3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzParse reads anything as a template: it never panics, and what is taken
// renders with its own examples.
func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	names, err := filepath.Glob("catalog/*.yaml")
	if err != nil || len(names) == 0 {
		f.Fatal(err)
	}
	for _, name := range names[:6] {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, seed := range []string{"id: &a [*a]", "a: {<<: {b: 1}}", "? [x]\n: y", "id: !!binary x", "points: [{repeat: \"${n*n}\"}]", "%YAML 1.2\n---\nid: x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		tpl, err := template.Parse(text)
		if err != nil {
			for _, p := range devices.AllProblems(err) {
				if p.Code == "" || p.Code == "internal" || p.ZH == "" || p.EN == "" {
					t.Errorf("%q: no clear problem: %v", text, err)
				}
			}
			return
		}
		_, _ = tpl.Render(template.Request{Parameters: map[string]any{"address": "x", "base": 1e300}})
	})
}
