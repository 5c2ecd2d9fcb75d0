package table_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/text/encoding/simplifiedchinese"
	"pgregory.net/rapid"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/devices/registry/registrytest"
	"offsite/devices/registry/table"
	"offsite/devices/state"
)

// TestMain lets the test of exports run 15 times: each opens two databases.
// -rapid.checks asks for more.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("15") // a number
	}
	m.Run()
}

func open(t testing.TB) *registry.Registry {
	t.Helper()
	db, err := state.Open(t.Context(), state.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r, err := registry.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The things of these tests.
var (
	entity = registrytest.Entity
	site   = registrytest.Site
	outlet = registrytest.Outlet
	point  = registrytest.Point
	plc    = registrytest.PLC
	sensor = registrytest.Sensor
	camera = registrytest.Camera
	limit  = registrytest.Limit
	bind   = registrytest.Bind
	word   = registrytest.Word
	create = registrytest.Create
)

// read reads text as a table of a kind.
func read(t testing.TB, kind devices.Kind, text string) *table.Rows {
	t.Helper()
	tab, err := table.Read(kind, []byte(text), table.Form{})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func take(t testing.TB, r *registry.Registry, kind devices.Kind, text string, how table.How) table.Outcome {
	t.Helper()
	got, err := read(t, kind, text).Import(t.Context(), r, how)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func write(t testing.TB, s *registry.Snapshot, kind devices.Kind, form table.Form) string {
	t.Helper()
	var b bytes.Buffer
	if err := table.Write(&b, kind, s.List(kind), form); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestImportCreatesReplacesAndLeavesAlone(t *testing.T) {
	r := open(t)
	create(t, r, site("s1"))
	text := "id,site,name,driver,endpoint,period,modbus.unit,password\n" +
		"plc-1,s1,控制器,modbus,modbus://10.0.0.5:502,5s,3,canary-pw\n" +
		"sensor-1,s1,\"扬尘仪, 北门\",broker,,,,\n"
	got := take(t, r, devices.KindDevice, text, table.How{})
	if diff := cmp.Diff(table.Outcome{Rows: 2, Created: 2, Stored: true}, got); diff != "" {
		t.Fatal(diff)
	}
	d := r.Snapshot().Devices["plc-1"]
	if d.Modbus == nil || d.Modbus.Unit != 3 || d.Period.D() != 5*time.Second || d.Password.Reveal() != "canary-pw" || r.Snapshot().Devices["sensor-1"].Modbus != nil {
		t.Errorf("%+v %+v", d, d.Modbus)
	}
	revision := r.Snapshot().Revision
	got = take(t, r, devices.KindDevice, text, table.How{})
	if diff := cmp.Diff(table.Outcome{Rows: 2, Unchanged: 2}, got); diff != "" || r.Snapshot().Revision != revision {
		t.Errorf("again: %s", diff)
	}
	got = take(t, r, devices.KindDevice, "id,name\nplc-1,新控制器\n", table.How{})
	d = r.Snapshot().Devices["plc-1"]
	if got.Replaced != 1 || d.Name != "新控制器" || d.Modbus.Unit != 3 || d.Password.Reveal() != "canary-pw" || d.Version != 2 {
		t.Errorf("%+v: %+v", got, d)
	}
	got = take(t, r, devices.KindDevice, "id,modbus.unit\nplc-1,0\n", table.How{})
	if d = r.Snapshot().Devices["plc-1"]; got.Replaced != 1 || d.Modbus == nil || d.Modbus.Unit != 0 {
		t.Errorf("unit 0: %+v %+v", got, d.Modbus)
	}
}

func TestEveryFaultIsToldAtOnce(t *testing.T) {
	r := open(t)
	create(t, r, site("s1"), outlet("o1", "s1"), point("o1.p1"))
	text := "id,point,level,value,averaging,deadband,#note\r\n" +
		"l1,o1.p1,H,120,instant,,first\r\n" +
		"l2,o1.px,HIGH,,instant,-1,\r\n" +
		",,,,,,\r\n" +
		"l1,o1.p1,H,5,instant,,\r\n" +
		"l4,o1.p1,H,1,000,instant,,\r\n" +
		"l5,o1.p1\r\n" +
		"l6,o1.p1,H,\"1\"x,instant,,\r\n" +
		"L7,o1.p1,H,abc,instant,,\r\n"
	for _, byRow := range []bool{false, true} {
		t.Run(fmt.Sprintf("by row %v", byRow), func(t *testing.T) {
			got := take(t, r, devices.KindLimit, text, table.How{ByRow: byRow})
			var spots []string
			for _, f := range got.Faults {
				spots = append(spots, fmt.Sprintf("%d:%d %s %s", f.Line, f.Column, f.Name, f.Problem.Code))
				if !strings.Contains(f.Problem.EN, fmt.Sprintf("line %d", f.Line)) || !strings.Contains(f.Problem.ZH, fmt.Sprintf("第 %d 行", f.Line)) {
					t.Errorf("no place in %q", f.Problem.Error())
				}
			}
			want := []string{
				"3:4 value missing", "5:1 id named_twice", "6:6 deadband bad_type", "7:0  row_length", "8:4  bad_quote", "9:4 value bad_type",
			}
			if diff := cmp.Diff(want, spots); diff != "" {
				t.Error(diff)
			}
			if stored := r.Snapshot().Limits["l1"] != nil; stored != byRow || got.Stored != byRow || got.Created != 1 || got.Rows != 6 {
				t.Errorf("stored %v: %+v", stored, got)
			}
		})
	}
	got := take(t, r, devices.KindLimit, "id,point,level,value,averaging,deadband\nl2,o1.px,HIGH,7,instant,-1\n", table.How{})
	var codes []string
	for _, f := range got.Faults {
		codes = append(codes, fmt.Sprintf("%d %s", f.Column, f.Problem.Code))
	}
	if diff := cmp.Diff([]string{"3 not_one_of", "6 out_of_range", "2 unknown_point"}, codes); diff != "" {
		t.Error(diff)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	r := open(t)
	also := func(context.Context, *registry.Edit, *table.Outcome) error {
		t.Error("the act was recorded although nothing happened")
		return nil
	}
	got := take(t, r, devices.KindSite, "id;name;kind\nS1;a;plant\ns2;b;plant\n", table.How{DryRun: true, Also: also})
	if got.Created != 1 || len(got.Faults) != 1 || got.Stored || len(r.Snapshot().Sites) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestWhatGoesAlongStandsOrFallsWithIt(t *testing.T) {
	r := open(t)
	refused := errors.New("the trail is closed")
	_, err := read(t, devices.KindSite, "id,name,kind\ns1,a,plant\n").Import(t.Context(), r, table.How{
		Also: func(context.Context, *registry.Edit, *table.Outcome) error { return refused },
	})
	if !errors.Is(err, refused) || len(r.Snapshot().Sites) != 0 {
		t.Errorf("%v, %v", err, r.Snapshot().Sites)
	}
}

func TestMayKeepsOtherSitesOut(t *testing.T) {
	r := open(t)
	create(t, r, site("a"), site("b"), outlet("oa", "a"), outlet("ob", "b"), point("ob.p"))
	may := func(s *registry.Snapshot, th devices.Thing, _ bool) *devices.Problem {
		if o := s.Outlets[th.(*devices.Point).Outlet()]; o != nil && o.Site == "a" {
			return nil
		}
		return devices.Invalid("id", "unknown_site", "没有", "none")
	}
	got := take(t, r, devices.KindPoint, "id,name,factor,unit\noa.p,x,f,u\nob.q,x,f,u\nob.p,y,f,u\n", table.How{ByRow: true, May: may})
	if got.Created != 1 || len(got.Faults) != 2 || r.Snapshot().Points["ob.p"].Name != "PM10" {
		t.Errorf("%+v", got)
	}
}

func TestBindingsMaySwapTheirPlaces(t *testing.T) {
	r := open(t)
	create(t, r, site("s"), outlet("o", "s"), point("o.a"), point("o.b"), plc("plc", "s"),
		bind("ba", "o.a", "plc", word(0, "int32")), bind("bb", "o.b", "plc", word(10, "int32")))
	got := take(t, r, devices.KindBinding, "id,register.address\nba,9\nbb,20\n", table.How{})
	if got.Replaced != 2 || len(got.Faults) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestEncodingsAndLineEnds(t *testing.T) {
	plain := "id,name,kind\ns1,某厂,plant\n"
	gb, err := simplifiedchinese.GB18030.NewEncoder().String(plain)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, text string }{
		{"UTF-8", plain},
		{"UTF-8 with its mark", "\ufeff" + plain},
		{"GB18030", gb},
		{"semicolons", strings.ReplaceAll(plain, ",", ";")},
		{"CR LF", strings.ReplaceAll(plain, "\n", "\r\n")},
		{"CR", strings.ReplaceAll(plain, "\n", "\r")},
		{"no end", strings.TrimSuffix(plain, "\n")},
		{"empty rows and cells", "ID, name ,kind,,\r\n\r\n,,,,\r\n s1 ,某厂, plant,,\r\n\r\n"},
		{"quotes", "\"id\",\"name\",\"kind\"\n\"s1\",\"某厂\",\"plant\"\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := open(t)
			got := take(t, r, devices.KindSite, tt.text, table.How{})
			if got.Created != 1 || len(got.Faults) > 0 || r.Snapshot().Sites["s1"].Name != "某厂" {
				t.Errorf("%+v, %+v", got, r.Snapshot().Sites["s1"])
			}
		})
	}
}

func TestFilesThatAreNoTables(t *testing.T) {
	many := "id" + strings.Repeat(",#", 200) + "\n"
	tests := []struct {
		name, text string
		form       table.Form
		code       string
	}{
		{"empty", "", table.Form{}, "empty"},
		{"UTF-16", "\xff\xfei\x00d\x00", table.Form{}, "bad_encoding"},
		{"workbook", "PK\x03\x04...", table.Form{}, "bad_encoding"},
		{"neither", "id,name\ns1,\xff\xff\n", table.Form{}, "bad_encoding"},
		{"GB18030 where UTF-8 is stated", "id,name\ns1,\xb3\xa7\n", table.Form{Encoding: table.UTF8}, "bad_encoding"},
		{"no id", "name,kind\nx,plant\n", table.Form{}, "missing"},
		{"unknown column", "id,naam\n", table.Form{}, "unknown_column"},
		{"column twice", "id,name,Name\n", table.Form{}, "named_twice"},
		{"too many columns", many, table.Form{}, "too_many"},
		{"too many rows", "id\n" + strings.Repeat("x\n", 50_001), table.Form{}, "too_many"},
		{"too large", strings.Repeat("x", table.Max+1), table.Form{}, "too_large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := table.Read(devices.KindSite, []byte(tt.text), tt.form)
			ps := devices.AllProblems(err)
			if len(ps) == 0 || ps[0].Code != tt.code {
				t.Errorf("%v, want %s", err, tt.code)
			}
		})
	}
}

func TestFaultsAreBounded(t *testing.T) {
	r := open(t)
	got := take(t, r, devices.KindSite, "id,name,kind\n"+strings.Repeat("X,n,plant\n", 3000), table.How{})
	if len(got.Faults) != 1000 || got.More != 2000 {
		t.Errorf("%d faults and %d more", len(got.Faults), got.More)
	}
}

func TestFormulasAreDefusedAndComeBack(t *testing.T) {
	for _, name := range []string{"=1+1", "+86", "-x", "@cmd", "'=x", "''+", "'plain", "＝1", "a=b", "-1:关|2:开", "=HYPERLINK(\"http://x\";\"y\")"} {
		t.Run(name, func(t *testing.T) {
			r := open(t)
			s := site("s1")
			s.Name, s.Address = name, "\t=x"
			create(t, r, s)
			text := write(t, r.Snapshot(), devices.KindSite, table.Form{})
			rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff"))).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			for _, cell := range rows[1] {
				if cell != "" && strings.ContainsRune("=+-@\t\r＝", []rune(cell)[0]) {
					t.Errorf("a spreadsheet may run %q", cell)
				}
			}
			fresh := open(t)
			if got := take(t, fresh, devices.KindSite, text, table.How{}); got.Created != 1 {
				t.Fatalf("%+v", got)
			}
			if diff := cmp.Diff(s, fresh.Snapshot().Sites["s1"], cmpopts.IgnoreFields(devices.Site{}, "Meta")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSecretsAreNotExported(t *testing.T) {
	r := open(t)
	create(t, r, site("s1"), sensor("d1", "s1"), outlet("o1", "s1"), camera("c1", "s1", "o1"))
	for _, kind := range registry.Kinds() {
		if text := write(t, r.Snapshot(), kind, table.Form{}); strings.Contains(text, "canary") || strings.Contains(text, "password") || strings.Contains(text, "redacted") {
			t.Errorf("%s: %s", kind, text)
		}
	}
	got := take(t, r, devices.KindDevice, write(t, r.Snapshot(), devices.KindDevice, table.Form{}), table.How{})
	if got.Unchanged != 1 || r.Snapshot().Devices["d1"].Password.Reveal() != "canary-sensor-pw" {
		t.Errorf("%+v", got)
	}
	got = take(t, r, devices.KindCamera, "id,password\nc1,canary-new\n", table.How{})
	if got.Replaced != 1 || r.Snapshot().Cameras["c1"].Password.Reveal() != "canary-new" {
		t.Errorf("%+v", got)
	}
}

// anyText is what nobody expects in a name or an address.
func TestLoggersInTables(t *testing.T) {
	r := open(t)
	create(t, r, site("north"), outlet("gate", "north"), point("gate.pm10"))
	d := &devices.Device{ID: "logger", Site: "north", Name: "数采仪", Driver: devices.DriverHJ212, Password: "123456", HJ212: &devices.HJ212Settings{MN: "M1"}}
	d.HJ212.SM4Key, d.HJ212.ST, d.HJ212.Tolerant = "canary-sm4-key-1", []string{"31", "32"}, true
	create(t, r, d, &devices.Binding{ID: "pm10", Point: "gate.pm10", Device: "logger", Factor: &devices.FactorPlace{Code: "a34002", Kind: "hour"}})
	before := r.Snapshot()
	for _, kind := range []devices.Kind{devices.KindDevice, devices.KindBinding} {
		text := write(t, before, kind, table.Form{})
		if bytes.Contains([]byte(text), []byte("canary")) || !bytes.Contains([]byte(text), []byte("logger")) {
			t.Errorf("table %s", text)
		}
		take(t, r, kind, text, table.How{})
	}
	if diff := cmp.Diff(before.Devices["logger"], r.Snapshot().Devices["logger"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before.Bindings["pm10"], r.Snapshot().Bindings["pm10"]); diff != "" {
		t.Error(diff)
	}
	take(t, r, devices.KindDevice, "id,site,name,driver,hj212.mn,hj212.tolerant\nlogger-2,north,二号,hj212,M2,true\n", table.How{})
	if got := r.Snapshot().Devices["logger-2"]; got == nil || got.HJ212 == nil || got.HJ212.MN != "M2" || !got.HJ212.Tolerant {
		t.Errorf("imported %+v", got)
	}
}

func anyText(t *rapid.T, label string) string {
	return rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.SampledFrom([]rune("=+-@'\",;|:\\\t\r\n 厂a1")), 0, 8, -1)).Draw(t, label)
}

// name is what a name may be.
func name(t *rapid.T) string {
	return "n" + strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, rapid.StringN(0, 100, -1).Draw(t, "name"))
}

// world draws things of every kind, in an order in which they can be created.
func world(t *rapid.T) []devices.Thing {
	real := func(label string) *float64 {
		if !rapid.Bool().Draw(t, label) {
			return nil
		}
		v := rapid.Float64Range(-90, 90).Draw(t, label)
		return &v
	}
	e := entity("e1")
	e.Name = name(t)
	s := site("s1")
	s.Name, s.Address, s.Lon, s.Lat = name(t), anyText(t, "address"), real("lon"), real("lat")
	s.Entities = rapid.SampledFrom([][]devices.Role{nil, {{Entity: "e1", Role: "owner"}}, {{Entity: "e1", Role: "owner"}, {Entity: "e1", Role: "operator"}}}).Draw(t, "entities")
	p := point("o1.p1")
	p.Name, p.Unit, p.Min, p.Digits = name(t), rapid.StringN(0, 8, 32).Draw(t, "unit"), real("min"), rapid.IntRange(0, 9).Draw(t, "digits")
	for i := range rapid.IntRange(0, 3).Draw(t, "labels") {
		p.Labels = append(p.Labels, devices.Label{Value: float64(i) - 1.5, Text: "x" + rapid.StringN(0, 20, -1).Draw(t, "label")})
	}
	d := plc("d1", "s1")
	d.Username, d.Period, d.Password = anyText(t, "user"), devices.Duration(rapid.Int64Range(int64(50*time.Millisecond), int64(time.Hour)).Draw(t, "period")), "pw"
	d.Modbus = &devices.ModbusSettings{Unit: rapid.Uint8Range(0, 247).Draw(t, "unit id"), Gap: rapid.IntRange(-1, 5).Draw(t, "gap")}
	qos := rapid.Byte().Draw(t, "qos") % 2
	m := &devices.Device{ID: "m1", Site: "s1", Name: "m", Driver: devices.DriverMQTT, Endpoint: "mqtt://h:1883", MQTT: &devices.MQTTSettings{QoS: &qos}}
	at := time.UnixMilli(rapid.Int64Range(0, 4e12).Draw(t, "from")).UTC()
	b := bind("b1", "o1.p1", "d1", &devices.Register{Table: "holding", Address: rapid.Uint16Range(0, 60000).Draw(t, "address"), Type: "uint16"})
	b.From, b.Scale, b.Offset = at, rapid.Float64Range(-1e300, 1e300).Draw(t, "scale"), rapid.Float64Range(-1, 1).Draw(t, "offset")
	topic := bind("b2", "o1.p2", "m1", nil)
	topic.Topic = &devices.Topic{Topic: "plant/" + rapid.StringMatching(`[a-z=@;,"]{0,8}`).Draw(t, "topic"), Path: rapid.StringN(0, 20, 250).Draw(t, "path")}
	c := camera("c1", "s1", rapid.SampledFrom([][]string{nil, {"o1"}}).Draw(t, "outlets")...)
	l := limit("l1", "o1.p1")
	l.Value, l.Unit, l.Clause = rapid.Float64Range(-1e9, 1e9).Draw(t, "value"), "", anyText(t, "clause")
	l.ExcludeMarks = rapid.SliceOfN(rapid.StringOfN(rapid.SampledFrom([]rune(`MDC|\:- `)), 0, 4, -1), 0, 3).Draw(t, "marks")
	l.ValidFrom = &at
	other := point("o1.p2")
	return []devices.Thing{e, s, outlet("o1", "s1"), p, other, d, m, b, topic, c, l}
}

// TestExportIsValidImport exports what was drawn, imports it into a new
// registry and into its own, and finds the same things.
func TestExportIsValidImport(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r, fresh := open(t), open(t)
		create(t, r, world(rt)...)
		form := table.Form{Encoding: rapid.SampledFrom([]string{"", table.UTF8, table.GB18030}).Draw(rt, "encoding"), Semicolon: rapid.Bool().Draw(rt, "semicolon")}
		for _, kind := range registry.Kinds() {
			var b bytes.Buffer
			if err := table.Write(&b, kind, r.Snapshot().List(kind), form); err != nil {
				if form.Encoding == table.GB18030 && devices.AllProblems(err)[0].Code == "not_gb18030" {
					rt.Skip("a character that GB18030 does not have")
				}
				rt.Fatal(err)
			}
			text := b.String()
			for _, into := range []*registry.Registry{fresh, r} {
				tab, err := table.Read(kind, []byte(text), form)
				if err != nil {
					rt.Fatalf("%s: %v\n%q", kind, err, text)
				}
				got, err := tab.Import(t.Context(), into, table.How{})
				if err != nil || len(got.Faults) > 0 {
					rt.Fatalf("%s: %v, %+v\n%q", kind, err, got, text)
				}
				if into == r && got.Unchanged != got.Rows {
					rt.Errorf("%s: its own export changes it: %+v\n%q", kind, got, text)
				}
			}
			ignore := cmpopts.IgnoreTypes(devices.Meta{}, devices.Secret(""))
			if diff := cmp.Diff(r.Snapshot().List(kind), fresh.Snapshot().List(kind), ignore, cmpopts.EquateEmpty()); diff != "" {
				rt.Errorf("%s:\n%s\n%q", kind, diff, text)
			}
		}
	})
}

// FuzzTable reads anything as a table of every kind: it never panics, and what
// is read is read again from what is written.
func FuzzTable(f *testing.F) {
	for _, seed := range []string{
		"id,name,kind\ns1,某厂,plant\n", "\ufeffid;name;uscc;region_code\r\ne1;x;91350100M000100Y43;330106\r\n", "id,\"na\"\"me\",kind\n\"a\nb\"\"\",=1,",
		"id,labels,digits\no.p,1:开\\:|2:\\-,0\n", "id,register.address,topic.path,from\nb,0,a.b,2026/7/1 8:00\n", "id\n\"", "id\r\r\r", "\"\n\"\"\n",
		"id,name\ns1,\xb3\xa7\n", "id,modbus.unit,modbus.serial.baud\nd,,9600\n",
	} {
		f.Add([]byte(seed))
	}
	r := open(f)
	create(f, r, entity("e1"), site("s1"), site("s"), outlet("o", "s"), point("o.p"), plc("d", "s"), bind("b", "o.p", "d", word(0, "int16")), camera("c", "s", "o"), limit("l", "o.p"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, kind := range registry.Kinds() {
			tab, err := table.Read(kind, text, table.Form{})
			if err != nil {
				continue
			}
			got, err := tab.Import(t.Context(), r, table.How{DryRun: true})
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			if got.Created+got.Replaced+got.Unchanged > got.Rows || (got.Rows > got.Created+got.Replaced+got.Unchanged && len(got.Faults) == 0) {
				t.Errorf("%s: %+v", kind, got)
			}
		}
	})
}

// BenchmarkTable imports 10,000 points, their bindings and a limit on each.
func BenchmarkTable(b *testing.B) {
	for b.Loop() {
		r := open(b)
		things := []devices.Thing{site("s")}
		for i := range 100 {
			things = append(things, outlet(fmt.Sprintf("o%d", i), "s"), plc(fmt.Sprintf("plc%d", i), "s"))
		}
		create(b, r, things...)
		for name, kind := range map[string]devices.Kind{"points": devices.KindPoint} {
			b.ReportMetric(seconds(b, r, kind), name+"-s")
		}
		b.ReportMetric(seconds(b, r, devices.KindBinding), "bindings-s")
		b.ReportMetric(seconds(b, r, devices.KindLimit), "limits-s")
		b.ReportMetric(seconds(b, r, devices.KindDevice), "devices-s")
	}
}

// seconds is what 10,000 rows of a kind take.
func seconds(b *testing.B, r *registry.Registry, kind devices.Kind) float64 {
	b.Helper()
	text := new(strings.Builder)
	switch kind {
	case devices.KindPoint:
		text.WriteString("id,name,factor,unit,min,max,digits\n")
	case devices.KindBinding:
		text.WriteString("id,point,device,register.table,register.address,register.type\n")
	case devices.KindLimit:
		text.WriteString("id,point,level,value,unit,averaging\n")
	default:
		text.WriteString("id,site,name,driver,endpoint,modbus.unit\n")
	}
	for i := range 10_000 {
		o, p := i/100, i%100
		switch kind {
		case devices.KindPoint:
			fmt.Fprintf(text, "o%d.p%d,测点,a34002,ug/m3,0,1000,1\n", o, p)
		case devices.KindBinding:
			fmt.Fprintf(text, "b%d,o%d.p%d,plc%d,holding,%d,uint16\n", i, o, p, o, p)
		case devices.KindLimit:
			fmt.Fprintf(text, "l%d,o%d.p%d,H,120,ug/m3,instant\n", i, o, p)
		default:
			fmt.Fprintf(text, "d%d,s,设备,modbus,modbus://10.0.0.9:502,1\n", i)
		}
	}
	began := time.Now()
	if got := take(b, r, kind, text.String(), table.How{}); got.Created != 10_000 {
		b.Fatalf("%+v", got.Faults[:min(3, len(got.Faults))])
	}
	return time.Since(began).Seconds()
}
