package mqtttest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// moment is long enough for something to come that should not.
const moment = 50 * time.Millisecond

// Wire speaks MQTT packet by packet over a connection.
type Wire struct {
	Conn    net.Conn
	Version byte // of MQTT: 4 is 3.1.1

	t testing.TB
	r *bufio.Reader
}

// NewWire speaks over conn, which ends with the test. What is read must come
// within [Patience] from now.
func NewWire(t testing.TB, conn net.Conn, version byte) *Wire {
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(Patience))
	return &Wire{Conn: conn, Version: version, t: t, r: bufio.NewReader(conn)}
}

var encoders = map[byte]func(*packets.Packet, *bytes.Buffer) error{
	packets.Connect: (*packets.Packet).ConnectEncode, packets.Connack: (*packets.Packet).ConnackEncode,
	packets.Publish: (*packets.Packet).PublishEncode, packets.Puback: (*packets.Packet).PubackEncode,
	packets.Pubrec: (*packets.Packet).PubrecEncode, packets.Pubrel: (*packets.Packet).PubrelEncode, packets.Pubcomp: (*packets.Packet).PubcompEncode,
	packets.Subscribe: (*packets.Packet).SubscribeEncode, packets.Suback: (*packets.Packet).SubackEncode,
	packets.Unsubscribe: (*packets.Packet).UnsubscribeEncode, packets.Unsuback: (*packets.Packet).UnsubackEncode,
	packets.Pingreq: (*packets.Packet).PingreqEncode, packets.Pingresp: (*packets.Packet).PingrespEncode,
	packets.Disconnect: (*packets.Packet).DisconnectEncode,
}

var decoders = map[byte]func(*packets.Packet, []byte) error{
	packets.Connect: (*packets.Packet).ConnectDecode, packets.Connack: (*packets.Packet).ConnackDecode,
	packets.Publish: (*packets.Packet).PublishDecode, packets.Puback: (*packets.Packet).PubackDecode,
	packets.Pubrec: (*packets.Packet).PubrecDecode, packets.Pubrel: (*packets.Packet).PubrelDecode, packets.Pubcomp: (*packets.Packet).PubcompDecode,
	packets.Subscribe: (*packets.Packet).SubscribeDecode, packets.Suback: (*packets.Packet).SubackDecode,
	packets.Unsubscribe: (*packets.Packet).UnsubscribeDecode, packets.Unsuback: (*packets.Packet).UnsubackDecode,
	packets.Disconnect: (*packets.Packet).DisconnectDecode,
}

// Send writes a packet; that the other side has gone is found out by reading.
func (w *Wire) Send(pk packets.Packet) {
	w.t.Helper()
	var buf bytes.Buffer
	pk.ProtocolVersion = w.Version
	switch pk.FixedHeader.Type {
	case packets.Subscribe, packets.Unsubscribe, packets.Pubrel:
		pk.FixedHeader.Qos = 1
	}
	if err := encoders[pk.FixedHeader.Type](&pk, &buf); err != nil {
		w.t.Fatal(err)
	}
	_, _ = w.Conn.Write(buf.Bytes())
}

// Publish sends a message.
func (w *Wire) Publish(topic, payload string, qos byte, id uint16, change ...func(*packets.Packet)) {
	w.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos}, TopicName: topic, Payload: []byte(payload), PacketID: id}
	for _, f := range change {
		f(&pk)
	}
	w.Send(pk)
}

// Retained and Dup are changes for Publish.
func Retained(pk *packets.Packet) { pk.FixedHeader.Retain = true }

// Dup marks a message as sent again.
func Dup(pk *packets.Packet) { pk.FixedHeader.Dup = true }

// Read gives the next packet, or the error that ended the connection.
func (w *Wire) Read() (packets.Packet, error) {
	first, err := w.r.ReadByte()
	if err != nil {
		return packets.Packet{}, err
	}
	pk := packets.Packet{ProtocolVersion: w.Version}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, err
	}
	n, _, err := packets.DecodeLength(w.r)
	if err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = n
	body := make([]byte, n)
	if _, err := io.ReadFull(w.r, body); err != nil {
		return pk, err
	}
	if decode := decoders[pk.FixedHeader.Type]; decode != nil {
		return pk, decode(&pk, body)
	}
	return pk, nil
}

// Want gives the next packet, which must be of this kind.
func (w *Wire) Want(kind byte) packets.Packet {
	w.t.Helper()
	pk, err := w.Read()
	if err != nil {
		w.t.Fatalf("want %s: %v", packets.PacketNames[kind], err)
	}
	if pk.FixedHeader.Type != kind {
		w.t.Fatalf("got %s, want %s", packets.PacketNames[pk.FixedHeader.Type], packets.PacketNames[kind])
	}
	return pk
}

// Silent asserts that nothing comes for a moment.
func (w *Wire) Silent() {
	w.t.Helper()
	_ = w.Conn.SetReadDeadline(time.Now().Add(moment))
	if pk, err := w.Read(); err == nil {
		w.t.Fatalf("%s came", packets.PacketNames[pk.FixedHeader.Type])
	}
	_ = w.Conn.SetReadDeadline(time.Now().Add(Patience))
}

// WantEnd reads to the end and gives the kinds of packets that came before it.
func (w *Wire) WantEnd() (kinds []string) {
	w.t.Helper()
	for {
		pk, err := w.Read()
		if err == nil {
			kinds = append(kinds, packets.PacketNames[pk.FixedHeader.Type])
			continue
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			w.t.Fatal("the connection did not end")
		}
		return kinds
	}
}
