package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices"
	"offsite/devices/mqtt/mqtttest"
)

func TestRunAgainKeepsThePort(t *testing.T) {
	b, err := New(Config{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if b.Addr() != nil {
		t.Error("it listens before Run")
	}
	_ = b.Update([]Client{member("dev-1", bound("dev-1", "out.p", nil))})
	var first string
	for i := range 3 {
		s := mqtttest.NewShelf()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx, s) }()
		<-b.Ready()
		if i == 0 {
			first = b.Addr().String()
		}
		awaitHost(t, b)
		p := dial(t, b, 4)
		if code := p.connect("dev-1"); code != 0 {
			t.Fatalf("CONNACK %#x", code)
		}
		p.Publish(topic, "1", 1, 1)
		p.Want(packets.Puback)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
		p.wantEnd()
		if b.Addr().String() != first {
			t.Errorf("listens on %s, then on %s", first, b.Addr())
		}
	}
	if c := b.Counts(); c.Accepted != 3 || c.Connected != 0 {
		t.Errorf("counts %+v", c)
	}
}

// awaitHost waits until the broker runs. Dialling until it answers would not do:
// a port that nobody listens on may connect to itself.
func awaitHost(t *testing.T, b *Broker) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		b.mu.Lock()
		runs := b.host != nil
		b.mu.Unlock()
		if runs {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the broker does not run")
		}
	}
}

func TestRunEndsWithClientsOfEveryKind(t *testing.T) {
	s := mqtttest.NewShelf()
	s.Set(true, nil)
	b := start(t, s, func(c *Config) { c.Waiting = 2 })
	dial(t, b, 4) // says nothing
	full := signIn(t, b, 4, "dev-1")
	for id := range uint16(5) {
		full.Publish(topic, "1", 1, id+1) // the reader waits for room
	}
	s.AwaitDeliveries(t, 2)
	signIn(t, b, 5, "dev-2").subscribe("offsite/dev-2/#", 2)
} // the cleanup ends Run, and goleak looks for what it left

func TestPortInUseIsTold(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b, err := New(Config{Address: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	err = b.Run(t.Context(), mqtttest.NewShelf())
	ps := devices.AllProblems(err)
	if len(ps) != 1 || ps[0].Code != "cannot_listen" || !strings.Contains(ps[0].ZH, l.Addr().String()) {
		t.Errorf("Run: %v", err)
	}
}

func TestOneDeviceHasNotAllConnections(t *testing.T) {
	s := mqtttest.NewShelf()
	b := start(t, s)
	for i := range perDevice {
		signIn(t, b, 4, "dev-1", named(fmt.Sprint(i))).quiet()
	}
	if code := dial(t, b, 4).connect("dev-1", named("one more")); code != 3 {
		t.Errorf("CONNACK %d for one connection too many", code)
	}
	signIn(t, b, 4, "dev-2")
}

func TestConnectionsAreBounded(t *testing.T) {
	b := start(t, mqtttest.NewShelf(), func(c *Config) { c.Clients = 2 })
	first := signIn(t, b, 4, "dev-1")
	signIn(t, b, 4, "dev-2").quiet()
	first.quiet() // a connection counts from its CONNACK on
	if code := dial(t, b, 4).connect("dev-1", named("one more")); code != 3 {
		t.Errorf("CONNACK %d for one connection too many", code)
	}
	if code := dial(t, b, 5).connect("dev-1", named("one more")); code != packets.ErrServerBusy.Code {
		t.Errorf("CONNACK %#x for one connection too many of MQTT 5", code)
	}
	first.quiet()
}

func TestStorageHealsWithoutARestart(t *testing.T) {
	s := mqtttest.NewShelf()
	s.Set(false, errors.New("no space left"))
	b := start(t, s)
	p := signIn(t, b, 4, "dev-1")
	p.Publish(topic, "1", 1, 1)
	p.wantEnd()
	s.Set(false, nil)
	deadline := time.Now().Add(10 * time.Second)
	for {
		p = dial(t, b, 4)
		if p.connect("dev-1") == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("clients are kept out for ever")
		}
	}
	p.Publish(topic, "1", 1, 1, mqtttest.Dup)
	p.Want(packets.Puback)
	if got := s.AwaitDeliveries(t, 2); !got[1].Origin.Resent {
		t.Errorf("delivery %+v", got[1].Origin)
	}
}

func TestLargeMessages(t *testing.T) {
	s := mqtttest.NewShelf()
	b := start(t, s)
	p := signIn(t, b, 4, "dev-1")
	p.Publish(topic, strings.Repeat("1", devices.MaxPayload+1), 1, 1)
	p.Want(packets.Puback)
	got := s.AwaitDeliveries(t, 1)
	if l := got[0].Letter; l == nil || l.Problem.Code != "too_large" || len(l.Payload) != devices.MaxPayload {
		t.Errorf("a message above 64 KiB gave %+v", got[0])
	}
	p.Publish(topic, strings.Repeat("1", maxPacket), 1, 2)
	p.wantEnd()
	s.AwaitReport(t, "dev-1", "packet_too_large")
}
