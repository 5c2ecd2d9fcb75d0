package mqtt

import (
	"slices"
	"testing"
	"time"

	wire "github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices"
	"offsite/devices/mqtt/mqtttest"
)

func TestPlaceFindsPingrespInAnyCutOfTheStream(t *testing.T) {
	long := append([]byte{0x30, 0xc8, 0x01}, slices.Repeat([]byte{0xd0, 0}, 100)...) // a PUBLISH of 200 bytes that look like PINGRESP
	stream := slices.Concat([]byte{0x20, 2, 0, 0}, []byte{0xd0, 0}, long, []byte{0xd0, 0}, []byte{0x90, 3, 0, 1, 0})
	for cut := 1; cut <= len(stream); cut++ {
		var at place
		pongs := 0
		for part := range slices.Chunk(stream, cut) {
			pongs += at.read(part)
		}
		if pongs != 2 || at.rest != 0 || at.inside {
			t.Errorf("cut in %d: %d answers, place %+v", cut, pongs, at)
		}
	}
}

// meter is a desk that hears how long answers took as well.
type meter struct {
	*mqtttest.Shelf
	took chan time.Duration
}

func (meter) Polled(devices.Poll) {}

func (m meter) Answered(_ string, took time.Duration) { m.took <- took }

var _ devices.Meter = meter{}

func TestPingsAreMetered(t *testing.T) {
	h := newHub(t)
	m := meter{mqtttest.NewShelf(), make(chan time.Duration, 8)}
	d := open(t, h.address(), []devices.Bound{bound("a.b", &devices.Topic{Topic: "a/b"})}, func(_ *devices.Device, c *Config) { c.KeepAlive = time.Second })
	run(t, d, m)
	l, _ := h.meet()
	l.accept()
	l.subscribed(1)
	l.Want(wire.Pingreq)
	l.Send(wire.Packet{FixedHeader: wire.FixedHeader{Type: wire.Pingresp}})
	if took := <-m.took; took <= 0 || took > mqtttest.Patience {
		t.Errorf("took %s", took)
	}
}
