package broker

import (
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices"
	"offsite/devices/mqtt/mqtttest"
	"offsite/devices/mqtt/payload"
	"offsite/devices/mqtt/sparkplug"
)

func TestEdgeNodeIsAskedForItsBirth(t *testing.T) {
	s := mqtttest.NewShelf()
	b := start(t, s, func(c *Config) { c.Formats = payload.Formats{devices.FormatSparkplug: sparkplug.New} })
	if err := b.Update([]Client{member("dev-1", bound("dev-1", "out.p", &devices.Topic{Topic: "spBv1.0/plant/+/e1", Format: devices.FormatSparkplug, Path: "Supply"}))}); err != nil {
		t.Fatal(err)
	}
	will := func(pk *packets.Packet) {
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, "spBv1.0/plant/NDEATH/e1", []byte{0x08, 1}
	}
	p := signIn(t, b, 4, "dev-1", will)
	if code := p.subscribe("spBv1.0/plant/NCMD/e1/#", 0); code != 0 {
		t.Fatalf("SUBACK %#x", code)
	}
	if code := p.subscribe("spBv1.0/plant/NCMD/e2/#", 0); code < 0x80 {
		t.Errorf("SUBACK %#x for another node's commands", code)
	}
	p.Publish("spBv1.0/plant/NDATA/e1", "\x12\x07\x10\x05\x65\x00\x00\xc0\x41", 0, 0) // a metric of alias 5 that no birth has told
	got := p.Want(packets.Publish)
	if got.TopicName != "spBv1.0/plant/NCMD/e1" || !strings.Contains(string(got.Payload), "Node Control/Rebirth") {
		t.Errorf("got %+v", got)
	}
	p.Conn.Close()
	s.AwaitReport(t, "dev-1", "device_offline")
	if got := s.AwaitDeliveries(t, 2); got[0].Letter == nil || got[0].Letter.Problem.Code != "unknown_alias" {
		t.Errorf("delivery %+v", got[0])
	}
}

func TestBirthOutlivesAnEditOfItsDevice(t *testing.T) {
	s := mqtttest.NewShelf()
	b := start(t, s, func(c *Config) { c.Formats = payload.Formats{devices.FormatSparkplug: sparkplug.New} })
	edge := func(device, point string) Client {
		return member("dev-1", bound(device, point, &devices.Topic{Topic: "spBv1.0/plant/+/e1", Format: devices.FormatSparkplug, Path: "Supply"}))
	}
	if err := b.Update([]Client{edge("dev-1", "out.p")}); err != nil {
		t.Fatal(err)
	}
	p := signIn(t, b, 4, "dev-1")
	p.Publish("spBv1.0/plant/NBIRTH/e1", "\x12\x11\x0a\x06Supply\x10\x05\x20\x09\x65\x00\x00\xc0\x41\x18\x00", 1, 1)
	p.Want(packets.Puback)
	if err := b.Update([]Client{edge("dev-1", "out.q")}); err != nil {
		t.Fatal(err)
	}
	p.Publish("spBv1.0/plant/NDATA/e1", "\x12\x07\x10\x05\x65\x00\x00\xc8\x41\x18\x01", 1, 2) // by its alias
	p.Want(packets.Puback)
	got := s.AwaitDeliveries(t, 2)[1]
	if got.Letter != nil || len(got.Readings) != 1 || got.Readings[0].Point != "out.q" || got.Readings[0].Value != 25 {
		t.Errorf("delivery %+v", got)
	}
}

func TestStatusTopicOfADevice(t *testing.T) {
	s := mqtttest.NewShelf()
	b := start(t, s)
	dev := member("dev-1", bound("dev-1", "out.p", nil))
	dev.Device.MQTT = &devices.MQTTSettings{Status: &devices.StatusTopic{Topic: "tele/{device}/LWT"}}
	if err := b.Update([]Client{dev, member("dev-2")}); err != nil {
		t.Fatal(err)
	}
	p := signIn(t, b, 4, "dev-1", func(pk *packets.Packet) {
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, "tele/dev-1/LWT", []byte("Offline")
	})
	p.Publish("tele/dev-1/LWT", "Online", 1, 1)
	p.Want(packets.Puback)
	other := signIn(t, b, 4, "dev-1", func(pk *packets.Packet) { pk.Connect.ClientIdentifier = "other" }) // keeps the device connected
	p.Conn.Close()
	s.AwaitReport(t, "dev-1", "device_offline") // the will
	other.quiet()
}
