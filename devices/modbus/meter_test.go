package modbus_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/modbus"
	"offsite/devices/modbus/modbustest"
)

// meter is a desk that hears of polls as well.
type meter struct {
	desk
	polls map[string][]devices.Poll // by device
}

func (m *meter) Polled(p devices.Poll) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.polls[p.Device] = append(m.polls[p.Device], p)
}

func (m *meter) Answered(string, time.Duration) {}

var _ devices.Meter = (*meter)(nil)

func TestPollsAreMetered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slave := modbustest.New(modbustest.Config{})
		slave.Unit(1).Set(modbustest.Holding, 0, 7)
		slave.Unit(1).Misbehave(modbustest.Fault{Kind: modbustest.Late, Delay: 30 * time.Millisecond})
		slave.Unit(2).Misbehave(modbustest.Fault{Kind: modbustest.Silent})
		sink := &meter{polls: map[string][]devices.Poll{}}
		pool := modbus.New(modbus.Config{Dial: slave.Dial})
		stop := run(
			t, slave, sink,
			open(t, pool, device("well", slave.Endpoint(), 1, time.Second), word("p.a", 0), word("p.absent", 500)),
			open(t, pool, device("silent", slave.Endpoint(), 2, time.Second), word("p.b", 0)),
		)
		time.Sleep(20*time.Second + 500*time.Millisecond)
		stop()
		well, silent := sink.polls["well"], sink.polls["silent"]
		if len(well) < 19 || len(silent) < 19 {
			t.Fatalf("%d and %d polls", len(well), len(silent))
		}
		last := well[len(well)-1]
		if !last.Answered || last.LeftOut || last.Took != 30*time.Millisecond {
			t.Errorf("well: %+v", last)
		}
		if diff := cmp.Diff([]string{"p.absent"}, last.Failed); diff != "" {
			t.Error(diff)
		}
		for i, p := range silent {
			if p.Answered || (i > 3 && !p.LeftOut) {
				t.Errorf("silent, poll %d: %+v", i, p)
			}
		}
	})
}
