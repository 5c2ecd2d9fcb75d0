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

// mostFailures is how many presets in a row may fail before a patrol ends.
const mostFailures = 3

// Patrol sends the camera round, in place of the patrol that is under way.
func (r *Room) Patrol(ctx context.Context, id string, who Mover, name string) error {
	thing := r.cfg.Camera(id)
	at := -1
	if thing != nil {
		at = slices.IndexFunc(thing.Patrols, func(p devices.Patrol) bool { return p.Name == name })
	}
	if thing != nil && at < 0 {
		return devices.Invalid("name", "no_patrol", "该摄像机没有名为 "+name+" 的巡航，请先添加", "this camera has no patrol of that name; add it first")
	}
	c, err := r.take(ctx, id, who)
	if err != nil {
		return err
	}
	route := thing.Patrols[at]
	// The first preset says at once whether the camera can be steered at all.
	if err := c.speak(ctx, func(profile string) error { return c.head.GoTo(ctx, profile, route.Stops[0].Preset) }); err != nil {
		return err
	}
	return r.start(ctx, func(ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		own := &patrol{name: name, cancel: cancel}
		r.mu.Lock()
		if r.list[id] != c { // registered otherwise meanwhile
			r.mu.Unlock()
			return
		}
		c.patrol.end()
		c.patrol = own
		r.mu.Unlock()
		r.round(ctx, c, route)
		r.mu.Lock()
		defer r.mu.Unlock()
		if c.patrol == own {
			c.patrol = nil
		}
	})
}

// round goes from stop to stop until ctx ends or the camera is registered
// otherwise or not any more. The camera looks at the first.
func (r *Room) round(ctx context.Context, c *camera, route devices.Patrol) {
	failures := 0
	for at := 0; ; {
		dwell := time.NewTimer(route.Stops[at].Dwell.D())
		select {
		case <-dwell.C:
		case <-ctx.Done():
			dwell.Stop()
			return
		}
		if thing := r.cfg.Camera(c.id); thing == nil || thing.Version != c.version {
			return
		}
		at = (at + 1) % len(route.Stops)
		err := c.speak(ctx, func(profile string) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return c.head.GoTo(ctx, profile, route.Stops[at].Preset)
		})
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failures = 0
			continue
		}
		if failures++; failures == mostFailures {
			r.cfg.Log.WarnContext(ctx, "patrol ended: the camera does not follow", "camera", c.id, "err", err)
			return
		}
	}
}
