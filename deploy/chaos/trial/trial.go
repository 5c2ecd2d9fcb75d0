// Package trial runs the gateway under a device that sends at full speed, ends
// it at random instants, by kill -9 or by a simulated power cut, or lets its
// syncs fail or take long, and then compares what it holds and what the platform was told with an oracle:
//
//   - every acknowledged reading is in history, with its value;
//   - every alarm that the readings make is at the platform, exactly once in
//     effect, with its beginning and its end, and no other is there.
//
// Readings whose acknowledgement was lost are sent again, as devices do, so at
// the end every reading is acknowledged and the oracle needs no guess.
package trial

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/deploy/peers"
	"offsite/devices/state/disktest"
	"offsite/edge/dispatch/platformtest"
	"offsite/edge/dispatch/wire"
)

// Config says what is done to the gateway.
type Config struct {
	Binary string        // of the gateway
	Dir    string        // for configuration and state
	Kills  int           // kill -9
	Cuts   int           // power cuts; needs root and loop mounts
	Faults int           // times in which syncs fail or are slow; needs strace
	Points int           // of the device; zero means 8
	Run    time.Duration // longest time between two ends; zero means 2.5 s
	Log    io.Writer     // told of each step
}

// Report is what a trial has proven.
type Report struct {
	Ends, Readings, Alarms int      // Ends counts faults too
	Violations             []string // of the promises; empty if they hold
}

const (
	device   = "chaos-device"
	password = "chaos-device-password"
	outlet   = "chaos-outlet"
	site     = "chaos-site"
)

// Run carries the trial out. An error means that it could not be carried out;
// a broken promise is a violation in the report.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if cfg.Points == 0 {
		cfg.Points = 8
	}
	if cfg.Run == 0 {
		cfg.Run = 2500 * time.Millisecond
	}
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	t := &trial{Config: cfg}
	defer t.close()
	if err := t.prepare(ctx); err != nil {
		return Report{}, fmt.Errorf("prepare: %w", err)
	}
	return t.run(ctx)
}

// diskSize leaves room for some minutes of full speed.
const diskSize = 1 << 30

// LoopMounts says whether power cuts can be made here, by making one disk.
func LoopMounts(dir string) error {
	d, err := disktest.New(dir, diskSize)
	if err != nil {
		return err
	}
	return d.Remove()
}

type trial struct {
	Config
	disk     *disktest.Disk // nil without power cuts
	platform *platformtest.Platform
	address  string
	box      *peers.Offsite
	device   *publisher
	stop     []func()
}

func (t *trial) close() {
	if t.box != nil {
		t.box.Kill()
	}
	for _, stop := range slices.Backward(t.stop) {
		stop()
	}
}

// prepare starts platform and gateway and registers the device.
func (t *trial) prepare(ctx context.Context) (err error) {
	state := filepath.Join(t.Dir, "state")
	if t.Cuts > 0 {
		if t.disk, err = disktest.New(t.Dir, diskSize); err != nil {
			return err
		}
		t.stop = append(t.stop, func() { _ = t.disk.Remove() }) // what was found counts
		state = filepath.Join(t.disk.Dir, "state")
	}
	if err := t.startPlatform(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	if t.box, err = peers.StartOffsite(ctx, t.Binary, t.Dir, state, "history:\n  retention: 0s\n"); err != nil {
		return err
	}
	points := make([]string, t.Points)
	for i := range points {
		points[i] = "p" + strconv.Itoa(i)
	}
	if err := t.register(ctx, points); err != nil {
		return err
	}
	t.device = newPublisher(t.box.Broker, device, password, points)
	return t.box.Do(ctx, "POST", "/platform", map[string]string{"url": t.address, "code": t.platform.Code()}, nil)
}

func (t *trial) startPlatform(ctx context.Context) (err error) {
	if t.platform, err = platformtest.Open(platformtest.Config{Subscription: &wire.Subscription{Items: []wire.SubscriptionItem{}}}); err != nil {
		return err
	}
	listener, err := platformtest.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	t.address = "http://" + listener.Addr().String()
	runCtx, cancel := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return t.platform.Run(runCtx, listener) })
	t.stop = append(t.stop, func() { cancel(); _ = g.Wait() })
	return nil
}

func (t *trial) register(ctx context.Context, points []string) error {
	type thing = map[string]any
	post := func(path string, v thing) error {
		if err := t.box.Do(ctx, "POST", path, v, nil); err != nil {
			return fmt.Errorf("register: %w", err)
		}
		return nil
	}
	steps := []struct {
		path string
		v    thing
	}{
		{"/entities", thing{"id": "chaos", "name": "混沌试验", "uscc": "91320411MA1DEM001L", "region_code": "320411"}},
		{"/sites", thing{"id": site, "name": "试验场", "kind": "plant", "entities": []thing{{"entity": "chaos", "role": "operator"}}}},
		{"/outlets", thing{"id": outlet, "site": site, "name": "试验点位", "kind": "other"}},
		{"/devices", thing{"id": device, "site": site, "name": "试验设备", "driver": "broker", "password": password}},
	}
	for _, s := range steps {
		if err := post(s.path, s.v); err != nil {
			return err
		}
	}
	for _, p := range points {
		id := outlet + "." + p
		if err := post("/points", thing{"id": id, "name": p, "factor": "x", "unit": "mg/L", "digits": 3}); err != nil {
			return err
		}
		if err := post("/bindings", thing{"id": "b-" + p, "point": id, "device": device, "topic": thing{"topic": "offsite/" + device + "/" + p, "path": "v", "time_path": "ts"}}); err != nil {
			return err
		}
		if err := post("/limits", thing{"id": "l-" + p, "point": id, "level": "H", "value": limitValue, "averaging": "instant"}); err != nil {
			return err
		}
	}
	return nil
}

// run ends the gateway again and again, then checks.
func (t *trial) run(ctx context.Context) (Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g errgroup.Group
	g.Go(func() error { return t.device.run(ctx) })
	report := Report{Ends: t.Kills + t.Cuts + t.Faults}
	err := t.ends(ctx)
	if err == nil {
		t.device.finish()
		err = g.Wait()
	} else {
		cancel()
		_ = g.Wait()
	}
	if err != nil {
		return report, fmt.Errorf("%w\n%s", err, t.box.Out)
	}
	t.check(ctx, &report)
	return report, nil
}

func (t *trial) ends(ctx context.Context) error {
	for i := range t.Kills + t.Cuts + t.Faults {
		wait := t.Run/10 + rand.N(t.Run)
		select {
		case <-time.After(wait):
		case <-t.box.Done():
			if i <= t.Kills+t.Cuts {
				return fmt.Errorf("the gateway ended by itself: %s", t.box.Out)
			}
			if err := t.box.Start(ctx); err != nil { // the fault before has ended it
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		made, acked := t.device.counts()
		how, err := t.end(ctx, i)
		if err != nil {
			return err
		}
		fmt.Fprintf(t.Log, "%s after %s: %d readings sent, %d acknowledged\n", how, wait.Round(time.Millisecond), made, acked)
	}
	select {
	case <-t.box.Done(): // the last fault has ended it after all
		return t.box.Start(ctx)
	case <-time.After(t.Run):
		return nil
	}
}

// end ends the gateway the i-th time and starts it again, or lets its disk fail.
func (t *trial) end(ctx context.Context, i int) (how string, err error) {
	switch {
	case i < t.Kills:
		t.box.Kill()
		return "killed", t.box.Start(ctx)
	case i < t.Kills+t.Cuts:
		t.device.ignore()
		if err := t.disk.Cut(t.box.Kill); err != nil {
			return "", err
		}
		return "power cut", t.box.Start(ctx)
	default:
		return t.disturb(ctx, i-t.Kills-t.Cuts)
	}
}

// patience is how long what was acknowledged may take to reach history and
// platform once the gateway runs undisturbed.
const patience = 2 * time.Minute

// check compares history and platform with the oracle.
func (t *trial) check(ctx context.Context, report *Report) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	violate := func(format string, args ...any) {
		if len(report.Violations) < 50 {
			report.Violations = append(report.Violations, fmt.Sprintf(format, args...))
		}
	}
	var want []alarm
	for _, p := range t.device.points {
		list := t.device.series[p]
		report.Readings += len(list)
		want = append(want, oracle(outlet+"."+p, list)...)
		err := peers.Await(ctx, func() error { return t.checkHistory(ctx, outlet+"."+p, list) })
		if err != nil {
			violate("history of %s: %v", p, err)
		}
	}
	report.Alarms = len(want)
	if err := peers.Await(ctx, func() error { return t.checkAlarms(want) }); err != nil {
		violate("platform: %v", err)
	}
	for _, v := range t.platform.Violations() {
		violate("contract: %s", v)
	}
	for key, n := range t.platform.Effects() {
		if n != 1 {
			violate("message %s took effect %d times", key, n)
		}
	}
}

// checkHistory reads a point's whole history by the API, page by page.
func (t *trial) checkHistory(ctx context.Context, point string, want []sent) error {
	from := time.UnixMilli(want[0].at)
	end := time.UnixMilli(want[len(want)-1].at + 1)
	const page = 10000
	for i := 0; i < len(want); {
		var got struct {
			Readings []struct {
				At    time.Time `json:"at"`
				Value float64   `json:"value"`
			} `json:"samples"`
		}
		to := end
		if i+page < len(want) {
			to = time.UnixMilli(want[i+page].at)
		}
		q := url.Values{"point": {point}, "from": {from.Format(time.RFC3339Nano)}, "to": {to.Format(time.RFC3339Nano)}, "max": {strconv.Itoa(page)}}
		if err := t.box.Do(ctx, "GET", "/readings?"+q.Encode(), nil, &got); err != nil {
			return err
		}
		n := min(page, len(want)-i)
		if len(got.Readings) != n {
			return fmt.Errorf("%d readings between %s and %s, want %d", len(got.Readings), from, to, n)
		}
		for k, r := range got.Readings {
			if w := want[i+k]; r.At.UnixMilli() != w.at || r.Value != w.value {
				return fmt.Errorf("reading %d is %d %g, want %d %g", i+k, r.At.UnixMilli(), r.Value, w.at, w.value)
			}
		}
		i += n
		from = to
	}
	return nil
}

// checkAlarms compares what the platform was told, exactly.
func (t *trial) checkAlarms(want []alarm) error {
	byID := map[string]*alarm{}
	for _, e := range t.platform.Events() {
		switch e.Step {
		case wire.EventStepOpened:
			if byID[e.ID] != nil {
				return fmt.Errorf("event %s opened twice", e.ID)
			}
			byID[e.ID] = &alarm{Point: e.Point, Started: e.StartedAt.UnixMilli()}
		case wire.EventStepClosed:
			if byID[e.ID] == nil {
				return fmt.Errorf("event %s closed before it was opened", e.ID)
			}
			byID[e.ID].Ended = e.EndedAt.UnixMilli()
		}
	}
	got := map[alarm]int{}
	for _, a := range byID {
		got[*a]++
	}
	for _, a := range want {
		if got[a] != 1 {
			return fmt.Errorf("alarm %+v is there %d times, want once (%d alarms at the platform, %d expected)", a, got[a], len(byID), len(want))
		}
	}
	if len(byID) != len(want) {
		return fmt.Errorf("%d alarms at the platform, want %d", len(byID), len(want))
	}
	return nil
}
