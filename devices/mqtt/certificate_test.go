package mqtt

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/mqtt/broker"
	"offsite/devices/mqtt/mqtttest"
)

// asPEM writes a certificate and its key.
func asPEM(t *testing.T, c tls.Certificate) (cert string, key devices.Secret) {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(c.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})),
		devices.Secret(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

func TestSignsInWithItsCertificate(t *testing.T) {
	server, _ := certificate(t)
	own, _ := certificate(t)
	authority, _ := asPEM(t, server)
	cert, key := asPEM(t, own)
	sum := sha256.Sum256(own.Certificate[0])
	b := startBroker(t, func(c *broker.Config) { c.TLS = &tls.Config{Certificates: []tls.Certificate{server}} })
	if err := b.Update([]broker.Client{{Device: devices.Device{ID: "dev-1", MQTT: &devices.MQTTSettings{Fingerprints: []string{hex.EncodeToString(sum[:])}}}}}); err != nil {
		t.Fatal(err)
	}
	s := mqtttest.NewShelf()
	run(t, open(t, "", []devices.Bound{bound("out.p", nil)}, func(d *devices.Device, _ *Config) {
		d.Endpoint, d.Password = "mqtts://"+b.Addr().String(), ""
		d.MQTT = &devices.MQTTSettings{CA: authority, Certificate: cert, Key: key}
	}), s)
	s.AwaitReports(t, 1)
	if diff := cmp.Diff([]string{""}, s.Codes()); diff != "" {
		t.Error(diff)
	}
}

func TestBrokerThatHangsUpOnTheCertificate(t *testing.T) {
	server, roots := certificate(t)
	for _, tt := range []struct {
		name string
		end  func(*tls.Conn)
	}{
		{"closed", func(c *tls.Conn) { _ = c.NetConn().Close() }},
		{"reset", func(c *tls.Conn) {
			_ = c.NetConn().(*net.TCPConn).SetLinger(0)
			_ = c.NetConn().Close()
		}},
		{"said goodbye", func(c *tls.Conn) { _ = c.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHub(t)
			s := mqtttest.NewShelf()
			run(t, open(t, "", nil, func(d *devices.Device, c *Config) {
				d.Endpoint = "mqtts://" + h.address()
				c.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
			}), s)
			raw, err := h.listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{server}, MinVersion: tls.VersionTLS13})
			if err := conn.Handshake(); err != nil {
				t.Fatal(err)
			}
			tt.end(conn)
			s.AwaitReports(t, 1)
			if p := s.Problem(); p.Code != "bad_certificate" || p.Field != "mqtt.certificate" {
				t.Errorf("told %v", p)
			}
		})
	}
}

func TestCertificatesAreChecked(t *testing.T) {
	one, _ := certificate(t)
	two, _ := certificate(t)
	cert, key := asPEM(t, one)
	_, other := asPEM(t, two)
	tests := []struct {
		name     string
		endpoint string
		settings devices.MQTTSettings
		want     string
	}{
		{"good", "mqtts://h", devices.MQTTSettings{CA: cert, Certificate: cert, Key: key}, ""},
		{"key is kept", "mqtts://h", devices.MQTTSettings{Certificate: cert, Key: "[redacted]"}, ""},
		{"plain", "mqtt://h", devices.MQTTSettings{CA: cert}, "endpoint not_encrypted"},
		{"no PEM", "mqtts://h", devices.MQTTSettings{CA: "certificate"}, "mqtt.ca bad_certificate"},
		{"no key", "mqtts://h", devices.MQTTSettings{Certificate: cert}, "mqtt.certificate bad_certificate"},
		{"no certificate", "mqtts://h", devices.MQTTSettings{Key: key}, "mqtt.certificate bad_certificate"},
		{"another's key", "mqtts://h", devices.MQTTSettings{Certificate: cert, Key: other}, "mqtt.certificate bad_certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := devices.Device{ID: "d", Site: "s", Name: "n", Driver: devices.DriverMQTT, Endpoint: tt.endpoint, MQTT: &tt.settings}
			got := ""
			for _, p := range devices.AllProblems(d.Check()) {
				got += p.Field + " " + p.Code
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
