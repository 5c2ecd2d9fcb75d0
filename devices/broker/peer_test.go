package broker

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

	"github.com/mochi-mqtt/server/v2/packets"

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

func (s *shelf) awaitReport(t testing.TB, device, code string) {
	t.Helper()
	s.await(t, "report "+device+" "+code, func(s *shelf) bool {
		for _, r := range s.reports {
			if r.Device == device && (r.Problem == nil && code == "" || r.Problem != nil && r.Problem.Code == code) {
				return true
			}
		}
		return false
	})
}

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

// peer speaks MQTT packet by packet.
type peer struct {
	t       testing.TB
	conn    net.Conn
	r       *bufio.Reader
	version byte
}

func dial(t testing.TB, b *Broker, version byte) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	return &peer{t: t, conn: conn, r: bufio.NewReader(conn), version: version}
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
	p.send(pk)
	return p.want(packets.Connack).ReasonCode
}

func signIn(t testing.TB, b *Broker, version byte, dev string, change ...func(*packets.Packet)) *peer {
	t.Helper()
	p := dial(t, b, version)
	if code := p.connect(dev, change...); code != 0 {
		t.Fatalf("CONNACK %#x", code)
	}
	return p
}

func (p *peer) send(pk packets.Packet) {
	p.t.Helper()
	var buf bytes.Buffer
	pk.ProtocolVersion = p.version
	encode := map[byte]func(*packets.Packet, *bytes.Buffer) error{
		packets.Connect: (*packets.Packet).ConnectEncode, packets.Publish: (*packets.Packet).PublishEncode,
		packets.Puback: (*packets.Packet).PubackEncode, packets.Pubrel: (*packets.Packet).PubrelEncode,
		packets.Subscribe: (*packets.Packet).SubscribeEncode, packets.Disconnect: (*packets.Packet).DisconnectEncode,
		packets.Pingreq: (*packets.Packet).PingreqEncode, packets.Unsubscribe: (*packets.Packet).UnsubscribeEncode,
		packets.Pubrec: (*packets.Packet).PubrecEncode, packets.Pubcomp: (*packets.Packet).PubcompEncode,
	}
	if pk.FixedHeader.Type == packets.Subscribe || pk.FixedHeader.Type == packets.Unsubscribe || pk.FixedHeader.Type == packets.Pubrel {
		pk.FixedHeader.Qos = 1
	}
	if err := encode[pk.FixedHeader.Type](&pk, &buf); err != nil {
		p.t.Fatal(err)
	}
	_, _ = p.conn.Write(buf.Bytes())
}

func (p *peer) publish(topic, payload string, qos byte, id uint16, change ...func(*packets.Packet)) {
	p.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos}, TopicName: topic, Payload: []byte(payload), PacketID: id}
	for _, f := range change {
		f(&pk)
	}
	p.send(pk)
}

func retained(pk *packets.Packet) { pk.FixedHeader.Retain = true }
func dup(pk *packets.Packet)      { pk.FixedHeader.Dup = true }

func (p *peer) subscribe(filter string, qos byte) byte {
	p.t.Helper()
	p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 99, Filters: packets.Subscriptions{{Filter: filter, Qos: qos}}})
	return p.want(packets.Suback).ReasonCodes[0]
}

// read gives the next packet, or the error that ended the connection.
func (p *peer) read() (packets.Packet, error) {
	first, err := p.r.ReadByte()
	if err != nil {
		return packets.Packet{}, err
	}
	pk := packets.Packet{ProtocolVersion: p.version}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, err
	}
	n, _, err := packets.DecodeLength(p.r)
	if err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = n
	body := make([]byte, n)
	if _, err := io.ReadFull(p.r, body); err != nil {
		return pk, err
	}
	decode := map[byte]func(*packets.Packet, []byte) error{
		packets.Connack: (*packets.Packet).ConnackDecode, packets.Publish: (*packets.Packet).PublishDecode,
		packets.Puback: (*packets.Packet).PubackDecode, packets.Pubrec: (*packets.Packet).PubrecDecode,
		packets.Pubcomp: (*packets.Packet).PubcompDecode, packets.Suback: (*packets.Packet).SubackDecode,
		packets.Disconnect: (*packets.Packet).DisconnectDecode, packets.Unsuback: (*packets.Packet).UnsubackDecode,
		packets.Pubrel: (*packets.Packet).PubrelDecode,
	}
	if f := decode[pk.FixedHeader.Type]; f != nil {
		return pk, f(&pk, body)
	}
	return pk, nil
}

func (p *peer) want(kind byte) packets.Packet {
	p.t.Helper()
	pk, err := p.read()
	if err != nil {
		p.t.Fatalf("want %s: %v", packets.PacketNames[kind], err)
	}
	if pk.FixedHeader.Type != kind {
		p.t.Fatalf("got %s, want %s", packets.PacketNames[pk.FixedHeader.Type], packets.PacketNames[kind])
	}
	return pk
}

// quiet asserts that nothing has come before an answer to a ping.
func (p *peer) quiet() {
	p.t.Helper()
	p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	p.want(packets.Pingresp)
}

func (p *peer) wantEnd() {
	p.t.Helper()
	for {
		pk, err := p.read()
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				p.t.Fatal("the connection did not end")
			}
			return
		}
		if pk.FixedHeader.Type != packets.Disconnect {
			p.t.Fatalf("got %s, want the end", packets.PacketNames[pk.FixedHeader.Type])
		}
	}
}
