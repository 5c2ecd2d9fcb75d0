package ptz

import (
	"context"
	"slices"
	"time"

	"offsite/devices"
)

// patrol is one under way.
type patrol struct {
	name   string
	cancel context.CancelFunc
}

// end tells the patrol to end; there may be none.
func (p *patrol) end() {
	if p != nil {
		p.cancel()
	}
}

// patience is how long a camera may follow none of a patrol's movements: it may be without
// power as long.
const patience = time.Hour

// route gives a camera's patrol as it is registered now, or nil.
func (r *Room) route(id, name string) *devices.Patrol {
	thing := r.cfg.Camera(id)
	if thing == nil {
		return nil
	}
	at := slices.IndexFunc(thing.Patrols, func(p devices.Patrol) bool { return p.Name == name })
	if at < 0 {
		return nil
	}
	return &thing.Patrols[at]
}

// Patrol sends the camera round, in place of the patrol that is under way.
func (r *Room) Patrol(ctx context.Context, id string, who Mover, name string) error {
	route := r.route(id, name)
	if route == nil && r.cfg.Camera(id) != nil {
		return devices.Invalid("name", "no_patrol", "该摄像机没有名为 "+name+" 的巡航，请先添加", "this camera has no patrol of that name; add it first")
	}
	c, err := r.take(ctx, id, who)
	if err != nil {
		return err
	}
	// The first preset says at once whether the camera can be steered at all.
	if err := r.visit(ctx, c, route.Stops[0].Preset); err != nil {
		return err
	}
	r.note(ctx, id, func(s *standing) { s.patrol, s.who = name, who })
	return r.start(ctx, r.walk(id, name, true))
}

// visit sends a camera to a preset.
func (r *Room) visit(ctx context.Context, c *camera, preset string) error {
	return c.speak(ctx, func(profile string) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return r.turn(ctx, c, at(preset), func() error { return c.head.GoTo(ctx, profile, preset) })
	})
}

// resume takes up the patrols that were under way when the gateway stopped.
func (r *Room) resume(do func(task func(context.Context))) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, s := range r.stances {
		if s.patrol != "" {
			do(r.walk(id, s.patrol, false))
		}
	}
}

// walk gives the task of a patrol; begun says that the camera looks at the first stop
// already. The patrol outlives the gateway's end, but nothing else.
func (r *Room) walk(id, name string, begun bool) func(context.Context) {
	return func(running context.Context) {
		ctx, cancel := context.WithCancel(running)
		defer cancel()
		own := &patrol{name: name, cancel: cancel}
		r.mu.Lock()
		if r.stances[id].patrol != name { // ended meanwhile
			r.mu.Unlock()
			return
		}
		r.patrols[id].end()
		r.patrols[id] = own
		r.mu.Unlock()
		r.round(ctx, id, name, begun)
		r.mu.Lock()
		current := r.patrols[id] == own
		if current {
			delete(r.patrols, id)
		}
		r.mu.Unlock()
		if current && running.Err() == nil {
			r.note(running, id, func(s *standing) { s.patrol, s.who = "", Mover{} })
		}
	}
}

// round goes from stop to stop until ctx ends, or the camera or its patrol is not
// registered any more, or the camera has not followed for too long.
func (r *Room) round(ctx context.Context, id, name string, begun bool) {
	followed := time.Now()
	for stop := 0; ; stop++ {
		route := r.route(id, name)
		if route == nil {
			return
		}
		here := route.Stops[stop%len(route.Stops)]
		if !begun {
			c, err := r.of(ctx, id)
			if err == nil {
				err = r.visit(ctx, c, here.Preset)
			}
			switch {
			case ctx.Err() != nil:
				return
			case err == nil:
				followed = time.Now()
			case time.Since(followed) >= patience:
				r.cfg.Log.WarnContext(ctx, "patrol ended: the camera does not follow", "camera", id, "err", err)
				return
			}
		}
		begun = false
		dwell := time.NewTimer(here.Dwell.D())
		select {
		case <-dwell.C:
		case <-ctx.Done():
			dwell.Stop()
			return
		}
	}
}

// endPatrol ends the patrol that is under way, if there is one.
func (r *Room) endPatrol(ctx context.Context, id string) {
	r.note(ctx, id, func(s *standing) { s.patrol, s.who = "", Mover{} })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.patrols[id].end()
	delete(r.patrols, id)
}
