package modbus_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"offsite/devices"
	"offsite/devices/modbus"
	"offsite/devices/modbus/modbustest"
)

// Each fault that goburrow/modbus v0.1.0 was measured to have, as what must
// happen here instead.
func TestFaultsOfTheLibraryBeneath(t *testing.T) {
	tests := []struct {
		name     string
		rtu      bool
		fault    modbustest.Fault
		lost     int    // polls of the ten that give nothing
		requests int    // at most; for an error that is not worth a pause
		code     string // told meanwhile
	}{
		{"TCP, one answer later than the timeout", false, modbustest.Fault{Kind: modbustest.Late, Delay: 700 * time.Millisecond, Times: 1}, 1, 10, "no_answer"},
		{"peer closed between two polls", false, modbustest.Fault{Kind: modbustest.CloseAfter, Times: 1}, 0, 10, ""},
		{"the same on RTU", true, modbustest.Fault{Kind: modbustest.CloseAfter, Times: 1}, 0, 10, ""},
		{"peer closed instead of an answer", false, modbustest.Fault{Kind: modbustest.Close, Times: 1}, 0, 11, ""},
		{"peer closes again and again", false, modbustest.Fault{Kind: modbustest.Close, Times: 3}, 2, 12, "connection_closed"},
		{"answer shorter than asked, self-consistent", false, modbustest.Fault{Kind: modbustest.Short, Times: 1}, 1, 10, "bad_answer"},
		{"the same on RTU", true, modbustest.Fault{Kind: modbustest.Short, Times: 1}, 1, 11, "bad_answer"},
		{"RTU over TCP, one late answer", true, modbustest.Fault{Kind: modbustest.Late, Delay: 700 * time.Millisecond, Times: 1}, 1, 11, "no_answer"},
		{"RTU over TCP, one answer later than the next poll", true, modbustest.Fault{Kind: modbustest.Late, Delay: 1100 * time.Millisecond, Times: 1}, 1, 11, "no_answer"},
		{"noise on the line between two polls", true, modbustest.Fault{Kind: modbustest.Noise, Times: 5}, 0, 10, ""},
		{"noise on TCP", false, modbustest.Fault{Kind: modbustest.Noise, Times: 1}, 1, 10, "bad_answer"},
		{"exception on serial", true, modbustest.Fault{Kind: modbustest.Refuse, Exception: 3, Times: 1}, 1, 10, "exception_3"},
		{"another function is no exception", false, modbustest.Fault{Kind: modbustest.WrongFunction, Times: 1}, 1, 10, "bad_answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slave := modbustest.New(modbustest.Config{RTU: tt.rtu})
				u := slave.Unit(1)
				u.Set(modbustest.Holding, 0, 100, 101, 102)
				dev := device("d", slave.Endpoint(), 1, time.Second)
				dev.Timeout = devices.Duration(500 * time.Millisecond)
				sink := &desk{}
				pool := modbus.New(modbus.Config{Dial: slave.Dial})
				stop := run(t, slave, sink, open(t, pool, dev, word("p.a", 0), word("p.b", 1)))
				time.Sleep(1500 * time.Millisecond) // polls at 0 and 1 s
				u.Misbehave(tt.fault)
				time.Sleep(8 * time.Second)
				stop()
				for point, want := range map[string]float64{"p.a": 100, "p.b": 101} {
					got := sink.values(point)
					if len(got) != 10-tt.lost || slices.ContainsFunc(got, func(v float64) bool { return v != want }) {
						t.Errorf("%s: %v, want %d times %v", point, got, 10-tt.lost, want)
					}
				}
				if n := len(u.Seen()); n > tt.requests {
					t.Errorf("%d requests, want at most %d", n, tt.requests)
				}
				told := fmt.Sprint(sink.told())
				if told != wantTold(tt.code) {
					t.Errorf("told %s, want %s", told, wantTold(tt.code))
				}
			})
		})
	}
}

func wantTold(code string) string {
	switch code {
	case "":
		return "[d: well]"
	case "exception_3":
		return "[d: well p.a p.b: exception_3 p.a p.b: well]"
	default:
		return fmt.Sprintf("[d: well d: %s d: well]", code)
	}
}

// A handler of the library shared by goroutines mixes answers up. Here forty
// drivers share one endpoint, over real sockets.
func TestFortyDriversOnOneEndpoint(t *testing.T) {
	for _, f := range framings {
		t.Run(f.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			slave, err := modbustest.Listen(ctx, f.cfg)
			if err != nil {
				t.Fatal(err)
			}
			pool := modbus.New(modbus.Config{})
			sink := &countdown{want: 5 * 40, done: cancel}
			var wg sync.WaitGroup
			wg.Go(func() { _ = slave.Run(ctx) })
			for i := range 40 {
				unit := uint8(1 + i%20) // two devices share each unit
				addr := uint16(10 * i)
				slave.Unit(unit).Set(modbustest.Holding, addr, 1000+addr)
				driver := open(t, pool, device(fmt.Sprintf("d%d", i), slave.Endpoint(), unit, 300*time.Millisecond), word(fmt.Sprintf("p.r%d", addr), addr))
				wg.Go(func() { _ = driver.Run(ctx, sink) })
			}
			wg.Wait()
			sink.mu.Lock()
			defer sink.mu.Unlock()
			if sink.got < sink.want {
				t.Errorf("%d deliveries of %d", sink.got, sink.want)
			}
			for point, v := range sink.seen {
				var addr int
				fmt.Sscanf(point, "p.r%d", &addr)
				if v != float64(1000+addr) {
					t.Errorf("%s = %v", point, v)
				}
			}
		})
	}
}

// countdown is a Sink that calls done after so many deliveries.
type countdown struct {
	mu        sync.Mutex
	got, want int
	seen      map[string]float64
	done      func()
}

func (c *countdown) Accept(d devices.Delivery, done func(error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string]float64{}
	}
	for _, r := range d.Readings {
		if old, ok := c.seen[r.Point]; ok && old != r.Value {
			r.Value = -1
		}
		c.seen[r.Point] = r.Value
	}
	if c.got++; c.got == c.want {
		c.done()
	}
	done(nil)
}

func (c *countdown) Report(devices.Report) {}

// On TCP a slow answer that is still within its timeout is not lost, though
// its neighbours are served meanwhile.
func TestSlowAnswerStandsAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slave := modbustest.New(modbustest.Config{})
		sink := &desk{}
		pool := modbus.New(modbus.Config{Dial: slave.Dial})
		var drivers []devices.Driver
		for unit := uint8(1); unit <= 3; unit++ {
			slave.Unit(unit).Set(modbustest.Holding, 0, uint16(unit))
			drivers = append(drivers, open(t, pool, device(fmt.Sprintf("d%d", unit), slave.Endpoint(), unit, time.Second), word(fmt.Sprintf("p.u%d", unit), 0)))
		}
		start := time.Now()
		slave.Unit(1).Misbehave(modbustest.Fault{Kind: modbustest.Late, Delay: 900 * time.Millisecond})
		stop := run(t, slave, sink, drivers...)
		time.Sleep(20*time.Second - 50*time.Millisecond)
		stop()
		if n := len(sink.values("p.u1")); n != 20 {
			t.Errorf("the slow one has %d readings of 20; told %q", n, sink.told())
		}
		for _, id := range []string{"d2", "d3"} {
			late := 0
			for _, at := range sink.times(id, start) {
				if at%time.Second > 520*time.Millisecond {
					late++
				}
			}
			if n := len(sink.times(id, start)); n != 20 || late > 0 {
				t.Errorf("%s: %d polls of 20, %d of them late: %v", id, n, late, sink.times(id, start))
			}
		}
	})
}

// A unit that is silent instead of refusing registers that it does not have
// cannot be asked for another length. It comes back all the same.
func TestRTUUnitThatIgnoresOtherLengthsComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slave := modbustest.New(modbustest.Config{RTU: true})
		slave.Unit(1).Set(modbustest.Holding, 0, 5)
		sink := &desk{}
		pool := modbus.New(modbus.Config{Dial: slave.Dial})
		stop := run(t, slave, sink, open(t, pool, device("d", slave.Endpoint(), 1, time.Second), word("p.a", 0)))
		time.Sleep(1500 * time.Millisecond)
		slave.Unit(1).Misbehave(
			modbustest.Fault{Kind: modbustest.Silent, Times: 1},
			modbustest.Fault{Kind: modbustest.Silent, When: func(r modbustest.Request) bool { return r.Quantity > 1 }},
		)
		time.Sleep(30 * time.Second)
		stop()
		if told := sink.told(); told[len(told)-1] != "d: well" {
			t.Errorf("told %q", told)
		}
	})
}

func TestRunEndsAtOnce(t *testing.T) {
	for _, f := range framings {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slave := modbustest.New(f.cfg)
				sink := &desk{}
				pool := modbus.New(modbus.Config{Dial: slave.Dial})
				var drivers []devices.Driver
				for unit := uint8(1); unit <= 3; unit++ {
					slave.Unit(unit).Misbehave(modbustest.Fault{Kind: modbustest.Silent})
					dev := device(fmt.Sprintf("d%d", unit), slave.Endpoint(), unit, time.Second)
					dev.Timeout = devices.Duration(time.Minute)
					drivers = append(drivers, open(t, pool, dev, word("p.a", 0)))
				}
				stop := run(t, slave, sink, drivers...)
				time.Sleep(10 * time.Second)
				before := time.Now()
				stop()
				if took := time.Since(before); took > 0 {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// A changed device is a new driver on the same bus; neighbours do not notice.
func TestReplacingOneDriverDisturbsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slave := modbustest.New(modbustest.Config{})
		slave.Unit(1).Set(modbustest.Holding, 0, 1)
		slave.Unit(2).Set(modbustest.Holding, 0, 2)
		sink := &desk{}
		dials := 0
		pool := modbus.New(modbus.Config{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials++
			return slave.Dial(ctx, network, addr)
		}})
		stop := run(t, slave, sink, open(t, pool, device("d1", slave.Endpoint(), 1, time.Second), word("p.u1", 0)))
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), 1950*time.Millisecond)
			_ = open(t, pool, device("d2", slave.Endpoint(), 2, 100*time.Millisecond), word("p.u2", 0)).Run(ctx, sink)
			cancel()
		}
		stop()
		if n := len(sink.values("p.u1")); n != 10 || dials != 1 {
			t.Errorf("%d polls of the neighbour in 9.75 s, %d connections", n, dials)
		}
	})
}

// The cable between a gateway and its units is pulled for five minutes.
func TestAWholeBusComesBackAtOnce(t *testing.T) {
	for _, f := range framings {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slave := modbustest.New(f.cfg)
				sink := &desk{}
				pool := modbus.New(modbus.Config{Dial: slave.Dial})
				const units = 16
				misbehave := func(faults ...modbustest.Fault) {
					for unit := uint8(1); unit <= units; unit++ {
						slave.Unit(unit).Misbehave(faults...)
					}
				}
				var drivers []devices.Driver
				for unit := uint8(1); unit <= units; unit++ {
					slave.Unit(unit).Set(modbustest.Holding, 0, uint16(unit))
					drivers = append(drivers, open(t, pool, device(fmt.Sprintf("d%d", unit), slave.Endpoint(), unit, time.Second), word(fmt.Sprintf("p.u%d", unit), 0)))
				}
				stop := run(t, slave, sink, drivers...)
				time.Sleep(10 * time.Second)
				misbehave(modbustest.Fault{Kind: modbustest.Silent})
				time.Sleep(5 * time.Minute)
				misbehave()
				back := time.Now()
				time.Sleep(time.Minute)
				stop()
				for i := range units {
					id := fmt.Sprintf("d%d", i+1)
					first := slices.IndexFunc(sink.times(id, back), func(at time.Duration) bool { return at >= 0 })
					if first < 0 || sink.times(id, back)[first] > 15*time.Second {
						t.Errorf("%s: came back too late", id)
					}
				}
			})
		})
	}
}

// On RTU the late answer of one unit falls into the exchange with another.
func TestRTULateAnswerAmidANeighboursExchange(t *testing.T) {
	for delay := 101 * time.Millisecond; delay < 500*time.Millisecond; delay += 13 * time.Millisecond {
		t.Run(delay.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slave := modbustest.New(modbustest.Config{RTU: true})
				sink := &desk{}
				pool := modbus.New(modbus.Config{Dial: slave.Dial})
				var drivers []devices.Driver
				for unit := uint8(1); unit <= 2; unit++ {
					u := uint16(unit)
					slave.Unit(unit).Set(modbustest.Holding, 0, u, 10*u)
					slave.Unit(unit).Set(modbustest.Holding, 50, 50*u, 51*u)
					dev := device(fmt.Sprintf("d%d", unit), slave.Endpoint(), unit, 200*time.Millisecond)
					dev.Timeout = devices.Duration(100 * time.Millisecond)
					drivers = append(drivers, open(t, pool, dev, word(fmt.Sprintf("p.u%d", unit), 0), word(fmt.Sprintf("p.w%d", unit), 50)))
				}
				slave.Unit(2).Misbehave(modbustest.Fault{Kind: modbustest.Late, Delay: 25 * time.Millisecond})
				stop := run(t, slave, sink, drivers...)
				time.Sleep(2 * time.Second)
				slave.Unit(1).Misbehave(modbustest.Fault{Kind: modbustest.Late, Delay: delay})
				time.Sleep(18*time.Second - 10*time.Millisecond)
				stop()
				for point, want := range map[string]float64{"p.u1": 1, "p.u2": 2, "p.w1": 50, "p.w2": 100} {
					if got := sink.values(point); slices.ContainsFunc(got, func(v float64) bool { return v != want }) {
						t.Errorf("%s gave %v", point, slices.Compact(got))
					}
				}
				if n := len(sink.values("p.u2")); n < 99 {
					t.Errorf("%d of 100 polls of the neighbour; told %q", n, sink.told())
				}
			})
		})
	}
}
