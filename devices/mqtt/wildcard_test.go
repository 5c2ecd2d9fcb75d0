package mqtt

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	wire "github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices"
	"offsite/devices/mqtt/mqtttest"
)

func TestWildcardSubscription(t *testing.T) {
	h := newHub(t)
	s := mqtttest.NewShelf()
	run(t, open(t, h.address(), []devices.Bound{
		bound("out.p", &devices.Topic{Topic: "plant/{device}/+/data", Path: "pm"}),
		bound("out.q", &devices.Topic{Topic: "plant/{device}/+/data", Path: "pm", Instance: "4C11"}),
		bound("out.r", &devices.Topic{Topic: "plant/4C11/now/data", Path: "tsp"}),
	}), s)
	l, _ := h.meet()
	l.accept()
	filters := l.subscribed(1)
	slices.Sort(filters)
	if diff := cmp.Diff([]string{"plant/4C11/+/data", "plant/dev-1/+/data"}, filters); diff != "" {
		t.Error(diff)
	}
	l.Publish("plant/4C11/now/data", `{"pm":1,"tsp":2}`, 1, 4)
	l.Want(wire.Puback)
	got := s.AwaitDeliveries(t, 1)[0]
	if len(got.Readings) != 2 || got.Letter != nil || got.Readings[0].Point != "out.r" || got.Readings[1].Point != "out.q" {
		t.Errorf("delivery %+v", got)
	}
}

func TestWildcardOfEarlierBindingsIsLeft(t *testing.T) {
	s := mqtttest.NewShelf()
	l, _, _ := connected(t, s)
	l.Publish("plant/7/pm", "1", 1, 5)
	l.Publish("plant/7/pm", "1", 1, 6) // it is unsubscribed once
	var filters []string
	for acks := 0; acks < 2 || len(filters) == 0; {
		pk, err := l.Read()
		switch {
		case err != nil:
			t.Fatal(err)
		case pk.FixedHeader.Type == wire.Puback:
			acks++
		case pk.FixedHeader.Type == wire.Unsubscribe:
			for _, f := range pk.Filters {
				filters = append(filters, f.Filter)
			}
		}
	}
	for _, want := range []string{"plant/7/pm", "plant/+/pm", "plant/#", "#", "plant/7/#", "+/7/+"} {
		if !slices.Contains(filters, want) {
			t.Errorf("%s is not among the filters left: %v", want, filters)
		}
	}
}
