package registry_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/devices/registry/registrytest"
	"offsite/devices/state"
)

// TestMain lets the model test run 20 times: each opens a database of its own.
// -rapid.checks asks for more.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("20") // a number
	}
	goleak.VerifyTestMain(m)
}

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

// yard registers two sites, each with things of every kind.
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
		first := e.Snapshot()
		if err := e.Create(point("pier.pm10")); err != nil {
			return err
		}
		if e.Snapshot().Points["pier.pm10"] == nil || first.Points["pier.pm10"] != nil || first.Get(devices.KindPoint, "pier.pm10") != nil {
			t.Error("the edit's snapshots are stale, or not apart")
		}
		second := e.Snapshot()
		if err := e.Create(point("pier.tsp")); err != nil {
			return err
		}
		if second.Get(devices.KindPoint, "pier.tsp") != nil {
			t.Error("a snapshot of the edit changed")
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
