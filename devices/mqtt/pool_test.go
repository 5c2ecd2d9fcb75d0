package mqtt

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	wire "github.com/mochi-mqtt/server/v2/packets"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"offsite/devices"
	"offsite/devices/mqtt/mqtttest"
	"offsite/devices/mqtt/payload"
	"offsite/devices/mqtt/sparkplug"
)

// yard is a pool with a hub that its devices use.
type yard struct {
	t    *testing.T
	hub  *hub
	pool *Pool
	s    *mqtttest.Shelf
}

func newYard(t *testing.T, change ...func(*Config)) *yard {
	t.Helper()
	cfg := Config{Gateway: "box-1", Hold: time.Minute}
	for _, f := range change {
		f(&cfg)
	}
	return &yard{t, newHub(t), New(cfg), mqtttest.NewShelf()}
}

// device is one at the yard's broker whose points listen to topics.
func (y *yard) device(id string, topics ...string) (devices.Device, []devices.Bound) {
	dev := devices.Device{ID: id, Driver: devices.DriverMQTT, Endpoint: "mqtt://" + y.hub.address(), Username: "gw", Password: "secret-of-gw"}
	var bounds []devices.Bound
	for i, topic := range topics {
		b := bound(fmt.Sprintf("%s.p%d", id, i), &devices.Topic{Topic: topic})
		b.Binding.Device = id
		bounds = append(bounds, b)
	}
	return dev, bounds
}

// start runs a device until the test ends or stop is called.
func (y *yard) start(dev devices.Device, bounds []devices.Bound) (stop func()) {
	y.t.Helper()
	d, err := y.pool.Open(dev, bounds)
	if err != nil {
		y.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Run(ctx, y.s) })
	stop = func() { cancel(); running.Wait() }
	y.t.Cleanup(stop)
	return stop
}

// online waits until a device was told to be well.
func (y *yard) online(ids ...string) {
	y.t.Helper()
	for _, id := range ids {
		y.s.AwaitReport(y.t, id, "")
	}
}

// until answers SUBSCRIBE and UNSUBSCRIBE and gives the first packet of another
// kind, and the filters that were asked for or left meanwhile.
func (l *hubLink) until(kind byte) (pk wire.Packet, asked, left []string) {
	l.t.Helper()
	for {
		pk, err := l.Read()
		if err != nil {
			l.t.Fatalf("want %s: %v", wire.PacketNames[kind], err)
		}
		switch pk.FixedHeader.Type {
		case wire.Subscribe:
			codes := make([]byte, len(pk.Filters))
			for i, f := range pk.Filters {
				codes[i], asked = 1, append(asked, f.Filter)
			}
			l.Send(wire.Packet{FixedHeader: wire.FixedHeader{Type: wire.Suback}, PacketID: pk.PacketID, ReasonCodes: codes})
		case wire.Unsubscribe:
			for _, f := range pk.Filters {
				left = append(left, f.Filter)
			}
			l.Send(wire.Packet{FixedHeader: wire.FixedHeader{Type: wire.Unsuback}, PacketID: pk.PacketID})
		}
		if pk.FixedHeader.Type == kind {
			slices.Sort(asked)
			slices.Sort(left)
			return pk, asked, left
		}
	}
}

func TestDevicesOfOneAccountShareAConnection(t *testing.T) {
	y := newYard(t)
	y.start(y.device("a", "plant/a/+", "shared"))
	y.start(y.device("b", "plant/b/pm", "shared"))
	l, hello := y.hub.meet()
	if id := hello.Connect.ClientIdentifier; !strings.HasPrefix(id, "offsite-box-1-") {
		t.Errorf("client id %s", id)
	}
	l.accept()
	filters := l.subscribed(1)
	slices.Sort(filters)
	if diff := cmp.Diff([]string{"plant/a/+", "plant/b/pm", "shared"}, filters); diff != "" {
		t.Error(diff)
	}
	y.online("a", "b")
	l.Publish("plant/a/x", "1", 1, 1)
	l.Publish("plant/b/pm", "2", 1, 2)
	for id := range uint16(2) {
		if got := l.Want(wire.Puback); got.PacketID != id+1 {
			t.Fatalf("PUBACK of %d", got.PacketID)
		}
	}
	y.s.Set(true, nil)
	l.Publish("shared", "3", 1, 3)
	got := y.s.AwaitDeliveries(t, 4)
	who := []string{got[2].Origin.Device, got[3].Origin.Device}
	slices.Sort(who)
	if diff := cmp.Diff([]string{"a", "b", "a", "b"}, append([]string{got[0].Origin.Device, got[1].Origin.Device}, who...)); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
	y.s.ReleaseOne()
	l.Silent()
	y.s.ReleaseOne()
	if got := l.Want(wire.Puback); got.PacketID != 3 {
		t.Errorf("PUBACK of %d, want 3", got.PacketID)
	}
	if c := y.pool.Counts(); c.Sessions != 1 || c.Devices != 2 || c.Accepted != 4 || c.Lost != 0 {
		t.Errorf("counts %+v", c)
	}
	want := `# HELP offsite_mqtt_devices Devices at external brokers.
# TYPE offsite_mqtt_devices gauge
offsite_mqtt_devices 2
# HELP offsite_mqtt_sessions Sessions with external brokers that are connected.
# TYPE offsite_mqtt_sessions gauge
offsite_mqtt_sessions 1
`
	if err := testutil.CollectAndCompare(y.pool.Metrics(), strings.NewReader(want), "offsite_mqtt_sessions", "offsite_mqtt_devices"); err != nil {
		t.Error(err)
	}
}

func TestAnotherAccountHasItsOwnConnection(t *testing.T) {
	y := newYard(t)
	ids := map[string]bool{}
	for _, change := range []func(*devices.Device){
		func(*devices.Device) {},
		func(d *devices.Device) { d.Username = "other" },
		func(d *devices.Device) { d.MQTT = &devices.MQTTSettings{ClientID: "own"} },
		func(d *devices.Device) { d.MQTT = &devices.MQTTSettings{Share: "group"} },
	} {
		dev, bounds := y.device("a", "plant/a")
		change(&dev)
		y.start(dev, bounds)
		l, hello := y.hub.meet()
		l.accept()
		ids[hello.Connect.ClientIdentifier] = true
	}
	if len(ids) != 4 {
		t.Errorf("client ids %v", ids)
	}
}

func TestMessageWaitsForItsDevice(t *testing.T) {
	y := newYard(t)
	y.start(y.device("a", "plant/a"))
	l, _ := y.hub.meet()
	l.accept()
	l.subscribed(1)
	y.online("a")
	l.Publish("plant/b", "1", 1, 1) // kept by the broker from before the gateway's start
	l.Publish("plant/a", "2", 1, 2)
	y.s.AwaitDeliveries(t, 1)
	l.Silent()
	y.start(y.device("b", "plant/b"))
	ack, _, left := l.until(wire.Puback)
	if ack.PacketID != 1 || len(left) != 0 {
		t.Errorf("PUBACK of %d, left %v", ack.PacketID, left)
	}
	got := y.s.AwaitDeliveries(t, 2)
	if got[1].Origin.Device != "b" || got[1].Readings[0].Value != 1 {
		t.Errorf("delivery %+v", got[1])
	}
	ack, _, _ = l.until(wire.Puback)
	if ack.PacketID != 2 {
		t.Errorf("PUBACK of %d, want 2", ack.PacketID)
	}
}

func TestMessageForNobodyIsLeftAfterAWhile(t *testing.T) {
	y := newYard(t, func(c *Config) { c.Hold = 300 * time.Millisecond })
	y.start(y.device("a", "plant/a"))
	l, _ := y.hub.meet()
	l.accept()
	l.subscribed(1)
	l.Publish("plant/gone", "1", 1, 1)
	_, _, left := l.until(wire.Unsubscribe)
	if !slices.Contains(left, "plant/gone") || slices.Contains(left, "plant/a") {
		t.Errorf("left %v", left)
	}
	if c := y.pool.Counts(); c.Unclaimed != 1 {
		t.Errorf("counts %+v", c)
	}
}

func TestEditOfOneDeviceLeavesTheOthersAlone(t *testing.T) {
	y := newYard(t)
	stop := y.start(y.device("a", "plant/a"))
	y.start(y.device("b", "plant/b"))
	l, _ := y.hub.meet()
	l.accept()
	l.subscribed(1)
	y.online("a", "b")
	y.s.Set(true, nil)
	l.Publish("plant/b", "1", 1, 1)
	y.s.AwaitDeliveries(t, 1)
	stop()
	l.Publish("plant/a", "2", 1, 2) // while a is away
	l.Publish("plant/b", "3", 1, 3)
	y.s.AwaitDeliveries(t, 2)
	y.start(y.device("a", "plant/a", "plant/new"))
	y.s.AwaitDeliveries(t, 3)
	y.s.Set(false, nil)
	y.s.Release()
	var asked []string
	for id := range uint16(3) {
		ack, more, left := l.until(wire.Puback)
		if ack.PacketID != id+1 || len(left) > 0 {
			t.Fatalf("PUBACK of %d, want %d; left %v", ack.PacketID, id+1, left)
		}
		asked = append(asked, more...)
	}
	got := y.s.AwaitDeliveries(t, 3)
	if got[2].Origin.Device != "a" || got[2].Readings[0].Value != 2 {
		t.Errorf("delivery %+v", got[2])
	}
	if len(asked) == 0 {
		_, asked, _ = l.until(wire.Subscribe)
	}
	if diff := cmp.Diff([]string{"plant/a", "plant/new"}, asked); diff != "" {
		t.Errorf("subscribed (-want +got):\n%s", diff)
	}
	for _, code := range y.s.Codes() {
		if code != "" {
			t.Errorf("told %s", code)
		}
	}
}

func TestTopicThatAnEditDropsHoldsNobodyUp(t *testing.T) {
	y := newYard(t)
	stop := y.start(y.device("a", "plant/a", "plant/old"))
	y.start(y.device("b", "plant/b"))
	l, _ := y.hub.meet()
	l.accept()
	l.subscribed(1)
	y.online("a", "b")
	for _, s := range y.pool.sessions { // as if they had run for long
		s.mu.Lock()
		s.begun, s.hold = time.Now(), time.Now()
		s.mu.Unlock()
	}
	stop()
	l.Publish("plant/old", "1", 1, 1)
	l.Publish("plant/b", "2", 1, 2)
	y.s.AwaitDeliveries(t, 1)
	l.Silent()
	y.start(y.device("a", "plant/a"))
	var left []string
	for id := range uint16(2) {
		ack, _, more := l.until(wire.Puback)
		if ack.PacketID != id+1 {
			t.Fatalf("PUBACK of %d, want %d", ack.PacketID, id+1)
		}
		left = append(left, more...)
	}
	if len(left) == 0 {
		_, _, left = l.until(wire.Unsubscribe)
	}
	if !slices.Contains(left, "plant/old") || slices.Contains(left, "plant/a") {
		t.Errorf("left %v", left)
	}
}

func TestRetiredDeviceIsUnsubscribed(t *testing.T) {
	y := newYard(t, func(c *Config) { c.Hold = 50 * time.Millisecond })
	stop := y.start(y.device("a", "plant/#"))
	y.start(y.device("b", "plant/b"))
	l, _ := y.hub.meet()
	l.accept()
	if diff := cmp.Diff([]string{"plant/#"}, l.subscribed(1)); diff != "" {
		t.Error(diff)
	}
	y.online("a", "b")
	stop()
	_, asked, left := l.until(wire.Unsubscribe)
	if diff := cmp.Diff([][]string{{"plant/b"}, {"plant/#"}}, [][]string{asked, left}); diff != "" {
		t.Errorf("subscribed and left (-want +got):\n%s", diff)
	}
}

func TestNewcomerGetsWhatTheBrokerHasRetained(t *testing.T) {
	y := newYard(t)
	y.start(y.device("a", "plant/#"))
	l, _ := y.hub.meet()
	l.accept()
	l.subscribed(1)
	y.online("a")
	y.start(y.device("b", "plant/b"))
	if diff := cmp.Diff([]string{"plant/#"}, l.subscribed(1)); diff != "" {
		t.Errorf("subscribed anew (-want +got):\n%s", diff)
	}
	y.online("b")
}

func TestEveryDeviceHearsOfTheConnection(t *testing.T) {
	y := newYard(t)
	y.start(y.device("a", "plant/a"))
	y.start(y.device("b", "plant/b"))
	l, _ := y.hub.meet()
	l.accept()
	l.subscribed(1)
	y.online("a", "b")
	_ = y.hub.listener.Close()
	_ = l.Conn.Close()
	y.s.AwaitReports(t, 6) // lost, then refused
	y.start(y.device("c", "plant/c"))
	y.s.AwaitReports(t, 7)
	count := map[string]int{}
	for _, r := range y.s.Reports() {
		code := ""
		if r.Problem != nil {
			code = r.Problem.Code
		}
		count[r.Device+" "+code]++
	}
	want := map[string]int{
		"a ": 1, "b ": 1, "a connection_lost": 1, "b connection_lost": 1,
		"a connection_refused": 1, "b connection_refused": 1, "c connection_refused": 1,
	}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

func TestStopWaitsForNoDeviceThatHasNotCome(t *testing.T) {
	y := newYard(t)
	stop := y.start(y.device("a", "plant/a"))
	l, _ := y.hub.meet()
	l.accept()
	l.subscribed(1)
	y.online("a")
	l.Publish("plant/b", "1", 1, 1)
	l.Publish("plant/a", "2", 1, 2)
	y.s.AwaitDeliveries(t, 1)
	began := time.Now()
	stop()
	if took := time.Since(began); took >= farewell {
		t.Errorf("stopped after %s", took)
	}
	if diff := cmp.Diff([]string{"Disconnect"}, l.WantEnd()); diff != "" {
		t.Errorf("the broker got (-want +got):\n%s", diff)
	}
}

func TestBirthOutlivesAnEditAndAReconnect(t *testing.T) {
	y := newYard(t, func(c *Config) { c.Formats = payload.Formats{devices.FormatSparkplug: sparkplug.New} })
	edge := func(point string) (devices.Device, []devices.Bound) {
		dev, bounds := y.device("a", "spBv1.0/plant/+/e1")
		bounds[0].Point.ID = point
		bounds[0].Binding.Topic.Format, bounds[0].Binding.Topic.Path = devices.FormatSparkplug, "Supply"
		return dev, bounds
	}
	stop := y.start(edge("out.p"))
	l, _ := y.hub.meet()
	l.accept()
	l.subscribed(1)
	l.Publish("spBv1.0/plant/NBIRTH/e1", "\x12\x11\x0a\x06Supply\x10\x05\x20\x09\x65\x00\x00\xc0\x41\x18\x00", 1, 1)
	l.Want(wire.Puback)
	_ = l.Conn.Close()
	l, _ = y.hub.meet()
	l.accept()
	l.subscribed(1)
	l.Publish("spBv1.0/plant/NDATA/e1", "\x12\x07\x10\x05\x65\x00\x00\xc8\x41\x18\x01", 1, 1) // by its alias
	l.Want(wire.Puback)
	stop()
	y.start(edge("out.q"))
	l, _ = y.hub.meet()
	l.accept()
	l.subscribed(1)
	l.Publish("spBv1.0/plant/NDATA/e1", "\x12\x07\x10\x05\x65\x00\x00\xd0\x41\x18\x02", 1, 1)
	l.Want(wire.Puback)
	l.Publish("spBv1.0/plant/NDATA/e1", "\x12\x07\x10\x05\x65\x00\x00\xd8\x41\x18\x04", 1, 2) // one is missing
	for asked := false; !asked; {
		pk, err := l.Read()
		if err != nil {
			t.Fatal(err)
		}
		asked = pk.FixedHeader.Type == wire.Publish && pk.TopicName == "spBv1.0/plant/NCMD/e1"
	}
	var got []float64
	for _, d := range y.s.AwaitDeliveries(t, 4) {
		if d.Letter != nil || len(d.Readings) != 1 {
			t.Fatalf("delivery %+v", d)
		}
		got = append(got, d.Readings[0].Value)
	}
	if diff := cmp.Diff([]float64{24, 25, 26, 27}, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestAccountsHaveLastingNames(t *testing.T) {
	base := account{address: "h:1883", username: "gw", password: "one"}
	renewed, other := base, base
	renewed.password = "two"
	other.address = "i:1883"
	if base.id("box") != renewed.id("box") {
		t.Error("a new password gives another client id")
	}
	if base.id("box") == other.id("box") || base.id("box") == base.id("box-2") {
		t.Error("two brokers or two gateways have one client id")
	}
}
