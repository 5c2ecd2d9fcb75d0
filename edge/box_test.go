package edge

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"offsite/devices"
	"offsite/edge/breach"
	"offsite/edge/ledger"
	"offsite/edge/notice"
	"offsite/edge/yardtest"
	"offsite/timeseries"
)

// runningBox is a Box at work, with one who watches it.
type runningBox struct {
	*Box
	t     *testing.T
	watch *Watcher
	stop  func() // ends it and waits
}

const boxPassword = "a-password-1"

// startBox opens the state in dir and runs it. The device "gate" is a client
// of its embedded broker and "stack.gate" has a high limit of 100.
func startBox(t *testing.T, dir string, disk vfs.FS) *runningBox {
	t.Helper()
	return startBoxWith(t, dir, disk, func(*Config) {})
}

// startBoxWith is startBox with a configuration of one's own.
func startBoxWith(t *testing.T, dir string, disk vfs.FS, change func(*Config)) *runningBox {
	t.Helper()
	cfg := Defaults()
	cfg.State, cfg.Broker.Listen, cfg.Video.FFmpeg = dir, "127.0.0.1:0", "none"
	change(&cfg)
	box, err := Open(t.Context(), cfg, Parts{Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	box.disk, box.group = disk, nil // the memory of the test's machine is none of its business
	if box.Registry.Snapshot().Sites["plant"] == nil {
		yardtest.Register(t, box.Registry, yardtest.Yard()...)
		yardtest.Register(t, box.Registry, yardtest.BrokerDevice("gate", boxPassword)...)
		yardtest.Register(t, box.Registry, yardtest.HighLimit("high", "stack.gate", 100))
	}
	b := &runningBox{Box: box, t: t}
	var unwatch func()
	b.watch, unwatch = box.Live.Watch()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- box.Run(ctx) }()
	stopped := false
	b.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the box ended with %v", err)
		}
		unwatch()
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(b.stop)
	b.await("the agent", func(u Update) bool { return u.Changed })
	<-box.Broker.Ready()
	return b
}

// await waits for an update that is the one.
func (b *runningBox) await(what string, is func(Update) bool) {
	b.t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case u := <-b.watch.C:
			if is(u) {
				return
			}
		case <-limit:
			b.t.Fatalf("%s did not come", what)
		}
	}
}

func (b *runningBox) connect() paho.Client {
	b.t.Helper()
	o := paho.NewClientOptions().AddBroker("tcp://" + b.Broker.Addr().String()).SetClientID("gate").SetUsername("gate").SetPassword(boxPassword)
	client := paho.NewClient(o.SetAutoReconnect(false))
	if token := client.Connect(); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		b.t.Fatalf("connect: %v", token.Error())
	}
	return client
}

func (b *runningBox) publish(client paho.Client, payload string) {
	b.t.Helper()
	if token := client.Publish("offsite/gate/gate", 1, false, payload); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		b.t.Fatalf("publish %s: %v", payload, token.Error())
	}
}

func opened(u Update) bool { return u.Event != nil && u.Event.Step == breach.Opened }

// values gives what history holds of stack.gate.
func (b *runningBox) values() []float64 {
	b.t.Helper()
	samples, err := b.History.Range(b.t.Context(), timeseries.Series{Site: "plant", Point: "stack.gate"}, yardtest.Noon.AddDate(-50, 0, 0), yardtest.Noon.AddDate(50, 0, 0), 0)
	if err != nil {
		b.t.Fatal(err)
	}
	var list []float64
	for _, s := range samples {
		list = append(list, s.Value)
	}
	return list
}

// TestBoxGoesOnFromTheTimesItGave begins anew, twice, after a run that gave times of an
// hour ahead, because its clock had been set back.
func TestBoxGoesOnFromTheTimesItGave(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := Defaults()
	cfg.State, cfg.Broker.Listen, cfg.Video.FFmpeg = dir, "127.0.0.1:0", "none"
	former, err := Open(t.Context(), cfg, Parts{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	last := now.Add(time.Hour).Truncate(time.Millisecond)
	_, err = former.Ledger.Resume(t.Context(), time.Time{}, now)
	if err := errors.Join(err, former.Ledger.Alive(t.Context(), now, last, false), former.Close()); err != nil {
		t.Fatal(err)
	}
	for start := range 2 {
		b := startBox(t, dir, nil)
		client := b.connect()
		b.publish(client, fmt.Sprint(50+start))
		var r devices.Reading
		eventually(t, "the reading is not there", func() bool {
			r, err = b.Last(t.Context(), "stack.gate")
			return err == nil && r.Value == float64(50+start)
		})
		if r.At.Before(last) || r.At.After(time.Now().Add(time.Hour)) {
			t.Errorf("start %d gives a reading %v, behind %v", start, r.At, last)
		}
		last = r.At.Add(time.Millisecond)
		client.Disconnect(0)
		b.stop()
	}
}

func TestBoxTakesReadingsToHistoryAndAlarm(t *testing.T) {
	dir := t.TempDir()
	b := startBox(t, dir, nil)
	client := b.connect()
	b.publish(client, "50")
	b.publish(client, "150")
	b.await("the alarm", opened)
	b.awaitEvidence()
	events, err := b.Events.Events(t.Context(), breach.Filter{})
	if err != nil || len(events) != 1 || events[0].Value != 150 || events[0].Point != "stack.gate" {
		t.Fatalf("events %+v, %v", events, err)
	}
	ev, err := b.Acknowledge(t.Context(), events[0].ID, "li", "seen", time.Now(), func(context.Context, *sql.Tx) error { return nil })
	if err != nil || ev.Revision != 2 || ev.Acknowledgment == nil {
		t.Errorf("acknowledged %+v, %v", ev, err)
	}
	refusal := errors.New("not audited")
	if _, err := b.Acknowledge(t.Context(), events[0].ID, "wu", "", time.Now(), func(context.Context, *sql.Tx) error { return refusal }); err == nil {
		t.Error("acknowledged although it could not be audited")
	}
	if err := b.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	checkMetrics(t, b.Box)
	b.stop()
	client.Disconnect(0)

	again := startBox(t, dir, nil)
	eventually(t, "history lacks what the former run took", func() bool { return slices.Equal(again.values(), []float64{50, 150}) })
	if r, err := again.Last(t.Context(), "stack.gate"); err != nil || r.Value != 150 {
		t.Errorf("last value %+v, %v", r, err)
	}
	rows, err := again.Ledger.Losses(t.Context(), ledger.Filter{Max: 10})
	if err != nil || len(rows) != 1 || rows[0].Subject != ledger.Gateway || rows[0].Why.Code != "gateway_stopped" {
		t.Errorf("a stop in good order is told as %+v, %v", rows, err)
	}
}

// awaitEvidence waits until the outbox holds the message about the pictures,
// of which nobody is told.
func (b *runningBox) awaitEvidence() {
	b.t.Helper()
	limit, again := time.After(time.Minute), time.NewTicker(20*time.Millisecond)
	defer again.Stop()
	for {
		var n int
		err := b.DB.Read().QueryRowContext(b.t.Context(), `SELECT count(*) FROM outbox WHERE kind = ?`, messageEvidence).Scan(&n)
		if err == nil && n > 0 {
			return
		}
		select {
		case <-again.C:
		case <-limit:
			b.t.Fatalf("no evidence was told: %v", err)
		}
	}
}

// checkMetrics holds the metrics against Prometheus' own rules.
func checkMetrics(t *testing.T, b *Box) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(b.Metrics()); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("metric %s: %s", p.Metric, p.Text)
	}
	want := `# HELP offsite_log_readings_total Readings written to the log.
# TYPE offsite_log_readings_total counter
offsite_log_readings_total 2
# HELP offsite_device_online 1 while the device answers.
# TYPE offsite_device_online gauge
offsite_device_online{device="gate"} 1
# HELP offsite_build_info 1, labelled with the program's version.
# TYPE offsite_build_info gauge
offsite_build_info{version="1.2.3"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "offsite_log_readings_total", "offsite_device_online", "offsite_build_info"); err != nil {
		t.Error(err)
	}
}

func TestBoxOpensItsStoreAgainWhenTheDiskHasRoomAgain(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	disk := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && filepath.Ext(op.Path) == ".log" && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return syscall.ENOSPC
		}
		return nil
	}))
	b := startBox(t, t.TempDir(), disk)
	accept := func(value float64, at time.Time) error {
		done := make(chan error, 1)
		b.Pipeline.Accept(devices.Delivery{
			Origin: devices.Origin{Device: "gate"}, Received: at,
			Readings: []devices.Reading{{Site: "plant", Point: "stack.gate", Value: value, At: at}},
		}, func(err error) { done <- err })
		return <-done
	}
	storage := func() bool {
		for _, n := range b.Notices() {
			if n.Name == notice.Storage {
				return true
			}
		}
		return false
	}
	at := time.Now().UTC().Truncate(time.Millisecond)
	if err := accept(1, at); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		full.Store(true)
		if err := accept(2, at.Add(time.Millisecond)); !errors.Is(err, devices.ErrUnavailable) {
			t.Fatalf("round %d: on a full disk Accept said %v", round, err)
		}
		b.await("the notice", func(u Update) bool { return u.Notices && storage() })
		if err := b.Ready(); err == nil {
			t.Error("ready although nothing can be recorded")
		}
		if err := accept(2, at.Add(time.Millisecond)); !errors.Is(err, devices.ErrUnavailable) {
			t.Errorf("with the store closed Accept said %v", err)
		}
		full.Store(false)
		b.await("its end", func(u Update) bool { return u.Notices && !storage() })
	}
	if err := accept(150, at.Add(2*time.Millisecond)); err != nil {
		t.Fatalf("with room again Accept said %v", err)
	}
	b.await("the alarm", opened)
	eventually(t, "history lacks what was accepted", func() bool { // it is judged and kept side by side
		values := b.values()
		return len(values) > 1 && values[0] == 1 && values[len(values)-1] == 150
	})
}

func TestBoxTellsWhatIsWrongWithItsState(t *testing.T) {
	dir := t.TempDir()
	b := startBox(t, dir, nil)
	_, err := Open(t.Context(), b.cfg, Parts{})
	if !errors.Is(err, devices.ErrConflict) && !errors.Is(err, devices.ErrUnavailable) {
		t.Errorf("a second box on the same state: %v", err)
	}
	for _, p := range devices.AllProblems(err) {
		if p.Code == "internal" {
			t.Errorf("not explained: %v", err)
		}
	}
	cfg := b.cfg
	cfg.State, cfg.Platform.CA = t.TempDir(), "/nowhere/ca.pem"
	if _, err := Open(t.Context(), cfg, Parts{}); !errors.Is(err, devices.ErrInvalid) {
		t.Errorf("a CA file that is not there: %v", err)
	}
}
