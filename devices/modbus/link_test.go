package modbus_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"offsite/devices"
	"offsite/devices/modbus"
	"offsite/devices/modbus/bus"
	"offsite/devices/modbus/modbustest"
)

func TestTheBusRestsAsLongAsAnyDeviceAsks(t *testing.T) {
	for _, f := range framings {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slave := modbustest.New(f.cfg)
				for unit := byte(1); unit <= 2; unit++ {
					slave.Unit(unit).Set(modbustest.Holding, 0, 1)
					slave.Unit(unit).Set(modbustest.Holding, 500, 1)
				}
				slow := device("slow", slave.Endpoint(), 1, time.Second)
				slow.Modbus.Pause, slow.Modbus.Settle = devices.Duration(100*time.Millisecond), devices.Duration(300*time.Millisecond)
				pool := modbus.New(modbus.Config{Dial: slave.Dial})
				start := time.Now()
				stopSlow := run(t, slave, &desk{}, open(t, pool, slow, word("s.a", 0), word("s.b", 500)))
				synctest.Wait() // before it is there nobody asks for rest
				stop := run(t, slave, &desk{}, open(t, pool, device("d", slave.Endpoint(), 2, time.Second), word("d.a", 0), word("d.b", 500)))
				time.Sleep(2800 * time.Millisecond)
				stop()
				stopSlow()
				asked := append(slave.Unit(1).Seen(), slave.Unit(2).Seen()...)
				slices.SortFunc(asked, func(a, b modbustest.Request) int { return a.At.Compare(b.At) })
				if len(asked) != 12 || asked[0].At.Sub(start) < 300*time.Millisecond {
					t.Fatalf("%d requests, the first after %v", len(asked), asked[0].At.Sub(start))
				}
				for i := range asked[1:] {
					if gap := asked[i+1].At.Sub(asked[i].At); gap < 100*time.Millisecond {
						t.Errorf("request %d came %v after the one before", i+1, gap)
					}
				}
			})
		})
	}
}

func TestASerialPortIsABus(t *testing.T) {
	for _, f := range framings[1:] {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slave := modbustest.New(f.cfg)
				slave.Unit(1).Set(modbustest.Holding, 0, 41)
				slave.Unit(2).Set(modbustest.Holding, 0, 42)
				endpoint := "modbus+rtu:///dev/ttyS7"
				if f.cfg.ASCII {
					endpoint = "modbus+ascii:///dev/ttyS7"
				}
				first, second := device("a", endpoint, 1, time.Second), device("b", endpoint, 2, time.Second)
				first.Modbus.Serial = &devices.SerialLine{Baud: 9600, Parity: "none", DataBits: 8, StopBits: 1}
				odd := device("c", endpoint, 3, time.Second)
				odd.Modbus.Serial = &devices.SerialLine{Baud: 19200, Parity: "even"}
				opened := 0
				pool := modbus.New(modbus.Config{Port: func(path string, line devices.SerialLine) (bus.Link, error) {
					opened++
					if want := (devices.SerialLine{Baud: 9600, Parity: "none", DataBits: 8, StopBits: 1}); path != "/dev/ttyS7" || line != want {
						t.Errorf("opened %s at %+v", path, line)
					}
					return slave.Dial(t.Context(), "", "")
				}})
				sink := &desk{}
				stop := run(t, slave, sink, open(t, pool, first, word("p.a", 0)), open(t, pool, second, word("p.b", 0)))
				time.Sleep(1500 * time.Millisecond)
				err := open(t, pool, odd, word("p.c", 0)).Run(t.Context(), sink)
				if p := devices.AllProblems(err); !errors.Is(err, devices.ErrConflict) || p[0].Code != "line_conflict" {
					t.Errorf("another baud rate on the same port: %v", err)
				}
				stop()
				if a, b := sink.values("p.a"), sink.values("p.b"); opened != 1 || !slices.Equal(a, []float64{41, 41}) || !slices.Equal(b, []float64{42, 42}) {
					t.Errorf("%d openings, read %v and %v; told %q", opened, a, b, sink.told())
				}
			})
		})
	}
}

func TestAPortThatIsNotThereSaysSo(t *testing.T) {
	sink := &desk{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	missing := open(t, modbus.New(modbus.Config{}), device("d", "modbus+rtu:///dev/ttyUSB987", 1, 50*time.Millisecond), word("p.a", 0))
	told := make(chan struct{})
	go func() {
		defer close(told)
		_ = missing.Run(ctx, sink)
	}()
	for ctx.Err() == nil && len(sink.told()) == 0 {
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	<-told
	if got := sink.told(); len(got) != 1 || got[0] != "d: port_missing" {
		t.Errorf("told %q", got)
	}
}
