package ptz

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/edge/yardtest"
	"offsite/streams/onvif"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dome is a head that notes what it is told.
type dome struct {
	mu     sync.Mutex
	told   []string // with the seconds since the start
	began  time.Time
	broken bool // takes nothing
	deaf   bool // refuses presets
	hangs  bool // answers nothing
	closed bool
}

var errBroken = &devices.Problem{Kind: devices.ErrUnavailable, Code: "onvif_silent", ZH: "不应答", EN: "silent"}

func (d *dome) note(ctx context.Context, what string) error {
	d.mu.Lock()
	hangs := d.hangs
	d.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken {
		return errBroken
	}
	d.told = append(d.told, time.Since(d.began).String()+" "+what)
	return nil
}

func (d *dome) set(change func(*dome)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func (d *dome) Steer(context.Context, string) (string, error) { return "p", nil }
func (d *dome) Move(ctx context.Context, _ string, _ onvif.Vector, _ time.Duration) error {
	return d.note(ctx, "move")
}

func (d *dome) Nudge(ctx context.Context, _ string, _ onvif.Vector) error {
	return d.note(ctx, "nudge")
}
func (d *dome) Stop(ctx context.Context, _ string) error { return d.note(ctx, "stop") }
func (d *dome) Presets(context.Context, string) ([]onvif.Preset, error) {
	return []onvif.Preset{{Token: "1", Name: "门"}}, nil
}

func (d *dome) GoTo(ctx context.Context, _, preset string) error {
	d.mu.Lock()
	deaf := d.deaf
	d.mu.Unlock()
	if deaf {
		return &devices.Problem{Kind: devices.ErrUnavailable, Code: onvif.CodeRefused, ZH: "没有该预置位", EN: "no such preset"}
	}
	return d.note(ctx, "go "+preset)
}

func (d *dome) SetPreset(context.Context, string, string, string) (string, error) {
	return "9", nil
}
func (d *dome) RemovePreset(context.Context, string, string) error { return nil }
func (d *dome) Close()                                             { d.set(func(d *dome) { d.closed = true }) }

// place is a room with one camera.
type place struct {
	*Room
	t     *testing.T
	dome  *dome
	thing atomic.Pointer[devices.Camera]
	gone  atomic.Bool // it is retired
	db    *state.DB
	end   func()

	replaced []string // presets that are another view now
}

// inRoom runs a test in a bubble with a room that runs.
func inRoom(t *testing.T, test func(p *place)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &place{t: t, dome: &dome{began: time.Now()}}
		p.thing.Store(&devices.Camera{
			ID: "cam", ONVIF: "http://cam/", Meta: devices.Meta{Version: 1},
			Patrols: []devices.Patrol{{Name: "夜巡", Stops: []devices.PatrolStop{{Preset: "1", Dwell: devices.Duration(10 * time.Second)}, {Preset: "2", Dwell: devices.Duration(5 * time.Second)}}}},
		})
		p.db = yardtest.OpenDB(t, t.TempDir())
		p.begin()
		defer func() { p.end() }()
		test(p)
	})
}

// begin has the gateway begin, as it does after a restart.
func (p *place) begin() {
	p.t.Helper()
	var err error
	p.Room, err = Open(p.t.Context(), Config{
		DB: p.db,
		Camera: func(id string) *devices.Camera {
			if id == "cam" && !p.gone.Load() {
				return p.thing.Load()
			}
			return nil
		},
		Open: func(devices.Camera) (head, error) { return p.dome, nil },
		Replaced: func(_ context.Context, camera, preset string) {
			p.replaced = append(p.replaced, camera+" "+preset)
		},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(p.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	p.end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			p.t.Error(err)
		}
	})
	synctest.Wait()
}

func (p *place) want(told ...string) {
	p.t.Helper()
	synctest.Wait()
	p.dome.mu.Lock()
	defer p.dome.mu.Unlock()
	if diff := cmp.Diff(told, p.dome.told); diff != "" {
		p.t.Error(diff)
	}
}

func (p *place) good(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Error(err)
	}
}

func (p *place) refused(err error, code string) {
	p.t.Helper()
	if p := devices.AllProblems(err); len(p) == 0 || p[0].Code != code {
		panic(err)
	}
}

var (
	wang = Mover{"wang", "王"}
	li   = Mover{"li", "李"}
)

func TestWhoFallsSilentLeavesNoCameraTurning(t *testing.T) {
	t.Parallel()
	inRoom(t, func(p *place) {
		right := onvif.Vector{Pan: 1}
		p.good(p.Move(p.t.Context(), "cam", wang, right))
		time.Sleep(time.Second)
		p.good(p.Move(p.t.Context(), "cam", wang, right)) // renews
		time.Sleep(10 * time.Second)
		p.want("0s move", "1s move", "2.5s stop")
		if p.Continues("cam", wang) {
			p.t.Error("it goes on")
		}
	})
}

func TestStopsAreRepeatedUntilTaken(t *testing.T) {
	t.Parallel()
	inRoom(t, func(p *place) {
		p.good(p.Move(p.t.Context(), "cam", wang, onvif.Vector{Tilt: -1}))
		p.dome.set(func(d *dome) { d.broken = true })
		p.refused(p.Stop(p.t.Context(), "cam"), "onvif_silent")
		time.Sleep(2 * time.Second)
		p.dome.set(func(d *dome) { d.broken = false })
		time.Sleep(time.Minute)
		p.want("0s move", "2.25s stop")
	})
}

func TestMovementsThatWereNotAnsweredAreStopped(t *testing.T) {
	t.Parallel()
	inRoom(t, func(p *place) {
		p.dome.set(func(d *dome) { d.hangs = true })
		ctx, cancel := context.WithTimeout(p.t.Context(), time.Second)
		defer cancel()
		if err := p.Move(ctx, "cam", wang, onvif.Vector{Pan: 1}); err == nil {
			p.t.Error("no error")
		}
		p.dome.set(func(d *dome) { d.hangs = false })
		time.Sleep(time.Minute)
		p.want("1.5s stop")
	})
}

func TestTheEndOfTheGatewayStopsCameras(t *testing.T) {
	t.Parallel()
	inRoom(t, func(p *place) {
		p.good(p.Move(p.t.Context(), "cam", wang, onvif.Vector{Pan: 1}))
		p.end()
		p.want("0s move", "0s stop")
		if !p.dome.closed {
			p.t.Error("the head is open")
		}
	})
}

func TestTwoPeopleDoNotFight(t *testing.T) {
	t.Parallel()
	inRoom(t, func(p *place) {
		p.good(p.Nudge(p.t.Context(), "cam", wang, onvif.Vector{Pan: 0.1}))
		time.Sleep(4 * time.Second)
		err := p.GoTo(p.t.Context(), "cam", li, "1")
		p.refused(err, "ptz_held")
		if want := "王 正在控制此摄像机，请 7 秒后再试"; devices.AllProblems(err)[0].ZH != want {
			p.t.Error(err)
		}
		p.good(p.Stop(p.t.Context(), "cam")) // anybody may
		st, err := p.State(p.t.Context(), "cam")
		p.good(err)
		if st.Holder == nil || *st.Holder != wang || st.Until == nil || time.Until(*st.Until) != 6*time.Second || len(st.Presets) != 1 {
			p.t.Errorf("%+v", st)
		}
		time.Sleep(6 * time.Second)
		p.good(p.GoTo(p.t.Context(), "cam", li, "1"))
		p.refused(p.Move(p.t.Context(), "cam", wang, onvif.Vector{Pan: 1}), "ptz_held")
		p.want("0s nudge", "4s stop", "10s go 1")
	})
}

func TestPatrolsGoRoundUntilSomebodyMoves(t *testing.T) {
	t.Parallel()
	inRoom(t, func(p *place) {
		p.refused(p.Patrol(p.t.Context(), "cam", wang, "none"), "no_patrol")
		p.good(p.Patrol(p.t.Context(), "cam", wang, "夜巡"))
		time.Sleep(27 * time.Second)
		st, err := p.State(p.t.Context(), "cam")
		p.good(err)
		if st.Patrol != "夜巡" {
			p.t.Errorf("%+v", st)
		}
		p.good(p.Nudge(p.t.Context(), "cam", li, onvif.Vector{Pan: 1})) // its hold is long over
		time.Sleep(time.Hour)
		p.want("0s go 1", "10s go 2", "15s go 1", "25s go 2", "27s nudge")
		if st, _ = p.State(p.t.Context(), "cam"); st.Patrol != "" {
			p.t.Errorf("%+v", st)
		}
	})
}

func TestPatrolsEndWithTheCamera(t *testing.T) {
	t.Parallel()
	inRoom(t, func(p *place) {
		p.good(p.Patrol(p.t.Context(), "cam", wang, "夜巡"))
		time.Sleep(12 * time.Second)
		p.gone.Store(true)
		time.Sleep(time.Hour)
		p.want("0s go 1", "10s go 2")
	})
}

func TestPatrolsEndWhereNothingFollows(t *testing.T) {
	t.Parallel()
	inRoom(t, func(p *place) {
		p.good(p.Patrol(p.t.Context(), "cam", wang, "夜巡"))
		p.dome.set(func(d *dome) { d.broken = true })
		time.Sleep(30*time.Minute + 5*time.Second)
		p.dome.set(func(d *dome) { d.broken = false })
		time.Sleep(12 * time.Second)
		p.want("0s go 1", "30m10s go 2", "30m15s go 1") // it was without power
		p.dome.set(func(d *dome) { d.broken = true })
		time.Sleep(2 * time.Hour)
		p.dome.set(func(d *dome) { d.broken = false })
		time.Sleep(time.Hour)
		st, err := p.State(p.t.Context(), "cam")
		p.good(err)
		if st.Patrol != "" {
			p.t.Errorf("%+v", st)
		}
		p.want("0s go 1", "30m10s go 2", "30m15s go 1")
	})
}

func TestChangedCamerasAreOpenedAnew(t *testing.T) {
	t.Parallel()
	inRoom(t, func(p *place) {
		p.good(p.Move(p.t.Context(), "cam", wang, onvif.Vector{Pan: 1}))
		old := p.dome
		renamed := *p.thing.Load()
		renamed.Version, renamed.Name = renamed.Version+1, "新名"
		p.thing.Store(&renamed)
		p.good(p.Move(p.t.Context(), "cam", wang, onvif.Vector{Pan: 1})) // as before
		fresh := *p.thing.Load()
		fresh.Version, fresh.Password = fresh.Version+1, "new"
		p.dome = &dome{began: old.began}
		p.thing.Store(&fresh)
		p.good(p.GoTo(p.t.Context(), "cam", wang, "2"))
		p.want("0s go 2")
		p.dome, old = old, p.dome
		p.want("0s move", "0s move", "0s stop")
		if !p.dome.closed || old.closed {
			p.t.Error("the wrong one is closed")
		}
		p.refused(p.Stop(p.t.Context(), "none"), "no_camera")
		fresh.ONVIF = ""
		p.refused(p.Stop(p.t.Context(), "cam"), "no_onvif")
		p.refused(p.Move(p.t.Context(), "cam", wang, onvif.Vector{Pan: 2}), "out_of_range")
	})
}
