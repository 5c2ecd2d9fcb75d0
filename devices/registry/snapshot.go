package registry

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"time"

	"offsite/devices"
)

// Snapshot is all that was registered and live at one revision. It is
// immutable: neither its maps nor the things in them may be changed.
type Snapshot struct {
	Revision int64
	Entities map[string]*devices.Entity
	Sites    map[string]*devices.Site
	Outlets  map[string]*devices.Outlet
	Points   map[string]*devices.Point
	Devices  map[string]*devices.Device
	Bindings map[string]*devices.Binding
	Cameras  map[string]*devices.Camera
	Limits   map[string]*devices.Limit

	things   things
	lists    map[devices.Kind][]devices.Thing // by id
	byDevice map[string][]*devices.Binding    // by point, then start
	limits   map[string][]*devices.Limit      // of a point, by id
	watching map[string][]*devices.Camera     // an outlet, by id
	turns    []time.Time                      // when bindings start and end, ascending
}

// things are the live things of each kind by id.
type things map[devices.Kind]map[string]devices.Thing

// find gives a live thing as its own type.
func find[T devices.Thing](all things, kind devices.Kind, id string) (T, bool) {
	t, ok := all[kind][id].(T)
	return t, ok
}

// newSnapshot computes every index from all, which it keeps.
func newSnapshot(revision int64, all things) *Snapshot {
	s := &Snapshot{
		Revision: revision, things: all,
		Entities: typed[*devices.Entity](all[devices.KindEntity]),
		Sites:    typed[*devices.Site](all[devices.KindSite]),
		Outlets:  typed[*devices.Outlet](all[devices.KindOutlet]),
		Points:   typed[*devices.Point](all[devices.KindPoint]),
		Devices:  typed[*devices.Device](all[devices.KindDevice]),
		Bindings: typed[*devices.Binding](all[devices.KindBinding]),
		Cameras:  typed[*devices.Camera](all[devices.KindCamera]),
		Limits:   typed[*devices.Limit](all[devices.KindLimit]),
		lists:    make(map[devices.Kind][]devices.Thing, len(all)),
	}
	for _, kind := range Kinds() {
		s.lists[kind] = slices.SortedFunc(maps.Values(all[kind]), func(a, b devices.Thing) int { return cmp.Compare(a.Key(), b.Key()) })
	}
	s.indexBindings()
	s.indexLimits()
	s.watching = make(map[string][]*devices.Camera)
	for _, t := range s.lists[devices.KindCamera] {
		c := t.(*devices.Camera)
		for _, outlet := range c.Outlets {
			s.watching[outlet] = append(s.watching[outlet], c)
		}
	}
	return s
}

func typed[T devices.Thing](all map[string]devices.Thing) map[string]T {
	m := make(map[string]T, len(all))
	for id, t := range all {
		m[id] = t.(T)
	}
	return m
}

func (s *Snapshot) indexBindings() {
	s.byDevice = make(map[string][]*devices.Binding)
	for _, b := range s.Bindings {
		s.byDevice[b.Device] = append(s.byDevice[b.Device], b)
		s.turns = append(s.turns, b.From)
		if b.To != nil {
			s.turns = append(s.turns, *b.To)
		}
	}
	for _, list := range s.byDevice {
		slices.SortFunc(list, func(a, b *devices.Binding) int {
			return cmp.Or(cmp.Compare(a.Point, b.Point), a.From.Compare(b.From), cmp.Compare(a.ID, b.ID))
		})
	}
	slices.SortFunc(s.turns, time.Time.Compare)
	s.turns = slices.CompactFunc(s.turns, time.Time.Equal)
}

// scope is what a limit without a point of its own applies to.
type scope struct{ outletKind, factor string }

func (s *Snapshot) indexLimits() {
	s.limits = make(map[string][]*devices.Limit)
	general := make(map[scope][]*devices.Limit)
	for _, t := range s.lists[devices.KindLimit] {
		l := t.(*devices.Limit)
		if l.Point != "" {
			s.limits[l.Point] = append(s.limits[l.Point], l)
		} else {
			general[scope{l.OutletKind, l.Factor}] = append(general[scope{l.OutletKind, l.Factor}], l)
		}
	}
	for id, p := range s.Points {
		outlet := s.Outlets[p.Outlet()]
		if outlet == nil {
			continue
		}
		if more := general[scope{outlet.OutletKind, p.Factor}]; len(more) > 0 {
			all := append(slices.Clone(s.limits[id]), more...)
			slices.SortFunc(all, func(a, b *devices.Limit) int { return cmp.Compare(a.ID, b.ID) })
			s.limits[id] = all
		}
	}
}

// Get gives the live thing of that kind and id, nil when there is none.
func (s *Snapshot) Get(kind devices.Kind, id string) devices.Thing {
	return s.things[kind][id]
}

// List gives the live things of a kind by id. The slice must not be changed.
func (s *Snapshot) List(kind devices.Kind) []devices.Thing { return s.lists[kind] }

// Bound gives the bindings of a device that are in force at the instant, by
// point.
func (s *Snapshot) Bound(device string, at time.Time) []devices.Bound {
	var bounds []devices.Bound
	for _, b := range s.byDevice[device] {
		point := s.Points[b.Point]
		if point == nil || b.From.After(at) || (b.To != nil && !b.To.After(at)) {
			continue
		}
		bounds = append(bounds, devices.Bound{Binding: *b, Point: *point, Site: s.SiteOf(b.Point)})
	}
	return bounds
}

// NextBindingChange tells when, after the instant, a binding starts or ends
// next; the zero time if none does.
func (s *Snapshot) NextBindingChange(after time.Time) time.Time {
	i := sort.Search(len(s.turns), func(i int) bool { return s.turns[i].After(after) })
	if i == len(s.turns) {
		return time.Time{}
	}
	return s.turns[i]
}

// LimitsOf gives the limits of a point, its own and those of its outlet's kind
// and its factor, by id, whether or not they are valid now.
func (s *Snapshot) LimitsOf(point string) []*devices.Limit { return s.limits[point] }

// CamerasOf gives the cameras that watch an outlet, by id.
func (s *Snapshot) CamerasOf(outlet string) []*devices.Camera { return s.watching[outlet] }

// SiteOf gives the id of the site that a live point lies in, "" when there is
// no such point.
func (s *Snapshot) SiteOf(point string) string {
	p := s.Points[point]
	if p == nil {
		return ""
	}
	if outlet := s.Outlets[p.Outlet()]; outlet != nil {
		return outlet.Site
	}
	return ""
}
