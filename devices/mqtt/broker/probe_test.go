package broker

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices"
	"offsite/devices/mqtt/mqtttest"
	"offsite/devices/mqtt/payload"
	"offsite/devices/probetest"
)

// form is an unsaved form of a client of the embedded broker.
func form(id string, places ...devices.Topic) (devices.Device, []devices.Bound) {
	bounds := make([]devices.Bound, len(places))
	for i := range places {
		bounds[i].Binding.Topic = &places[i]
	}
	return devices.Device{ID: id, Driver: devices.DriverBroker}, bounds
}

func probe(t *testing.T, b *Broker, limit time.Duration, id string, places ...devices.Topic) []devices.Step {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	dev, bounds := form(id, places...)
	steps, err := b.Probe(ctx, dev, bounds)
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func TestProbeOfAClient(t *testing.T) {
	s := mqtttest.NewShelf()
	b := start(t, s)
	at := devices.Topic{Topic: "offsite/dev-1/p"}
	before := probe(t, b, 5*time.Second, "dev-1", at)
	if diff := cmp.Diff([]string{"setup", "sign_in failed", "message failed"}, probetest.Outline(before)); diff != "" {
		t.Error(diff)
	}
	if w := before[0]; !strings.Contains(w.EN, "server "+b.Addr().String()+" (without TLS), user name dev-1") || !strings.Contains(w.EN, "offsite/dev-1/p") || !strings.Contains(w.CureEN, "broker.listen") {
		t.Errorf("setup %+v", w)
	}
	p := signIn(t, b, 4, "dev-1")
	p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, PacketID: 1, TopicName: "offsite/dev-1/p", Payload: []byte("4.5")})
	p.Want(packets.Puback)
	p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, PacketID: 2, TopicName: "offsite/dev-1/new", Payload: []byte(`{"a":{"b":7}}`)})
	p.Want(packets.Puback)
	s.AwaitDeliveries(t, 1)
	// The form has a binding more than what is registered: it is read from the sample.
	now := probe(t, b, 5*time.Second, "dev-1", at, devices.Topic{Topic: "offsite/dev-1/new", Path: "a.b"})
	if diff := cmp.Diff([]string{"setup", "sign_in", "message", "values"}, probetest.Outline(now)); diff != "" {
		t.Fatal(diff)
	}
	if !strings.Contains(now[1].EN, "from 127.0.0.1:") || !strings.Contains(now[2].EN, `offsite/dev-1/new at `) {
		t.Errorf("%+v", now)
	}
	if v := now[3].Values; *v[0].Value != 4.5 || v[0].Raw != "4.5" || *v[1].Value != 7 {
		t.Errorf("%+v", v)
	}
	if len(s.AwaitDeliveries(t, 1)) != 1 {
		t.Error("a probe gave readings")
	}
}

func TestProbeTellsWhyAClientIsAway(t *testing.T) {
	b := start(t, mqtttest.NewShelf())
	wrong := func(pk *packets.Packet) { pk.Connect.Password = []byte("something else") }
	if code := dial(t, b, 4).connect("dev-2", wrong); code == 0 {
		t.Fatal("let in")
	}
	refused := probe(t, b, 5*time.Second, "dev-2")
	if s := refused[1]; s.OK || !strings.Contains(s.EN, "wrong password (") || !strings.Contains(s.EN, "from 127.0.0.1:") || s.CureEN != "correct it in the device" {
		t.Errorf("%+v", s)
	}
	unsaved := probe(t, b, 5*time.Second, "dev-9")
	if diff := cmp.Diff([]string{"setup", "sign_in skipped"}, probetest.Outline(unsaved)); diff != "" {
		t.Error(diff)
	}
	silent := mqtttest.NewShelf()
	quiet := start(t, silent)
	signIn(t, quiet, 4, "dev-1")
	silent.AwaitReport(t, "dev-1", "")
	steps := probe(t, quiet, 1200*time.Millisecond, "dev-1", devices.Topic{Topic: "offsite/dev-1/p"})
	if diff := cmp.Diff([]string{"setup", "sign_in", "message failed"}, probetest.Outline(steps)); diff != "" {
		t.Error(diff)
	}
	still, err := New(Config{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"setup failed"}, probetest.Outline(probe(t, still, time.Second, "dev-1"))); diff != "" {
		t.Error(diff)
	}
}

func TestRecentMessagesAreBounded(t *testing.T) {
	r := &recent{}
	for i := range 3 * mostRecent {
		r.note(&payload.Message{Topic: strings.Repeat("t", i+1), Payload: make([]byte, 3*mostSample), Received: time.Now()})
	}
	list := r.list()
	if len(list) != mostRecent || len(list[0].Payload) != mostSample || list[0].whole {
		t.Errorf("%d messages, %d bytes", len(list), len(list[0].Payload))
	}
}
