package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/devices/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openState(t testing.TB, dir string) *state.DB {
	t.Helper()
	db, err := state.Open(t.Context(), state.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func open(t testing.TB) *registry.Registry {
	t.Helper()
	r, err := registry.Open(t.Context(), openState(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The yard: two sites, each with things of every kind.
func entity(id string) *devices.Entity {
	return &devices.Entity{ID: id, Name: "某公司", USCC: "91350100M000100Y43", Region: "330106"}
}

func site(id string) *devices.Site {
	return &devices.Site{ID: id, Name: "工地", SiteKind: "construction"}
}

func outlet(id, site string) *devices.Outlet {
	return &devices.Outlet{ID: id, Site: site, Name: "扬尘", OutletKind: "dust"}
}

func point(id string) *devices.Point {
	return &devices.Point{ID: id, Name: "PM10", Factor: "a34002", Unit: "ug/m3"}
}

func plc(id, site string) *devices.Device {
	return &devices.Device{ID: id, Site: site, Name: "PLC", Driver: devices.DriverModbus, Endpoint: "modbus://10.0.0.2:502", Modbus: &devices.ModbusSettings{Unit: 1}}
}

func sensor(id, site string) *devices.Device {
	return &devices.Device{ID: id, Site: site, Name: "扬尘仪", Driver: devices.DriverBroker, Password: "canary-sensor-pw"}
}

func camera(id, site string, outlets ...string) *devices.Camera {
	return &devices.Camera{ID: id, Site: site, Name: "球机", URL: "rtsp://10.0.0.3/1", Username: "admin", Password: "canary-camera-pw", Outlets: outlets}
}

func limit(id, point string) *devices.Limit {
	return &devices.Limit{ID: id, Point: point, Level: "H", Value: 120, Unit: "ug/m3", Averaging: devices.AveragingInstant}
}

func bind(id, point, device string, r *devices.Register) *devices.Binding {
	return &devices.Binding{ID: id, Point: point, Device: device, Register: r}
}

func word(address uint16, kind string) *devices.Register {
	return &devices.Register{Table: "holding", Address: address, Type: kind}
}

func create(t testing.TB, r *registry.Registry, things ...devices.Thing) {
	t.Helper()
	if err := r.Update(t.Context(), func(e *registry.Edit) error {
		for _, thing := range things {
			if err := e.Create(thing); err != nil {
				return fmt.Errorf("%s %s: %w", thing.Kind(), thing.Key(), err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func yard(t testing.TB, r *registry.Registry) {
	t.Helper()
	s := site("north")
	s.Entities = []devices.Role{{Entity: "acme", Role: "owner"}}
	create(t, r,
		entity("acme"), s, site("south"),
		outlet("gate", "north"), outlet("tank", "north"), outlet("far", "south"),
		point("gate.pm10"), point("gate.tsp"), point("tank.level"), point("far.pm10"),
		plc("plc", "north"), sensor("dust", "north"),
		camera("cam", "north", "gate"),
		limit("gate-h", "gate.pm10"),
	)
}

// codes gives "field code" of every problem in err; each must be complete.
func codes(t testing.TB, err error) []string {
	t.Helper()
	var list []string
	for _, p := range devices.AllProblems(err) {
		if p.Code == "internal" {
			t.Fatalf("not a Problem: %v", err)
		}
		if p.ZH == "" || p.EN == "" || !strings.ContainsFunc(p.ZH, func(r rune) bool { return r >= 0x4e00 && r <= 0x9fff }) || strings.ContainsFunc(p.EN, func(r rune) bool { return r >= 0x4e00 && r <= 0x9fff }) {
			t.Errorf("not in both languages: %+v", p)
		}
		list = append(list, strings.TrimSpace(p.Field+" "+p.Code))
	}
	return list
}

func TestBadReferencesNameTheirField(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2026, 7, 1, hour, 0, 0, 0, time.UTC) }
	until := func(b *devices.Binding, from, to int) *devices.Binding {
		end := at(to)
		b.From, b.To = at(from), &end
		return b
	}
	topic := func(b *devices.Binding, topic, path string) *devices.Binding {
		b.Topic = &devices.Topic{Topic: topic, Path: path}
		return b
	}
	tests := []struct {
		name   string
		before []devices.Thing
		thing  devices.Thing
		want   []string
	}{
		{"site of an unknown entity", nil, &devices.Site{ID: "x", Name: "x", SiteKind: "plant", Entities: []devices.Role{{Entity: "nobody", Role: "owner"}}}, []string{"entities[0].entity unknown_entity"}},
		{"outlet of an unknown site", nil, outlet("x", "nowhere"), []string{"site unknown_site"}},
		{"point of an unknown outlet", nil, point("nowhere.pm10"), []string{"id unknown_outlet"}},
		{"device of an unknown site", nil, plc("x", "nowhere"), []string{"site unknown_site"}},
		{"camera of an unknown site, twice the same outlet", nil, camera("x", "nowhere", "gate", "gate"), []string{"site unknown_site", "outlets[0] other_site", "outlets[1] other_site"}},
		{"camera names an outlet twice", nil, camera("x", "north", "gate", "gate"), []string{"outlets[1] named_twice"}},
		{"camera watches another site", nil, camera("x", "south", "far", "gate"), []string{"outlets[1] other_site"}},
		{"camera watches nothing known", nil, camera("x", "north", "mist"), []string{"outlets[0] unknown_outlet"}},
		{"limit of an unknown point", nil, limit("x", "gate.co"), []string{"point unknown_point"}},
		{"limit of an unknown kind of outlet", nil, &devices.Limit{ID: "x", OutletKind: "dusty", Factor: "a34002", Level: "H", Value: 1, Averaging: "instant"}, []string{"outlet_kind not_one_of"}},
		{"limit in another unit", nil, &devices.Limit{ID: "x", OutletKind: "dust", Factor: "a34002", Level: "H", Value: 1, Unit: "mg/m3", Averaging: "instant"}, []string{"unit unit_differs"}},
		{
			"point in another unit than its kind's limit",
			[]devices.Thing{outlet("new", "south"), &devices.Limit{ID: "x", OutletKind: "dust", Factor: "co", Level: "H", Value: 1, Unit: "mg/m3", Averaging: "instant"}},
			&devices.Point{ID: "new.co", Name: "CO", Factor: "co", Unit: "ppm"},
			[]string{"unit unit_differs"},
		},
		{"binding of unknown things", nil, bind("x", "gate.co", "nobody", nil), []string{"point unknown_point", "device unknown_device"}},
		{"own faults and bad references at once", nil, &devices.Outlet{ID: "X", Site: "nowhere", Name: "", OutletKind: "dust"}, []string{"id bad_id", "name bad_name", "site unknown_site"}},
		{"modbus without register", nil, bind("x", "gate.pm10", "plc", nil), []string{"register missing"}},
		{"modbus with topic", nil, topic(bind("x", "gate.pm10", "plc", word(0, "int16")), "a/b", ""), []string{"topic not_used"}},
		{"broker with register", nil, bind("x", "gate.pm10", "dust", word(0, "int16")), []string{"register not_used"}},
		{"wildcard topic", nil, topic(bind("x", "gate.pm10", "dust", nil), "a/+", ""), []string{"topic.topic wildcard"}},
		{"default topic", nil, bind("x", "gate.pm10", "dust", nil), nil},
		{"default topic taken", []devices.Thing{bind("a", "gate.pm10", "dust", nil)}, bind("x", "far.pm10", "dust", nil), []string{"topic.topic topic_collision"}},
		{"default topic taken by one chosen", []devices.Thing{topic(bind("a", "gate.tsp", "dust", nil), "offsite/dust/pm10", "")}, bind("x", "far.pm10", "dust", nil), []string{"topic.topic topic_collision"}},
		{"shared topic by choice", []devices.Thing{topic(bind("a", "gate.tsp", "dust", nil), "t", "")}, topic(bind("x", "far.pm10", "dust", nil), "t", ""), nil},
		{"default topic with other path", []devices.Thing{topic(bind("a", "gate.pm10", "dust", nil), "", "pm10")}, topic(bind("x", "gate.tsp", "dust", nil), "", "tsp"), nil},
		{"default topic with same path", []devices.Thing{topic(bind("a", "gate.pm10", "dust", nil), "", "pm10")}, topic(bind("x", "gate.tsp", "dust", nil), "", "pm10"), []string{"topic.topic topic_collision"}},
		{"bound already", []devices.Thing{bind("a", "gate.pm10", "dust", nil)}, bind("x", "gate.pm10", "plc", word(0, "int16")), []string{"from binding_overlap"}},
		{"bound later", []devices.Thing{until(bind("a", "gate.pm10", "dust", nil), 3, 5)}, until(bind("x", "gate.pm10", "plc", word(0, "int16")), 4, 6), []string{"from binding_overlap"}},
		{"bound until then", []devices.Thing{until(bind("a", "gate.pm10", "dust", nil), 3, 5)}, until(bind("x", "gate.pm10", "plc", word(0, "int16")), 5, 6), nil},
		{"bound from then", []devices.Thing{until(bind("a", "gate.pm10", "dust", nil), 3, 5)}, until(bind("x", "gate.pm10", "plc", word(0, "int16")), 1, 3), nil},
		{"registers beside each other", []devices.Thing{bind("a", "gate.pm10", "plc", word(0, "float32"))}, bind("x", "gate.tsp", "plc", word(2, "float32")), nil},
		{"register inside another", []devices.Thing{bind("a", "gate.pm10", "plc", word(0, "float32"))}, bind("x", "gate.tsp", "plc", word(1, "uint16")), []string{"register.address register_overlap"}},
		{"register around another", []devices.Thing{bind("a", "gate.pm10", "plc", word(1, "uint16"))}, bind("x", "gate.tsp", "plc", word(0, "float64")), []string{"register.address register_overlap"}},
		{"same register, other type", []devices.Thing{bind("a", "gate.pm10", "plc", word(0, "int16"))}, bind("x", "gate.tsp", "plc", word(0, "uint16")), []string{"register.address register_overlap"}},
		{"same register, other order", []devices.Thing{bind("a", "gate.pm10", "plc", word(0, "float32"))}, bind("x", "gate.tsp", "plc", &devices.Register{Table: "holding", Type: "float32", Order: "CDAB"}), []string{"register.address register_overlap"}},
		{"same register, the order written out", []devices.Thing{bind("a", "gate.pm10", "plc", word(0, "float32"))}, bind("x", "gate.tsp", "plc", &devices.Register{Table: "holding", Type: "float32", Order: "ABCD"}), nil},
		{"same address in the other table", []devices.Thing{bind("a", "gate.pm10", "plc", word(0, "float32"))}, bind("x", "gate.tsp", "plc", &devices.Register{Table: "input", Address: 1, Type: "int16"}), nil},
		{"bits of one register", []devices.Thing{bind("a", "gate.pm10", "plc", word(0, "bit"))}, bind("x", "gate.tsp", "plc", &devices.Register{Table: "holding", Type: "bit", Bit: 3}), nil},
		{"bit and its whole word", []devices.Thing{bind("a", "gate.pm10", "plc", word(0, "uint16"))}, bind("x", "gate.tsp", "plc", word(0, "bit")), nil},
		{"bit of half a float", []devices.Thing{bind("a", "gate.pm10", "plc", word(0, "float32"))}, bind("x", "gate.tsp", "plc", word(0, "bit")), []string{"register.address register_overlap"}},
		{"overlap at another time", []devices.Thing{until(bind("a", "gate.pm10", "plc", word(0, "float32")), 3, 5)}, until(bind("x", "gate.tsp", "plc", word(1, "int16")), 5, 6), nil},
		{"gap wider than a request", nil, &devices.Device{ID: "x", Site: "north", Name: "x", Driver: "modbus", Endpoint: "modbus://h:502", Modbus: &devices.ModbusSettings{Unit: 1, Gap: 124}}, []string{"modbus.gap register_span"}},
		{"placeholder as password", nil, &devices.Device{ID: "x", Site: "north", Name: "x", Driver: "broker", Password: "[redacted]"}, []string{"password password_hidden"}},
		{"id in use", nil, site("north"), []string{"id id_used"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := open(t)
			yard(t, r)
			create(t, r, tt.before...)
			before := r.Snapshot()
			err := r.Update(t.Context(), func(e *registry.Edit) error { return e.Create(tt.thing) })
			if diff := cmp.Diff(tt.want, codes(t, err)); diff != "" {
				t.Errorf("problems (-want +got):\n%s%v", diff, err)
			}
			if err != nil && r.Snapshot() != before {
				t.Error("a refused edit changed the snapshot")
			}
			if err == nil && r.Snapshot().Get(tt.thing.Kind(), tt.thing.Key()) == nil {
				t.Error("what was created is not there")
			}
		})
	}
}

func TestReplaceKeepsWhatItMust(t *testing.T) {
	r := open(t)
	yard(t, r)
	created := r.Snapshot().Cameras["cam"].Created
	replace := func(thing devices.Thing, version int64) error {
		return r.Update(t.Context(), func(e *registry.Edit) error { return e.Replace(thing, version) })
	}
	moved := camera("cam", "north", "gate", "tank")
	moved.Password = "[redacted]"
	if err := replace(moved, 1); err != nil {
		t.Fatal(err)
	}
	got := r.Snapshot().Cameras["cam"]
	if got.Version != 2 || !got.Created.Equal(created) || got.Password.Reveal() != "canary-camera-pw" || len(got.Outlets) != 2 {
		t.Errorf("got %+v", got)
	}
	if err := replace(moved, 1); !errors.Is(err, devices.ErrConflict) || codes(t, err)[0] != "version version_changed" {
		t.Errorf("an old version: %v", err)
	}
	if err := replace(camera("mist", "north"), 1); !errors.Is(err, devices.ErrNotFound) || codes(t, err)[0] != "not_found" {
		t.Errorf("an unknown id: %v", err)
	}
	moved.Password = "new-password"
	if err := replace(moved, 2); err != nil || r.Snapshot().Cameras["cam"].Password.Reveal() != "new-password" {
		t.Errorf("a new password: %v", err)
	}
	if err := replace(outlet("gate", "south"), 1); !cmp.Equal(codes(t, err), []string{"site site_fixed", "site other_site"}) {
		t.Errorf("an outlet that moves: %v", codes(t, err))
	}
	create(t, r, bind("b", "gate.pm10", "plc", word(0, "int16")))
	wrong := sensor("plc", "north")
	if err := replace(wrong, 1); !cmp.Equal(codes(t, err), []string{"driver bindings_differ"}) {
		t.Errorf("another driver: %v", codes(t, err))
	}
	same := bind("b", "gate.pm10", "plc", word(4, "int16"))
	if err := replace(same, 1); err != nil || !r.Snapshot().Bindings["b"].From.Equal(same.From) || same.From.IsZero() {
		t.Errorf("a binding beside itself: %v", err)
	}
}

func TestRetiring(t *testing.T) {
	r := open(t)
	yard(t, r)
	later := time.Now().Add(time.Hour)
	create(t, r, bind("b", "gate.pm10", "plc", word(0, "int16")),
		&devices.Binding{ID: "later", Point: "tank.level", Device: "plc", Register: word(9, "int16"), From: later})
	retire := func(kind devices.Kind, id string) error {
		return r.Update(t.Context(), func(e *registry.Edit) error { return e.Retire(kind, id) })
	}
	for _, tt := range []struct {
		kind      devices.Kind
		id, names string
	}{
		{devices.KindEntity, "acme", "site/north"},
		{devices.KindSite, "north", "outlet/gate"},
		{devices.KindOutlet, "gate", "camera/cam"},
		{devices.KindPoint, "gate.pm10", "limit/gate-h"},
	} {
		err := retire(tt.kind, tt.id)
		if !errors.Is(err, devices.ErrConflict) || codes(t, err)[0] != "in_use" || !strings.Contains(err.Error(), tt.names) {
			t.Errorf("%s: %v", tt.id, err)
		}
	}
	if err := retire(devices.KindDevice, "plc"); err != nil {
		t.Fatal(err)
	}
	s := r.Snapshot()
	if s.Devices["plc"] != nil || len(s.Bindings) != 0 || len(s.Bound("plc", time.Now())) != 0 {
		t.Errorf("still there: %v %v", s.Devices, s.Bindings)
	}
	ended, err := r.Retired(t.Context(), devices.KindBinding)
	if err != nil || len(ended) != 2 {
		t.Fatalf("retired bindings: %v, %v", ended, err)
	}
	if b := ended[0].(*devices.Binding); b.ID != "b" || b.To == nil || !b.To.Equal(*b.Retired) {
		t.Errorf("the one in force did not end: %+v", b)
	}
	if b := ended[1].(*devices.Binding); b.ID != "later" || b.To != nil {
		t.Errorf("the one to come: %+v", b)
	}
	if err := retire(devices.KindDevice, "plc"); !errors.Is(err, devices.ErrNotFound) {
		t.Errorf("again: %v", err)
	}
	err = r.Update(t.Context(), func(e *registry.Edit) error { return e.Create(plc("plc", "north")) })
	if got := codes(t, err); !cmp.Equal(got, []string{"id id_used"}) {
		t.Errorf("a used id: %v", got)
	}
}

func TestAnEditIsAllOrNothing(t *testing.T) {
	r := open(t)
	yard(t, r)
	before := r.Snapshot()
	wake, stop := r.Watch()
	defer stop()
	errLate := errors.New("late")
	err := r.Update(t.Context(), func(e *registry.Edit) error {
		if err := e.Create(site("east")); err != nil {
			return err
		}
		if err := e.Create(outlet("pier", "east")); err != nil { // sees what the edit itself made
			return err
		}
		if e.Snapshot().Sites["east"] == nil || before.Sites["east"] != nil {
			t.Error("the edit's snapshot and the published one are not apart")
		}
		if err := e.Create(point("pier.pm10")); err != nil {
			return err
		}
		if e.Snapshot().Points["pier.pm10"] == nil {
			t.Error("the edit's snapshot is stale")
		}
		return errLate
	})
	if !errors.Is(err, errLate) || r.Snapshot() != before {
		t.Errorf("got %v", err)
	}
	select {
	case <-wake:
		t.Error("woken for nothing")
	default:
	}
	create(t, r, site("east"), outlet("pier", "east"))
	create(t, r, point("pier.pm10"))
	<-wake
	select {
	case <-wake:
		t.Error("two wakes at once")
	default:
	}
	if r.Snapshot().SiteOf("pier.pm10") != "east" || before.Sites["east"] != nil {
		t.Error("snapshots are not apart")
	}
}

func TestChangesTellWhatHappened(t *testing.T) {
	r := open(t)
	create(t, r, site("a"), site("b"))
	if err := r.Update(t.Context(), func(e *registry.Edit) error {
		return errors.Join(e.Replace(site("a"), 1), e.Retire(devices.KindSite, "b"))
	}); err != nil {
		t.Fatal(err)
	}
	var got []string
	var since int64
	for {
		list, err := r.Changes(t.Context(), since, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
		for _, c := range list {
			got = append(got, fmt.Sprint(c.Revision, c.Op, c.Kind, c.ID, c.Thing.Life().Version))
			since = c.Revision
		}
	}
	want := []string{"1 A site a 2", "2 A site b 2", "3 U site a 2", "4 D site b 2"}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], " ", "")
	}
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], " ", "")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if since != r.Snapshot().Revision {
		t.Errorf("snapshot at %d, changes to %d", r.Snapshot().Revision, since)
	}
}

func TestWhatWasStoredIsReadBack(t *testing.T) {
	dir := t.TempDir()
	db := openState(t, dir)
	r, err := registry.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	yard(t, r)
	qos := byte(0)
	high := 7.5
	to := time.Now().Add(time.Hour)
	rich := []devices.Thing{
		&devices.Device{ID: "out", Site: "south", Name: "外部代理", Driver: "mqtt", Endpoint: "mqtts://h:8883", Username: "u", Password: "canary-mqtt-pw", Period: devices.Duration(time.Second), MQTT: &devices.MQTTSettings{ClientID: "c", QoS: &qos}},
		&devices.Binding{ID: "rich", Point: "far.pm10", Device: "out", From: time.Now().Add(-time.Hour), To: &to, Topic: &devices.Topic{Topic: "t", Path: "a.b"}, Scale: 0.1, Offset: -3},
		&devices.Point{ID: "far.ph", Name: "pH", Factor: "w01001", Max: &high, Digits: 2},
		&devices.Limit{ID: "rich", Point: "far.ph", Level: "LL", Value: 6, Averaging: "instant", OnDelay: devices.Duration(90 * time.Second), ExcludeMarks: []string{"M"}, ValidFrom: &to},
	}
	create(t, r, rich...)
	again, err := registry.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range registry.Kinds() {
		if diff := cmp.Diff(r.Snapshot().List(kind), again.Snapshot().List(kind)); diff != "" {
			t.Errorf("%s:\n%s", kind, diff)
		}
	}
	if got := again.Snapshot().Devices["out"].Password.Reveal(); got != "canary-mqtt-pw" {
		t.Errorf("password %q", got)
	}
	if again.Snapshot().Revision != r.Snapshot().Revision {
		t.Error("revisions differ")
	}
}

func TestNoFileHoldsAPassword(t *testing.T) {
	dir := t.TempDir()
	db := openState(t, dir)
	r, err := registry.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	yard(t, r)
	search := func(when string) {
		files := 0
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			files++
			content, err := os.ReadFile(path)
			if bytes.Contains(content, []byte("canary-")) {
				t.Errorf("%s holds a password %s", path, when)
			}
			return err
		})
		if err != nil || files < 3 {
			t.Errorf("%d files, %v", files, err)
		}
	}
	search("while open")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	search("after closing")
}

func TestSnapshotIndices(t *testing.T) {
	r := open(t)
	yard(t, r)
	t0 := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	end := t0.Add(2 * time.Hour)
	create(t, r,
		&devices.Binding{ID: "old", Point: "gate.pm10", Device: "plc", Register: word(0, "int16"), From: t0, To: &end},
		&devices.Binding{ID: "new", Point: "gate.pm10", Device: "dust", From: end},
		&devices.Binding{ID: "tsp", Point: "gate.tsp", Device: "plc", Register: word(1, "int16"), From: t0},
		&devices.Limit{ID: "a-kind", OutletKind: "dust", Factor: "a34002", Level: "HH", Value: 500, Averaging: "instant"},
	)
	s := r.Snapshot()
	bound := func(device string, at time.Time) (ids []string) {
		for _, b := range s.Bound(device, at) {
			ids = append(ids, b.Binding.ID+"@"+b.Site+"/"+b.Point.ID)
		}
		return ids
	}
	limits := func(point string) (ids []string) {
		for _, l := range s.LimitsOf(point) {
			ids = append(ids, l.ID)
		}
		return ids
	}
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"before", bound("plc", t0.Add(-1)), []string(nil)},
		{"at the start", bound("plc", t0), []string{"old@north/gate.pm10", "tsp@north/gate.tsp"}},
		{"at the end", bound("plc", end), []string{"tsp@north/gate.tsp"}},
		{"the next device", bound("dust", end), []string{"new@north/gate.pm10"}},
		{"next change", s.NextBindingChange(t0.Add(-1)), t0},
		{"the one after", s.NextBindingChange(t0), end},
		{"no more", s.NextBindingChange(end), time.Time{}},
		{"own and general limits", limits("gate.pm10"), []string{"a-kind", "gate-h"}},
		{"general limits of another site", limits("far.pm10"), []string{"a-kind"}},
		{"site", s.SiteOf("far.pm10"), "south"},
		{"no site", s.SiteOf("no.where"), ""},
		{"cameras", len(s.CamerasOf("gate")), 1},
		{"no cameras", len(s.CamerasOf("tank")), 0},
		{"absent", s.Get(devices.KindSite, "mist") == nil, true},
		{"first in order", s.List(devices.KindOutlet)[0].Key(), "far"},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestIdsAreMadeWhenLeftEmpty(t *testing.T) {
	r := open(t)
	yard(t, r)
	b, l := bind("", "gate.pm10", "plc", word(0, "int16")), limit("", "gate.pm10")
	g := &devices.Limit{OutletKind: "gas_area", Factor: strings.Repeat("F_", 16), Level: "HH", Value: 1, Averaging: "instant"}
	create(t, r, b, l, g, site(""), camera("", "north"))
	for thing, stem := range map[devices.Thing]string{b: "pm10-", l: "pm10-h-", g: "gas-area-f-f-"} {
		if !strings.HasPrefix(thing.Key(), stem) || devices.CheckID("", thing.Key()) != nil {
			t.Errorf("id %q, want %s…", thing.Key(), stem)
		}
	}
}

func TestManyReadersAndEditors(t *testing.T) {
	r := open(t)
	yard(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	var readers, editors sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			wake, stop := r.Watch()
			defer stop()
			var last int64
			for {
				select {
				case <-wake:
				case <-ctx.Done():
					return
				}
				s := r.Snapshot()
				if s.Revision < last {
					t.Error("a snapshot went back")
				}
				last = s.Revision
				if len(s.Bound("dust", time.Now())) > len(s.Points) {
					t.Error("impossible")
				}
			}
		})
	}
	for i := range 8 {
		editors.Go(func() {
			for n := range 10 {
				id := fmt.Sprintf("site-%d-%d", i, n)
				if err := r.Update(ctx, func(e *registry.Edit) error { return e.Create(site(id)) }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	editors.Wait()
	cancel()
	readers.Wait()
	if got := len(r.Snapshot().Sites); got != 82 {
		t.Errorf("%d sites", got)
	}
}
