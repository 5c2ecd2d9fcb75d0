package broker

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices"
	"offsite/devices/mqtt/mqtttest"
	"offsite/devices/mqtt/payload"
)

func TestListenHearsBoundAndUnboundTopics(t *testing.T) {
	b := start(t, mqtttest.NewShelf())
	one := member("dev-1", bound("dev-1", "out.p", &devices.Topic{Topic: "offsite/dev-1", Path: "p"}))
	if err := b.Update([]Client{one, member("dev-2")}); err != nil {
		t.Fatal(err)
	}
	p := signIn(t, b, 4, "dev-1")
	p.Publish("offsite/dev-1/before", "3", 1, 1)
	p.Want(packets.Puback)
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	heard := make(chan []payload.Heard)
	go func() { heard <- b.Listen(ctx, "dev-1", time.Minute) }()
	for b.listeners.count.Load() == 0 && ctx.Err() == nil {
		runtime.Gosched()
	}
	p.Publish("offsite/dev-1", `{"p":1,"q":2}`, 1, 2)
	p.Want(packets.Puback)
	other := signIn(t, b, 4, "dev-2")
	other.Publish("offsite/dev-2/x", "7", 1, 1)
	other.Want(packets.Puback)
	stop()
	got := map[string][]string{}
	for _, h := range <-heard {
		got[h.Device+" "+h.Topic] = []string{}
		for _, o := range h.Offers {
			got[h.Device+" "+h.Topic] = append(got[h.Device+" "+h.Topic], o.Name)
		}
	}
	want := map[string][]string{"dev-1 offsite/dev-1": {"p", "q"}, "dev-1 offsite/dev-1/before": {"offsite/dev-1/before"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := b.listeners.count.Load(); n != 0 {
		t.Errorf("%d listeners are left", n)
	}
}
