package mqtt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	wire "github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices"
)

// shelf is a Sink that stands for the log.
type shelf struct {
	mu      sync.Mutex
	cond    sync.Cond
	held    bool // done is called by release alone
	fail    error
	waiting []func(error)
	got     []devices.Delivery
	reports []devices.Report
}

func newShelf() *shelf {
	s := &shelf{}
	s.cond.L = &s.mu
	return s
}

func (s *shelf) Accept(d devices.Delivery, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, d)
	s.waiting = append(s.waiting, done)
	if !s.held {
		s.releaseLocked()
	}
	s.cond.Broadcast()
}

func (s *shelf) Report(r devices.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports = append(s.reports, r)
	s.cond.Broadcast()
}

func (s *shelf) releaseLocked() {
	for _, done := range s.waiting {
		done(s.fail)
	}
	s.waiting = nil
}

func (s *shelf) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked()
}

// releaseOne lets the oldest delivery that waits be on disk.
func (s *shelf) releaseOne() {
	s.mu.Lock()
	done := s.waiting[0]
	s.waiting = s.waiting[1:]
	s.mu.Unlock()
	done(nil)
}

func (s *shelf) set(held bool, fail error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.fail = held, fail
}

// await waits until ok holds for the shelf.
func (s *shelf) await(t testing.TB, what string, ok func(*shelf) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { s.mu.Lock(); defer s.mu.Unlock(); s.cond.Broadcast() })
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !ok(s) {
		if ctx.Err() != nil {
			t.Fatalf("waited in vain for %s; got %d deliveries, reports %+v", what, len(s.got), s.reports)
		}
		s.cond.Wait()
	}
}

func (s *shelf) awaitDeliveries(t testing.TB, n int) []devices.Delivery {
	t.Helper()
	s.await(t, fmt.Sprintf("%d deliveries", n), func(s *shelf) bool { return len(s.got) >= n })
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]devices.Delivery(nil), s.got...)
}

// codes gives the problems told, "" for good news.
func (s *shelf) codes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var codes []string
	for _, r := range s.reports {
		code := ""
		if r.Problem != nil {
			code = r.Problem.Code
		}
		codes = append(codes, code)
	}
	return codes
}

// problem is the last one told.
func (s *shelf) problem() *devices.Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reports[len(s.reports)-1].Problem
}

func (s *shelf) awaitReports(t testing.TB, n int) {
	t.Helper()
	s.await(t, fmt.Sprintf("%d reports", n), func(s *shelf) bool { return len(s.reports) >= n })
}

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
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

// meet waits for a driver, lets it in and gives its CONNECT.
func (h *hub) meet() (*hubLink, wire.Packet) {
	h.t.Helper()
	conn, err := h.listener.Accept()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	l := &hubLink{t: h.t, conn: conn, r: bufio.NewReader(conn)}
	hello := l.want(wire.Connect)
	return l, hello
}

func (l *hubLink) accept() {
	l.t.Helper()
	l.send(wire.Packet{FixedHeader: wire.FixedHeader{Type: wire.Connack}})
}

// subscribed answers a SUBSCRIBE with code and gives its filters.
func (l *hubLink) subscribed(code byte) []string {
	l.t.Helper()
	sub := l.want(wire.Subscribe)
	codes := make([]byte, len(sub.Filters))
	var filters []string
	for i, f := range sub.Filters {
		codes[i] = code
		filters = append(filters, f.Filter)
	}
	l.send(wire.Packet{FixedHeader: wire.FixedHeader{Type: wire.Suback}, PacketID: sub.PacketID, ReasonCodes: codes})
	return filters
}

func (l *hubLink) publish(topic, payload string, qos byte, id uint16, change ...func(*wire.Packet)) {
	l.t.Helper()
	pk := wire.Packet{FixedHeader: wire.FixedHeader{Type: wire.Publish, Qos: qos}, TopicName: topic, Payload: []byte(payload), PacketID: id}
	for _, f := range change {
		f(&pk)
	}
	l.send(pk)
}

func (l *hubLink) send(pk wire.Packet) {
	l.t.Helper()
	var buf bytes.Buffer
	pk.ProtocolVersion = 4
	encode := map[byte]func(*wire.Packet, *bytes.Buffer) error{
		wire.Connack: (*wire.Packet).ConnackEncode, wire.Publish: (*wire.Packet).PublishEncode, wire.Suback: (*wire.Packet).SubackEncode,
		wire.Unsuback: (*wire.Packet).UnsubackEncode, wire.Pingresp: (*wire.Packet).PingrespEncode,
	}
	if err := encode[pk.FixedHeader.Type](&pk, &buf); err != nil {
		l.t.Fatal(err)
	}
	_, _ = l.conn.Write(buf.Bytes())
}

func (l *hubLink) read() (wire.Packet, error) {
	first, err := l.r.ReadByte()
	if err != nil {
		return wire.Packet{}, err
	}
	pk := wire.Packet{ProtocolVersion: 4}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, err
	}
	n, _, err := wire.DecodeLength(l.r)
	if err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = n
	body := make([]byte, n)
	if _, err := io.ReadFull(l.r, body); err != nil {
		return pk, err
	}
	decode := map[byte]func(*wire.Packet, []byte) error{
		wire.Connect: (*wire.Packet).ConnectDecode, wire.Puback: (*wire.Packet).PubackDecode, wire.Pubrec: (*wire.Packet).PubrecDecode,
		wire.Subscribe: (*wire.Packet).SubscribeDecode, wire.Unsubscribe: (*wire.Packet).UnsubscribeDecode, wire.Disconnect: (*wire.Packet).DisconnectDecode,
		wire.Publish: (*wire.Packet).PublishDecode,
	}
	if f := decode[pk.FixedHeader.Type]; f != nil {
		return pk, f(&pk, body)
	}
	return pk, nil
}

func (l *hubLink) want(kind byte) wire.Packet {
	l.t.Helper()
	pk, err := l.read()
	if err != nil {
		l.t.Fatalf("want %s: %v", wire.PacketNames[kind], err)
	}
	if pk.FixedHeader.Type != kind {
		l.t.Fatalf("got %s, want %s", wire.PacketNames[pk.FixedHeader.Type], wire.PacketNames[kind])
	}
	return pk
}

// silent asserts that nothing comes for a moment.
func (l *hubLink) silent() {
	l.t.Helper()
	_ = l.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if pk, err := l.read(); err == nil {
		l.t.Fatalf("%s came", wire.PacketNames[pk.FixedHeader.Type])
	}
	_ = l.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
}

// wantEnd reads to the end and gives the kinds of packets that came before it.
func (l *hubLink) wantEnd() []string {
	l.t.Helper()
	var kinds []string
	for {
		pk, err := l.read()
		if err == nil {
			kinds = append(kinds, wire.PacketNames[pk.FixedHeader.Type])
			continue
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			l.t.Fatal("the connection did not end")
		}
		return kinds
	}
}
