package edge

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"

	"offsite/devices"
	"offsite/edge/breach"
	"offsite/edge/cameras"
	"offsite/edge/field"
)

// Update is one thing that watchers hear of; one field is set.
type Update struct {
	Readings []devices.Reading // newly on disk, in log order; not to be changed
	Event    *breach.Transition
	Device   *field.Status
	Camera   *cameras.Status
	Points   []string // that turned stale or fresh, or whose maintenance began or ended
	Changed  bool     // the registry changed
	Notices  bool     // those that hold changed
}

// watchDepth is how many updates wait for one watcher before it loses some.
const watchDepth = 256

// Live tells watchers what happens as it happens. It never waits for them: a
// slow watcher loses updates and can see how many.
type Live struct {
	at    uint64 // sequence told last; like begun the follower's own
	begun bool
	lost  atomic.Int64 // updates that watchers missed, all together

	mu     sync.Mutex
	latest map[string]devices.Reading // by point: the newest that may stand as its current value
	subs   map[*Watcher]struct{}
}

// Watcher is one who watches.
type Watcher struct {
	C    <-chan Update
	c    chan Update
	lost atomic.Int64
}

// Lost is how many updates the watcher has missed so far.
func (w *Watcher) Lost() int64 { return w.lost.Load() }

func newLive() *Live {
	return &Live{latest: map[string]devices.Reading{}, subs: map[*Watcher]struct{}{}}
}

// Watch begins a watch; stop ends it.
func (l *Live) Watch() (w *Watcher, stop func()) {
	c := make(chan Update, watchDepth)
	w = &Watcher{C: c, c: c}
	l.mu.Lock()
	l.subs[w] = struct{}{}
	l.mu.Unlock()
	return w, func() {
		l.mu.Lock()
		delete(l.subs, w)
		l.mu.Unlock()
	}
}

// Latest gives the newest reading of point since the start.
func (l *Live) Latest(point string) (devices.Reading, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.latest[point]
	return r, ok
}

// All gives the newest reading of every point heard since the start.
func (l *Live) All() []devices.Reading {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]devices.Reading, 0, len(l.latest))
	for _, r := range l.latest {
		list = append(list, r)
	}
	return list
}

// Tell gives u to every watcher.
func (l *Live) Tell(u Update) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.subs {
		select {
		case w.c <- u:
		default:
			w.lost.Add(1)
			l.lost.Add(1)
		}
	}
}

// Refresh shows readings that need no keeping, such as retained values seen before.
func (l *Live) Refresh(rs []devices.Reading) {
	l.note(rs)
	l.Tell(Update{Readings: rs})
}

// keep forgets the values of points that are no longer registered.
func (l *Live) keep(points map[string]*devices.Point) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.latest, func(id string, _ devices.Reading) bool { return points[id] == nil })
}

func (l *Live) note(rs []devices.Reading) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range rs {
		if old, ok := l.latest[r.Point]; !ok || newer(&r, &old) {
			l.latest[r.Point] = r
		}
	}
}

// newer says whether r may stand as a point's current value in place of old. A
// retained value without a time of its own that equals what stands was not
// measured now, though it came now. A wrong clock's reading bears its time of
// receipt, which says nothing against the device's next good one.
func newer(r, old *devices.Reading) bool {
	switch {
	case r.Repeat && r.Stamped && r.Value == old.Value:
		return false
	case old.Quality == devices.BadClock && r.Quality != devices.BadClock:
		return true
	default:
		return !r.At.Before(old.At)
	}
}

// from begins behind seq, the end of the log at start; in the log's later
// epochs it goes on where it stands.
func (l *Live) from(seq uint64) {
	if !l.begun {
		l.at, l.begun = seq, true
	}
}

// follow tells of every reading that reaches the disk behind the last it has
// seen, until ctx ends or the log fails.
func (l *Live) follow(ctx context.Context, log tail) error {
	for {
		if err := log.Wait(ctx, l.at); err != nil {
			return err
		}
		recs, err := log.Read(l.at, readAtOnce)
		if err != nil {
			return err
		}
		var rs []devices.Reading
		for _, rec := range recs {
			rs = append(rs, rec.Readings...)
			l.at = rec.Seq
		}
		if len(rs) > 0 {
			l.note(rs)
			l.Tell(Update{Readings: rs})
		}
	}
}
