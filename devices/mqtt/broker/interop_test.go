package broker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices/mqtt/mqtttest"
)

// The tests of this file are what Eclipse's interoperability suite for MQTT
// 3.1.1 (paho.mqtt.testing, interoperability/client_test.py) expects of a
// broker, on the topics that a device may use.

const below = "offsite/dev-1/t/"

// taken reads n messages, answers them by their QoS and gives "topic payload
// qos", with " mqtttest.Retained" and " dup" behind it, sorted by payload.
func (p *peer) taken(n int) []string {
	p.t.Helper()
	var got []string
	for open := map[uint16]bool{}; len(got) < n || len(open) > 0; {
		pk, err := p.Read()
		if err != nil {
			p.t.Fatalf("%d of %d messages: %v", len(got), n, err)
		}
		switch pk.FixedHeader.Type {
		case packets.Publish:
			text := fmt.Sprintf("%s %s %d", pk.TopicName, pk.Payload, pk.FixedHeader.Qos)
			if pk.FixedHeader.Retain {
				text += " mqtttest.Retained"
			}
			if pk.FixedHeader.Dup {
				text += " dup"
			}
			got = append(got, text)
			switch pk.FixedHeader.Qos {
			case 1:
				p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: pk.PacketID})
			case 2:
				open[pk.PacketID] = true
				p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrec}, PacketID: pk.PacketID})
			}
		case packets.Pubrel:
			delete(open, pk.PacketID)
			p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubcomp}, PacketID: pk.PacketID})
		default:
			p.t.Fatalf("got %s", packets.PacketNames[pk.FixedHeader.Type])
		}
	}
	slices.Sort(got)
	return got
}

// put publishes and finishes the handshake of the QoS.
func (p *peer) put(topic, payload string, qos byte, change ...func(*packets.Packet)) {
	p.t.Helper()
	p.Publish(topic, payload, qos, uint16(qos)*7, change...)
	switch qos {
	case 1:
		p.Want(packets.Puback)
	case 2:
		p.Want(packets.Pubrec)
		p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel}, PacketID: 14})
		p.Want(packets.Pubcomp)
	}
}

func (p *peer) leave() {
	p.t.Helper()
	p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
	p.wantEnd()
}

// kept asks for a session that outlasts the connection.
func kept(pk *packets.Packet) { pk.Connect.Clean = false }

func TestInteropBasic(t *testing.T) {
	b := start(t, mqtttest.NewShelf())
	p := signIn(t, b, 4, "dev-1")
	if code := p.subscribe(below+"a", 2); code != 2 {
		t.Fatalf("SUBACK %#x", code)
	}
	pub := signIn(t, b, 4, "dev-1", named("pub"))
	for qos := range byte(3) {
		pub.put(below+"a", fmt.Sprint(qos), qos)
	}
	want := []string{below + "a 0 0", below + "a 1 1", below + "a 2 2"}
	if diff := cmp.Diff(want, p.taken(3)); diff != "" {
		t.Error(diff)
	}
	p.leave()
	twice := signIn(t, b, 4, "dev-1")
	twice.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, Connect: packets.ConnectParams{ProtocolName: []byte("MQTT"), Clean: true, ClientIdentifier: "x"}})
	twice.wantEnd()
	early := dial(t, b, 4)
	early.Publish(below+"a", "1", 0, 0)
	early.wantEnd()
	wrong := dial(t, b, 4)
	wrong.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, Connect: packets.ConnectParams{ProtocolName: []byte("HTTP"), Clean: true, ClientIdentifier: "x"}})
	for {
		if pk, err := wrong.Read(); err != nil {
			break
		} else if pk.FixedHeader.Type == packets.Connack && pk.ReasonCode == 0 {
			t.Error("an unknown protocol is let in")
		}
	}
}

func TestInteropRetained(t *testing.T) {
	b := start(t, mqtttest.NewShelf())
	pub := signIn(t, b, 4, "dev-1", named("pub"))
	for qos := range byte(3) {
		pub.put(fmt.Sprintf("%s%d/r", below, qos), fmt.Sprint(qos), qos, mqtttest.Retained)
	}
	pub.quiet()
	p := signIn(t, b, 4, "dev-1")
	p.subscribe(below+"+/r", 2)
	want := []string{below + "0/r 0 0 mqtttest.Retained", below + "1/r 1 1 mqtttest.Retained", below + "2/r 2 2 mqtttest.Retained"}
	if diff := cmp.Diff(want, p.taken(3)); diff != "" {
		t.Error(diff)
	}
	for qos := range byte(3) {
		pub.put(fmt.Sprintf("%s%d/r", below, qos), "", qos, mqtttest.Retained)
	}
	pub.quiet()
	late := signIn(t, b, 4, "dev-1", named("late"))
	late.subscribe(below+"+/r", 2)
	late.quiet()
}

func TestInteropZeroLengthClientID(t *testing.T) {
	b := start(t, mqtttest.NewShelf())
	noName := func(pk *packets.Packet) { pk.Connect.ClientIdentifier = "" }
	one, two := signIn(t, b, 4, "dev-1", noName), signIn(t, b, 4, "dev-1", noName)
	one.quiet() // they are two clients, not one that takes over from the other
	two.quiet()
	if code := dial(t, b, 4).connect("dev-1", noName, kept); code != 2 {
		t.Errorf("CONNACK %d for a session to be kept without a name", code)
	}
}

func TestInteropOfflineQueueing(t *testing.T) {
	b := start(t, mqtttest.NewShelf())
	p := signIn(t, b, 4, "dev-1", kept)
	p.subscribe(below+"+", 2)
	p.leave()
	pub := signIn(t, b, 4, "dev-1", named("pub"))
	for qos := range byte(3) {
		pub.put(below+"a", fmt.Sprint(qos), qos)
	}
	pub.quiet()
	again := dial(t, b, 4)
	if code := again.connect("dev-1", kept); code != 0 {
		t.Fatalf("CONNACK %d", code)
	}
	want := []string{below + "a 1 1 dup", below + "a 2 2 dup"} // QoS 0 may be kept or not; mochi calls all that waited repeated
	if diff := cmp.Diff(want, again.taken(2)); diff != "" {
		t.Error(diff)
	}
	again.leave()
	clean := signIn(t, b, 4, "dev-1")
	pub.put(below+"a", "3", 1)
	clean.quiet()
}

func TestInteropWill(t *testing.T) {
	for _, tt := range []struct {
		name   string
		polite bool
	}{{"broken connection", false}, {"DISCONNECT", true}} {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t, mqtttest.NewShelf())
			p := signIn(t, b, 4, "dev-1")
			p.subscribe(below+"+", 2)
			dying := signIn(t, b, 4, "dev-1", named("dying"), func(pk *packets.Packet) {
				pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload, pk.Connect.WillQos, pk.Connect.WillRetain = true, below+"will", []byte("gone"), 1, true
			})
			if tt.polite {
				dying.leave()
				p.quiet()
				return
			}
			dying.Conn.Close()
			if diff := cmp.Diff([]string{below + "will gone 1"}, p.taken(1)); diff != "" {
				t.Error(diff)
			}
			late := signIn(t, b, 4, "dev-1", named("late"))
			late.subscribe(below+"+", 2)
			if diff := cmp.Diff([]string{below + "will gone 1 mqtttest.Retained"}, late.taken(1)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestInteropOverlappingSubscriptions(t *testing.T) {
	b := start(t, mqtttest.NewShelf())
	p := signIn(t, b, 4, "dev-1")
	p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 3, Filters: packets.Subscriptions{
		{Filter: below + "#", Qos: 2}, {Filter: below + "+", Qos: 1},
	}})
	if got := p.Want(packets.Suback); got.PacketID != 3 || !slices.Equal(got.ReasonCodes, []byte{2, 1}) {
		t.Fatalf("SUBACK %+v", got)
	}
	pub := signIn(t, b, 4, "dev-1", named("pub"))
	pub.put(below+"a", "x", 2)
	if diff := cmp.Diff([]string{below + "a x 2"}, p.taken(1)); diff != "" {
		t.Error(diff)
	}
	p.quiet()
}

func TestInteropKeepAlive(t *testing.T) {
	b := start(t, mqtttest.NewShelf())
	p := signIn(t, b, 4, "dev-1")
	p.subscribe(below+"+", 2)
	began := time.Now()
	silent := signIn(t, b, 4, "dev-1", named("silent"), func(pk *packets.Packet) {
		pk.Connect.Keepalive, pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = 1, true, below+"will", []byte("silent")
	})
	if diff := cmp.Diff([]string{below + "will silent 0"}, p.taken(1)); diff != "" {
		t.Error(diff)
	}
	if took := time.Since(began); took < 1400*time.Millisecond || took > 5*time.Second {
		t.Errorf("it was given %s, want one and a half of its second", took)
	}
	silent.wantEnd()
}

func TestInteropRedeliveryOnReconnect(t *testing.T) {
	b := start(t, mqtttest.NewShelf())
	p := signIn(t, b, 4, "dev-1", kept)
	p.subscribe(below+"+", 2)
	pub := signIn(t, b, 4, "dev-1", named("pub"))
	pub.put(below+"a", "1", 1)
	pub.put(below+"a", "2", 2)
	for range 2 {
		p.Want(packets.Publish) // and no answer
	}
	p.Conn.Close()
	again := dial(t, b, 4)
	if code := again.connect("dev-1", kept); code != 0 {
		t.Fatalf("CONNACK %d", code)
	}
	if diff := cmp.Diff([]string{below + "a 1 1 dup", below + "a 2 2 dup"}, again.taken(2)); diff != "" {
		t.Error(diff)
	}
	again.quiet()
}

func TestInteropSubscribeFailure(t *testing.T) {
	b := start(t, mqtttest.NewShelf())
	p := signIn(t, b, 4, "dev-1")
	p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 3, Filters: packets.Subscriptions{
		{Filter: "test/nosubscribe", Qos: 2}, {Filter: below + "a", Qos: 1}, {Filter: "#", Qos: 0},
	}})
	if got := p.Want(packets.Suback); !slices.Equal(got.ReasonCodes, []byte{0x80, 1, 0x80}) {
		t.Errorf("SUBACK %#x", got.ReasonCodes)
	}
}

func TestInteropDollarTopics(t *testing.T) {
	b := start(t, mqtttest.NewShelf())
	p := signIn(t, b, 4, "dev-1")
	for _, filter := range []string{"$SYS/#", "$SYS/broker/uptime", "$share/g/$SYS/#", "+/broker/uptime"} {
		if code := p.subscribe(filter, 0); code != 0x80 {
			t.Errorf("%s: SUBACK %#x", filter, code)
		}
	}
	p.subscribe(below+"#", 2)
	pub := signIn(t, b, 4, "dev-1", named("pub"))
	pub.put("$"+below+"a", "x", 1)
	pub.put("$SYS/broker/uptime", "x", 0)
	pub.put(below+"a", "y", 1)
	if diff := cmp.Diff([]string{below + "a y 1"}, p.taken(1)); diff != "" {
		t.Error(diff)
	}
}

func TestInteropUnsubscribe(t *testing.T) {
	b := start(t, mqtttest.NewShelf())
	p := signIn(t, b, 4, "dev-1")
	for _, name := range []string{"a", "b", "c"} {
		p.subscribe(below+name, 2)
	}
	p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 4, Filters: packets.Subscriptions{{Filter: below + "a"}}})
	if got := p.Want(packets.Unsuback); got.PacketID != 4 {
		t.Errorf("UNSUBACK of %d", got.PacketID)
	}
	pub := signIn(t, b, 4, "dev-1", named("pub"))
	for _, name := range []string{"a", "b", "c"} {
		pub.put(below+name, name, 1)
	}
	if diff := cmp.Diff([]string{below + "b b 1", below + "c c 1"}, p.taken(2)); diff != "" {
		t.Error(diff)
	}
	p.quiet()
}
