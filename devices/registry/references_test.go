package registry_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/registry"
)

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
		{"wildcard topic", nil, topic(bind("x", "gate.pm10", "dust", nil), "a/+x", ""), []string{"topic.topic wildcard"}},
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
	common := open(t) // what is refused changes nothing there
	yard(t, common)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := common
			if tt.before != nil || tt.want == nil {
				r = open(t)
				yard(t, r)
				create(t, r, tt.before...)
			}
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
	held := bind("b", "gate.pm10", "plc", word(0, "int16"))
	held.From = later.Add(-2 * time.Hour) // for a while, however fast the test is
	create(t, r, held,
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

func TestOneEditSeesWhatItDidToBindings(t *testing.T) {
	r := open(t)
	yard(t, r)
	create(t, r, plc("plc-2", "north"), bind("a", "gate.pm10", "plc", word(0, "float32")))
	if err := r.Update(t.Context(), func(e *registry.Edit) error {
		return errors.Join(
			e.Create(bind("b", "gate.tsp", "plc", word(2, "float32"))),
			e.Replace(bind("a", "gate.pm10", "plc-2", word(0, "float32")), 1), // its register is free now
			e.Create(bind("c", "tank.level", "plc", word(0, "uint16"))),
			e.Retire(devices.KindBinding, "a"), // its point is free now
			e.Create(bind("d", "gate.pm10", "dust", nil)),
		)
	}); err != nil {
		t.Error(err)
	}
	err := r.Update(t.Context(), func(e *registry.Edit) error {
		return errors.Join(
			e.Retire(devices.KindBinding, "b"),
			e.Create(bind("e", "gate.tsp", "plc", word(4, "float32"))),
			e.Create(bind("f", "far.pm10", "plc", word(5, "int16"))),
		)
	})
	if got := codes(t, err); !cmp.Equal(got, []string{"register.address register_overlap"}) {
		t.Errorf("got %v", got)
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
