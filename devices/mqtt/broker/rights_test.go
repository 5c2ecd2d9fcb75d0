package broker

import (
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices"
	"offsite/devices/mqtt/mqtttest"
)

func TestWildcardGivesNoRightToAnothersTopics(t *testing.T) {
	s := mqtttest.NewShelf()
	b := start(t, s)
	if err := b.Update([]Client{
		member("dev-1",
			bound("dev-1", "out.p", &devices.Topic{Topic: "plant/+/pm"}), bound("dev-1", "out.q", &devices.Topic{Topic: "+/dev-2/p"}),
			bound("dev-1", "out.r", &devices.Topic{Topic: "offsite/+/r"})),
		member("dev-2"),
	}); err != nil {
		t.Fatal(err)
	}
	p := signIn(t, b, 5, "dev-1")
	for _, tt := range []struct {
		topic string
		may   bool
	}{
		{"plant/7/pm", true},
		{"plant/7/tsp", false},
		{"offsite/dev-1/any", true},
		{"offsite/dev-2/p", false},
		{"offsite/dev-2/r", false},
	} {
		p.Publish(tt.topic, "1", 1, 5)
		if got := p.Want(packets.Puback).ReasonCode; (got == 0) != tt.may {
			t.Errorf("publish to %s: %#x", tt.topic, got)
		}
	}
	for _, tt := range []struct {
		filter string
		may    bool
	}{
		{"plant/+/pm", true},
		{"plant/7/pm", true},
		{"plant/#", false},
		{"plant/+/#", false},
		{"+/dev-2/p", false},
		{"offsite/+/r", false},
		{"offsite/dev-1/#", true},
		{"#", false},
	} {
		if got := p.subscribe(tt.filter, 1); (got < 0x80) != tt.may {
			t.Errorf("subscribe to %s: %#x", tt.filter, got)
		}
	}
	s.AwaitDeliveries(t, 1)
}
