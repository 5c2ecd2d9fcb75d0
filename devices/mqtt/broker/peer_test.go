package broker

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices"
	"offsite/devices/mqtt/mqtttest"
)

func bound(device, point string, topic *devices.Topic) devices.Bound {
	return devices.Bound{
		Site: "site-1", Point: devices.Point{ID: point},
		Binding: devices.Binding{ID: "b-" + device, Device: device, Point: point, Topic: topic},
	}
}

func member(id string, bounds ...devices.Bound) Client {
	return Client{Device: devices.Device{ID: id, Password: devices.Secret("secret-of-" + id), Driver: devices.DriverBroker}, Bounds: bounds}
}

// start runs a broker for dev-1 (point out.p on offsite/dev-1/p) and dev-2.
func start(t testing.TB, s devices.Sink, change ...func(*Config)) *Broker {
	t.Helper()
	cfg := Config{Address: "127.0.0.1:0"}
	for _, f := range change {
		f(&cfg)
	}
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Update([]Client{member("dev-1", bound("dev-1", "out.p", nil)), member("dev-2")}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, s) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-b.Ready():
	case err := <-ended:
		t.Fatal(err)
	}
	return b
}

// peer is a client that speaks MQTT packet by packet.
type peer struct {
	*mqtttest.Wire
	t testing.TB
}

func dial(t testing.TB, b *Broker, version byte) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return &peer{mqtttest.NewWire(t, conn, version), t}
}

// connect signs dev in and returns the return code.
func (p *peer) connect(dev string, change ...func(*packets.Packet)) byte {
	p.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, Connect: packets.ConnectParams{
		ProtocolName: []byte("MQTT"), Clean: true, Keepalive: 30, ClientIdentifier: "c-" + dev,
		UsernameFlag: true, Username: []byte(dev), PasswordFlag: true, Password: []byte("secret-of-" + dev),
	}}
	for _, f := range change {
		f(&pk)
	}
	p.Send(pk)
	return p.Want(packets.Connack).ReasonCode
}

func signIn(t testing.TB, b *Broker, version byte, dev string, change ...func(*packets.Packet)) *peer {
	t.Helper()
	p := dial(t, b, version)
	if code := p.connect(dev, change...); code != 0 {
		t.Fatalf("CONNACK %#x", code)
	}
	return p
}

func (p *peer) subscribe(filter string, qos byte) byte {
	p.t.Helper()
	p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 99, Filters: packets.Subscriptions{{Filter: filter, Qos: qos}}})
	return p.Want(packets.Suback).ReasonCodes[0]
}

// quiet asserts that nothing has come before an answer to a ping.
func (p *peer) quiet() {
	p.t.Helper()
	p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	p.Want(packets.Pingresp)
}

// wantEnd asserts that the connection ends without more than a DISCONNECT.
func (p *peer) wantEnd() {
	p.t.Helper()
	for _, kind := range p.WantEnd() {
		if kind != packets.PacketNames[packets.Disconnect] {
			p.t.Fatalf("got %s, want the end", kind)
		}
	}
}
