package devices_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

// faults gives "field code" of every Problem of a check; all must be whole.
func faults(t *testing.T, err error) (list []string) {
	t.Helper()
	if err == nil {
		return nil
	}
	for _, p := range devices.AllProblems(err) {
		if p.Field == "" || p.Code == "" || !han(p.ZH) || p.EN == "" || han(p.EN) {
			t.Errorf("incomplete: %+v", p)
		}
		list = append(list, p.Field+" "+p.Code)
	}
	return list
}

func han(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r >= 0x4e00 && r <= 0x9fff })
}

func ptr[T any](v T) *T { return &v }

func TestCheckNamesEveryFault(t *testing.T) {
	long := strings.Repeat("长", 129)
	t0 := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	modbus := func(change func(d *devices.Device)) *devices.Device {
		d := &devices.Device{ID: "d", Site: "s", Name: "n", Driver: "modbus", Endpoint: "modbus://10.0.0.2:502", Modbus: &devices.ModbusSettings{Unit: 1}}
		change(d)
		return d
	}
	binding := func(change func(b *devices.Binding)) *devices.Binding {
		b := &devices.Binding{ID: "b", Point: "o.p", Device: "d", From: t0, Register: &devices.Register{Table: "holding", Type: "int16"}}
		change(b)
		return b
	}
	limit := func(change func(l *devices.Limit)) *devices.Limit {
		l := &devices.Limit{ID: "l", Point: "o.p", Level: "H", Value: 1, Averaging: "instant"}
		change(l)
		return l
	}
	camera := func(change func(c *devices.Camera)) *devices.Camera {
		c := &devices.Camera{ID: "c", Site: "s", Name: "n", URL: "rtsp://h:554/1"}
		change(c)
		return c
	}
	tests := []struct {
		name  string
		thing devices.Thing
		want  []string
	}{
		{"entity", &devices.Entity{ID: "e", Name: "某公司", USCC: "91350100M000100Y43", Region: "330106"}, nil},
		{"entity, region of 12 digits", &devices.Entity{ID: "e", Name: "n", USCC: "91350100M000100Y43", Region: "330106001002"}, nil},
		{"entity, empty", &devices.Entity{}, []string{"id bad_id", "name bad_name", "uscc uscc_length", "region_code bad_region"}},
		{"entity, wrong check character", &devices.Entity{ID: "e", Name: "n", USCC: "91350100M000100Y44", Region: "330106"}, []string{"uscc uscc_check"}},
		{"entity, letter I", &devices.Entity{ID: "e", Name: "n", USCC: "91350100I000100Y43", Region: "330106"}, []string{"uscc uscc_character"}},
		{"entity, region", &devices.Entity{ID: "e", Name: "n", USCC: "91350100M000100Y43", Region: "030106"}, []string{"region_code bad_region"}},
		{"site", &devices.Site{ID: "s", Name: "n", SiteKind: "plant", Lon: ptr(120.1), Lat: ptr(30.2)}, nil},
		{
			"site, all wrong", &devices.Site{ID: "S", Name: "a\nb", SiteKind: "x", Lon: ptr(181.0), Lat: ptr(math.NaN()), Entities: []devices.Role{{Entity: "_", Role: "x"}}},
			[]string{"id bad_id", "name bad_name", "kind not_one_of", "lon out_of_range", "lat out_of_range", "entities[0].entity bad_id", "entities[0].role not_one_of"},
		},
		{"outlet", &devices.Outlet{ID: "o", Site: "s", Name: "n", OutletKind: "dust"}, nil},
		{"outlet, all wrong", &devices.Outlet{ID: strings.Repeat("a", 65), Name: long, OutletKind: ""}, []string{"id bad_id", "site bad_id", "name bad_name", "kind not_one_of"}},
		{"point", &devices.Point{ID: "o.p", Name: "n", Factor: "a34002", Min: ptr(0.0), Max: ptr(1.0)}, nil},
		{
			"point, all wrong", &devices.Point{ID: "o", Name: "", Factor: "", Unit: strings.Repeat("u", 33), Min: ptr(1.0), Max: ptr(1.0), Digits: 10},
			[]string{"id bad_point_id", "name bad_name", "factor bad_factor", "unit too_long", "max empty_range", "digits out_of_range"},
		},
		{"point, two dots", &devices.Point{ID: "o.p.q", Name: "n", Factor: "f"}, []string{"id bad_point_id"}},
		{"point, an enumeration", &devices.Point{ID: "o.p", Name: "n", Factor: "run", Labels: []devices.Label{{Value: 0, Text: "停"}, {Value: 1, Text: "运行"}}}, nil},
		{"point, labels wrong", &devices.Point{ID: "o.p", Name: "n", Factor: "run", Labels: []devices.Label{{Value: 1, Text: "a"}, {Value: 1, Text: ""}}}, []string{"labels[1].value ambiguous", "labels[1].text bad_name"}},
		{"modbus", modbus(func(*devices.Device) {}), nil},
		{"modbus, unit 255 and rtu", modbus(func(d *devices.Device) { d.Modbus.Unit, d.Endpoint = 255, "modbus+rtu://h:4001" }), nil},
		{"modbus without settings", modbus(func(d *devices.Device) { d.Modbus = nil }), []string{"modbus missing"}},
		{"modbus, reserved unit", modbus(func(d *devices.Device) { d.Modbus.Unit = 248 }), []string{"modbus.unit out_of_range"}},
		{"modbus, widest gap", modbus(func(d *devices.Device) { d.Modbus.Gap = 123 }), nil},
		{"modbus, gap too wide", modbus(func(d *devices.Device) { d.Modbus.Gap = 124 }), []string{"modbus.gap register_span"}},
		{"modbus, no gap", modbus(func(d *devices.Device) { d.Modbus.Gap = -1 }), nil},
		{"modbus, negative gap", modbus(func(d *devices.Device) { d.Modbus.Gap = -2 }), []string{"modbus.gap register_span"}},
		{"modbus, all settings wrong", modbus(func(d *devices.Device) {
			d.Modbus.Size, d.Modbus.Pause, d.Modbus.Settle = 126, -1, devices.Duration(time.Hour)
			d.Modbus.Serial = &devices.SerialLine{Baud: 96, Parity: "mark", DataBits: 5, StopBits: 3}
		}), []string{
			"modbus.size out_of_range", "modbus.pause out_of_range", "modbus.settle out_of_range", "modbus.serial.baud out_of_range",
			"modbus.serial.parity not_one_of", "modbus.serial.data_bits out_of_range", "modbus.serial.stop_bits out_of_range", "modbus.serial not_used",
		}},
		{"serial port", modbus(func(d *devices.Device) {
			d.Endpoint, d.Modbus.Serial = "modbus+rtu:///dev/serial/by-id/usb-FTDI_1-if00", &devices.SerialLine{Baud: 19200, Parity: "even", StopBits: 1}
		}), nil},
		{"serial port, seven bits in RTU", modbus(func(d *devices.Device) {
			d.Endpoint, d.Modbus.Serial = "modbus+rtu:///dev/ttyS0", &devices.SerialLine{DataBits: 7}
		}), []string{"modbus.serial.data_bits out_of_range"}},
		{"serial port, seven bits in ASCII", modbus(func(d *devices.Device) {
			d.Endpoint, d.Modbus.Serial = "modbus+ascii:///dev/ttyS0", &devices.SerialLine{DataBits: 7}
		}), nil},
		{"serial port with two slashes", modbus(func(d *devices.Device) { d.Endpoint = "modbus+rtu://dev/ttyUSB0" }), []string{"endpoint bad_address"}},
		{"serial port outside /dev", modbus(func(d *devices.Device) { d.Endpoint = "modbus+rtu:///etc/passwd" }), []string{"endpoint bad_address"}},
		{"serial port by a detour", modbus(func(d *devices.Device) { d.Endpoint = "modbus+rtu:///dev/../etc/passwd" }), []string{"endpoint bad_address"}},
		{"serial port with its baud rate in the address", modbus(func(d *devices.Device) { d.Endpoint = "modbus+rtu:///dev/ttyS0?baud=9600" }), []string{"endpoint bad_address"}},
		{"modbus, address of another driver", modbus(func(d *devices.Device) { d.Endpoint = "mqtt://h" }), []string{"endpoint bad_address"}},
		{"password in the address", modbus(func(d *devices.Device) { d.Endpoint = "modbus://u:p@h:502" }), []string{"endpoint password_in_url"}},
		{"address without host", modbus(func(d *devices.Device) { d.Endpoint = "modbus://" }), []string{"endpoint bad_address"}},
		{"too often and too patient", modbus(func(d *devices.Device) {
			d.Period, d.Timeout = devices.Duration(time.Millisecond), devices.Duration(time.Hour)
		}), []string{"period out_of_range", "timeout out_of_range"}},
		{"mqtt, qos", &devices.Device{ID: "d", Site: "s", Name: "n", Driver: "mqtt", Endpoint: "mqtts://h", MQTT: &devices.MQTTSettings{QoS: ptr(byte(2))}}, []string{"mqtt.qos out_of_range"}},
		{"mqtt, share", &devices.Device{ID: "d", Site: "s", Name: "n", Driver: "mqtt", Endpoint: "mqtts://h", MQTT: &devices.MQTTSettings{Share: "a/b"}}, []string{"mqtt.share bad_share"}},
		{"broker with an address", &devices.Device{ID: "d", Site: "s", Name: "n", Driver: "broker", Endpoint: "mqtt://h"}, []string{"endpoint not_used"}},
		{"no such driver", &devices.Device{ID: "d", Site: "s", Name: "n", Driver: "opc"}, []string{"driver not_one_of"}},
		{"binding", binding(func(*devices.Binding) {}), nil},
		{"binding that ends before it starts", binding(func(b *devices.Binding) { b.To = &t0 }), []string{"to empty_span"}},
		{"binding, not finite", binding(func(b *devices.Binding) { b.Scale, b.Offset = math.NaN(), math.Inf(1) }), []string{"scale not_finite", "offset not_finite"}},
		{"binding, register", binding(func(b *devices.Binding) {
			b.Register = &devices.Register{Table: "coils", Type: "int8", Order: "ABDC", Bit: 16}
		}), []string{"register.table not_one_of", "register.type not_one_of", "register.order not_one_of", "register.bit out_of_range"}},
		{"binding beyond the last register", binding(func(b *devices.Binding) { b.Register.Address, b.Register.Type = 65533, "float64" }), []string{"register.address out_of_range"}},
		{"a coil is a bit", binding(func(b *devices.Binding) {
			b.Register = &devices.Register{Table: "coil", Type: "uint16", Order: "CDAB", Bit: 1}
		}), []string{"register.type not_one_of", "register.bit not_used"}},
		{"a coil", binding(func(b *devices.Binding) {
			b.Register = &devices.Register{Table: "discrete", Address: 65535, Type: "bit"}
		}), nil},
		{"bits beyond the register", binding(func(b *devices.Binding) {
			b.Register = &devices.Register{Table: "input", Type: "bits", Bit: 12, Width: 5}
		}), []string{"register.width out_of_range"}},
		{"bits without width", binding(func(b *devices.Binding) { b.Register = &devices.Register{Table: "input", Type: "bits"} }), []string{"register.width out_of_range"}},
		{"text without length", binding(func(b *devices.Binding) {
			b.Register = &devices.Register{Table: "input", Type: "string", Order: "CDAB"}
		}), []string{"register.order not_one_of", "register.length out_of_range"}},
		{"text at the end", binding(func(b *devices.Binding) {
			b.Register = &devices.Register{Table: "input", Address: 65530, Type: "string", Length: 7}
		}), []string{"register.address out_of_range"}},
		{"width and length of a number", binding(func(b *devices.Binding) {
			b.Register = &devices.Register{Table: "input", Type: "int16", Width: 3, Length: 4}
		}), []string{"register.width not_used", "register.length not_used"}},
		{"binding at the last register", binding(func(b *devices.Binding) { b.Register.Address, b.Register.Type = 65532, "float64" }), nil},
		{"camera", camera(func(*devices.Camera) {}), nil},
		{
			"camera, all wrong", &devices.Camera{ID: ".", Site: "", Name: "", URL: "http://h", StillURL: "ftp://h", Transport: "sctp", Outlets: []string{"o.p"}},
			[]string{"id bad_id", "site bad_id", "name bad_name", "url bad_address", "still_url bad_address", "transport not_one_of", "outlets[0] bad_id"},
		},
		{"camera with its password in the address", camera(func(c *devices.Camera) { c.URL = "rtsp://admin:x@h/1" }), []string{"url password_in_url"}},
		{"limit", limit(func(*devices.Limit) {}), nil},
		{"limit of a kind", limit(func(l *devices.Limit) { l.Point, l.OutletKind, l.Factor = "", "dust", "a34002" }), nil},
		{"limit of nothing", limit(func(l *devices.Limit) { l.Point = "" }), []string{"point missing"}},
		{"limit of both", limit(func(l *devices.Limit) { l.Factor = "a34002" }), []string{"point ambiguous"}},
		{"limit, all wrong", limit(func(l *devices.Limit) {
			l.Point, l.Level, l.Averaging, l.Value, l.Deadband = "p", "HHH", "", math.Inf(1), -1
			l.OnDelay, l.OffDelay, l.ValidFrom, l.ValidTo = -1, devices.Duration(25*time.Hour), &t0, &t0
		}), []string{
			"point bad_point_id", "level not_one_of", "averaging not_one_of", "value not_finite", "deadband out_of_range",
			"on_delay out_of_range", "off_delay out_of_range", "valid_to empty_span",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, faults(t, tt.thing.Check())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestUSCC(t *testing.T) {
	for _, code := range []string{"91350100M000100Y43", "91110000710935732K", "9144030071526726XG"} {
		if p := devices.CheckUSCC("uscc", code); p != nil {
			t.Errorf("%s: %v", code, p)
		}
	}
	valid := "91350100M000100Y43"
	for i := range 17 { // every single wrong digit is found
		for _, c := range "0123456789ABCDEFGHJKLMNPQRTUWXY" {
			code := valid[:i] + string(c) + valid[i+1:]
			if (devices.CheckUSCC("uscc", code) == nil) != (code == valid) {
				t.Errorf("%s", code)
			}
		}
	}
}

func TestRegisterWords(t *testing.T) {
	want := map[string]int{"int16": 1, "uint16": 1, "bit": 1, "int32": 2, "uint32": 2, "float32": 2, "float64": 4, "int64": 4, "uint64": 4, "bcd16": 1, "bcd32": 2, "bits": 1, "string": 0, "x": 0}
	for kind, words := range want {
		if got := (&devices.Register{Type: kind}).Words(); got != words {
			t.Errorf("%s has %d words", kind, got)
		}
	}
}

func TestRegistersThatContradictEachOther(t *testing.T) {
	reg := func(table string, address uint16, typ string, more ...func(*devices.Register)) *devices.Register {
		r := &devices.Register{Table: table, Address: address, Type: typ}
		for _, m := range more {
			m(r)
		}
		return r
	}
	order := func(o string) func(*devices.Register) { return func(r *devices.Register) { r.Order = o } }
	length := func(n uint8) func(*devices.Register) { return func(r *devices.Register) { r.Length = n } }
	tests := []struct {
		name string
		a, b *devices.Register
		want bool
	}{
		{"neighbours", reg("holding", 0, "float32"), reg("holding", 2, "float32"), false},
		{"one off", reg("holding", 0, "float32"), reg("holding", 1, "float32"), true},
		{"other tables", reg("holding", 0, "bit"), reg("coil", 0, "bit"), false},
		{"the same coil", reg("coil", 7, "bit"), reg("coil", 7, "bit"), false},
		{"a word, its bit and its bits", reg("input", 3, "uint16"), reg("input", 3, "bits"), false},
		{"bit and bits", reg("input", 3, "bit"), reg("input", 3, "bits"), false},
		{"a bit of half a float", reg("input", 3, "float32"), reg("input", 3, "bit"), true},
		{"the same value, its order written once", reg("input", 3, "float32"), reg("input", 3, "float32", order("ABCD")), false},
		{"another order", reg("input", 3, "uint16"), reg("input", 3, "uint16", order("BADC")), true},
		{"BCD and binary", reg("input", 3, "bcd16"), reg("input", 3, "uint16"), true},
		{"texts of two lengths", reg("input", 3, "string", length(2)), reg("input", 3, "string", length(3)), true},
		{"the end of a long text", reg("input", 3, "string", length(60)), reg("input", 62, "uint16"), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.a.Contradicts(tt.b) != tt.want || tt.b.Contradicts(tt.a) != tt.want {
				t.Errorf("%+v and %+v: want %v", tt.a, tt.b, tt.want)
			}
		})
	}
}

func TestLimitSides(t *testing.T) {
	for level, above := range map[string]bool{"HH": true, "H": true, "upper": true, "lower": false, "L": false, "LL": false} {
		if got := (&devices.Limit{Level: level}).Above(); got != above {
			t.Errorf("%s: %v", level, got)
		}
	}
}

func TestNothingShowsASecret(t *testing.T) {
	const canary = "canary-8c1f"
	c := devices.Camera{ID: "c", Password: canary}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "camera", c, "secret", c.Password, "thing", &c)
	text, err := json.Marshal(&c)
	if err != nil {
		t.Fatal(err)
	}
	for name, shown := range map[string]string{
		"json": string(text), "v": fmt.Sprintf("%v", c), "+v": fmt.Sprintf("%+v", &c), "#v": fmt.Sprintf("%#v", c),
		"+s": fmt.Sprintf("%+s", c.Password), "q": fmt.Sprintf("%q", c.Password), "log": log.String(),
		"scrubbed": devices.Scrub("rtsp://admin:canary-8c1f@h", c.Password),
	} {
		if strings.Contains(shown, canary) || !strings.Contains(shown, "[redacted]") {
			t.Errorf("%s: %s", name, shown)
		}
	}
	var back devices.Camera
	if err := json.Unmarshal(text, &back); err != nil || !back.Password.Kept() {
		t.Errorf("what was shown is not known again: %q", back.Password.Reveal())
	}
}

func TestDurationsAreText(t *testing.T) {
	text, err := json.Marshal(map[string]devices.Duration{"d": devices.Duration(90 * time.Second)})
	if err != nil || string(text) != `{"d":"1m30s"}` {
		t.Errorf("%s, %v", text, err)
	}
	var d devices.Duration
	if err := json.Unmarshal([]byte(`"1h30m"`), &d); err != nil || d.D() != 90*time.Minute {
		t.Errorf("%v, %v", d, err)
	}
	if err := json.Unmarshal([]byte(`""`), &d); err != nil || d != 0 {
		t.Errorf("%v, %v", d, err)
	}
	if err := json.Unmarshal([]byte(`"soon"`), &d); err == nil || devices.AllProblems(err)[0].Code != "bad_duration" {
		t.Errorf("%v", err)
	}
}

func TestPointIDs(t *testing.T) {
	if outlet, point := devices.SplitPoint("gate.pm10"); outlet != "gate" || point != "pm10" {
		t.Errorf("%q %q", outlet, point)
	}
	if outlet, point := devices.SplitPoint("gate"); outlet != "" || point != "" {
		t.Errorf("%q %q", outlet, point)
	}
	if got := (&devices.Point{ID: "gate.pm10"}).Outlet(); got != "gate" {
		t.Errorf("%q", got)
	}
}
