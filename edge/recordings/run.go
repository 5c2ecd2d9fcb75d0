package recordings

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
)

const (
	lookEvery    = time.Second     // between two looks at what is to be recorded
	reviewEvery  = 5 * time.Second // between two looks at events that go on, and at the disk
	sweepEvery   = time.Minute
	recentEvents = 10 * time.Minute // within which an event is looked for
	firstLook    = 24 * time.Hour   // the same at the start
)

// Run records, and deletes what is over, until ctx ends.
func (r *Recordings) Run(ctx context.Context) error {
	if err := r.archive.Load(); err != nil {
		r.cfg.Notice(devices.AllProblems(err)[0])
		return err
	}
	select {
	case <-r.ready: // Run was called before
	default:
		close(r.ready)
	}
	if used, err := r.cfg.Used(); err == nil { // else the sweep says why
		r.judge(time.Now(), used)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.keep(ctx, g) })
	g.Go(func() error { return r.sweep(ctx) })
	return g.Wait()
}

// task records one camera.
type task struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// keep begins and ends the tasks of cameras as they are wanted.
func (r *Recordings) keep(ctx context.Context, g *errgroup.Group) error {
	wake, stop := r.cfg.Registry.Watch()
	defer stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	running, ready := map[string]task{}, map[string]func(){}
	defer func() {
		for _, release := range ready {
			release()
		}
	}()
	look := watcher{since: time.Now().Add(-firstLook)}
	for {
		if err := r.look(ctx, &look); err != nil && ctx.Err() == nil {
			r.cfg.Log.ErrorContext(ctx, "events not looked at for recordings", "err", err)
		}
		want := r.wanted(time.Now())
		r.prepare(ready)
		for camera, t := range running {
			select {
			case <-t.done:
				delete(running, camera)
			default:
				if !want[camera] {
					t.cancel()
				}
			}
		}
		for camera := range want {
			if _, runs := running[camera]; runs {
				continue
			}
			of, cancel := context.WithCancel(ctx)
			t := task{cancel, make(chan struct{})}
			running[camera] = t
			g.Go(func() error {
				defer close(t.done)
				defer cancel()
				_ = r.cfg.Supervise(of, "recording "+camera, func(ctx context.Context) error { return r.record(ctx, camera) })
				return nil
			})
		}
		select {
		case <-tick.C:
		case <-wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// wanted gives the cameras that are to be recorded now and have a feed, which may
// come a moment after they were registered.
func (r *Recordings) wanted(now time.Time) map[string]bool {
	want := map[string]bool{}
	full := r.stopped.Load()
	for id, cam := range r.cfg.Registry.Snapshot().Cameras {
		on := cam.Record == devices.RecordAlways
		if cam.Record == devices.RecordEvents {
			on = slices.ContainsFunc(r.held(id, now, now.Add(1)), func(h hold) bool { return h.kind != holdExport })
		}
		if !on || full {
			continue
		}
		if _, err := r.cfg.Feeds.Feed(id, devices.MainProfile); err == nil {
			want[id] = true
		}
	}
	return want
}

// prepare holds the feeds of cameras that are recorded on event, so that they are
// pulled before there is one.
func (r *Recordings) prepare(ready map[string]func()) {
	s := r.cfg.Registry.Snapshot()
	for id, release := range ready {
		if cam := s.Cameras[id]; cam == nil || cam.Record != devices.RecordEvents {
			release()
			delete(ready, id)
		}
	}
	for id, cam := range s.Cameras {
		if ready[id] != nil || cam.Record != devices.RecordEvents {
			continue
		}
		if feed, err := r.cfg.Feeds.Feed(id, devices.MainProfile); err == nil {
			ready[id] = feed.Hold()
		}
	}
}

// record records a camera until ctx ends or the disk takes no more.
func (r *Recordings) record(ctx context.Context, camera string) error {
	feed, err := r.cfg.Feeds.Feed(camera, devices.MainProfile)
	if err != nil {
		return err
	}
	if err := r.archive.Record(ctx, camera, feed, r.begin(camera)); ctx.Err() == nil {
		r.miss(camera, err)
		return err
	}
	return context.Cause(ctx)
}

// begin says since when the pictures of a camera are to be recorded: not those that
// are recorded already, and only those of an event's time.
func (r *Recordings) begin(camera string) time.Time {
	now := time.Now()
	from := now
	if cam := r.cfg.Registry.Snapshot().Cameras[camera]; cam != nil && cam.Record == devices.RecordEvents {
		for _, h := range r.held(camera, now, now.Add(1)) {
			if h.kind != holdExport && h.from.Before(from) {
				from = h.from
			}
		}
	}
	if list, err := r.archive.Segments(camera, from, now.Add(time.Hour)); err == nil && len(list) > 0 && list[len(list)-1].To.After(from) {
		from = list[len(list)-1].To
	}
	r.resume(camera, now)
	return from
}

// resume tells that a camera is recorded again, unless it is told that recording has
// stopped: then this recorder is about to be ended, and what is told holds.
func (r *Recordings) resume(camera string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.paused[camera] {
		r.cfg.Notes.End(subject(camera), now)
	}
}

// subject is how losses name a camera's recording.
func subject(camera string) string { return "recording/" + camera }

// miss tells that a camera is not recorded, and why.
func (r *Recordings) miss(camera string, why error) {
	p := devices.AllProblems(why)[0]
	r.cfg.Notes.Miss(subject(camera), time.Now(), p)
	if p.Code == "recording_disk_full" || p.Code == "recording_disk_error" {
		r.mu.Lock()
		r.fails = concern{p, time.Now().Add(2 * time.Minute)}
		r.mu.Unlock()
	}
}

// watcher is what look remembers.
type watcher struct {
	since    time.Time
	reviewed time.Time
	going    map[string]bool // ids of events that go on
}

// look notes what has happened, with a hold for each camera that watched it.
func (r *Recordings) look(ctx context.Context, w *watcher) error {
	now := time.Now()
	watching := map[string][]string{} // cameras by outlet
	recorded := map[string]bool{}
	for id, cam := range r.cfg.Registry.Snapshot().Cameras {
		if cam.Record == "" {
			continue
		}
		recorded[id] = true
		for _, outlet := range cam.Outlets {
			watching[outlet] = append(watching[outlet], id)
		}
	}
	if len(recorded) == 0 {
		return nil
	}
	var going []string
	if now.Sub(w.reviewed) >= reviewEvery {
		w.reviewed = now
		for id := range w.going {
			going = append(going, id)
		}
	}
	list, err := r.cfg.Happened(ctx, w.since, going)
	if err != nil {
		return fmt.Errorf("list events: %w", err)
	}
	if w.going == nil {
		w.going = map[string]bool{}
	}
	for _, h := range list {
		seen := watching[h.Outlet]
		if recorded[h.Camera] && !slices.Contains(seen, h.Camera) {
			seen = append(slices.Clone(seen), h.Camera)
		}
		for _, camera := range seen {
			if err := r.hold(ctx, camera, h, now); err != nil {
				return err
			}
		}
		w.going[h.Event] = true
		if !h.To.IsZero() {
			delete(w.going, h.Event)
		}
	}
	w.since = now.Add(-recentEvents)
	return nil
}

// hold holds the time around an event, if that is not so already.
func (r *Recordings) hold(ctx context.Context, camera string, h Happening, now time.Time) error {
	one := hold{kind: holdEvent, subject: h.Event, from: h.From.Add(-r.cfg.Before), to: h.From.Add(r.cfg.Longest), until: h.From.Add(keepEvents)}
	if h.Often {
		one.kind, one.until = holdOften, h.From.AddDate(0, 0, r.Days(camera))
	}
	if end := h.To.Add(r.cfg.After); !h.To.IsZero() && end.Before(one.to) {
		one.to = end
	}
	if !one.until.After(now) {
		return nil
	}
	known := slices.ContainsFunc(r.held(camera, one.from, one.to), func(o hold) bool {
		return o.kind == one.kind && o.subject == one.subject && o.from.Equal(one.from.Truncate(time.Millisecond)) && o.to.Equal(one.to.Truncate(time.Millisecond))
	})
	if known {
		return nil
	}
	one.from, one.to = one.from.UTC().Truncate(time.Millisecond), one.to.UTC().Truncate(time.Millisecond)
	return r.put(ctx, camera, one)
}
