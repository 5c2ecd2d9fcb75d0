package registry_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/devices/state"
)

// model is the registry as a person would keep it on paper: which ids were ever
// used, what is live, and how often each was changed.
type model struct {
	used     map[string]bool // "kind/id"
	versions map[string]int64
	refs     map[string][]string // what a live thing refers to, bindings apart
	bound    map[string]window   // live bindings
	seen     int64               // revision
	replayed map[string]bool     // live things by the change feed
}

type window struct {
	point, device string
	from, to      int // hours; to 0 means without end
}

func (w window) meets(o window) bool {
	return w.point == o.point && (w.to == 0 || o.from < w.to) && (o.to == 0 || w.from < o.to)
}

func key(t devices.Thing) string { return string(t.Kind()) + "/" + t.Key() }

var epoch = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

// draw gives a thing out of a small world, so that ids and times meet often,
// and what it refers to.
func draw(t *rapid.T) (devices.Thing, []string) {
	pick := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
	if rapid.Bool().Draw(t, "bind") {
		return drawBinding(t, "o1."+pick("point", "p1", "p2"), "d1")
	}
	siteID, outletID := pick("site", "s1", "s2"), pick("outlet", "o1", "o2", "o3")
	pointID, deviceID := outletID+"."+pick("point", "p1", "p2"), pick("device", "d1", "d2")
	switch pick("kind", "site", "outlet", "point", "device", "limit", "binding") {
	case "site":
		return site(siteID), nil
	case "outlet":
		return outlet(outletID, siteID), []string{"site/" + siteID}
	case "point":
		return point(pointID), []string{"outlet/" + outletID}
	case "device":
		return sensor(deviceID, siteID), []string{"site/" + siteID}
	case "limit":
		return limit(pick("limit", "l1", "l2"), pointID), []string{"point/" + pointID}
	default:
		return drawBinding(t, pointID, deviceID)
	}
}

func drawBinding(t *rapid.T, point, device string) (devices.Thing, []string) {
	b := bind(fmt.Sprintf("b%d", rapid.IntRange(1, 15).Draw(t, "binding")), point, device, nil)
	b.From = epoch.Add(time.Duration(rapid.IntRange(0, 8).Draw(t, "from")) * time.Hour)
	b.Topic = &devices.Topic{Topic: "t/" + b.ID}
	if hours := rapid.IntRange(0, 3).Draw(t, "hours"); hours > 0 {
		to := b.From.Add(time.Duration(hours) * time.Hour)
		b.To = &to
	}
	return b, []string{"point/" + point, "device/" + device}
}

func windowOf(b *devices.Binding) window {
	w := window{point: b.Point, device: b.Device, from: int(b.From.Sub(epoch).Hours())}
	if b.To != nil {
		w.to = int(b.To.Sub(epoch).Hours())
	}
	return w
}

// allows says whether the references of t hold and its times are free.
func (m *model) allows(t devices.Thing, refs []string) bool {
	for _, ref := range refs {
		if m.versions[ref] == 0 {
			return false
		}
	}
	if b, ok := t.(*devices.Binding); ok {
		for id, other := range m.bound {
			if id != key(t) && other.meets(windowOf(b)) {
				return false
			}
		}
	}
	return true
}

func (m *model) keep(t devices.Thing, refs []string) {
	m.versions[key(t)]++
	if b, ok := t.(*devices.Binding); ok {
		m.bound[key(t)] = windowOf(b)
		return
	}
	m.refs[key(t)] = refs
}

func (m *model) inUse(id string) bool {
	for _, refs := range m.refs {
		if slices.Contains(refs, id) {
			return true
		}
	}
	return false
}

func (m *model) forget(id string) {
	delete(m.versions, id)
	delete(m.refs, id)
	delete(m.bound, id)
	for binding, w := range m.bound {
		if "point/"+w.point == id || "device/"+w.device == id {
			m.forget(binding)
		}
	}
}

func TestTheRegistryKeepsToItsModel(t *testing.T) {
	memory := "/dev/shm" // what is on disk after a fault is for package state to prove
	if _, err := os.Stat(memory); err != nil {
		memory = t.TempDir()
	}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(memory, "registry-")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		db, err := state.Open(t.Context(), state.Config{Dir: dir})
		if err != nil {
			rt.Fatal(err)
		}
		defer db.Close()
		r, err := registry.Open(t.Context(), db)
		if err != nil {
			rt.Fatal(err)
		}
		m := &model{
			used: map[string]bool{}, versions: map[string]int64{}, refs: map[string][]string{},
			bound: map[string]window{}, replayed: map[string]bool{},
		}
		do := func(fn func(e *registry.Edit) error) error { return r.Update(t.Context(), fn) }
		for _, base := range []struct {
			thing devices.Thing
			refs  []string
		}{
			{site("s1"), nil},
			{outlet("o1", "s1"), []string{"site/s1"}},
			{point("o1.p1"), []string{"outlet/o1"}},
			{point("o1.p2"), []string{"outlet/o1"}},
			{sensor("d1", "s1"), []string{"site/s1"}},
		} {
			if err := do(func(e *registry.Edit) error { return e.Create(base.thing) }); err != nil {
				rt.Fatal(err)
			}
			m.used[key(base.thing)] = true
			m.keep(base.thing, base.refs)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"create": func(rt *rapid.T) {
				thing, refs := draw(rt)
				want := m.allows(thing, refs) && !m.used[key(thing)]
				err := do(func(e *registry.Edit) error { return e.Create(thing) })
				if (err == nil) != want {
					rt.Fatalf("create %s: %v, want accepted %v", key(thing), err, want)
				}
				if err == nil {
					m.used[key(thing)] = true
					m.keep(thing, refs)
				}
			},
			"replace": func(rt *rapid.T) {
				thing, refs := draw(rt)
				version := rapid.Int64Range(1, 3).Draw(rt, "version")
				if o, ok := thing.(*devices.Outlet); ok { // outlets stay in their site: see the table tests
					if live := r.Snapshot().Outlets[o.ID]; live != nil {
						o.Site, refs = live.Site, []string{"site/" + live.Site}
					}
				}
				err := do(func(e *registry.Edit) error { return e.Replace(thing, version) })
				var want error
				switch {
				case m.versions[key(thing)] == 0:
					want = devices.ErrNotFound
				case m.versions[key(thing)] != version:
					want = devices.ErrConflict
				case !m.allows(thing, refs):
					want = devices.ErrInvalid
				}
				if !errors.Is(err, want) {
					rt.Fatalf("replace %s at %d: %v, want %v", key(thing), version, err, want)
				}
				if err == nil {
					m.keep(thing, refs)
				}
			},
			"retire": func(rt *rapid.T) {
				thing, _ := draw(rt)
				err := do(func(e *registry.Edit) error { return e.Retire(thing.Kind(), thing.Key()) })
				var want error
				switch {
				case m.versions[key(thing)] == 0:
					want = devices.ErrNotFound
				case m.inUse(key(thing)):
					want = devices.ErrConflict
				}
				if !errors.Is(err, want) {
					rt.Fatalf("retire %s: %v, want %v", key(thing), err, want)
				}
				if err == nil {
					m.forget(key(thing))
				}
			},
			"": func(rt *rapid.T) {
				m.compare(rt, r.Snapshot())
				m.replay(t, rt, r)
				again, err := registry.Open(t.Context(), db)
				if err != nil {
					rt.Fatal(err)
				}
				for _, kind := range registry.Kinds() {
					if diff := cmp.Diff(r.Snapshot().List(kind), again.Snapshot().List(kind)); diff != "" {
						rt.Fatalf("what is in memory and what is stored:\n%s", diff)
					}
				}
			},
		})
	})
}

// compare holds the snapshot and its indices against the model.
func (m *model) compare(t *rapid.T, s *registry.Snapshot) {
	live := map[string]int64{}
	for _, kind := range registry.Kinds() {
		for _, thing := range s.List(kind) {
			live[key(thing)] = thing.Life().Version
		}
	}
	if diff := cmp.Diff(m.versions, live); diff != "" {
		t.Fatalf("live things (-model +snapshot):\n%s", diff)
	}
	for hour := range 13 {
		at := epoch.Add(time.Duration(hour) * time.Hour)
		for _, device := range []string{"d1", "d2"} {
			want := 0
			for _, w := range m.bound {
				if w.device == device && w.from <= hour && (w.to == 0 || hour < w.to) {
					want++
				}
			}
			bounds := s.Bound(device, at)
			if len(bounds) != want || !slices.IsSortedFunc(bounds, func(a, b devices.Bound) int { return strings.Compare(a.Point.ID, b.Point.ID) }) {
				t.Fatalf("%s has %d bindings at %d, want %d", device, len(bounds), hour, want)
			}
			for _, b := range bounds {
				if b.Site == "" || b.Site != s.SiteOf(b.Point.ID) || b.Binding.Point != b.Point.ID {
					t.Fatalf("bound badly: %+v", b)
				}
			}
		}
	}
}

// replay follows the change feed and arrives at what is live.
func (m *model) replay(t *testing.T, rt *rapid.T, r *registry.Registry) {
	for {
		changes, err := r.Changes(t.Context(), m.seen, 3)
		if err != nil {
			rt.Fatal(err)
		}
		for _, c := range changes {
			id := fmt.Sprintf("%s/%s", c.Kind, c.ID)
			if c.Revision <= m.seen || m.replayed[id] != (c.Op != "A") {
				rt.Fatalf("change %+v does not follow", c)
			}
			m.seen = c.Revision
			if c.Op == "D" {
				delete(m.replayed, id)
			} else {
				m.replayed[id] = true
			}
		}
		if len(changes) == 0 {
			break
		}
	}
	if len(m.replayed) != len(m.versions) || m.seen != r.Snapshot().Revision {
		rt.Fatalf("the feed gives %v at %d, live are %v at %d", m.replayed, m.seen, m.versions, r.Snapshot().Revision)
	}
}
