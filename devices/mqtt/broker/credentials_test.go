package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices"
	"offsite/devices/mqtt/mqtttest"
)

// selfSigned makes a certificate for 127.0.0.1 that signs itself, and its fingerprint.
func selfSigned(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, hex.EncodeToString(sum[:])
}

func TestSignInWithACertificate(t *testing.T) {
	server, _ := selfSigned(t)
	own, print1 := selfSigned(t)
	foreign, print2 := selfSigned(t)
	s := mqtttest.NewShelf()
	b := start(t, s, func(c *Config) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{server}, MinVersion: tls.VersionTLS12}
	})
	one, two := member("dev-1", bound("dev-1", "out.p", nil)), member("dev-2")
	one.Device.Password = ""
	one.Device.MQTT = &devices.MQTTSettings{Fingerprints: []string{print1}}
	if err := b.Update([]Client{one, two}); err != nil {
		t.Fatal(err)
	}
	secure := func(shown ...tls.Certificate) *peer {
		conn, err := tls.Dial("tcp", b.Addr().String(), &tls.Config{InsecureSkipVerify: true, Certificates: shown}) // the test looks at the client's certificate
		if err != nil {
			t.Fatal(err)
		}
		return &peer{mqtttest.NewWire(t, conn, 4), t}
	}
	noPassword := func(pk *packets.Packet) { pk.Connect.PasswordFlag, pk.Connect.Password = false, nil }
	noName := func(pk *packets.Packet) { pk.Connect.UsernameFlag, pk.Connect.Username = false, nil }
	tests := []struct {
		name   string
		shown  []tls.Certificate
		dev    string
		change []func(*packets.Packet)
		want   byte
		code   string
	}{
		{"its own", []tls.Certificate{own}, "dev-1", []func(*packets.Packet){noPassword}, 0, ""},
		{"its own without a name", []tls.Certificate{own}, "", []func(*packets.Packet){noPassword, noName}, 0, ""},
		{"foreign", []tls.Certificate{foreign}, "dev-1", []func(*packets.Packet){noPassword}, 5, "bad_certificate"},
		{"none", nil, "dev-1", []func(*packets.Packet){noPassword}, 5, "no_certificate"},
		{"another's name", []tls.Certificate{own}, "dev-2", []func(*packets.Packet){noPassword}, 5, "bad_password"},
		{"password beside a foreign certificate", []tls.Certificate{foreign}, "dev-2", nil, 0, ""},
		{"foreign without a name", []tls.Certificate{foreign}, "", []func(*packets.Packet){noPassword, noName}, 5, "unknown_device"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if code := secure(tt.shown...).connect(tt.dev, tt.change...); code != tt.want {
				t.Errorf("CONNACK %d, want %d", code, tt.want)
			}
			if refused := b.Refused(); tt.code != "" && (len(refused) == 0 || refused[0].Code != tt.code) {
				t.Errorf("refused %+v", refused)
			}
		})
	}
	p := secure(own)
	p.connect("dev-1", noPassword)
	one.Device.MQTT = &devices.MQTTSettings{Fingerprints: []string{print1, print2}}
	_ = b.Update([]Client{one, two})
	p.Publish(topic, "1", 1, 1)
	p.Want(packets.Puback)
	one.Device.MQTT = &devices.MQTTSettings{Fingerprints: []string{print2}}
	_ = b.Update([]Client{one, two})
	p.wantEnd()
}

// TestPasswordIsExchangedWithoutLoss publishes all the while and counts.
func TestPasswordIsExchangedWithoutLoss(t *testing.T) {
	s := mqtttest.NewShelf()
	b := start(t, s)
	dev := func(password, next devices.Secret) Client {
		c := member("dev-1", bound("dev-1", "out.p", nil))
		c.Device.Password = password
		c.Device.MQTT = &devices.MQTTSettings{NextPassword: next}
		return c
	}
	with := func(password string) func(*packets.Packet) {
		return func(pk *packets.Packet) { pk.Connect.Password = []byte(password) }
	}
	sent := uint16(0)
	publish := func(p *peer) {
		sent++
		p.Publish(topic, "1", 1, sent)
		if got := p.Want(packets.Puback); got.PacketID != sent {
			t.Fatalf("PUBACK of %d, want %d", got.PacketID, sent)
		}
	}
	_ = b.Update([]Client{dev("old-password", "")})
	before := signIn(t, b, 4, "dev-1", with("old-password"), named("before"))
	publish(before)
	_ = b.Update([]Client{dev("old-password", "new-password")})
	publish(before)
	after := signIn(t, b, 4, "dev-1", with("new-password"), named("after"))
	publish(after)
	publish(before)
	_ = b.Update([]Client{dev("new-password", "")})
	publish(after)
	before.wantEnd()
	if code := dial(t, b, 4).connect("dev-1", with("old-password")); code != 5 {
		t.Errorf("CONNACK %d for the old password", code)
	}
	publish(after)
	s.AwaitDeliveries(t, int(sent))
}

func TestLimitsOfADevice(t *testing.T) {
	s := mqtttest.NewShelf()
	b := start(t, s)
	dev := member("dev-1", bound("dev-1", "out.p", nil))
	dev.Device.MQTT = &devices.MQTTSettings{Connections: 2, Rate: 100, Size: 8}
	if err := b.Update([]Client{dev, member("dev-2")}); err != nil {
		t.Fatal(err)
	}
	p := signIn(t, b, 4, "dev-1", named("a"))
	p.quiet() // a connection counts from its CONNACK on
	signIn(t, b, 4, "dev-1", named("b")).quiet()
	if code := dial(t, b, 4).connect("dev-1", named("c")); code != 3 {
		t.Errorf("CONNACK %d for the third connection", code)
	}
	began := time.Now()
	for id := range uint16(150) { // the first hundred may come at once
		p.Publish(topic, "1", 1, id+1)
	}
	for id := range uint16(150) {
		if got := p.Want(packets.Puback); got.PacketID != id+1 {
			t.Fatalf("PUBACK of %d, want %d", got.PacketID, id+1)
		}
	}
	if took := time.Since(began); took < 450*time.Millisecond {
		t.Errorf("150 messages at 100 a second took %s", took)
	}
	if c := b.Counts(); c.Accepted != 150 || c.Slowed == 0 {
		t.Errorf("counts %+v", c)
	}
	p.Publish(topic, "123456789", 1, 151)
	p.Want(packets.Puback)
	if got := s.AwaitDeliveries(t, 151)[150]; got.Letter == nil || got.Letter.Problem.Code != "too_large" || string(got.Letter.Payload) != "123456789" {
		t.Errorf("delivery %+v", got)
	}
	s.AwaitReport(t, "dev-1", "too_large")
}
