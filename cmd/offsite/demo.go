package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/cmd/offsite/demo"
	"offsite/devices"
	"offsite/devices/registry"
	"offsite/edge/dispatch/platformtest"
	"offsite/edge/dispatch/wire"
	"offsite/gateway"
	"offsite/gateway/accounts"
)

type demoCommand struct {
	JSON     bool          `name:"json" help:"Print one JSON object a line. 逐行输出 JSON"`
	HTTP     string        `help:"Console's plain HTTP address on loopback. 控制台地址" default:"127.0.0.1:0" placeholder:"ADDR"`
	Platform string        `help:"Reference platform's address. 参考平台地址" default:"127.0.0.1:0" placeholder:"ADDR"`
	State    string        `help:"State directory; without one it is temporary. 状态目录" type:"path" placeholder:"DIR"`
	For      time.Duration `help:"Stop after this long. 运行时长" placeholder:"DURATION"`
	Cameras  int           `help:"Cameras. 摄像机数" default:"2"`
	Sensors  int           `help:"MQTT instruments. MQTT 传感器数" default:"2"`
	Period   time.Duration `help:"Between two values of an instrument. 采样周期" default:"1s"`
	Debug    bool          `help:"Log every packet. 调试日志"`
}

// Run shows a real gateway among simulated instruments, cameras and a platform.
func (c *demoCommand) Run(ctx context.Context, s streamsOut) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.For)
		defer cancel()
	}
	state := c.State
	if state == "" {
		dir, err := os.MkdirTemp("", "offsite-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		state = dir
	}
	return c.show(ctx, s, state)
}

func (c *demoCommand) check() error {
	var ps devices.Problems
	if c.Cameras < 0 || c.Cameras > 200 {
		ps.Add(devices.Invalid("--cameras", "out_of_range", "摄像机数须为 0 至 200", "show 0 to 200 cameras"))
	}
	if c.Sensors < 1 || c.Sensors > 10000 {
		ps.Add(devices.Invalid("--sensors", "out_of_range", "传感器数须为 1 至 10000", "show 1 to 10000 sensors"))
	}
	if c.Period < 10*time.Millisecond {
		ps.Add(devices.Invalid("--period", "out_of_range", "采样周期至少 10ms", "the period is 10ms or more"))
	}
	return ps.Err()
}

// show composes the demo on state and runs it until ctx ends.
func (c *demoCommand) show(ctx context.Context, s streamsOut, state string) (err error) {
	sc := scene{tell: &teller{out: s.out, json: c.JSON}, code: rand.Text()}
	if sc.world, err = demo.NewWorld(ctx, demo.Size{Sensors: c.Sensors, Cameras: c.Cameras, Period: c.Period}); err != nil {
		return err
	}
	if sc.platform, err = platformtest.Open(platformtest.Config{Codes: []string{sc.code}, OnEvent: sc.tell.event}); err != nil {
		return err
	}
	defer sc.platform.Close()
	if sc.listener, err = platformtest.Listen(ctx, c.Platform); err != nil {
		return fmt.Errorf("reference platform: %w", err)
	}
	if sc.station, err = c.open(ctx, s, state); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sc.station.close()) }()
	if err := register(ctx, sc.station, sc.world.Things()); err != nil {
		return err
	}
	return asked(ctx, sc.run(ctx))
}

// scene is the gateway with all that stands around it.
type scene struct {
	station  *station
	world    *demo.World
	platform *platformtest.Platform
	listener net.Listener // of the platform
	code     string       // that enrols the gateway
	tell     *teller
}

// run runs all of it until ctx ends.
func (s *scene) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.platform.Run(ctx, s.listener) })
	listens := make(chan gateway.Addresses, 1)
	g.Go(func() error {
		return s.station.run(ctx, func(at gateway.Addresses) {
			for _, ready := range []<-chan struct{}{s.station.box.Broker.Ready(), s.station.box.Loggers.Ready()} {
				select {
				case <-ready:
				case <-ctx.Done():
					return
				}
			}
			listens <- at
		})
	})
	g.Go(func() error {
		if err := s.station.box.Enrol(ctx, "http://"+s.listener.Addr().String(), s.code); err != nil {
			return err
		}
		select {
		case at := <-listens:
			if err := s.tell.ready(ctx, s.station, at.URL(), s.listener.Addr()); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		return s.world.Run(ctx, s.station.box.Broker.Addr().String(), s.station.box.Loggers.Addr().String())
	})
	return g.Wait()
}

func (c *demoCommand) open(ctx context.Context, s streamsOut, state string) (*station, error) {
	cfg := defaults()
	cfg.State, cfg.Gateway.HTTP, cfg.Broker.Listen, cfg.Devices.Networks = state, c.HTTP, "127.0.0.1:0", "loopback"
	cfg.HJ212.Listen = "127.0.0.1:0"
	level := slog.LevelWarn
	if c.Debug {
		level = slog.LevelDebug
	}
	return open(ctx, cfg, s.logger(level))
}

// register puts the demo's things into the registry; what an earlier run in
// the same directory has left is replaced.
func register(ctx context.Context, st *station, things []devices.Thing) error {
	return st.box.Registry.Update(ctx, func(e *registry.Edit) error {
		for _, t := range things {
			err := e.Create(t)
			if old := e.Get(t.Kind(), t.Key()); errors.Is(err, devices.ErrConflict) && old != nil {
				err = e.Replace(t, old.Life().Version)
			}
			if err != nil {
				return fmt.Errorf("register %s %s: %w", t.Kind(), t.Key(), err)
			}
		}
		return nil
	})
}

// teller prints what the demo has to say; events come from many goroutines.
type teller struct {
	json bool
	mu   sync.Mutex
	out  io.Writer
}

// demoPerson is who the demo's console is signed in as.
const demoPerson = "demo"

// ready makes the demo's person and token and says where everything is.
func (t *teller) ready(ctx context.Context, st *station, base string, platform net.Addr) error {
	by := accounts.By{Who: "demo", From: "local"}
	if _, err := st.accounts.Person(demoPerson); errors.Is(err, devices.ErrNotFound) {
		person := accounts.NewPerson{ID: demoPerson, Name: "演示管理员", Role: accounts.Administrator, Password: rand.Text() + "-aA1"}
		if _, err := st.accounts.CreateReady(ctx, by, person); err != nil {
			return fmt.Errorf("make the demo's person: %w", err)
		}
	}
	_, token, err := st.accounts.IssueToken(ctx, by, accounts.NewToken{Name: "demo", Role: accounts.Administrator})
	if err != nil {
		return fmt.Errorf("make the demo's token: %w", err)
	}
	link, err := st.accounts.Link(demoPerson, time.Hour)
	if err != nil {
		return fmt.Errorf("make the demo's sign-in link: %w", err)
	}
	console := base + "/#/link/" + link
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.json {
		return json.NewEncoder(t.out).Encode(map[string]string{
			"event": "ready", "console": console, "api": base + "/api/v1", "token": token, "platform": "http://" + platform.String(),
			"broker": st.box.Broker.Addr().String(), "hj212": st.box.Loggers.Addr().String(),
		})
	}
	_, err = fmt.Fprintf(t.out, `Off-site supervision gateway, demo 非现场监管网关演示

  console 控制台   %s
                   (one-time link, signs in as %s 一次性登录链接)
  API              %s/api/v1
  token            %s
  platform 平台    http://%s/received/events
  MQTT             %s
  HJ 212           %s

A limit is breached within seconds; each event that the platform accepts is printed here.
几秒内将出现一次报警；平台接收的每条事件会显示在下面。按 Ctrl-C 结束。

`, console, demoPerson, base, token, platform, st.box.Broker.Addr(), st.box.Loggers.Addr())
	return err
}

// event prints one message that the platform has accepted.
func (t *teller) event(e platformtest.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.json {
		_ = json.NewEncoder(t.out).Encode(struct {
			What wire.EventStep `json:"event"` // opened, updated, closed, evidence
			platformtest.Event
		}{e.Step, e})
		return
	}
	pictures := ""
	for _, it := range e.Evidence.Items {
		if it.SHA256 != "" {
			pictures += fmt.Sprintf("  picture 图片 %s/%s…", it.Camera, it.SHA256[:8])
		}
	}
	what := fmt.Sprintf("%s %s = %g %s (limit 限值 %g)", e.Level, e.Point, e.Value, e.Unit, e.Limit)
	if e.Camera != "" {
		what = e.LimitID + " " + e.Camera
	}
	_, _ = fmt.Fprintf(t.out, "%s  %-8s %s %s%s\n", e.ReceivedAt.Format("15:04:05.000"), e.Step, e.Kind, what, pictures)
}
