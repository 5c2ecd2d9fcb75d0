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
	"offsite/edge/scenes"
	"offsite/streams"
	"offsite/streams/scene"
)

// WatchConfig says how the pictures of cameras are watched; see [scene.Config].
type WatchConfig struct {
	Every  devices.Duration `yaml:"every"`  // one look at each camera, which costs some 0.13 s of a core at 1080p; default 1m
	Settle devices.Duration `yaml:"settle"` // that a camera is given to come to rest after the gateway has turned it; default 15s
	Lost   devices.Duration `yaml:"lost"`   // that a camera may be away before it is a fault; default 90s
	Holds  devices.Duration `yaml:"holds"`  // that a finding must hold; default 90s
	Dark   float64          `yaml:"dark"`   // mean brightness below which a picture is black; default 20 of 255
	Flat   float64          `yaml:"flat"`   // deviation of brightness below which nothing can be seen; default 6 of 255
	Faint  float64          `yaml:"faint"`  // share of structures that have gone when the camera is covered; default 0.5
	Turn   float64          `yaml:"turn"`   // share of structures that are elsewhere when it was moved; default 0.6
}

func watchDefaults() WatchConfig {
	return WatchConfig{
		Every: devices.Duration(time.Minute), Settle: devices.Duration(15 * time.Second), Lost: devices.Duration(90 * time.Second), Holds: devices.Duration(90 * time.Second),
		Dark: 20, Flat: 6, Faint: 0.5, Turn: 0.6,
	}
}

func (c *WatchConfig) validate(ps *devices.Problems) {
	for field, d := range map[string]devices.Duration{"every": c.Every, "lost": c.Lost, "holds": c.Holds} {
		if d.D() < 5*time.Second || d.D() > time.Hour {
			ps.Add(devices.Invalid("video.watch."+field, "out_of_range", "须在 5s 与 1h 之间", "choose 5s to 1h"))
		}
	}
	if d := c.Settle.D(); d < time.Second || d > 2*time.Minute {
		ps.Add(devices.Invalid("video.watch.settle", "out_of_range", "须在 1s 与 2m 之间", "choose 1s to 2m"))
	}
	for field, level := range map[string]float64{"dark": c.Dark, "flat": c.Flat} {
		if !(level > 0 && level <= 100) { // NaN is neither
			ps.Add(devices.Invalid("video.watch."+field, "out_of_range", "须大于 0 且不超过 100", "choose more than 0 and at most 100"))
		}
	}
	for field, share := range map[string]float64{"faint": c.Faint, "turn": c.Turn} {
		if !(share > 0 && share <= 1) {
			ps.Add(devices.Invalid("video.watch."+field, "out_of_range", "须大于 0 且不超过 1", "choose more than 0 and at most 1"))
		}
	}
}

// lookout watches the pictures of all cameras that are pulled, and makes events of
// cameras that are lost, frozen, black, covered or moved.
type lookout struct {
	*Box
	watches map[string]*watched
}

// watched is one camera's watch.
type watched struct {
	*scene.Watch
	view  scene.View
	still streams.Still     // that view is of
	last  [sha256.Size]byte // of the key frame looked at last
	looks int
	place string                      // that it stands at
	set   time.Time                   // when a person had set the reference that it began with
	kept  map[aspect]scenes.Reference // as they are on disk
	saved time.Time                   // when they were last
}

// aspect is what a reference is of.
type aspect struct {
	place string
	night bool
}

// watchScenes looks at the cameras, one after the other, until ctx ends.
func (b *Box) watchScenes(ctx context.Context) error {
	s := lookout{Box: b, watches: map[string]*watched{}}
	tick := time.NewTicker(b.cfg.Video.Watch.Every.D())
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-b.referred:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := s.round(ctx); err != nil {
			return err
		}
	}
}

// round looks at every camera once.
func (s *lookout) round(ctx context.Context) error {
	standing, err := s.Events.Faults(ctx)
	if err != nil {
		return err
	}
	referred, err := s.References.Cameras(ctx)
	if err != nil {
		return err
	}
	if err := s.void(ctx); err != nil {
		return err
	}
	present := map[string]bool{}
	for _, camera := range s.Cameras.Status() {
		present[camera.Camera] = true
		rule, sure, err := s.look(ctx, camera, referred[camera.Camera], standing)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
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
	if err := s.PTZ.Tidy(ctx); err != nil {
		return err
	}
	for camera := range referred {
		if s.Registry.Snapshot().Cameras[camera] == nil {
			if err := s.References.Forget(ctx, camera); err != nil {
				return err
			}
		}
	}
	return nil
}

// look says which rule the camera breaks, empty for none, and whether that is sure
// enough to end what stood before. set is when a person has set its reference. While the
// gateway turns the camera only that it is black is found out.
func (s *lookout) look(ctx context.Context, c cameras.Status, set time.Time, standing []breach.Event) (rule string, sure bool, err error) {
	now := time.Now()
	switch {
	case c.Idle:
		return "", false, nil
	case !c.Connected:
		if c.Problem != nil && now.Sub(c.Since) >= s.cfg.Video.Watch.Lost.D() {
			return breach.CameraLost, true, nil
		}
		return "", false, nil
	}
	w, err := s.watch(ctx, c.Camera, set, standing)
	stance := s.PTZ.Stance(c.Camera)
	if err != nil {
		return "", false, err
	}
	feed, err := s.Cameras.Feed(c.Camera, devices.MainProfile)
	if err != nil {
		return "", false, nil //nolint:nilerr // it has just been retired
	}
	sum, one := sameKeys(feed.Keys(now.Add(-s.cfg.Video.Watch.Every.D()), now))
	same := one && sum == w.last && w.looks > 0
	if !same {
		if w.still, err = s.Cameras.Moment(ctx, c.Camera, now); err == nil {
			w.view, err = scene.ViewOf(w.still.JPEG)
		}
		if err != nil {
			s.logger.DebugContext(ctx, "picture not looked at", "camera", c.Camera, "err", err)
			return "", false, nil
		}
	}
	w.last = sum
	w.looks++
	turns := stance.Moves || s.PTZ.Stance(c.Camera) != stance // or has meanwhile
	if turns {
		w.Turn()
	} else {
		s.stand(ctx, c.Camera, w, stance)
	}
	if f := w.Look(now, w.view, same); f != "" || turns {
		return ruleOf(f), true, nil
	}
	return "", true, s.keep(ctx, c.Camera, w)
}

// ruleOf is the rule of a fault that a finding is of.
func ruleOf(f scene.Finding) string {
	if f == "" {
		return ""
	}
	return rulePrefix + string(f)
}

const rulePrefix = "camera_"

// sameKeys gives the hash of the newest key frame, and whether the others, at least
// one, are bit by bit the same.
func sameKeys(keys []*streams.Frame) (sum [sha256.Size]byte, one bool) {
	var first []byte
	n := 0
	one = true
	for _, f := range keys {
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
func (s *lookout) tell(ctx context.Context, camera, rule string, sure bool, standing []breach.Event) error {
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
func (s *lookout) end(ctx context.Context, ev breach.Event, reason string) error {
	return s.stepCamera(ctx, func(tx *sql.Tx) (breach.Transition, bool, error) {
		t, err := s.Events.CloseFault(ctx, tx, ev, reason, time.Now())
		return t, true, err
	})
}
