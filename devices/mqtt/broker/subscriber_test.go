package broker

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices/mqtt/mqtttest"
)

func named(id string) func(*packets.Packet) {
	return func(pk *packets.Packet) { pk.Connect.ClientIdentifier = id }
}

func lasting(pk *packets.Packet) {
	pk.Connect.Clean = false
	pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 3600, true
}

// An MQTT 5 subscriber never has more unacknowledged messages than it asked
// for, and gets all of them, in order.
func TestSubscriberWindow(t *testing.T) {
	const window, many = 20, 2000
	b := start(t, mqtttest.NewShelf())
	sub := signIn(t, b, 5, "dev-1", named("viewer"), func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = window })
	sub.subscribe("offsite/dev-1/#", 1)
	pub := signIn(t, b, 4, "dev-1")
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for i := range many {
			pub.Publish(topic, fmt.Sprint(i), 1, uint16(i+1))
			if i%100 == 99 {
				for range 100 {
					pub.Want(packets.Puback)
				}
			}
		}
	})
	var unacked []uint16
	for i := range many {
		got := sub.Want(packets.Publish)
		if string(got.Payload) != fmt.Sprint(i) {
			t.Fatalf("message %d brought %s", i, got.Payload)
		}
		if unacked = append(unacked, got.PacketID); len(unacked) < window && i < many-1 {
			continue
		}
		sub.quiet()
		for _, id := range unacked {
			sub.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: id})
		}
		unacked = unacked[:0]
	}
}

// Publishers, subscribers that acknowledge, and sessions that are taken over,
// all at once: mochi's own account of windows stood still here.
func TestManyAtOnceLoseNothing(t *testing.T) {
	const publishers, many = 4, 500
	b := start(t, mqtttest.NewShelf())
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() { subscribeThrough(t, b, fmt.Sprintf("viewer-%d", i), publishers*many) })
	}
	b.await(t, 3)
	for i := range publishers {
		wg.Go(func() {
			pub := signIn(t, b, 4+byte(i%2), "dev-1", named(fmt.Sprintf("pub-%d", i)))
			for n := range many {
				pub.Publish(fmt.Sprintf("offsite/dev-1/%d", i), fmt.Sprint(n), 1, uint16(n+1))
				pub.Want(packets.Puback)
			}
		})
	}
	wg.Wait()
}

// await waits until n subscriptions are there.
func (b *Broker) await(t *testing.T, n int) {
	t.Helper()
	probe := signIn(t, b, 4, "dev-1", named("probe"))
	for range 100_000 {
		b.mu.Lock()
		h := b.host
		b.mu.Unlock()
		if h.server.Info.Clone().Subscriptions >= int64(n) {
			return
		}
		probe.quiet()
	}
	t.Error("the subscriptions are not there")
}

// subscribeThrough reads messages with QoS 1 in a session that moves to a new
// connection every hundred, until it has seen n different ones.
func subscribeThrough(t *testing.T, b *Broker, id string, n int) {
	seen := make(map[string]bool)
	last := make(map[string]int)
	for first := true; len(seen) < n; first = false {
		p := signIn(t, b, 5, "dev-1", named(id), lasting, func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 30 })
		if first {
			p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 60000, Filters: packets.Subscriptions{{Filter: "offsite/dev-1/#", Qos: 1}}})
		}
		for i := 0; i < 100 && len(seen) < n; i++ {
			pk, err := p.Read()
			if err != nil {
				t.Errorf("%s after %d messages: %v", id, len(seen), err)
				return
			}
			if pk.FixedHeader.Type != packets.Publish {
				continue
			}
			key := pk.TopicName + " " + string(pk.Payload)
			var v int
			_, _ = fmt.Sscan(string(pk.Payload), &v)
			if !seen[key] && v < last[pk.TopicName] {
				t.Errorf("%s: %s after %d", id, key, last[pk.TopicName])
			}
			seen[key], last[pk.TopicName] = true, max(v, last[pk.TopicName])
			p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: pk.PacketID})
		}
	}
}

// A subscriber that reads nothing loses messages and is disconnected; whoever
// publishes to it does not notice.
func TestDeafSubscriberHoldsNobodyUp(t *testing.T) {
	const many = 6000
	s := mqtttest.NewShelf()
	b := start(t, s, func(c *Config) { c.Patience = 500 * time.Millisecond })
	deaf := signIn(t, b, 4, "dev-2")
	deaf.subscribe("offsite/dev-2/#", 1)
	pub := signIn(t, b, 4, "dev-2", named("pub"))
	payload := strings.Repeat("x", 2<<10)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for i := range many {
			pub.Publish("offsite/dev-2/x", payload, 1, uint16(i+1))
		}
	})
	for i := range many {
		if got := pub.Want(packets.Puback); got.PacketID != uint16(i+1) {
			t.Fatalf("PUBACK of %d, want %d", got.PacketID, i+1)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); b.Counts().Deaf == 0; pub.quiet() {
		if time.Now().After(deadline) {
			t.Fatal("the deaf subscriber stays")
		}
	}
}
