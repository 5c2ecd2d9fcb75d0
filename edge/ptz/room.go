// Package ptz steers cameras that turn 云台: it moves them for people, keeps two
// people from fighting over one, sends them round on patrol 巡航, and sees to it
// that none is left turning.
//
// Who moves a camera holds it for Config.Hold from the last movement on; others
// are told by whom it is held and for how long. Anybody may stop it.
//
// A movement ends unless it is renewed within Config.Renew: who holds a button
// renews it, who has lost the connection does not. The camera itself is told the
// same bound, in case the gateway is lost. A stop is sent until the camera has
// taken it.
//
// A patrol goes from preset to preset and stays at each for its dwell. It runs
// here, not in the camera, and ends with any movement by hand. It follows what is
// registered, passes over presets that the camera refuses, waits up to an hour for a
// camera that does not answer, and goes on after a restart of the gateway.
//
// # Where a camera looks
//
// Who judges a camera's picture must know where it was turned: its [Stance] is the preset
// that it was sent to last, home before the first movement, or astray after one by hand.
// Before a movement is sent it is astray already, so that a crash never leaves a place
// where the camera is not. What is turned by others than the gateway is not known here.
//
// # Table ptz_stances, version 1
//
// One row for each camera that was ever steered: place is the token of a preset, empty for
// home and astray; astray is 1 for that; since_ms is when that began, Unix milliseconds;
// patrol is the name of the one under way, empty for none, and who and who_name are the id
// and the name of who has begun it.
package ptz

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/devices/state"
	"offsite/streams/onvif"
)

// head is a camera's own control; see streams/onvif.
type head interface {
	Steer(ctx context.Context, source string) (profile string, err error)
	Move(ctx context.Context, profile string, v onvif.Vector, most time.Duration) error
	Nudge(ctx context.Context, profile string, v onvif.Vector) error
	Stop(ctx context.Context, profile string) error
	Presets(ctx context.Context, profile string) ([]onvif.Preset, error)
	GoTo(ctx context.Context, profile, preset string) error
	SetPreset(ctx context.Context, profile, token, name string) (string, error)
	RemovePreset(ctx context.Context, profile, preset string) error
	Close()
}

var _ head = (*onvif.Client)(nil)

// Config of a Room.
type Config struct {
	Camera func(id string) *devices.Camera // nil where there is none
	Open   func(devices.Camera) (head, error)
	DB     *state.DB
	Hold   time.Duration // that a camera stays with who moved it last; 10 s
	Settle time.Duration // after a movement was sent, until the camera counts as resting; 15 s
	Renew  time.Duration // within which a movement is renewed, or ends; 1.5 s
	// Replaced is called when a preset is another view from now on, or none; nil: nobody is told.
	Replaced func(ctx context.Context, camera, preset string)
	Log      *slog.Logger
}

func (c *Config) setDefaults() {
	if c.Hold <= 0 {
		c.Hold = 10 * time.Second
	}
	if c.Settle <= 0 {
		c.Settle = 15 * time.Second
	}
	if c.Replaced == nil {
		c.Replaced = func(context.Context, string, string) {}
	}
	if c.Renew <= 0 {
		c.Renew = 1500 * time.Millisecond
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// By opens the cameras of a registry by ONVIF.
func By(db *state.DB, reg *registry.Registry, cfg onvif.Config, log *slog.Logger) Config {
	return Config{
		DB: db, Camera: func(id string) *devices.Camera { return reg.Snapshot().Cameras[id] },
		Open: func(c devices.Camera) (head, error) {
			return onvif.Open(onvif.Access{URL: c.ONVIF, Username: c.Username, Password: c.Password, Fingerprint: c.Fingerprint}, cfg)
		},
		Log: log,
	}
}

// Mover is who moves a camera.
type Mover struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// State is how a camera stands.
type State struct {
	Moving  bool           `json:"moving"`
	Holder  *Mover         `json:"holder,omitempty"` // nil: it is free
	Until   *time.Time     `json:"held_until,omitempty"`
	Patrol  string         `json:"patrol,omitempty"` // that is under way
	Presets []onvif.Preset `json:"presets"`
}

// Room steers every camera that has an ONVIF address. Its methods may be called
// by several goroutines while Run runs; their errors are Problems.
type Room struct {
	cfg  Config
	work chan func(context.Context) // for Run's goroutines

	began time.Time

	writing sync.Mutex // held over a change of the table and of stances; taken before mu
	mu      sync.Mutex
	list    map[string]*camera
	stances map[string]standing // of every camera that was ever steered
	patrols map[string]*patrol  // under way
}

// Open gives a Room that steers while it runs.
func Open(ctx context.Context, cfg Config) (*Room, error) {
	cfg.setDefaults()
	r := &Room{
		cfg: cfg, work: make(chan func(context.Context)), began: time.Now(),
		list: map[string]*camera{}, stances: map[string]standing{}, patrols: map[string]*patrol{},
	}
	return r, r.openStances(ctx)
}

// control is what of a camera's entry it is steered by.
type control struct {
	onvif, source, username string
	password                devices.Secret
	fingerprint             string
}

func controlOf(c *devices.Camera) control {
	return control{c.ONVIF, c.Source, c.Username, c.Password, c.Fingerprint}
}

// camera is one that was steered. Its turn is taken before the room's lock.
type camera struct {
	id   string
	by   control
	head head
	turn chan struct{} // has room for one: who speaks with it

	profile string // asked for once; the turn's

	// The room's lock guards what follows.
	holder *Mover
	held   time.Time // when the hold began
	moving bool      // from before a movement is sent until a stop is taken
	renew  *time.Timer
}

// Run owns the watchdogs and patrols until ctx ends, and then stops every camera
// that moves. It takes up the patrols that were under way when it ended.
func (r *Room) Run(ctx context.Context) error {
	g, running := errgroup.WithContext(ctx)
	do := func(task func(context.Context)) {
		g.Go(func() error {
			task(running)
			return nil
		})
	}
	r.resume(do)
	for {
		select {
		case task := <-r.work:
			do(task)
		case <-ctx.Done():
			_ = g.Wait()
			r.leave(context.WithoutCancel(ctx))
			return context.Cause(ctx)
		}
	}
}

// start has Run do task; false where Run does not run any more.
func (r *Room) start(ctx context.Context, task func(context.Context)) error {
	select {
	case r.work <- task:
		return nil
	case <-ctx.Done():
		return &devices.Problem{Kind: devices.ErrUnavailable, Code: "ptz_closed", ZH: "网关正在停止，请稍后再试", EN: "the gateway is stopping; try again later"}
	}
}

// leaving bounds the last stops.
const leaving = 3 * time.Second

// leave stops what moves, and closes every head.
func (r *Room) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaving)
	defer cancel()
	r.mu.Lock()
	list := r.list
	r.list = map[string]*camera{}
	r.mu.Unlock()
	var all sync.WaitGroup
	for _, c := range list {
		all.Go(func() { r.put(ctx, c) })
	}
	all.Wait()
}

// put stops a camera that is left, and closes its head.
func (r *Room) put(ctx context.Context, c *camera) {
	r.mu.Lock()
	moving := c.moving
	if c.renew != nil {
		c.renew.Stop()
	}
	r.mu.Unlock()
	if moving {
		if err := r.tellStop(ctx, c); err != nil {
			r.cfg.Log.WarnContext(ctx, "camera may be left turning", "camera", c.id, "err", err)
		}
	}
	c.head.Close()
}

// of gives a registered camera. One whose entry has changed is opened anew.
func (r *Room) of(ctx context.Context, id string) (*camera, error) {
	thing := r.cfg.Camera(id)
	if thing == nil {
		return nil, &devices.Problem{Kind: devices.ErrNotFound, Code: "no_camera", ZH: "没有编号为 " + id + " 的摄像机", EN: "there is no camera " + id}
	}
	if thing.ONVIF == "" {
		return nil, &devices.Problem{Kind: devices.ErrConflict, Code: "no_onvif", Field: "onvif", ZH: "该摄像机没有填写 ONVIF 地址，无法控制；请在其登记中填写", EN: "this camera has no ONVIF address, so it cannot be steered; give it one"}
	}
	r.mu.Lock()
	c := r.list[id]
	r.mu.Unlock()
	if c != nil && c.by == controlOf(thing) {
		return c, nil
	}
	h, err := r.cfg.Open(*thing)
	if err != nil {
		return nil, err
	}
	fresh := &camera{id: id, by: controlOf(thing), head: h, turn: make(chan struct{}, 1)}
	r.mu.Lock()
	before := r.list[id]
	if before != nil && before.by == fresh.by { // somebody else was faster
		r.mu.Unlock()
		h.Close()
		return before, nil
	}
	r.list[id] = fresh
	if before != nil {
		fresh.holder, fresh.held = before.holder, before.held
	}
	r.mu.Unlock()
	if before != nil {
		r.put(ctx, before)
	}
	return fresh, nil
}

// speak has the camera do something, one at a time. It knows the profile by
// which the camera is steered.
func (c *camera) speak(ctx context.Context, do func(profile string) error) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return &devices.Problem{Kind: devices.ErrUnavailable, Code: "ptz_busy", ZH: "摄像机正忙，请稍后再试", EN: "the camera is busy; try again"}
	}
	if c.profile == "" {
		profile, err := c.head.Steer(ctx, c.by.source)
		if err != nil {
			return fmt.Errorf("camera %s: %w", c.id, err)
		}
		c.profile = profile
	}
	if err := do(c.profile); err != nil {
		return fmt.Errorf("camera %s: %w", c.id, err)
	}
	return nil
}
