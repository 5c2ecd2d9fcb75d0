package mqtt

import (
	"context"
	"net"
	"sync"
	"testing"

	wire "github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices"
	"offsite/devices/mqtt/mqtttest"
)

func bound(point string, topic *devices.Topic) devices.Bound {
	return devices.Bound{
		Site: "site-1", Point: devices.Point{ID: point},
		Binding: devices.Binding{ID: "b-1", Device: "dev-1", Point: point, Topic: topic},
	}
}

func open(t testing.TB, address string, bounds []devices.Bound, change ...func(*devices.Device, *Config)) *Driver {
	t.Helper()
	dev := devices.Device{ID: "dev-1", Driver: devices.DriverMQTT, Endpoint: "mqtt://" + address, Username: "dev-1", Password: "secret-of-dev-1"}
	var cfg Config
	for _, f := range change {
		f(&dev, &cfg)
	}
	d, err := Open(dev, bounds, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// run runs d until the test ends or stop is called; stop gives Run's error.
func run(t testing.TB, d *Driver, s devices.Sink) (ended <-chan error, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	done := make(chan error, 1)
	go func() { err := d.Run(ctx, s); done <- err; result <- err }()
	once := sync.OnceValue(func() error { cancel(); return <-result })
	t.Cleanup(func() { _ = once() })
	return done, once
}

// hub is a broker that does packet by packet what a test says.
type hub struct {
	t        testing.TB
	listener net.Listener
}

func newHub(t testing.TB) *hub {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &hub{t: t, listener: l}
}

func (h *hub) address() string { return h.listener.Addr().String() }

// hubLink is the hub's side of a connection.
type hubLink struct {
	*mqtttest.Wire
	t testing.TB
}

// meet waits for a driver, lets it in and gives its CONNECT.
func (h *hub) meet() (*hubLink, wire.Packet) {
	h.t.Helper()
	conn, err := h.listener.Accept()
	if err != nil {
		h.t.Fatal(err)
	}
	l := &hubLink{mqtttest.NewWire(h.t, conn, 4), h.t}
	hello := l.Want(wire.Connect)
	return l, hello
}

func (l *hubLink) accept() {
	l.Send(wire.Packet{FixedHeader: wire.FixedHeader{Type: wire.Connack}})
}

// subscribed answers a SUBSCRIBE with code and gives its filters.
func (l *hubLink) subscribed(code byte) []string {
	sub := l.Want(wire.Subscribe)
	codes := make([]byte, len(sub.Filters))
	var filters []string
	for i, f := range sub.Filters {
		codes[i] = code
		filters = append(filters, f.Filter)
	}
	l.Send(wire.Packet{FixedHeader: wire.FixedHeader{Type: wire.Suback}, PacketID: sub.PacketID, ReasonCodes: codes})
	return filters
}
