package edge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"maps"
	"time"

	"offsite/devices"
	"offsite/edge/breach"
	"offsite/edge/cameras"
	"offsite/streams"
	"offsite/streams/scene"
)

const (
	lookEvery = time.Minute      // at each camera's picture: decoding one costs some 0.12 s of a core
	lostAfter = 90 * time.Second // that a camera may be away before it is a fault
	settledIn = 4                // looks after which a watch knows whether a fault of before still stands
)

// scenes watches the pictures of all cameras that are pulled, and makes events of
// cameras that are lost, frozen, black, covered or moved.
type scenes struct {
	*Box
	watches map[string]*watched
}

// watched is one camera's watch.
type watched struct {
	*scene.Watch
	view  scene.View
	last  [sha256.Size]byte // of the key frame looked at last
	looks int
}

// watchScenes looks at the cameras, one after the other, until ctx ends.
func (b *Box) watchScenes(ctx context.Context) error {
	s := scenes{Box: b, watches: map[string]*watched{}}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := s.round(ctx); err != nil {
			return err
		}
	}
}

// round looks at every camera once.
func (s *scenes) round(ctx context.Context) error {
	standing, err := s.Events.Faults(ctx)
	if err != nil {
		return err
	}
	present := map[string]bool{}
	for _, camera := range s.Cameras.Status() {
		present[camera.Camera] = true
		rule, sure := s.look(ctx, camera)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := s.tell(ctx, camera.Camera, rule, sure, standing); err != nil {
			return err
		}
	}
	for _, ev := range standing {
		if !present[ev.Camera] {
			if err := s.end(ctx, ev, breach.EndNotMeasured); err != nil {
				return err
			}
		}
	}
	// Who registers a camera under an id that was retired begins with a view of its own.
	maps.DeleteFunc(s.watches, func(camera string, _ *watched) bool { return !present[camera] })
	return nil
}

// look says which rule the camera breaks, empty for none, and whether that is sure
// enough to end what stood before.
func (s *scenes) look(ctx context.Context, c cameras.Status) (rule string, sure bool) {
	now := time.Now()
	switch {
	case c.Idle:
		return "", false
	case !c.Connected:
		if c.Problem != nil && now.Sub(c.Since) >= lostAfter {
			return breach.CameraLost, true
		}
		return "", false
	}
	w := s.watches[c.Camera]
	if w == nil {
		w = &watched{Watch: scene.NewWatch(scene.Config{})}
		s.watches[c.Camera] = w
	}
	feed, err := s.Cameras.Feed(c.Camera, devices.MainProfile)
	if err != nil {
		return "", false
	}
	sum, one := sameKeys(feed.Ring(now.Add(-lookEvery), now))
	same := one && sum == w.last && w.looks > 0
	if !same {
		still, err := s.Cameras.Moment(ctx, c.Camera, now)
		if err == nil {
			w.view, err = scene.ViewOf(still.JPEG)
		}
		if err != nil {
			s.logger.DebugContext(ctx, "picture not looked at", "camera", c.Camera, "err", err)
			return "", false
		}
	}
	w.last = sum
	w.looks++
	if f := w.Look(now, w.view, same); f != "" {
		return "camera_" + string(f), true
	}
	return "", w.looks >= settledIn
}

// sameKeys gives the hash of the newest key frame, and whether the others, at least
// one, are bit by bit the same.
func sameKeys(frames []*streams.Frame) (sum [sha256.Size]byte, one bool) {
	var first []byte
	n := 0
	one = true
	for _, f := range frames {
		if !f.Key {
			continue
		}
		data := bytes.Join(f.NALUs, nil)
		if n > 0 {
			one = one && bytes.Equal(first, data)
		}
		first = data
		n++
	}
	return sha256.Sum256(first), one && n > 1
}

// tell opens and ends the faults of a camera as it was found.
func (s *scenes) tell(ctx context.Context, camera, rule string, sure bool, standing []breach.Event) error {
	known := false
	for _, ev := range standing {
		if ev.Camera != camera {
			continue
		}
		known = known || ev.Limit == rule
		if ev.Limit == rule || !sure {
			continue
		}
		if err := s.end(ctx, ev, breach.EndRecovered); err != nil {
			return err
		}
	}
	if rule == "" || known {
		return nil
	}
	registered := s.Registry.Snapshot()
	thing := registered.Cameras[camera]
	if thing == nil {
		return nil
	}
	at := time.Now().UTC().Truncate(time.Millisecond)
	ev := eventOf(registered, thing)
	ev.Limit, ev.StartedAt = rule, at
	s.logger.WarnContext(ctx, "camera does not see what it ought to", "camera", camera, "limit", rule)
	return s.stepCamera(ctx, func(tx *sql.Tx) (breach.Transition, bool, error) {
		t, err := s.Events.OpenFault(ctx, tx, ev)
		if err != nil {
			return t, false, err
		}
		return t, true, s.Evidence.Expect(ctx, tx, t.Event.ID, at, []string{camera})
	})
}

// end ends a fault that stands.
func (s *scenes) end(ctx context.Context, ev breach.Event, reason string) error {
	return s.stepCamera(ctx, func(tx *sql.Tx) (breach.Transition, bool, error) {
		t, err := s.Events.CloseFault(ctx, tx, ev, reason, time.Now())
		return t, true, err
	})
}
