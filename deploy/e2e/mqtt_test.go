package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/go-cmp/cmp"

	"offsite/deploy/peers"
	"offsite/devices"
	"offsite/devices/mqtt"
)

const mqttPatience = 30 * time.Second

// mqttDesk is a devices.Sink that keeps all and acknowledges from a goroutine
// of its own, as the log does.
type mqttDesk struct {
	mu      sync.Mutex
	cond    sync.Cond
	got     []devices.Delivery
	reports []devices.Report
	due     []func(error)
	ended   bool
}

func newMQTTDesk(t *testing.T) *mqttDesk {
	d := &mqttDesk{}
	d.cond.L = &d.mu
	var wg sync.WaitGroup
	wg.Go(d.settle)
	t.Cleanup(func() {
		d.mu.Lock()
		d.ended = true
		d.cond.Broadcast()
		d.mu.Unlock()
		wg.Wait()
	})
	return d
}

func (d *mqttDesk) settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.ended {
		due := d.due
		d.due = nil
		d.mu.Unlock()
		for _, done := range due {
			done(nil)
		}
		d.mu.Lock()
		for len(d.due) == 0 && !d.ended {
			d.cond.Wait()
		}
	}
}

func (d *mqttDesk) Accept(x devices.Delivery, done func(error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.got, d.due = append(d.got, x), append(d.due, done)
	d.cond.Broadcast()
}

func (d *mqttDesk) Report(r devices.Report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reports = append(d.reports, r)
	d.cond.Broadcast()
}

// await waits until ok holds for what has come.
func (d *mqttDesk) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), mqttPatience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { d.mu.Lock(); defer d.mu.Unlock(); d.cond.Broadcast() })
	defer stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	for !ok() {
		if ctx.Err() != nil {
			t.Fatalf("waited in vain for %s; %d deliveries, reports %v", what, len(d.got), d.reports)
		}
		d.cond.Wait()
	}
}

// values waits for n deliveries and gives the values in order.
func (d *mqttDesk) values(t *testing.T, n int) []float64 {
	t.Helper()
	d.await(t, fmt.Sprintf("%d deliveries", n), func() bool { return len(d.got) >= n })
	d.mu.Lock()
	defer d.mu.Unlock()
	var values []float64
	for _, x := range d.got {
		for _, r := range x.Readings {
			values = append(values, r.Value)
		}
	}
	return values
}

func (d *mqttDesk) online(t *testing.T, device string) {
	t.Helper()
	d.await(t, device+" online", func() bool {
		return slices.ContainsFunc(d.reports, func(r devices.Report) bool { return r.Device == device && r.Problem == nil })
	})
}

func mqttTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed; deploy/test installs it", name)
		}
	}
}

func mqttBound(device, point string, topic *devices.Topic) devices.Bound {
	return devices.Bound{
		Site: "site-1", Point: devices.Point{ID: point},
		Binding: devices.Binding{ID: "b-1", Device: device, Point: point, Topic: topic},
	}
}

// mqttPub runs mosquitto_pub and gives what it printed and its error.
func mqttPub(t *testing.T, addr string, input string, args ...string) (string, error) {
	t.Helper()
	return mqttRun(t, "mosquitto_pub", addr, input, args...)
}

func mqttRun(t *testing.T, name, addr, input string, args ...string) (string, error) {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	ctx, cancel := context.WithTimeout(t.Context(), mqttPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, append([]string{"-h", host, "-p", port}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// mqttListener is a mosquitto_sub that runs.
type mqttListener struct {
	cmd   *exec.Cmd
	lines chan string
}

// mqttSub starts mosquitto_sub and returns when it is subscribed.
func mqttSub(t *testing.T, addr string, args ...string) *mqttListener {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("stdbuf", append([]string{"-oL", "mosquitto_sub", "-d", "-v", "-h", host, "-p", port}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := &mqttListener{cmd: cmd, lines: make(chan string, 1024)}
	subscribed := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(l.lines)
		in := bufio.NewScanner(out)
		for in.Scan() {
			switch line := in.Text(); {
			case strings.HasPrefix(line, "Subscribed"):
				close(subscribed)
			case !strings.HasPrefix(line, "Client "):
				l.lines <- line
			}
		}
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		wg.Wait()
		_ = cmd.Wait()
	})
	select {
	case <-subscribed:
	case <-time.After(mqttPatience):
		t.Fatal("mosquitto_sub is not subscribed")
	}
	return l
}

func (l *mqttListener) next(t *testing.T) string {
	t.Helper()
	select {
	case line := <-l.lines:
		return line
	case <-time.After(mqttPatience):
		t.Fatal("nothing came to mosquitto_sub")
		return ""
	}
}

// mqttSession runs a driver as the edge does: again and again.
func mqttSession(t *testing.T, addr string, desk devices.Sink, bounds ...devices.Bound) {
	t.Helper()
	d, err := mqtt.Open(devices.Device{ID: "dev-1", Endpoint: "mqtt://" + addr}, bounds, mqtt.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			_ = d.Run(ctx, desk)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func TestMosquittoToDriver(t *testing.T) {
	mqttTools(t, "mosquitto", "mosquitto_pub")
	m, err := peers.StartMosquitto(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Kill)
	if out, err := mqttPub(t, m.Addr, "", "-t", "plant/level", "-m", "0.5", "-q", "1", "-r"); err != nil {
		t.Fatal(err, out)
	}
	desk := newMQTTDesk(t)
	mqttSession(t, m.Addr, desk, mqttBound("dev-1", "tank.level", &devices.Topic{Topic: "plant/level"}),
		mqttBound("dev-1", "tank.pressure", &devices.Topic{Topic: "plant/all", Path: "tank.p", TimePath: "at"}))
	desk.online(t, "dev-1")
	desk.values(t, 1)
	for i, args := range [][]string{
		{"-t", "plant/level", "-m", "1", "-q", "0"},
		{"-t", "plant/level", "-m", "2", "-q", "1", "-V", "mqttv5"},
		{"-t", "plant/level", "-m", "3", "-q", "2"},
		{"-t", "plant/all", "-m", `{"tank":{"p":4},"at":"2026-03-01T08:00:00+08:00"}`, "-q", "1"},
		{"-t", "plant/all", "-m", `{"tank":{}}`, "-q", "1"},
		{"-t", "plant/level", "-m", "NaN", "-q", "1"},
	} {
		if out, err := mqttPub(t, m.Addr, "", args...); err != nil {
			t.Fatal(err, out)
		}
		desk.values(t, i+2)
	}
	if diff := cmp.Diff([]float64{0.5, 1, 2, 3, 4}, desk.values(t, 7)); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	desk.mu.Lock()
	defer desk.mu.Unlock()
	if r := desk.got[0].Readings[0]; !r.Repeat || !r.Stamped {
		t.Errorf("retained value gave %+v", r)
	}
	if r := desk.got[4].Readings[0]; !r.At.Equal(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)) || r.Stamped || r.Point != "tank.pressure" {
		t.Errorf("JSON gave %+v", r)
	}
	for i, code := range map[int]string{5: "path_missing", 6: "not_finite"} {
		if l := desk.got[i].Letter; l == nil || l.Problem.Code != code {
			t.Errorf("delivery %d has letter %+v, want %s", i, l, code)
		}
	}
}

// A publisher records what Mosquitto acknowledged; Mosquitto is stopped and
// started meanwhile; all of it must have come, in order.
func TestMosquittoRestartLosesNothing(t *testing.T) {
	mqttTools(t, "mosquitto")
	m, err := peers.StartMosquitto(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Kill() })
	desk := newMQTTDesk(t)
	mqttSession(t, m.Addr, desk, mqttBound("dev-1", "tank.level", &devices.Topic{Topic: "plant/level"}))
	desk.online(t, "dev-1")

	acked := mqttPublishThrough(t, m.Addr, 1500, func(i int) {
		if i != 500 && i != 1000 {
			return
		}
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
		if err := m.Start(t.Context()); err != nil {
			t.Error(err)
		}
	})
	seen := func() map[int]bool {
		got := make(map[int]bool)
		for _, x := range desk.got {
			for _, r := range x.Readings {
				got[int(r.Value)] = true
			}
		}
		return got
	}
	desk.await(t, "every acknowledged message", func() bool {
		got := seen()
		return !slices.ContainsFunc(acked, func(i int) bool { return !got[i] })
	})
	if len(acked) < 1000 {
		t.Errorf("only %d messages were acknowledged at all", len(acked))
	}
	desk.mu.Lock()
	defer desk.mu.Unlock()
	t.Logf("%d acknowledged, %d deliveries, reports: %d", len(acked), len(desk.got), len(desk.reports))
	if !slices.ContainsFunc(desk.reports, func(r devices.Report) bool { return r.Problem != nil }) {
		t.Error("the restarts were not told")
	}
}

// mqttPublishThrough publishes 0 to n-1 one after the other, each until it is
// acknowledged or its connection is lost, and gives those that were.
func mqttPublishThrough(t *testing.T, addr string, n int, before func(i int)) []int {
	t.Helper()
	var acked []int
	var client paho.Client
	defer func() {
		if client != nil {
			client.Disconnect(1000)
		}
	}()
	for i := range n {
		before(i)
		for client == nil || !client.IsConnectionOpen() {
			o := paho.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("publisher").SetAutoReconnect(false).SetConnectTimeout(time.Second)
			client = paho.NewClient(o)
			_ = client.Connect().WaitTimeout(2 * time.Second)
		}
		token := client.Publish("plant/level", 1, false, strconv.Itoa(i))
		if token.WaitTimeout(5*time.Second) && token.Error() == nil {
			acked = append(acked, i)
		}
	}
	return acked
}
