package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/deploy/peers"
	"offsite/devices"
	"offsite/devices/mqtt"
	"offsite/devices/mqtt/payload"
	"offsite/devices/mqtt/senml"
	"offsite/devices/mqtt/sparkplug"
)

var mqttFormats = payload.Formats{devices.FormatSenML: senml.New, devices.FormatSparkplug: sparkplug.New}

// authority signs certificates for 127.0.0.1.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	PEM  string
	last int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.PEM, _, a.key, a.cert = a.sign("authority", true)
	return a
}

// sign makes a certificate and its key, in PEM.
func (a *authority) sign(name string, ca bool) (cert, key string, private *ecdsa.PrivateKey, parsed *x509.Certificate) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.last++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.last), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: ca, BasicConstraintsValid: true,
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, private.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if parsed, err = x509.ParseCertificate(der); err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})), private, parsed
}

// strictMosquitto is a Mosquitto that lets in nobody without a certificate.
func strictMosquitto(t *testing.T, a *authority) (addr string) {
	t.Helper()
	dir := t.TempDir()
	cert, key, _, _ := a.sign("mosquitto", false)
	for name, text := range map[string]string{"ca.pem": a.PEM, "cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	addr, err := peers.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(addr)
	conf := filepath.Join(dir, "mosquitto.conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nuser root\nallow_anonymous true\ncafile %[2]s/ca.pem\ncertfile %[2]s/cert.pem\nkeyfile %[2]s/key.pem\nrequire_certificate true\nuse_identity_as_username true\n", port, dir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "mosquitto", "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	wait, done := context.WithTimeout(t.Context(), mqttPatience)
	defer done()
	if err := peers.Await(wait, peers.Listening(addr)); err != nil {
		t.Fatal(err)
	}
	return addr
}

// mqttTold runs a driver until it has reported, and gives the code.
func mqttTold(t *testing.T, dev devices.Device) string {
	t.Helper()
	d, err := mqtt.Open(dev, []devices.Bound{mqttBound("dev-1", "out.p", &devices.Topic{Topic: "plant/p"})}, mqtt.Config{})
	if err != nil {
		t.Fatal(err)
	}
	desk := newMQTTDesk(t)
	ctx, cancel := context.WithTimeout(t.Context(), mqttPatience)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { _ = d.Run(ctx, desk) })
	defer wg.Wait()
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
		desk.mu.Lock()
		reports := slices.Clone(desk.reports)
		desk.mu.Unlock()
		switch {
		case len(reports) > 0 && reports[0].Problem != nil:
			t.Logf("told: %v", reports[0].Problem)
			return reports[0].Problem.Code
		case len(reports) > 0:
			return ""
		case ctx.Err() != nil:
			t.Fatal("the driver tells nothing")
		}
	}
}

func TestMosquittoWantsACertificate(t *testing.T) {
	mqttTools(t, "mosquitto")
	a := newAuthority(t)
	addr := strictMosquitto(t, a)
	cert, key, _, _ := a.sign("gateway", false)
	foreign, foreignKey, _, _ := newAuthority(t).sign("gateway", false)
	dev := func(m devices.MQTTSettings) devices.Device {
		return devices.Device{ID: "dev-1", Endpoint: "mqtts://" + addr, MQTT: &m}
	}
	for _, tt := range []struct {
		name     string
		settings devices.MQTTSettings
		want     string
	}{
		{"its own", devices.MQTTSettings{CA: a.PEM, Certificate: cert, Key: devices.Secret(key)}, ""},
		{"none", devices.MQTTSettings{CA: a.PEM}, "bad_certificate"},
		{"of a stranger", devices.MQTTSettings{CA: a.PEM, Certificate: foreign, Key: devices.Secret(foreignKey)}, "bad_certificate"},
		{"unknown authority", devices.MQTTSettings{Certificate: cert, Key: devices.Secret(key)}, "bad_certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mqttTold(t, dev(tt.settings)); got != tt.want {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMosquittoWildcardsBatchesAndSenML(t *testing.T) {
	mqttTools(t, "mosquitto", "mosquitto_pub")
	m, err := peers.StartMosquitto(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Kill)
	d, err := mqtt.Open(devices.Device{ID: "dev-1", Endpoint: "mqtt://" + m.Addr}, []devices.Bound{
		mqttBound("dev-1", "out.a", &devices.Topic{Topic: "plant/{device}/+/data", Each: "rows", Path: "pm", TimePath: "t"}),
		mqttBound("dev-1", "out.b", &devices.Topic{Topic: "plant/{device}/#", Instance: "4C11", Format: devices.FormatSenML, Path: "dev:temp"}),
	}, mqtt.Config{Formats: mqttFormats})
	if err != nil {
		t.Fatal(err)
	}
	desk := newMQTTDesk(t)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = d.Run(ctx, desk) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	desk.await(t, "the subscription", func() bool { return len(desk.reports) > 0 })
	pub := func(topic, payload string) {
		t.Helper()
		if out, err := mqttPub(t, m.Addr, "", "-q", "1", "-t", topic, "-m", payload); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	}
	pub("plant/dev-1/v2/data", `{"rows":[{"t":1700000060,"pm":2},{"t":1700000000,"pm":1}]}`)
	pub("plant/dev-9/v2/data", `{"rows":[{"t":1700000060,"pm":9}]}`)
	pub("plant/4C11/senml", `[{"bn":"dev:","bt":1700000000,"n":"temp","u":"Cel","v":23.5}]`)
	desk.await(t, "two deliveries", func() bool { return len(desk.got) >= 2 })
	var got []string
	desk.mu.Lock()
	for _, x := range desk.got {
		for _, r := range x.Readings {
			got = append(got, fmt.Sprintf("%s %v %d", r.Point, r.Value, r.At.Unix()))
		}
	}
	desk.mu.Unlock()
	if diff := cmp.Diff([]string{"out.a 1 1700000000", "out.a 2 1700000060", "out.b 23.5 1700000000"}, got); diff != "" {
		t.Errorf("readings (-want +got):\n%s", diff)
	}
}

func TestMosquittoIsListenedTo(t *testing.T) {
	mqttTools(t, "mosquitto", "mosquitto_pub")
	m, err := peers.StartMosquitto(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Kill)
	if out, err := mqttPub(t, m.Addr, "", "-r", "-t", "zigbee2mqtt/shed", "-m", `{"temperature":21.5,"linkquality":80}`); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	topics, err := mqtt.Listen(t.Context(), devices.Device{ID: "dev-1", Endpoint: "mqtt://" + m.Addr}, mqtt.Config{Formats: mqttFormats}, mqtt.ListenConfig{For: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	list, _ := topics.List()
	if len(list) != 1 || list[0].Topic != "zigbee2mqtt/shed" || !list[0].Retained || len(list[0].Offers) != 2 || !strings.Contains(list[0].Sample, "21.5") {
		t.Errorf("heard %+v", list)
	}
}
