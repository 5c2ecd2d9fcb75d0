package field

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/mqtt/broker"
	"offsite/devices/registry"
	"offsite/edge/ledger"
	"offsite/edge/yardtest"
)

// workshop opens drivers that note when they run.
type workshop struct {
	mu      sync.Mutex
	began   time.Time
	diary   []string                 // "0s start a v1"
	slow    map[string]time.Duration // how long a device's driver takes to stop
	running map[string]int
	broken  map[string]error // what a device's driver returns at once
}

func newWorkshop() *workshop {
	return &workshop{began: time.Now(), slow: map[string]time.Duration{}, running: map[string]int{}, broken: map[string]error{}}
}

func (w *workshop) open(dev devices.Device, bounds []devices.Bound) (devices.Driver, error) {
	return &fakeDriver{w, dev, len(bounds)}, nil
}

func (w *workshop) note(what string, dev devices.Device, bounds, more int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[dev.ID] += more
	if w.running[dev.ID] > 1 {
		what += " BESIDE ANOTHER"
	}
	w.diary = append(w.diary, fmt.Sprintf("%s %s %s v%d of %d", time.Since(w.began).Round(time.Millisecond), what, dev.ID, dev.Version, bounds))
}

// read gives the diary of the devices since the last reading.
func (w *workshop) read() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.diary
	w.diary = nil
	slices.Sort(list)
	return list
}

type fakeDriver struct {
	*workshop
	dev    devices.Device
	bounds int
}

func (d *fakeDriver) Run(ctx context.Context, sink devices.Sink) error {
	d.mu.Lock()
	slow, broken := d.slow[d.dev.ID], d.broken[d.dev.ID]
	d.mu.Unlock()
	d.note("start", d.dev, d.bounds, 1)
	defer func() { d.note("stop", d.dev, d.bounds, -1) }()
	if broken != nil {
		return broken
	}
	sink.Report(devices.Report{Device: d.dev.ID, At: time.Now().UTC()})
	<-ctx.Done()
	<-time.After(slow)
	return context.Cause(ctx)
}

// gate is an embedded broker that only remembers.
type gate struct{ clients []broker.Client }

func (g *gate) Update(clients []broker.Client) error {
	g.clients = clients
	return nil
}

type boardSink struct{ *Board }

func (boardSink) Accept(_ devices.Delivery, done func(error)) { done(nil) }

// noCameras has no camera to feed.
type noCameras struct{}

func (noCameras) Task(devices.Camera) func(context.Context) error { return nil }
func (noCameras) Keep(*registry.Snapshot)                         {}

// album is the feeds, and remembers which cameras had one when they were to be kept.
type album struct {
	feeds map[string]bool
	kept  []string
}

func (a *album) Task(thing devices.Camera) func(context.Context) error {
	a.feeds[thing.ID] = true
	return func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
}

func (a *album) Keep(s *registry.Snapshot) {
	for id := range s.Cameras {
		if a.feeds[id] {
			a.kept = append(a.kept, id)
		}
	}
}

// A camera that is always pulled is pulled from its registration on, not from the
// next look at the registry.
func TestAgentKeepsANewCameraAtOnce(t *testing.T) {
	a := &album{feeds: map[string]bool{}}
	inAgentYardWith(t, func(c *Config) { c.Cameras = a }, func(y *agentYard) {
		yardtest.Register(y.t, y.registry, &devices.Camera{ID: "cam-new", Site: "plant", Name: "新相机", URL: "rtsp://10.0.0.9/main", Pull: devices.PullAlways})
		synctest.Wait()
		if !slices.Contains(a.kept, "cam-new") {
			y.t.Errorf("kept %v, not the camera that was just registered", a.kept)
		}
	})
}

// What does not change how a camera is pulled must not cost a picture: evidence would
// have a gap.
func TestAgentLeavesAFeedAloneThatIsPulledAsBefore(t *testing.T) {
	tests := []struct {
		name   string
		change func(c *devices.Camera)
		anew   bool
	}{
		{"a patrol", func(c *devices.Camera) {
			stop := func(p string) devices.PatrolStop {
				return devices.PatrolStop{Preset: p, Dwell: devices.Duration(time.Minute)}
			}
			c.Patrols = []devices.Patrol{{Name: "夜巡", Stops: []devices.PatrolStop{stop("1"), stop("2")}}}
		}, false},
		{"name, recording and still", func(c *devices.Camera) {
			c.Name, c.Record, c.StillURL = "新名", devices.RecordAlways, "http://10.0.0.9/still"
		}, false},
		{"address", func(c *devices.Camera) { c.URL = "rtsp://10.0.0.9/other" }, true},
		{"sub-stream", func(c *devices.Camera) { c.SubURL = "rtsp://10.0.0.9/sub" }, true},
		{"password", func(c *devices.Camera) { c.Password = "geheim" }, true},
		{"transport", func(c *devices.Camera) { c.Transport = "udp" }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := &album{feeds: map[string]bool{}}
			inAgentYardWith(t, func(c *Config) { c.Cameras = a }, func(y *agentYard) {
				cam := &devices.Camera{ID: "cam-new", Site: "plant", Name: "新相机", URL: "rtsp://10.0.0.9/main", Username: "u", Password: "p"}
				yardtest.Register(y.t, y.registry, cam)
				synctest.Wait()
				delete(a.feeds, "cam-new")
				changed := *y.registry.Snapshot().Cameras["cam-new"]
				tt.change(&changed)
				yardtest.Register(y.t, y.registry, &changed)
				synctest.Wait()
				if a.feeds["cam-new"] != tt.anew {
					y.t.Errorf("pulled anew: %v, want %v", a.feeds["cam-new"], tt.anew)
				}
			})
		})
	}
}

// again supervises with a pause of ten seconds.
func again(ctx context.Context, _ string, task func(context.Context) error) error {
	for {
		_ = task(ctx)
		select {
		case <-time.After(10 * time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// agentYard is an Agent at work in a bubble.
type agentYard struct {
	t        *testing.T
	registry *registry.Registry
	shop     *workshop
	gate     *gate
	board    *Board
	changed  chan struct{} // has one for each time that watchers were told
	ledger   *ledger.Ledger
}

func inAgentYard(t *testing.T, body func(y *agentYard)) {
	t.Helper()
	inAgentYardWith(t, func(*Config) {}, body)
}

// inAgentYardWith lets the test change the Agent's Config.
func inAgentYardWith(t *testing.T, change func(*Config), body func(y *agentYard)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db := yardtest.OpenDB(t, dir)
		book, err := ledger.Open(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		y := &agentYard{t: t, registry: yardtest.OpenRegistry(t, db), shop: newWorkshop(), gate: &gate{}, changed: make(chan struct{}, 100), ledger: book}
		clerk := ledger.NewClerk(book, asReceived, quiet)
		y.board = NewBoard(clerk, func(Status) {}, quiet)
		yardtest.Register(y.t, y.registry, yardtest.Yard()...)
		cfg := Config{
			Registry: y.registry, Openers: map[string]devices.Opener{devices.DriverModbus: y.shop.open}, Broker: y.gate, Sink: boardSink{y.board},
			Cameras: noCameras{}, Board: y.board, Changed: func(*registry.Snapshot) { y.changed <- struct{}{} }, Supervise: again, Log: quiet,
		}
		change(&cfg)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = NewAgent(cfg).Run(ctx) })
		all.Go(func() { _ = y.board.Run(ctx) })
		all.Go(func() { _ = clerk.Run(ctx) })
		defer func() {
			cancel()
			all.Wait()
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}()
		body(y)
	})
}

// after lets time pass and everybody come to rest.
func (y *agentYard) after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (y *agentYard) wantDiary(when string, want ...string) {
	y.t.Helper()
	if diff := cmp.Diff(want, y.shop.read()); diff != "" {
		y.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

func changed(list []devices.Thing, change func(*devices.Device)) *devices.Device {
	d := *list[1].(*devices.Device)
	change(&d)
	return &d
}

func TestAgentTouchesOnlyWhatAChangeConcerns(t *testing.T) {
	inAgentYard(t, func(y *agentYard) {
		a, b := yardtest.ModbusDevice("a"), yardtest.ModbusDevice("b")
		yardtest.Register(y.t, y.registry, append(a, b...)...)
		synctest.Wait()
		y.wantDiary("added", "0s start a v1 of 1", "0s start b v1 of 1")

		y.after(time.Second)
		yardtest.Register(y.t, y.registry, changed(a, func(d *devices.Device) { d.Name = "new" }))
		synctest.Wait()
		y.wantDiary("changed", "1s start a v2 of 1", "1s stop a v1 of 1")

		y.after(time.Second)
		yardtest.Retire(y.t, y.registry, b[2])
		synctest.Wait()
		y.wantDiary("binding retired", "2s start b v1 of 0", "2s stop b v1 of 1")

		yardtest.Retire(y.t, y.registry, b[1])
		synctest.Wait()
		y.wantDiary("retired", "2s stop b v1 of 0")
		if list := y.board.Devices(); len(list) != 1 || list[0].Device != "a" || !list[0].Online {
			y.t.Errorf("the board shows %+v", list)
		}
	})
}

func TestAgentNeverGivesADeviceTwoOwners(t *testing.T) {
	inAgentYard(t, func(y *agentYard) {
		y.shop.slow["a"] = 30 * time.Second
		a, b := yardtest.ModbusDevice("a"), yardtest.ModbusDevice("b")
		yardtest.Register(y.t, y.registry, append(a, b...)...)
		synctest.Wait()
		y.wantDiary("added", "0s start a v1 of 1", "0s start b v1 of 1")
		for i := range 3 { // each while the first is still stopping
			y.after(time.Second)
			yardtest.Register(y.t, y.registry, changed(a, func(d *devices.Device) { d.Name = fmt.Sprint("name ", i) }))
		}
		y.after(time.Minute)
		y.wantDiary("changed three times", "31s start a v4 of 1", "31s stop a v1 of 1")
	})
}

func TestAgentKeepsADeviceThatComesBackFromItsSlowPast(t *testing.T) {
	inAgentYard(t, func(y *agentYard) {
		y.shop.slow["a"] = 30 * time.Second
		a := yardtest.ModbusDevice("a")
		yardtest.Register(y.t, y.registry, a...)
		synctest.Wait()
		yardtest.Retire(y.t, y.registry, a[2])
		y.after(time.Second) // v1 with no binding waits for v1
		y.wantDiary("before", "0s start a v1 of 1")
		embedded := &devices.Device{ID: "a", Site: "plant", Name: "a", Driver: devices.DriverBroker, Password: "password-1"}
		yardtest.Register(y.t, y.registry, embedded)
		y.after(time.Second)
		if len(y.gate.clients) != 1 {
			y.t.Errorf("the embedded broker knows %d clients", len(y.gate.clients))
		}
		yardtest.Register(y.t, y.registry, changed(a, func(*devices.Device) {}))
		y.after(time.Minute)
		y.wantDiary("modbus again", "30s start a v3 of 0", "30s stop a v1 of 1")
		if len(y.gate.clients) != 0 {
			y.t.Errorf("the embedded broker still knows %d clients", len(y.gate.clients))
		}
	})
}

func TestAgentFollowsDatedBindings(t *testing.T) {
	inAgentYard(t, func(y *agentYard) {
		a := yardtest.ModbusDevice("a")
		from, to := time.Now().Add(10*time.Second), time.Now().Add(20*time.Second)
		a[2].(*devices.Binding).From, a[2].(*devices.Binding).To = from, &to
		yardtest.Register(y.t, y.registry, a...)
		y.after(5 * time.Minute)
		y.wantDiary("all", "0s start a v1 of 0", "10s start a v1 of 1", "10s stop a v1 of 0", "20s start a v1 of 0", "20s stop a v1 of 1")
		if told := len(y.changed); told > 4 { // the first time of the empty yard
			y.t.Errorf("watchers were told %d times that the registry changed", told)
		}
	})
}

func TestAgentTellsWhyADeviceDoesNotRun(t *testing.T) {
	inAgentYard(t, func(y *agentYard) {
		a, b := yardtest.ModbusDevice("a"), yardtest.ModbusDevice("b")
		y.shop.broken["a"] = &devices.Problem{Kind: devices.ErrUnavailable, Code: "unplugged", ZH: "未接", EN: "unplugged"}
		foreign := &devices.Device{ID: "c", Site: "plant", Name: "c", Driver: devices.DriverMQTT, Endpoint: "mqtt://127.0.0.1"}
		yardtest.Register(y.t, y.registry, append(append(a, b...), foreign)...)
		y.after(5 * time.Second)
		var codes []string
		for _, d := range y.board.Devices() {
			code := "well"
			if d.Problem != nil {
				code = d.Problem.Code
			}
			codes = append(codes, d.Device+" "+code)
		}
		if diff := cmp.Diff([]string{"a unplugged", "b well", "c no_driver"}, codes); diff != "" {
			y.t.Error(diff)
		}
		y.after(6 * time.Second)
		y.wantDiary("restarted alone", "0s start a v1 of 1", "0s start b v1 of 1", "0s stop a v1 of 1", "10s start a v1 of 1", "10s stop a v1 of 1")
		y.after(2 * time.Second)
		want := []lossRow{{"device/a", "unplugged", 10 * time.Second, 2, true}, {"device/c", "no_driver", 10 * time.Second, 2, true}}
		if diff := cmp.Diff(want, lossRows(y.t, y.ledger)); diff != "" {
			y.t.Error(diff)
		}
	})
}

func TestAgentStopsForTheGateway(t *testing.T) {
	inAgentYard(t, func(y *agentYard) {
		y.shop.broken["a"] = errors.New("broken")
		yardtest.Register(y.t, y.registry, yardtest.ModbusDevice("a")...)
		y.after(time.Second)
	})
}
