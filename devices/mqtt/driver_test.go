package mqtt

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	wire "github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/mqtt/broker"
	"offsite/devices/mqtt/mqtttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topic = "offsite/dev-1/p"

// connected runs a driver of point out.p and gives the hub's side when it has subscribed.
func connected(t *testing.T, s *mqtttest.Shelf, change ...func(*devices.Device, *Config)) (*hubLink, <-chan error, func() error) {
	t.Helper()
	h := newHub(t)
	ended, stop := run(t, open(t, h.address(), []devices.Bound{bound("out.p", nil)}, change...), s)
	l, _ := h.meet()
	l.accept()
	l.subscribed(1)
	s.AwaitReports(t, 1)
	return l, ended, stop
}

func TestConnectsWithAStableSession(t *testing.T) {
	h := newHub(t)
	run(t, open(t, h.address(), []devices.Bound{bound("out.p", nil), bound("out.q", &devices.Topic{Topic: "plant/q"})}), mqtttest.NewShelf())
	l, hello := h.meet()
	c := hello.Connect
	if !strings.HasPrefix(c.ClientIdentifier, "offsite-dev-1-") || c.Clean || string(c.Username) != "dev-1" || string(c.Password) != "secret-of-dev-1" || hello.ProtocolVersion != 4 {
		t.Errorf("CONNECT %+v", c)
	}
	l.accept()
	filters := l.subscribed(1)
	if len(filters) != 2 {
		t.Errorf("SUBSCRIBE %v", filters)
	}
}

func TestSharedSubscription(t *testing.T) {
	h := newHub(t)
	share := func(d *devices.Device, _ *Config) {
		d.MQTT = &devices.MQTTSettings{ClientID: "gw-slot-3", Share: "gw"}
	}
	s := mqtttest.NewShelf()
	run(t, open(t, h.address(), []devices.Bound{bound("out.p", nil)}, share), s)
	l, hello := h.meet()
	if hello.Connect.ClientIdentifier != "gw-slot-3" {
		t.Errorf("client id %s", hello.Connect.ClientIdentifier)
	}
	l.accept()
	if diff := cmp.Diff([]string{"$share/gw/" + topic}, l.subscribed(1)); diff != "" {
		t.Error(diff)
	}
	l.Publish(topic, "1", 1, 4)
	l.Want(wire.Puback)
	s.AwaitDeliveries(t, 1)
}

func TestAcknowledgesInOrderWhatIsOnDisk(t *testing.T) {
	s := mqtttest.NewShelf()
	s.Set(true, nil)
	l, _, _ := connected(t, s)
	for id := range uint16(20) {
		l.Publish(topic, "1", 1, id+1)
	}
	got := s.AwaitDeliveries(t, 20)
	if got[4].Origin.ID != "5" || got[4].Origin.Device != "dev-1" {
		t.Errorf("origin %+v", got[4].Origin)
	}
	l.Silent() // before anything is on disk
	s.Release()
	for id := range uint16(20) {
		if got := l.Want(wire.Puback); got.PacketID != id+1 {
			t.Fatalf("PUBACK of %d, want %d", got.PacketID, id+1)
		}
	}
}

func TestDeliveryTellsWhatCame(t *testing.T) {
	s := mqtttest.NewShelf()
	l, _, _ := connected(t, s)
	l.Publish(topic, "1", 1, 1, func(pk *wire.Packet) { pk.FixedHeader.Dup = true })
	l.Publish(topic, "2", 1, 2, func(pk *wire.Packet) { pk.FixedHeader.Retain = true })
	l.Publish(topic, "three", 1, 3)
	l.Publish(topic, "4", 0, 0)
	for id := range uint16(3) {
		if got := l.Want(wire.Puback); got.PacketID != id+1 {
			t.Fatalf("PUBACK of %d, want %d", got.PacketID, id+1)
		}
	}
	got := s.AwaitDeliveries(t, 4)
	if !got[0].Origin.Resent || got[0].Readings[0].Repeat {
		t.Errorf("DUP gave %+v", got[0])
	}
	if got[1].Origin.Resent || !got[1].Readings[0].Repeat {
		t.Errorf("RETAIN gave %+v", got[1])
	}
	if got[2].Letter == nil || got[2].Letter.Problem.Code != "not_a_number" || len(got[2].Readings) != 0 {
		t.Errorf("a word gave %+v", got[2])
	}
	if got[3].Origin.ID != "" || got[3].Readings[0].Value != 4 {
		t.Errorf("QoS 0 gave %+v", got[3])
	}
}

func TestMessageBeforeTheSubscriptionIsTaken(t *testing.T) {
	h := newHub(t)
	s := mqtttest.NewShelf()
	run(t, open(t, h.address(), []devices.Bound{bound("out.p", nil)}), s)
	l, _ := h.meet()
	l.accept()
	l.Publish(topic, "1", 1, 9)
	for range 2 { // in either order
		switch pk, err := l.Read(); {
		case err != nil:
			t.Fatal(err)
		case pk.FixedHeader.Type == wire.Subscribe:
			l.Send(wire.Packet{FixedHeader: wire.FixedHeader{Type: wire.Suback}, PacketID: pk.PacketID, ReasonCodes: []byte{1}})
		case pk.FixedHeader.Type != wire.Puback || pk.PacketID != 9:
			t.Fatalf("got %+v", pk)
		}
	}
	s.AwaitReports(t, 1)
}

func TestTopicOfEarlierBindingsIsLeft(t *testing.T) {
	s := mqtttest.NewShelf()
	l, _, _ := connected(t, s)
	l.Publish("offsite/dev-1/old", "1", 1, 5)
	for range 2 {
		pk, err := l.Read()
		switch {
		case err != nil:
			t.Fatal(err)
		case pk.FixedHeader.Type == wire.Puback && pk.PacketID == 5:
		case pk.FixedHeader.Type == wire.Unsubscribe && pk.Filters[0].Filter == "offsite/dev-1/old":
		default:
			t.Fatalf("got %+v", pk)
		}
	}
}

func TestStorageErrorAcknowledgesNothing(t *testing.T) {
	s := mqtttest.NewShelf()
	s.Set(true, nil)
	l, _, _ := connected(t, s)
	for id := range uint16(5) {
		l.Publish(topic, "1", 1, id+1)
	}
	s.AwaitDeliveries(t, 5)
	s.Set(true, errors.New("no space left"))
	s.Release()
	if kinds := l.WantEnd(); len(kinds) != 0 {
		t.Errorf("the broker got %v", kinds)
	}
	s.AwaitReports(t, 2)
	if diff := cmp.Diff([]string{"", "storage_failed"}, s.Codes()); diff != "" {
		t.Error(diff)
	}
}

func TestFullQueueStopsReading(t *testing.T) {
	s := mqtttest.NewShelf()
	s.Set(true, nil)
	l, _, _ := connected(t, s, func(_ *devices.Device, c *Config) { c.Waiting = 4 })
	for id := range uint16(50) {
		l.Publish(topic, "1", 1, id+1)
	}
	s.AwaitDeliveries(t, 4)
	l.Silent() // while nothing is on disk
	if got := s.AwaitDeliveries(t, 4); len(got) != 4 {
		t.Errorf("%d deliveries while 4 wait", len(got))
	}
	s.Set(false, nil)
	s.Release()
	for id := range uint16(50) {
		if got := l.Want(wire.Puback); got.PacketID != id+1 {
			t.Fatalf("PUBACK of %d, want %d", got.PacketID, id+1)
		}
	}
}

func TestStopAcknowledgesWhatIsOnDiskAndSaysGoodbye(t *testing.T) {
	s := mqtttest.NewShelf()
	s.Set(true, nil)
	l, _, stop := connected(t, s)
	l.Publish(topic, "1", 1, 7)
	s.AwaitDeliveries(t, 1)
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	s.Release()
	if diff := cmp.Diff([]string{"Puback", "Disconnect"}, l.WantEnd()); diff != "" {
		t.Errorf("the broker got (-want +got):\n%s", diff)
	}
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	if diff := cmp.Diff([]string{""}, s.Codes()); diff != "" {
		t.Error(diff)
	}
}

func TestConnectionProblems(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	answer := func(code byte) func(*hubLink) {
		return func(l *hubLink) {
			l.Send(wire.Packet{FixedHeader: wire.FixedHeader{Type: wire.Connack}, ReasonCode: code})
		}
	}
	tests := []struct {
		name     string
		endpoint string // the hub's when empty
		hub      func(*hubLink)
		code     string
	}{
		{name: "bad user name or password", hub: answer(4), code: "bad_password"},
		{name: "not authorised", hub: answer(5), code: "bad_password"},
		{name: "client id rejected", hub: answer(2), code: "client_id_rejected"},
		{name: "unavailable", hub: answer(3), code: "broker_unavailable"},
		{name: "closes at once", hub: func(l *hubLink) { l.Conn.Close() }, code: "connect_failed"},
		{name: "speaks something else", hub: func(l *hubLink) { _, _ = l.Conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); l.Conn.Close() }, code: "connect_failed"},
		{name: "says nothing", hub: func(l *hubLink) { l.WantEnd() }, code: "unreachable"},
		{name: "refused", endpoint: "mqtt://" + closed.Addr().String(), code: "connection_refused"},
		{name: "unknown host", endpoint: "mqtt://no-such-host.invalid", code: "host_unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHub(t)
			s := mqtttest.NewShelf()
			d := open(t, h.address(), []devices.Bound{bound("out.p", nil)}, func(d *devices.Device, c *Config) {
				c.Connect = 500 * time.Millisecond
				if tt.endpoint != "" {
					d.Endpoint = tt.endpoint
				}
			})
			run(t, d, s)
			for range 2 { // told once however often it is tried
				if tt.hub != nil {
					l, _ := h.meet()
					tt.hub(l)
				}
			}
			s.AwaitReports(t, 1)
			for tries := int64(0); tries < 2; tries = d.pool.Counts().Lost {
				runtime.Gosched()
			}
			if diff := cmp.Diff([]string{tt.code}, s.Codes()); diff != "" {
				t.Errorf("reports (-want +got):\n%s", diff)
			}
			if p := s.Problem(); p.ZH == "" || p.EN == "" || strings.Contains(p.Error(), "secret-of") {
				t.Errorf("told %+v", p)
			}
		})
	}
}

func TestEncryptionProblem(t *testing.T) {
	h := newHub(t)
	d := open(t, h.address(), nil, func(d *devices.Device, _ *Config) { d.Endpoint = "mqtts://" + h.address() })
	s := mqtttest.NewShelf()
	run(t, d, s)
	conn, err := h.listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write([]byte("this is no TLS at all"))
	s.AwaitReports(t, 1)
	if p := s.Problem(); p.Code != "bad_certificate" {
		t.Errorf("told %v", p)
	}
	conn.Close()
}

func TestRefusedSubscriptionIsToldOfItsPoints(t *testing.T) {
	h := newHub(t)
	s := mqtttest.NewShelf()
	d := open(t, h.address(), []devices.Bound{bound("out.p", nil)})
	run(t, d, s)
	for i, code := range []byte{0x80, 0x80, 1} {
		l, _ := h.meet()
		l.accept()
		l.subscribed(code)
		s.AwaitReports(t, []int{2, 4, 7}[i])
		l.Conn.Close()
	}
	s.AwaitReports(t, 8)
	var got [][]string
	for _, r := range s.Reports() {
		code := ""
		if r.Problem != nil {
			code = r.Problem.Code
		}
		got = append(got, append([]string{code}, r.Points...))
	}
	want := [][]string{
		{"subscription_refused", "out.p"}, {""}, {"connection_lost"}, {""}, {"connection_lost"}, {"", "out.p"}, {""}, {"connection_lost"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

func TestOpenTellsAllFaults(t *testing.T) {
	two := byte(2)
	_, err := Open(devices.Device{ID: "dev-1", Endpoint: "tcp://host", MQTT: &devices.MQTTSettings{QoS: &two, Share: "a/b"}},
		[]devices.Bound{bound("out.p", &devices.Topic{Topic: "plant/#/x"})}, Config{})
	var codes []string
	for _, p := range devices.AllProblems(err) {
		codes = append(codes, p.Code)
	}
	if diff := cmp.Diff([]string{"bad_address", "out_of_range", "bad_share", "wildcard"}, codes); diff != "" {
		t.Error(diff)
	}
}

// The rest of the road is against a real broker, our own.

func startBroker(t *testing.T, change ...func(*broker.Config)) *broker.Broker {
	t.Helper()
	cfg := broker.Config{Address: "127.0.0.1:0"}
	for _, f := range change {
		f(&cfg)
	}
	b, err := broker.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Update([]broker.Client{{Device: devices.Device{ID: "dev-1", Password: "secret-of-dev-1"}}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, mqtttest.NewShelf()) }()
	t.Cleanup(func() { cancel(); <-ended })
	<-b.Ready()
	return b
}

func TestSessionKeepsWhatIsPublishedMeanwhile(t *testing.T) {
	b := startBroker(t)
	s := mqtttest.NewShelf()
	d := open(t, b.Addr().String(), []devices.Bound{bound("out.p", nil)})
	_, stop := run(t, d, s)
	s.AwaitReports(t, 1)
	pub := open(t, b.Addr().String(), nil, func(d *devices.Device, _ *Config) { d.MQTT = &devices.MQTTSettings{ClientID: "pub"} })
	sender := newLink(newSession(pub, &counters{}))
	if err := sender.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer sender.client.Disconnect(1000)
	publish := func(payload string, retain bool) {
		t.Helper()
		if token := sender.client.Publish(topic, 1, retain, payload); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	publish("1", false)
	s.AwaitDeliveries(t, 1)
	_ = stop()
	publish("2", false)
	publish("3", true)
	_, _ = run(t, d, s)
	got := s.AwaitDeliveries(t, 4)
	var values []float64
	for _, d := range got {
		values = append(values, d.Readings[0].Value)
	}
	if diff := cmp.Diff([]float64{1, 2, 3, 3}, values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if got[2].Readings[0].Repeat || !got[3].Readings[0].Repeat {
		t.Error("the retained value is not told from the others")
	}
}

func TestEncryptedSession(t *testing.T) {
	cert, roots := certificate(t)
	b := startBroker(t, func(c *broker.Config) { c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}} })
	s := mqtttest.NewShelf()
	secure := func(d *devices.Device, c *Config) {
		d.Endpoint = "mqtts://" + b.Addr().String()
		c.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	_, stop := run(t, open(t, "", []devices.Bound{bound("out.p", nil)}, secure), s)
	s.AwaitReports(t, 1)
	if diff := cmp.Diff([]string{""}, s.Codes()); diff != "" {
		t.Error(diff)
	}
	_ = stop()
	stranger := open(t, "", nil, secure, func(_ *devices.Device, c *Config) { c.TLS = &tls.Config{MinVersion: tls.VersionTLS12} })
	told := mqtttest.NewShelf()
	run(t, stranger, told)
	told.AwaitReports(t, 1)
	if p := told.Problem(); p.Code != "bad_certificate" {
		t.Errorf("told without the authority: %v", p)
	}
}

// certificate makes one for 127.0.0.1 that signs itself.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}
