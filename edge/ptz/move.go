package ptz

import (
	"context"
	"fmt"
	"time"

	"offsite/devices"
	"offsite/streams/onvif"
)

// hold gives the camera to who, or says who has it.
func (r *Room) hold(c *camera, who Mover) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := r.cfg.Hold - time.Since(c.held)
	if c.holder != nil && c.holder.ID != who.ID && left > 0 {
		seconds := int(left/time.Second) + 1
		return &devices.Problem{
			Kind: devices.ErrConflict, Code: "ptz_held",
			ZH: fmt.Sprintf("%s 正在控制此摄像机，请 %d 秒后再试", c.holder.Name, seconds),
			EN: fmt.Sprintf("%s is steering this camera; try again in %d s", c.holder.Name, seconds),
		}
	}
	c.holder, c.held = &who, time.Now()
	return nil
}

// Continues says that who has a movement under way, which a further Move only
// renews.
func (r *Room) Continues(id string, who Mover) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.list[id]
	return c != nil && c.moving && c.holder != nil && c.holder.ID == who.ID
}

// Move turns the camera, or renews its movement, until Stop or for Config.Renew.
func (r *Room) Move(ctx context.Context, id string, who Mover, v onvif.Vector) error {
	if err := v.Check(); err != nil {
		return err
	}
	c, err := r.take(ctx, id, who)
	if err != nil {
		return err
	}
	return c.speak(ctx, func(profile string) error {
		r.watch(c) // before it is sent: what is not answered may have been taken
		return r.turn(ctx, c, byHand, func() error { return c.head.Move(ctx, profile, v, r.cfg.Renew) })
	})
}

// take gives a camera to who, and ends its patrol.
func (r *Room) take(ctx context.Context, id string, who Mover) (*camera, error) {
	c, err := r.of(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := r.hold(c, who); err != nil {
		return nil, err
	}
	r.endPatrol(ctx, id)
	return c, nil
}

// watch has the camera stopped unless its movement is renewed.
func (r *Room) watch(c *camera) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.moving = true
	if c.renew != nil {
		c.renew.Stop()
	}
	var timer *time.Timer
	timer = time.AfterFunc(r.cfg.Renew, func() {
		r.mu.Lock()
		due := c.renew == timer && c.moving
		r.mu.Unlock()
		if due {
			r.overdue(c, timer)
		}
	})
	c.renew = timer
}

// How a stop is repeated that the camera has not taken.
const (
	stopsFor   = time.Minute
	stopPause  = 250 * time.Millisecond
	stopMost   = 5 * time.Second
	stopWithin = 3 * time.Second // for Run to take the task over
)

// overdue has Run send stops until the camera takes one or is moved again.
func (r *Room) overdue(c *camera, of *time.Timer) {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	_ = r.start(ctx, func(ctx context.Context) { // where Run has ended, leave stops it
		ctx, cancel := context.WithTimeout(ctx, stopsFor)
		defer cancel()
		for pause := stopPause; ; pause = min(2*pause, stopMost) {
			r.mu.Lock()
			due := c.renew == of && c.moving
			r.mu.Unlock()
			if !due {
				return
			}
			err := r.tellStop(ctx, c)
			if err == nil {
				return
			}
			r.cfg.Log.WarnContext(ctx, "camera has not taken the stop", "camera", c.id, "err", err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
		}
	})
}

// tellStop sends a stop once.
func (r *Room) tellStop(ctx context.Context, c *camera) error {
	return c.speak(ctx, func(profile string) error {
		if err := c.head.Stop(ctx, profile); err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		c.moving = false
		if s, steered := r.stances[c.id]; steered { // from now on it comes to rest
			s.since = time.Now().UTC().Truncate(time.Millisecond)
			r.stances[c.id] = s
		}
		return nil
	})
}

// Stop ends movement and patrol, whoever began them. Where the camera does not
// take it now it is repeated.
func (r *Room) Stop(ctx context.Context, id string) error {
	c, err := r.of(ctx, id)
	if err != nil {
		return err
	}
	r.endPatrol(ctx, id)
	r.note(ctx, id, func(s *standing) {
		if !s.since.IsZero() && time.Since(s.since) < r.cfg.Settle { // it does not get where it was sent
			s.place, s.astray = "", true
		}
	})
	return r.tellStop(ctx, c)
}

// Nudge turns the camera by a way.
func (r *Room) Nudge(ctx context.Context, id string, who Mover, v onvif.Vector) error {
	if err := v.Check(); err != nil {
		return err
	}
	c, err := r.take(ctx, id, who)
	if err != nil {
		return err
	}
	return c.speak(ctx, func(profile string) error {
		return r.turn(ctx, c, byHand, func() error { return c.head.Nudge(ctx, profile, v) })
	})
}

// GoTo turns the camera to a preset.
func (r *Room) GoTo(ctx context.Context, id string, who Mover, preset string) error {
	c, err := r.take(ctx, id, who)
	if err != nil {
		return err
	}
	return r.visit(ctx, c, preset)
}

// SetPreset has the camera remember where it looks, as a new preset where token
// is "". It gives the token.
func (r *Room) SetPreset(ctx context.Context, id string, who Mover, token, name string) (string, error) {
	c, err := r.take(ctx, id, who)
	if err != nil {
		return "", err
	}
	if token != "" {
		r.cfg.Replaced(ctx, id, token) // before it is: else a crash leaves what is no more
	}
	err = c.speak(ctx, func(profile string) (err error) {
		given, err := c.head.SetPreset(ctx, profile, token, name)
		if err == nil && given != token {
			r.cfg.Replaced(ctx, id, given) // cameras give the tokens of removed presets again
		}
		token = given
		return err
	})
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	turning := c.moving
	r.mu.Unlock()
	if !turning {
		r.note(ctx, id, func(s *standing) { s.place, s.astray, s.since = token, false, time.Now() })
	}
	return token, nil
}

// RemovePreset has the camera forget a preset.
func (r *Room) RemovePreset(ctx context.Context, id string, who Mover, preset string) error {
	c, err := r.take(ctx, id, who)
	if err != nil {
		return err
	}
	r.note(ctx, id, func(s *standing) {
		if s.place == preset {
			s.place, s.astray = "", true
		}
	})
	r.cfg.Replaced(ctx, id, preset)
	return c.speak(ctx, func(profile string) error { return c.head.RemovePreset(ctx, profile, preset) })
}

// State asks the camera for its presets and tells how it stands.
func (r *Room) State(ctx context.Context, id string) (State, error) {
	c, err := r.of(ctx, id)
	if err != nil {
		return State{}, err
	}
	st := State{Presets: []onvif.Preset{}}
	err = c.speak(ctx, func(profile string) (err error) {
		st.Presets, err = c.head.Presets(ctx, profile)
		return err
	})
	if err != nil {
		return State{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	st.Moving = c.moving
	if c.holder != nil && time.Since(c.held) < r.cfg.Hold {
		holder, until := *c.holder, c.held.Add(r.cfg.Hold).UTC()
		st.Holder, st.Until = &holder, &until
	}
	st.Patrol = r.stances[id].patrol
	return st, nil
}
