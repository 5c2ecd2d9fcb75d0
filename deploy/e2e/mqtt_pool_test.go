package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"offsite/deploy/peers"
	"offsite/devices"
	"offsite/devices/mqtt"
)

// TestMosquittoDevicesShareASession edits one of thirty devices again and again
// while messages for all come in.
func TestMosquittoDevicesShareASession(t *testing.T) {
	mqttTools(t, "mosquitto", "mosquitto_pub")
	m, err := peers.StartMosquitto(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Kill)
	const count, senders, rounds = 30, 6, 50
	desk := newMQTTDesk(t)
	pool := mqtt.New(mqtt.Config{Gateway: "e2e"})
	run := func(id string) (stop func()) {
		t.Helper()
		d, err := pool.Open(devices.Device{ID: id, Endpoint: "mqtt://" + m.Addr}, []devices.Bound{
			mqttBound(id, "out."+id, &devices.Topic{Topic: "plant/{device}/pm"}),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { _ = d.Run(ctx, desk) })
		return func() { cancel(); wg.Wait() }
	}
	var stops []func()
	for i := range count {
		stops = append(stops, run(fmt.Sprintf("d%02d", i)))
	}
	t.Cleanup(func() {
		for _, stop := range stops {
			stop()
		}
	})
	desk.await(t, "all devices online", func() bool { return len(desk.reports) >= count })

	var publishing sync.WaitGroup
	publishing.Go(func() {
		for i := range senders { // every other one sends for the device that is edited
			var lines strings.Builder
			for n := range rounds {
				fmt.Fprintf(&lines, "%d\n", n)
			}
			if out, err := mqttPub(t, m.Addr, lines.String(), "-q", "1", "-t", fmt.Sprintf("plant/d%02d/pm", i%2*(i/2)), "-l"); err != nil {
				t.Errorf("%s: %v", out, err)
			}
		}
	})
	for range 10 {
		stops[0]()
		stops[0] = run("d00")
	}
	publishing.Wait()
	desk.await(t, "every message", func() bool { return len(desk.got) >= senders*rounds })
	desk.mu.Lock()
	defer desk.mu.Unlock()
	if len(desk.got) != senders*rounds {
		t.Errorf("%d deliveries of %d messages", len(desk.got), senders*rounds)
	}
	for _, r := range desk.reports {
		if r.Problem != nil {
			t.Errorf("told %v", r.Problem)
		}
	}
	if c := pool.Counts(); c.Sessions != 1 || c.Devices != count || c.Unclaimed != 0 || c.Lost != 0 {
		t.Errorf("counts %+v", c)
	}
}
