// Package alerts takes in what cameras, and boxes beside them, recognise by
// themselves: smoke, fire, intrusion, lines crossed, motion, tampering. It comes
// by ONVIF pull points and by HTTP pushes, and becomes events.
//
// Each type of each camera is one alert. It opens an event when it has been on
// for Config.OnDelay, and ends it when it has been off for Config.OffDelay
// without a break; what is told again meanwhile changes nothing. Something that
// has no end, as a line that was crossed, is off at once. A push that is sent
// again under its id changes nothing either; the last 256 ids of a camera are
// remembered, and an event's id derives from the id that opened it, so that a
// push that is repeated after a restart does not open it twice.
//
// A camera that is retired tells nothing more: what stood of it is ended, and
// nothing of it is remembered. What was heard by ONVIF is ended, too, when the
// camera is not listened to any more, or not for that. Each end has its [Reason].
//
// A camera may tell 30 things at once and then one a second; the rest is refused.
package alerts

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/streams/onvif"
)

// Alert is one thing that was told.
type Alert struct {
	Camera string
	Type   string // of devices.AlertTypes
	ID     string // of the teller; makes a repeat known. Empty: none
	At     time.Time
	On     bool // it began, or ended
	Once   bool // it has no end
	Heard  bool // by ONVIF, as the camera's entry asks for; else it was pushed
}

// Reason is why an event is over.
type Reason string

// The reasons.
const (
	Recovered   Reason = "recovered"
	Retired     Reason = "camera_retired"
	NotListened Reason = "not_listened"
)

// book keeps the events; see the Box of edge.
type book interface {
	// Open stores an event and gives its id; it is open false where that event is
	// over already.
	Open(ctx context.Context, a Alert) (event string, open bool, err error)
	Close(ctx context.Context, event string, why Reason, at time.Time) error
	// Standing gives the events that are open.
	Standing(ctx context.Context) (map[string]Alert, error)
}

// Config of a Room.
type Config struct {
	Book     book
	Registry *registry.Registry
	ONVIF    onvif.Config
	OnDelay  time.Duration // 0
	OffDelay time.Duration // 30 s
	Changed  func(camera string)
	Log      *slog.Logger
}

func (c *Config) setDefaults() {
	if c.OffDelay <= 0 {
		c.OffDelay = 30 * time.Second
	}
	if c.Changed == nil {
		c.Changed = func(string) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Room takes alerts in while it runs.
type Room struct {
	cfg     Config
	told    chan telling
	clocks  clocks
	cameras func() map[string]*devices.Camera // registered now

	// What follows is Run's own.
	alerts map[key]*alert
	ids    map[string][]string // the last of each camera
	tokens map[string]*bucket
}

// New gives a Room.
func New(cfg Config) *Room {
	cfg.setDefaults()
	registered := func() map[string]*devices.Camera { return cfg.Registry.Snapshot().Cameras }
	return &Room{cfg: cfg, told: make(chan telling), clocks: newClocks(), cameras: registered, alerts: map[key]*alert{}, ids: map[string][]string{}, tokens: map[string]*bucket{}}
}

// telling is an alert whose teller waits.
type telling struct {
	Alert
	answer chan answer
}

type answer struct {
	event string
	err   error
}

type key struct{ camera, kind string }

// alert is the state of one type of a camera.
type alert struct {
	first Alert     // that began the pending event
	on    bool      // as it was told last
	since time.Time // from when on's delay counts, by our clock
	off   time.Time // when it was told to be over
	why   Reason    // it is over; empty: it was told so
	event string    // open; empty for none
}

// bucket bounds what a camera tells.
type bucket struct {
	left float64
	at   time.Time
}

const (
	mostAtOnce = 30
	mostIDs    = 256
	again      = 5 * time.Second // after the book could not be written
)

// Tell takes an alert in. It returns when what follows of it is stored, with the
// id of the event that stands, "" for none. Its errors are Problems.
func (r *Room) Tell(ctx context.Context, a Alert) (event string, err error) {
	t := telling{a, make(chan answer, 1)}
	select {
	case r.told <- t:
	case <-ctx.Done():
		return "", &devices.Problem{Kind: devices.ErrUnavailable, Code: "alerts_busy", ZH: "网关正忙或正在停止，请稍后重发", EN: "the gateway is busy or stopping; send it again later"}
	}
	select {
	case done := <-t.answer:
		return done.event, done.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// Run takes alerts in, and listens to cameras, until ctx ends.
func (r *Room) Run(ctx context.Context) error {
	standing, err := r.cfg.Book.Standing(ctx)
	if err != nil {
		return err
	}
	clear(r.alerts)
	for event, a := range standing { // whether they go on is told anew, or they end
		r.alerts[key{a.Camera, a.Type}] = &alert{first: a, event: event, since: time.Now(), off: time.Now(), why: silenced(r.cameras()[a.Camera], &a)}
	}
	wake, stop := r.cfg.Registry.Watch()
	defer stop()
	r.forget(time.Now())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.decide(ctx, wake) })
	g.Go(func() error { return r.listen(ctx) })
	return g.Wait()
}

// decide owns the alerts. wake tells that other cameras may be registered.
func (r *Room) decide(ctx context.Context, wake <-chan struct{}) error {
	for {
		due := time.NewTimer(r.untilNext(time.Now()))
		select {
		case t := <-r.told:
			event, err := r.take(ctx, t.Alert)
			t.answer <- answer{event, err}
		case <-wake:
			r.forget(time.Now())
		case <-due.C:
			r.settle(ctx, time.Now())
		case <-ctx.Done():
			due.Stop()
			return context.Cause(ctx)
		}
		due.Stop()
	}
}

// untilNext is the time until a delay is over.
func (r *Room) untilNext(now time.Time) time.Duration {
	next := time.Hour
	for _, a := range r.alerts {
		switch {
		case a.on && a.event == "":
			next = min(next, a.since.Add(r.cfg.OnDelay).Sub(now))
		case !a.on && a.event != "":
			next = min(next, a.since.Add(r.cfg.OffDelay).Sub(now))
		}
	}
	return max(0, next)
}

// take moves one alert.
func (r *Room) take(ctx context.Context, a Alert) (string, error) {
	if r.cameras()[a.Camera] == nil {
		return "", &devices.Problem{Kind: devices.ErrNotFound, Code: "no_camera", ZH: "没有编号为 " + a.Camera + " 的摄像机", EN: "there is no camera " + a.Camera}
	}
	now := time.Now()
	at := key{a.Camera, a.Type}
	state := r.alerts[at]
	if a.ID != "" && slices.Contains(r.ids[a.Camera], a.Type+" "+a.ID) {
		if state != nil {
			return state.event, nil
		}
		return "", nil
	}
	if state == nil && !a.On { // nothing ends
		r.remember(a)
		return "", nil
	}
	if !r.spend(a.Camera, now) {
		return "", &devices.Problem{Kind: devices.ErrUnavailable, Code: "too_many_alerts", ZH: "该摄像机的事件过多，请稍后重发", EN: "this camera tells too much; send it again later"}
	}
	if state == nil {
		state = &alert{}
		r.alerts[at] = state
	}
	if a.On && state.event == "" && !state.on {
		state.first = a
	}
	if a.On != state.on || a.Once {
		state.on, state.since, state.off, state.why = a.On, now, now, ""
	}
	if a.Once || (a.On && state.event == "" && now.Sub(state.since) >= r.cfg.OnDelay) {
		if err := r.open(ctx, state); err != nil {
			return "", err
		}
	}
	state.on = state.on && !a.Once
	r.remember(a)
	event := state.event
	r.tidy(at)
	return event, nil
}

// open stores the event of an alert that has none.
func (r *Room) open(ctx context.Context, state *alert) error {
	if state.event != "" {
		return nil
	}
	event, open, err := r.cfg.Book.Open(ctx, state.first)
	if err == nil && open {
		state.event = event
	}
	if err == nil && !open { // told again after a restart, when all was over
		state.on = false
	}
	return err
}

// spend takes what one telling costs.
func (r *Room) spend(camera string, now time.Time) bool {
	b := r.tokens[camera]
	if b == nil {
		b = &bucket{left: mostAtOnce, at: now}
		r.tokens[camera] = b
	}
	b.left = min(mostAtOnce, b.left+now.Sub(b.at).Seconds())
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

func (r *Room) remember(a Alert) {
	if a.ID == "" {
		return
	}
	r.ids[a.Camera] = append(r.ids[a.Camera], a.Type+" "+a.ID)
	if list := r.ids[a.Camera]; len(list) > mostIDs {
		r.ids[a.Camera] = list[len(list)-mostIDs:]
	}
}

// silenced says why nothing more is told of an alert; empty: it may be.
func silenced(cam *devices.Camera, a *Alert) Reason {
	switch {
	case cam == nil:
		return Retired
	case a.Heard && (cam.ONVIF == "" || !slices.Contains(cam.Alerts, a.Type)):
		return NotListened
	}
	return ""
}

// forget drops what is remembered of retired cameras. The standing events of which
// nothing more is told are due to end now.
func (r *Room) forget(now time.Time) {
	registered := r.cameras()
	for at, a := range r.alerts {
		why := silenced(registered[at.camera], &a.first)
		if why == "" {
			continue
		}
		if a.on {
			a.on, a.off, a.why = false, now, why
		}
		a.since = now.Add(-r.cfg.OffDelay)
		r.tidy(at)
	}
	maps.DeleteFunc(r.ids, func(camera string, _ []string) bool { return registered[camera] == nil })
	maps.DeleteFunc(r.tokens, func(camera string, _ *bucket) bool { return registered[camera] == nil })
}

// tidy forgets an alert that is off and has no event.
func (r *Room) tidy(at key) {
	if a := r.alerts[at]; !a.on && a.event == "" {
		delete(r.alerts, at)
	}
}

// settle opens and ends what has waited long enough. What cannot be stored is
// tried again.
func (r *Room) settle(ctx context.Context, now time.Time) {
	for at, a := range r.alerts {
		var err error
		delay := r.cfg.OffDelay
		switch {
		case a.on && a.event == "" && now.Sub(a.since) >= r.cfg.OnDelay:
			delay = r.cfg.OnDelay
			err = r.open(ctx, a)
		case !a.on && a.event != "" && now.Sub(a.since) >= r.cfg.OffDelay:
			if err = r.cfg.Book.Close(ctx, a.event, cmp.Or(a.why, Recovered), a.off); err == nil {
				a.event = ""
			}
		}
		if err != nil {
			r.cfg.Log.ErrorContext(ctx, "event of a camera not stored; will try again", "camera", at.camera, "err", err)
			a.since = now.Add(again - delay)
		}
		r.tidy(at)
	}
}
