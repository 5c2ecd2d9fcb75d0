package field

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/mqtt/broker"
	"offsite/devices/registry"
)

// signIns is the embedded broker as the Agent needs it; see devices/mqtt/broker.
type signIns interface {
	Update(clients []broker.Client) error
}

// logHost is the host for data loggers as the Agent needs it; see devices/hj212.
type logHost interface {
	Update(clients []hj212.Client) error
}

// cameras are the feeds as the Agent needs them; see edge/cameras.
type cameras interface {
	Task(thing devices.Camera) func(context.Context) error
	Keep(s *registry.Snapshot)
}

// Config of an Agent.
type Config struct {
	Registry *registry.Registry
	Openers  map[string]devices.Opener // by driver; the embedded broker is not among them
	Broker   signIns
	Loggers  logHost // nil where none listens
	Cameras  cameras
	Sink     devices.Sink
	Board    *Board
	Changed  func(*registry.Snapshot) // called when something is registered, or acquired, otherwise than before

	// Supervise runs a task again and again until ctx ends.
	Supervise func(ctx context.Context, key string, task func(context.Context) error) error
	Log       *slog.Logger
}

// Agent keeps one supervised task for each device and camera that the registry
// names. A change touches only the tasks it concerns.
type Agent struct {
	cfg     Config
	tasks   map[string]*task  // by "device/id" or "camera/id", until it has ended; the loop's own
	clients map[string]string // versions of the embedded broker's clients, by device; the loop's own
	logging map[string]string // the same of the data loggers
	group   sync.WaitGroup
}

// NewAgent gives an Agent that acquires while it runs.
func NewAgent(cfg Config) *Agent {
	return &Agent{cfg: cfg, tasks: map[string]*task{}, clients: map[string]string{}, logging: map[string]string{}}
}

// task is one running device or camera.
type task struct {
	version string // of what it runs; empty once it has been told to end
	cancel  context.CancelFunc
	ended   chan struct{}
}

// wish is a task that ought to run, in this version.
type wish struct {
	version string
	run     func() func(context.Context) error // makes what is supervised
}

// settleEvery is how often dated bindings are looked at although none is due:
// the system's clock may have been set.
const settleEvery = time.Minute

// Run follows the registry until ctx ends and every task has ended.
func (a *Agent) Run(ctx context.Context) error {
	defer a.group.Wait()
	wake, stop := a.cfg.Registry.Watch()
	defer stop()
	for told := int64(-1); ; {
		snapshot, now := a.cfg.Registry.Snapshot(), time.Now()
		changed := a.settle(ctx, snapshot, now)
		if changed || snapshot.Revision != told {
			told = snapshot.Revision
			a.cfg.Changed(snapshot)
		}
		timer := time.NewTimer(untilNext(snapshot, now))
		select {
		case <-wake:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		timer.Stop()
	}
}

// untilNext is the time until a dated binding starts or ends.
func untilNext(s *registry.Snapshot, now time.Time) time.Duration {
	next := s.NextBindingChange(now)
	if next.IsZero() {
		return settleEvery
	}
	return max(time.Millisecond, min(next.Sub(now), settleEvery))
}

// settle starts what is new, ends what is gone and restarts what has changed,
// and says whether that was anything at all.
func (a *Agent) settle(ctx context.Context, s *registry.Snapshot, now time.Time) (changed bool) {
	wanted := map[string]wish{}
	bound := make(map[string]bool, len(s.Devices))
	var clients []broker.Client
	var loggers []hj212.Client
	for id, dev := range s.Devices {
		bounds := s.Bound(id, now)
		bound[id] = len(bounds) > 0
		if dev.Driver == devices.DriverBroker {
			clients = append(clients, broker.Client{Device: *dev, Bounds: bounds})
			continue
		}
		if dev.Driver == devices.DriverHJ212 && a.cfg.Loggers != nil {
			loggers = append(loggers, hj212.Client{Device: *dev, Bounds: bounds})
			continue
		}
		wanted["device/"+id] = wish{versionOf(dev, bounds), func() func(context.Context) error { return a.device(*dev, bounds) }}
	}
	for id, cam := range s.Cameras {
		wanted["camera/"+id] = wish{connectionOf(cam), func() func(context.Context) error { return a.cfg.Cameras.Task(*cam) }}
	}
	a.cfg.Board.expect(bound, now) // before any of them can report
	ended := a.end(wanted)
	changed = a.update(ctx, clients, now)
	changed = a.updateLoggers(ctx, loggers, now) || changed
	changed = a.start(ctx, wanted) || changed
	a.cfg.Cameras.Keep(s) // after start, which is where a new camera gets its feed
	return changed || ended
}

// versionOf changes whenever something changes that the device's driver was opened with.
func versionOf(dev *devices.Device, bounds []devices.Bound) string {
	var v strings.Builder
	fmt.Fprint(&v, dev.Version)
	for _, b := range bounds {
		fmt.Fprintf(&v, " %s:%d:%s:%d:%s", b.Binding.ID, b.Binding.Version, b.Point.ID, b.Point.Version, b.Site)
	}
	return v.String()
}

// connectionOf changes whenever something changes that the camera's streams are pulled by.
// All else of its entry, such as its name or its patrols, costs no picture.
func connectionOf(cam *devices.Camera) string {
	by := sha256.Sum256([]byte(strings.Join([]string{cam.URL, cam.SubURL, cam.Transport, cam.Username, cam.Password.Reveal(), cam.Fingerprint}, "\x00")))
	return hex.EncodeToString(by[:])
}

// end tells every task to end that is not wanted in just this version. It waits
// for none: the successor does, so that one slow device holds up no other. A
// task stays known until it has ended, so that whoever comes next under its key,
// even after a time as something else, finds it.
func (a *Agent) end(wanted map[string]wish) (changed bool) {
	for key, t := range a.tasks {
		if t.version != "" && t.version != wanted[key].version {
			t.cancel()
			t.version, changed = "", true
		}
		select {
		case <-t.ended:
			delete(a.tasks, key)
		default:
		}
	}
	return changed
}

// update tells the embedded broker who may sign in and where points are bound.
func (a *Agent) update(ctx context.Context, clients []broker.Client, now time.Time) bool {
	versions := make(map[string]string, len(clients))
	for i := range clients {
		versions[clients[i].Device.ID] = versionOf(&clients[i].Device, clients[i].Bounds)
	}
	if !a.renew(&a.clients, versions, now) {
		return false
	}
	if err := a.cfg.Broker.Update(clients); err != nil {
		a.cfg.Log.WarnContext(ctx, "bindings of the embedded broker left out", "err", err)
	}
	return true
}

// updateLoggers tells the host for data loggers the same.
func (a *Agent) updateLoggers(ctx context.Context, loggers []hj212.Client, now time.Time) bool {
	versions := make(map[string]string, len(loggers))
	for i := range loggers {
		versions[loggers[i].Device.ID] = versionOf(&loggers[i].Device, loggers[i].Bounds)
	}
	if a.cfg.Loggers == nil || !a.renew(&a.logging, versions, now) {
		return false
	}
	if err := a.cfg.Loggers.Update(loggers); err != nil {
		a.cfg.Log.WarnContext(ctx, "bindings of data loggers left out", "err", err)
	}
	return true
}

// renew puts versions in the place of known and says whether anything changed.
// A device that did is as if opened anew.
func (a *Agent) renew(known *map[string]string, versions map[string]string, now time.Time) (changed bool) {
	for id, v := range versions {
		if (*known)[id] != v {
			a.cfg.Board.begin(id, now)
			changed = true
		}
	}
	changed = changed || len(versions) != len(*known)
	*known = versions
	return changed
}

// start runs every wanted task that does not run yet.
func (a *Agent) start(ctx context.Context, wanted map[string]wish) (changed bool) {
	for key, w := range wanted {
		if t := a.tasks[key]; t == nil || t.version != w.version {
			a.startTask(ctx, key, w)
			changed = true
		}
	}
	return changed
}

// startTask runs a task once its predecessor, and all before that, have ended,
// so that no bus and no session ever has two owners.
func (a *Agent) startTask(ctx context.Context, key string, w wish) {
	own, cancel := context.WithCancel(ctx)
	before := a.tasks[key]
	t := &task{version: w.version, cancel: cancel, ended: make(chan struct{})}
	a.tasks[key] = t
	run := w.run()
	a.group.Go(func() {
		defer close(t.ended)
		defer cancel()
		if before != nil {
			<-before.ended
		}
		if own.Err() != nil { // its own successor waits already
			return
		}
		_ = a.cfg.Supervise(own, key, run)
	})
}

// device is the task that opens a device's driver and runs it once.
func (a *Agent) device(dev devices.Device, bounds []devices.Bound) func(context.Context) error {
	return func(ctx context.Context) error {
		a.cfg.Board.begin(dev.ID, time.Now())
		err := a.drive(ctx, dev, bounds)
		if err != nil && ctx.Err() == nil {
			a.cfg.Sink.Report(devices.Report{Device: dev.ID, At: time.Now().UTC(), Problem: devices.AllProblems(err)[0]})
		}
		return err
	}
}

var errEnded = errors.New("the driver ended by itself")

func (a *Agent) drive(ctx context.Context, dev devices.Device, bounds []devices.Bound) error {
	open := a.cfg.Openers[dev.Driver]
	if dev.Driver == devices.DriverHJ212 {
		open = noListener // else it would not be a task of its own
	}
	if open == nil {
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "no_driver", Field: "driver",
			ZH: "本网关没有驱动 " + dev.Driver + "；请更改设备的驱动或升级网关",
			EN: "this gateway has no driver " + dev.Driver + "; change the device's driver or update the gateway",
		}
	}
	driver, err := open(dev, bounds)
	if err != nil {
		return err
	}
	if err = driver.Run(ctx, a.cfg.Sink); err == nil {
		err = errEnded
	}
	return err
}

// noListener is the driver of data loggers while no host listens for them.
func noListener(devices.Device, []devices.Bound) (devices.Driver, error) {
	return nil, &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "no_listener", Field: "hj212.listen",
		ZH: "网关没有监听数采仪：请在配置文件中填写 hj212.listen 并重启网关",
		EN: "the gateway does not listen for data loggers: set hj212.listen in its configuration and start it again",
	}
}
