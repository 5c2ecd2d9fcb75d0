package edge

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"offsite/devices"
	"offsite/devices/broker"
	"offsite/devices/registry"
)

// Agent keeps one supervised task for each device and camera that the registry
// names. A change touches only the tasks it concerns.
type Agent struct {
	registry *registry.Registry
	openers  map[string]devices.Opener // by driver; the embedded broker is not among them
	broker   *broker.Broker
	cameras  *Cameras
	sink     devices.Sink
	board    *Board
	live     *Live
	log      *slog.Logger
	pause    Pause

	tasks map[string]*task // by "device/id" or "camera/id"; the loop's own
	group sync.WaitGroup
}

// task is one running device or camera.
type task struct {
	version string
	cancel  context.CancelFunc
	ended   chan struct{}
}

// Run follows the registry until ctx ends and every task has ended.
func (a *Agent) Run(ctx context.Context) error {
	a.tasks = map[string]*task{}
	defer a.group.Wait()
	wake, stop := a.registry.Watch()
	defer stop()
	for {
		snapshot := a.registry.Snapshot()
		now := time.Now()
		a.settle(ctx, snapshot, now)
		a.live.Tell(Update{Changed: true})
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
		return time.Hour
	}
	return max(time.Millisecond, min(next.Sub(now), time.Hour))
}

// settle starts what is new, stops what is gone and restarts what has changed.
func (a *Agent) settle(ctx context.Context, s *registry.Snapshot, now time.Time) {
	wanted := map[string]string{}
	var starts []func()
	var clients []broker.Client
	for id, dev := range s.Devices {
		bounds := s.Bound(id, now)
		if dev.Driver == devices.DriverBroker {
			clients = append(clients, broker.Client{Device: *dev, Bounds: bounds})
			continue
		}
		key, version := "device/"+id, versionOf(dev, bounds)
		wanted[key] = version
		if t := a.tasks[key]; t == nil || t.version != version {
			starts = append(starts, func() { a.start(ctx, key, version, a.device(*dev, bounds)) })
		}
	}
	for id, cam := range s.Cameras {
		key, version := "camera/"+id, fmt.Sprint(cam.Version)
		wanted[key] = version
		if t := a.tasks[key]; t == nil || t.version != version {
			starts = append(starts, func() { a.start(ctx, key, version, a.cameras.task(*cam)) })
		}
	}
	a.stop(wanted)
	if err := a.broker.Update(clients); err != nil {
		a.log.WarnContext(ctx, "bindings of the embedded broker left out", "err", err)
	}
	a.forget(s)
	for _, start := range starts {
		start()
	}
}

// versionOf changes whenever something changes that the device's driver was opened with.
func versionOf(dev *devices.Device, bounds []devices.Bound) string {
	v := fmt.Sprint(dev.Version)
	for _, b := range bounds {
		v += fmt.Sprintf(" %s:%d:%s:%d:%s", b.Binding.ID, b.Binding.Version, b.Point.ID, b.Point.Version, b.Site)
	}
	return v
}

// stop ends every task that is not wanted in just this version. It waits for
// none: the successor does, so that one slow device holds up no other.
func (a *Agent) stop(wanted map[string]string) {
	for key, t := range a.tasks {
		if wanted[key] != t.version {
			t.cancel()
		}
		if wanted[key] == "" {
			delete(a.tasks, key)
		}
	}
}

// forget drops the status of what is no longer registered.
func (a *Agent) forget(s *registry.Snapshot) {
	for _, st := range a.board.Devices() {
		if s.Devices[st.Device] == nil {
			a.board.forget(st.Device)
		}
	}
	a.cameras.keep(s)
}

// start runs a task once its predecessor has ended, so that no bus and no
// session ever has two owners.
func (a *Agent) start(ctx context.Context, key, version string, run func(context.Context) error) {
	own, cancel := context.WithCancel(ctx)
	before := a.tasks[key]
	t := &task{version: version, cancel: cancel, ended: make(chan struct{})}
	a.tasks[key] = t
	a.group.Go(func() {
		defer close(t.ended)
		defer cancel()
		if before != nil {
			<-before.ended
		}
		_ = Supervise(own, a.log.With("task", key), a.pause, run)
	})
}

// device is the task that opens a device's driver and runs it once.
func (a *Agent) device(dev devices.Device, bounds []devices.Bound) func(context.Context) error {
	return func(ctx context.Context) error {
		open := a.openers[dev.Driver]
		if open == nil {
			return fmt.Errorf("device %s: no driver %q", dev.ID, dev.Driver)
		}
		driver, err := open(dev, bounds)
		if err == nil {
			err = driver.Run(ctx, a.sink)
		}
		if err != nil && ctx.Err() == nil {
			a.board.Report(devices.Report{Device: dev.ID, At: time.Now().UTC(), Problem: devices.AllProblems(err)[0]})
		}
		return err
	}
}
