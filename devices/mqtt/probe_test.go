package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	wire "github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices"
	"offsite/devices/mqtt/broker"
	"offsite/devices/probetest"
)

// try probes with little patience.
func try(t *testing.T, dev devices.Device, bounds []devices.Bound, change ...func(*Config)) []devices.Step {
	t.Helper()
	var cfg Config
	for _, f := range change {
		f(&cfg)
	}
	p := NewProber(cfg)
	p.wait = time.Second
	steps, err := p.Probe(t.Context(), dev, bounds)
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

// unsaved is a form: no id, no site, no name.
func unsaved(address string) devices.Device {
	return devices.Device{Driver: devices.DriverMQTT, Endpoint: "mqtt://" + address, Username: "dev-1", Password: "secret-of-dev-1"}
}

func formOf(topics ...devices.Topic) []devices.Bound {
	bounds := make([]devices.Bound, len(topics))
	for i := range topics {
		bounds[i].Binding.Topic = &topics[i]
	}
	return bounds
}

func TestProbeHearsAndDecodes(t *testing.T) {
	h := newHub(t)
	steps := make(chan []devices.Step)
	high := 100.0
	bounds := formOf(devices.Topic{Topic: "plant/dust", Path: "pm10"}, devices.Topic{Topic: "plant/dust", Path: "nothing"}, devices.Topic{Topic: "plant/level"})
	bounds[2].Binding.Scale = 10
	bounds[2].Point = devices.Point{Max: &high}
	go func() { steps <- try(t, unsaved(h.address()), bounds) }()
	l, hello := h.meet()
	if c := hello.Connect; !strings.HasPrefix(c.ClientIdentifier, "offsite-probe-") || !c.Clean {
		t.Errorf("a probe would disturb the device's session: %+v", c)
	}
	l.accept()
	l.subscribed(0)
	l.Publish("plant/dust", `{"pm10":35.5}`, 0, 0)
	l.Publish("plant/level", "12", 0, 0, func(pk *wire.Packet) { pk.FixedHeader.Retain = true })
	got := <-steps
	if diff := cmp.Diff([]string{"address", "connect", "sign_in", "subscribe", "message", "values failed"}, probetest.Outline(got)); diff != "" {
		t.Fatal(diff)
	}
	if m := got[4]; !strings.Contains(m.EN, "2 messages came; the last (kept by the broker from earlier) on plant/level: 12") {
		t.Errorf("message: %s", m.EN)
	}
	v := got[5].Values
	if v[0].Binding != "0" || *v[0].Value != 35.5 || !v[0].Plausible || v[0].Raw != `{"pm10":35.5}` {
		t.Errorf("first %+v", v[0])
	}
	if v[1].Value != nil || !strings.Contains(v[1].EN, "nothing") {
		t.Errorf("second %+v", v[1])
	}
	if *v[2].Value != 120 || v[2].Plausible {
		t.Errorf("third %+v", v[2])
	}
}

func TestProbeOfAnEmbeddedBroker(t *testing.T) {
	b := startBroker(t)
	none := try(t, unsaved(b.Addr().String()), nil)
	if diff := cmp.Diff([]string{"address", "connect", "sign_in", "subscribe skipped"}, probetest.Outline(none)); diff != "" {
		t.Error(diff)
	}
	wrong := unsaved(b.Addr().String())
	wrong.Password = "no-password-of-ours"
	steps := try(t, wrong, nil)
	if diff := cmp.Diff([]string{"address", "connect", "sign_in failed"}, probetest.Outline(steps)); diff != "" || steps[2].CureEN != "correct user name and password" {
		t.Errorf("%s %+v", diff, steps)
	}
}

func TestProbeWhereSubscriptionsAreRefused(t *testing.T) {
	h := newHub(t)
	steps := make(chan []devices.Step)
	go func() {
		steps <- try(t, unsaved(h.address()), formOf(devices.Topic{Topic: "secret/p"}, devices.Topic{Topic: "open/p"}))
	}()
	l, _ := h.meet()
	l.accept()
	for range 3 { // together, then one by one
		sub := l.Want(wire.Subscribe)
		var codes []byte
		for _, f := range sub.Filters {
			codes = append(codes, map[string]byte{"secret/p": 0x80}[f.Filter])
		}
		l.Send(wire.Packet{FixedHeader: wire.FixedHeader{Type: wire.Suback}, PacketID: sub.PacketID, ReasonCodes: codes})
	}
	l.Publish("open/p", "7", 0, 0)
	got := <-steps
	if diff := cmp.Diff([]string{"address", "connect", "sign_in", "subscribe failed", "message", "values failed"}, probetest.Outline(got)); diff != "" {
		t.Fatal(diff)
	}
	if s := got[3]; !strings.Contains(s.EN, "secret/p") || strings.Contains(s.EN, "open/p") || s.CureEN == "" {
		t.Errorf("subscribe: %+v", s)
	}
}

func TestProbeThatHearsNothing(t *testing.T) {
	h := newHub(t)
	steps := make(chan []devices.Step)
	go func() {
		p := NewProber(Config{})
		p.wait = 50 * time.Millisecond
		got, _ := p.Probe(t.Context(), unsaved(h.address()), formOf(devices.Topic{Topic: "plant/p"}))
		steps <- got
	}()
	l, _ := h.meet()
	l.accept()
	l.subscribed(0)
	got := <-steps
	if last := got[len(got)-1]; last.Name != "message" || last.OK || !strings.Contains(last.CureEN, "check the topic") {
		t.Errorf("%+v", last)
	}
}

// closedPort is an address where nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// hangsUp is a TLS server that closes every connection after the handshake.
func hangsUp(t *testing.T, cert tls.Certificate) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func TestProbeTellsWhatFailed(t *testing.T) {
	server, _ := certificate(t)
	authority, _ := asPEM(t, server)
	secured := startBroker(t, func(c *broker.Config) { c.TLS = &tls.Config{Certificates: []tls.Certificate{server}} }).Addr().String()
	plain := startBroker(t).Addr().String()
	moody := hangsUp(t, server)
	nowhere := func(c *Config) {
		c.Resolve = func(context.Context, string) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
		}
	}
	strict := func(c *Config) {
		c.Allow = func(at netip.AddrPort) error {
			return devices.Invalid("endpoint", "address_refused", "不允许；请更换", "not allowed; choose another")
		}
	}
	tests := []struct {
		name     string
		endpoint string
		settings devices.MQTTSettings
		change   func(*Config)
		want     []string
		words    string // of the last step
	}{
		{"closed port", "mqtt://" + closedPort(t), devices.MQTTSettings{}, nil, []string{"address", "connect failed"}, "refuses the connection"},
		{"unknown host", "mqtt://broker.invalid", devices.MQTTSettings{}, nowhere, []string{"resolve failed"}, "check its name"},
		{"forbidden", "mqtt://" + plain, devices.MQTTSettings{}, strict, []string{"address failed"}, "choose another"},
		{"nobody known signed", "mqtts://" + secured, devices.MQTTSettings{}, nil, []string{"address", "connect", "encrypt failed"}, "mqtt.ca"},
		{"all well", "mqtts://" + secured, devices.MQTTSettings{CA: authority}, nil, []string{"address", "connect", "encrypt", "sign_in", "subscribe skipped"}, "no point is bound"},
		{"not encrypted there", "mqtts://" + plain, devices.MQTTSettings{}, nil, []string{"address", "connect", "encrypt failed"}, ""},
		{"no certificate of ours", "mqtts://" + moody, devices.MQTTSettings{CA: authority}, nil, []string{"address", "connect", "encrypt", "sign_in failed"}, "wants a certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dev := unsaved("")
			dev.Endpoint, dev.MQTT = tt.endpoint, &tt.settings
			steps := try(t, dev, nil, func(c *Config) {
				if tt.change != nil {
					tt.change(c)
				}
			})
			if diff := cmp.Diff(tt.want, probetest.Outline(steps)); diff != "" {
				t.Fatal(diff, steps)
			}
			if last := steps[len(steps)-1]; !strings.Contains(last.EN+"; "+last.CureEN, tt.words) || (!last.OK && !last.Skipped && last.CureZH == "") {
				t.Errorf("%+v", last)
			}
		})
	}
}

func TestProbeRefusesAFaultyForm(t *testing.T) {
	dev := unsaved("127.0.0.1:1883")
	dev.Endpoint = "http://127.0.0.1"
	_, err := NewProber(Config{}).Probe(t.Context(), dev, nil)
	var ps devices.Problems
	if !errors.As(err, &ps) || ps[0].Field != "endpoint" {
		t.Errorf("got %v", err)
	}
}
