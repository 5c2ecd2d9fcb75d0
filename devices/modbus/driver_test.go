package modbus_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/modbus"
	"offsite/devices/modbus/modbustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a Sink that keeps all.
type desk struct {
	mu         sync.Mutex
	deliveries []devices.Delivery
	reports    []devices.Report
	refuse     error // given to done
}

func (d *desk) Accept(x devices.Delivery, done func(error)) {
	d.mu.Lock()
	d.deliveries = append(d.deliveries, x)
	err := d.refuse
	d.mu.Unlock()
	done(err)
}

func (d *desk) Report(r devices.Report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reports = append(d.reports, r)
}

func (d *desk) setRefuse(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse = err
}

// values gives every reading of a point, oldest first.
func (d *desk) values(point string) (vs []float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, x := range d.deliveries {
		for _, r := range x.Readings {
			if r.Point == point {
				vs = append(vs, r.Value)
			}
		}
	}
	return vs
}

// times gives when each delivery of a device came, from start.
func (d *desk) times(device string, start time.Time) (ts []time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, x := range d.deliveries {
		if x.Origin.Device == device {
			ts = append(ts, x.Received.Sub(start))
		}
	}
	return ts
}

// told gives the reports in short: points or "device", and the code or "well".
func (d *desk) told() (lines []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.reports {
		who, code := r.Device, "well"
		if r.Points != nil {
			who = strings.Join(r.Points, " ")
		}
		if r.Problem != nil {
			code = r.Problem.Code
		}
		lines = append(lines, who+": "+code)
	}
	return lines
}

func device(id, endpoint string, unit uint8, period time.Duration) devices.Device {
	return devices.Device{
		ID: id, Site: "site", Name: id, Driver: devices.DriverModbus, Endpoint: endpoint,
		Period: devices.Duration(period), Modbus: &devices.ModbusSettings{Unit: unit},
	}
}

func bound(point string, reg devices.Register) devices.Bound {
	return devices.Bound{
		Binding: devices.Binding{ID: "b-" + strings.ReplaceAll(point, ".", "-"), Point: point, Device: "d", Register: &reg},
		Point:   devices.Point{ID: point},
		Site:    "site",
	}
}

func word(point string, addr uint16) devices.Bound {
	return bound(point, devices.Register{Table: "holding", Address: addr, Type: "uint16"})
}

// run starts slave and drivers in memory and gives a function that ends them.
func run(t *testing.T, slave *modbustest.Slave, sink devices.Sink, drivers ...devices.Driver) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = slave.Run(ctx) })
	for _, d := range drivers {
		wg.Go(func() {
			if err := d.Run(ctx, sink); !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

func open(t *testing.T, pool *modbus.Pool, dev devices.Device, bounds ...devices.Bound) devices.Driver {
	t.Helper()
	d, err := pool.Open(dev, bounds)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var framings = []struct {
	name string
	cfg  modbustest.Config
}{{"TCP", modbustest.Config{}}, {"RTU over TCP", modbustest.Config{RTU: true}}, {"ASCII over TCP", modbustest.Config{ASCII: true}}}

func TestEveryTypeInEveryOrder(t *testing.T) {
	numbers := []struct {
		typ  string
		v    any
		want float64
	}{
		{"int16", int16(-12345), -12345},
		{"uint16", uint16(54321), 54321},
		{"int32", int32(-1234567890), -1234567890},
		{"uint32", uint32(4023456789), 4023456789},
		{"float32", float32(-3.1415927), float64(float32(-3.1415927))},
		{"float64", 2.718281828459045, 2.718281828459045},
		{"float32", float32(math.MaxFloat32), float64(float32(math.MaxFloat32))},
		{"int64", int64(-1234567890123456), -1234567890123456},
		{"uint64", uint64(9007199254740991), 9007199254740991},
		{"bcd16", uint16(0x9876), 9876},
		{"bcd32", uint32(0x98765432), 98765432},
	}
	for _, f := range framings {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slave := modbustest.New(f.cfg)
				var bounds []devices.Bound
				want := map[string]float64{}
				addr := uint16(100)
				for _, table := range []string{"holding", "input"} {
					for i, n := range numbers {
						for _, order := range []string{"", "ABCD", "CDAB", "BADC", "DCBA"} {
							point := fmt.Sprintf("p.%s-%d-%s", table, i, strings.ToLower(order))
							bounds = append(bounds, bound(point, devices.Register{Table: table, Address: addr, Type: n.typ, Order: order}))
							slave.Unit(9).Put(map[string]modbustest.Table{"holding": modbustest.Holding, "input": modbustest.Input}[table], addr, order, n.v)
							want[point] = n.want
							addr += 4
						}
					}
				}
				slave.Unit(9).Put(modbustest.Input, 20, "ABCD", " -12.75 ")
				slave.Unit(9).Put(modbustest.Input, 24, "BADC", "31.4")
				for point, text := range map[string]devices.Register{
					"p.text": {Address: 20, Length: 4}, "p.text-badc": {Address: 24, Length: 2, Order: "BADC"},
				} {
					text.Table, text.Type = "input", "string"
					bounds = append(bounds, bound(point, text))
				}
				want["p.text"], want["p.text-badc"] = -12.75, 31.4
				bounds = append(bounds, bound("p.bits", devices.Register{Table: "holding", Address: 7, Type: "bits", Bit: 12, Width: 4}))
				want["p.bits"] = 8
				for table, at := range map[string]modbustest.Table{"coil": modbustest.Coil, "discrete": modbustest.Discrete} {
					for i := range uint16(40) {
						slave.Unit(9).Set(at, 3+i, i%3&1)
					}
					for i, v := range map[uint16]float64{0: 0, 1: 1, 9: 0, 10: 1, 39: 0} {
						point := fmt.Sprintf("p.%s-%d", table, i)
						bounds = append(bounds, bound(point, devices.Register{Table: table, Address: 3 + i, Type: "bit"}))
						want[point] = v
					}
				}
				slave.Unit(9).Set(modbustest.Holding, 7, 0x8001)
				for bit, v := range map[uint8]float64{0: 1, 1: 0, 14: 0, 15: 1} {
					point := fmt.Sprintf("p.bit-%d", bit)
					bounds = append(bounds, bound(point, devices.Register{Table: "holding", Address: 7, Type: "bit", Bit: bit}))
					want[point] = v
				}
				for i := range addr - 100 { // the holes between the values exist as well
					for _, table := range []modbustest.Table{modbustest.Holding, modbustest.Input} {
						if _, set := slave.Unit(9).Get(table, 100+i); !set {
							slave.Unit(9).Set(table, 100+i, 0xaaaa)
						}
					}
				}
				sink := &desk{}
				pool := modbus.New(modbus.Config{Dial: slave.Dial})
				stop := run(t, slave, sink, open(t, pool, device("d", slave.Endpoint(), 9, time.Second), bounds...))
				time.Sleep(500 * time.Millisecond)
				stop()
				if len(sink.deliveries) != 1 {
					t.Fatalf("%d deliveries, want 1; told %q", len(sink.deliveries), sink.told())
				}
				got := map[string]float64{}
				for _, r := range sink.deliveries[0].Readings {
					got[r.Point] = r.Value
					if !r.Stamped || r.At.IsZero() || r.At.Location() != time.UTC || r.At.Nanosecond()%1e6 != 0 {
						t.Errorf("time of %s: %v stamped %v", r.Point, r.At, r.Stamped)
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				if n := len(slave.Unit(9).Seen()); n > 9 {
					t.Errorf("%d requests for %d values", n, len(bounds))
				}
			})
		})
	}
}

func TestScaleOffsetRangeAndNotFinite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slave := modbustest.New(modbustest.Config{})
		u := slave.Unit(1)
		u.Set(modbustest.Holding, 0, 250, 1000)
		u.Put(modbustest.Holding, 2, "ABCD", float32(math.NaN()))
		u.Put(modbustest.Holding, 4, "ABCD", float32(math.Inf(-1)))
		u.Put(modbustest.Holding, 6, "ABCD", math.MaxFloat64)
		temp, high := word("t.temp", 0), word("t.high", 1)
		temp.Binding.Scale, temp.Binding.Offset = 0.1, -40
		limit := 999.0
		high.Point.Max = &limit
		huge := bound("t.huge", devices.Register{Table: "holding", Address: 6, Type: "float64"})
		huge.Binding.Scale = 10
		sink := &desk{}
		pool := modbus.New(modbus.Config{Dial: slave.Dial})
		stop := run(t, slave, sink, open(t, pool, device("d", slave.Endpoint(), 1, time.Second), temp, high, huge,
			bound("t.nan", devices.Register{Table: "holding", Address: 2, Type: "float32"}),
			bound("t.inf", devices.Register{Table: "holding", Address: 4, Type: "float32"})))
		time.Sleep(1500 * time.Millisecond)
		u.Put(modbustest.Holding, 2, "ABCD", float32(7))
		time.Sleep(time.Second)
		stop()
		if diff := cmp.Diff([]float64{-15, -15, -15}, sink.values("t.temp")); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]float64{7}, sink.values("t.nan")); diff != "" {
			t.Error(diff)
		}
		if got := sink.values("t.inf"); got != nil {
			t.Errorf("infinity became a reading: %v", got)
		}
		for _, r := range sink.deliveries[0].Readings {
			if want := map[string]devices.Quality{"t.high": devices.UncertainRange}[r.Point]; r.Quality != want {
				t.Errorf("%s has quality %v, want %v", r.Point, r.Quality, want)
			}
		}
		want := []string{"t.huge: not_finite", "t.inf: not_finite", "t.nan: not_finite", "d: well", "t.nan: well"}
		if diff := cmp.Diff(want, sink.told()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPollsKeepTheGrid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slave := modbustest.New(modbustest.Config{})
		slave.Unit(1).Set(modbustest.Holding, 0, 1)
		slave.Unit(1).Misbehave(modbustest.Fault{Kind: modbustest.Late, Delay: 37 * time.Millisecond})
		sink := &desk{}
		pool := modbus.New(modbus.Config{Dial: slave.Dial})
		start := time.Now()
		stop := run(t, slave, sink, open(t, pool, device("d", slave.Endpoint(), 1, time.Second), word("p.a", 0)))
		time.Sleep(time.Hour - 500*time.Millisecond)
		stop()
		ts := sink.times("d", start)
		if len(ts) != 3600 {
			t.Fatalf("%d polls in an hour", len(ts))
		}
		if late := ts[3599] - 3599*time.Second; late != 37*time.Millisecond {
			t.Errorf("drifted by %v", late)
		}
	})
}

func TestMissedPollsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slave := modbustest.New(modbustest.Config{})
		slave.Unit(1).Set(modbustest.Holding, 0, 1)
		slave.Unit(1).Misbehave(modbustest.Fault{Kind: modbustest.Late, Delay: 250 * time.Millisecond, Times: 4})
		sink := &desk{}
		pool := modbus.New(modbus.Config{Dial: slave.Dial})
		stop := run(t, slave, sink, open(t, pool, device("d", slave.Endpoint(), 1, 100*time.Millisecond), word("p.a", 0)))
		time.Sleep(3 * time.Second)
		stop()
		if diff := cmp.Diff([]string{"d: well", "d: polls_missed", "d: well"}, sink.told()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWhatCannotBeStoredIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slave := modbustest.New(modbustest.Config{})
		slave.Unit(1).Set(modbustest.Holding, 0, 1)
		sink := &desk{}
		pool := modbus.New(modbus.Config{Dial: slave.Dial})
		stop := run(t, slave, sink, open(t, pool, device("d", slave.Endpoint(), 1, time.Second), word("p.a", 0)))
		time.Sleep(1500 * time.Millisecond)
		sink.setRefuse(errors.New("no space left on device"))
		time.Sleep(3 * time.Second)
		sink.setRefuse(nil)
		time.Sleep(3 * time.Second)
		stop()
		if diff := cmp.Diff([]string{"d: well", "d: not_stored", "d: well"}, sink.told()); diff != "" {
			t.Error(diff)
		}
		if n := len(sink.values("p.a")); n != 8 {
			t.Errorf("%d polls, want 8: a full disk does not stop polling", n)
		}
	})
}

func TestExceptionsConcernTheirPointsOnly(t *testing.T) {
	for _, f := range framings {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slave := modbustest.New(f.cfg)
				u := slave.Unit(1)
				u.Set(modbustest.Holding, 0, 11)
				u.Set(modbustest.Holding, 3, 33)
				sink := &desk{}
				pool := modbus.New(modbus.Config{Dial: slave.Dial})
				stop := run(t, slave, sink, open(t, pool, device("d", slave.Endpoint(), 1, time.Second),
					word("p.a", 0), word("p.gone", 1), word("p.c", 3), word("p.far", 900)))
				time.Sleep(2500 * time.Millisecond)
				u.Set(modbustest.Holding, 1, 22)
				time.Sleep(time.Second)
				stop()
				if diff := cmp.Diff([]float64{11, 11, 11, 11}, sink.values("p.a")); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff([]float64{33, 33, 33, 33}, sink.values("p.c")); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff([]float64{22}, sink.values("p.gone")); diff != "" {
					t.Error(diff)
				}
				want := []string{"p.far: exception_2", "p.gone: exception_2", "d: well", "p.gone: well"}
				if diff := cmp.Diff(want, sink.told()); diff != "" {
					t.Error(diff)
				}
				for _, r := range sink.reports {
					if p := r.Problem; p != nil && (!strings.Contains(p.EN, "illegal data address") || !strings.Contains(p.ZH, "寄存器地址不存在")) {
						t.Errorf("not in words: %s", p.Bilingual())
					}
				}
			})
		})
	}
}

// Right value or gap, never a wrong value: two blocks of equal length whose
// registers say which they are.
func TestMisbehaviourNeverGivesAWrongValue(t *testing.T) {
	const timeout = 300 * time.Millisecond
	faults := []modbustest.Fault{
		{Kind: modbustest.Late, Delay: timeout - 10*time.Millisecond},
		{Kind: modbustest.Late, Delay: timeout + time.Millisecond},
		{Kind: modbustest.Late, Delay: 2 * timeout},
		{Kind: modbustest.Late, Delay: 1100 * time.Millisecond},
		{Kind: modbustest.Late, Delay: 5 * time.Second},
		{Kind: modbustest.Silent},
		{Kind: modbustest.Short},
		{Kind: modbustest.Long},
		{Kind: modbustest.Garbage},
		{Kind: modbustest.Cut},
		{Kind: modbustest.WrongTransaction},
		{Kind: modbustest.WrongUnit},
		{Kind: modbustest.WrongFunction},
		{Kind: modbustest.BadChecksum},
		{Kind: modbustest.Refuse, Exception: 4},
		{Kind: modbustest.Refuse, Exception: 6},
		{Kind: modbustest.Refuse, Exception: 11},
		{Kind: modbustest.Close},
		{Kind: modbustest.CloseAfter},
	}
	names := []string{"late within the timeout", "late by a hair", "late", "later than the period", "very late", "silent", "short", "long", "garbage", "cut", "wrong transaction", "wrong unit", "wrong function", "bad checksum", "failure", "busy", "gateway", "close", "close after"}
	for _, f := range framings {
		for i, fault := range faults {
			for _, times := range []int{1, 2, 5} {
				t.Run(fmt.Sprintf("%s/%s/%d", f.name, names[i], times), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { misbehave(t, f.cfg, fault, times, timeout) })
				})
			}
		}
	}
}

func misbehave(t *testing.T, cfg modbustest.Config, fault modbustest.Fault, times int, timeout time.Duration) {
	slave := modbustest.New(cfg)
	u := slave.Unit(1)
	u.Set(modbustest.Holding, 10, 1010, 1011)
	u.Set(modbustest.Holding, 500, 1500, 1501)
	u.Set(modbustest.Holding, 12, 1012) // what a request for more registers finds
	u.Set(modbustest.Holding, 502, 1502)
	sink := &desk{}
	dev := device("d", slave.Endpoint(), 1, time.Second)
	dev.Timeout = devices.Duration(timeout)
	pool := modbus.New(modbus.Config{Dial: slave.Dial})
	stop := run(t, slave, sink, open(t, pool, dev, word("p.a10", 10), word("p.a11", 11), word("p.a500", 500), word("p.a501", 501)))
	time.Sleep(2500 * time.Millisecond)
	fault.Times = times
	u.Misbehave(fault)
	time.Sleep(60 * time.Second)
	before := len(sink.values("p.a10"))
	time.Sleep(10 * time.Second)
	stop()
	for point, want := range map[string]float64{"p.a10": 1010, "p.a11": 1011, "p.a500": 1500, "p.a501": 1501} {
		got := sink.values(point)
		if i := slices.IndexFunc(got, func(v float64) bool { return v != want }); i >= 0 {
			t.Errorf("%s became %v", point, got[i])
		}
		if len(got) < 40 {
			t.Errorf("%s has %d readings of 72; told %q", point, len(got), sink.told())
		}
	}
	if n := len(sink.values("p.a10")) - before; n != 10 {
		t.Errorf("%d polls in the last 10 s: it did not recover", n)
	}
	if told := sink.told(); len(told) > 0 && len(told) > 2*times+3 {
		t.Errorf("told too often: %q", told)
	}
	state := map[string]string{}
	for _, line := range sink.told() {
		all, code, _ := strings.Cut(line, ": ")
		for who := range strings.FieldsSeq(all) {
			state[who] = code
		}
	}
	for who, code := range state {
		if code != "well" {
			t.Errorf("%s was left %s", who, code)
		}
	}
}

func TestOneSilentUnitOfFourDoesNotStarveTheOthers(t *testing.T) {
	tests := []struct {
		name            string
		period, timeout time.Duration
		fault           modbustest.Fault
		late            time.Duration // that a neighbour's poll may come after its moment
	}{
		{"silent", time.Second, time.Second, modbustest.Fault{Kind: modbustest.Silent}, 300 * time.Millisecond},
		{"silent, quick polls", 200 * time.Millisecond, time.Second, modbustest.Fault{Kind: modbustest.Silent}, 180 * time.Millisecond},
		{"later than its timeout", 200 * time.Millisecond, 100 * time.Millisecond, modbustest.Fault{Kind: modbustest.Late, Delay: 150 * time.Millisecond}, 180 * time.Millisecond},
		{"garbage", 200 * time.Millisecond, time.Second, modbustest.Fault{Kind: modbustest.Garbage}, 180 * time.Millisecond},
		{"closes", 200 * time.Millisecond, time.Second, modbustest.Fault{Kind: modbustest.Close}, 180 * time.Millisecond},
		{"wrong unit", 200 * time.Millisecond, time.Second, modbustest.Fault{Kind: modbustest.WrongUnit}, 180 * time.Millisecond},
		{"gateway says so late", 200 * time.Millisecond, time.Second, modbustest.Fault{Kind: modbustest.Refuse, Exception: 11}, 180 * time.Millisecond},
	}
	for _, f := range framings {
		for _, tt := range tests {
			for _, since := range []time.Duration{0, 10 * time.Second} {
				t.Run(fmt.Sprintf("%s/%s/since %v", f.name, tt.name, since), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						slave := modbustest.New(f.cfg)
						sink := &desk{}
						pool := modbus.New(modbus.Config{Dial: slave.Dial})
						var drivers []devices.Driver
						for unit := uint8(1); unit <= 4; unit++ {
							slave.Unit(unit).Set(modbustest.Holding, 0, uint16(unit))
							dev := device(fmt.Sprintf("d%d", unit), slave.Endpoint(), unit, tt.period)
							dev.Timeout = devices.Duration(tt.timeout)
							drivers = append(drivers, open(t, pool, dev, word(fmt.Sprintf("p.u%d", unit), 0)))
						}
						start := time.Now()
						if since == 0 {
							slave.Unit(2).Misbehave(tt.fault)
						}
						stop := run(t, slave, sink, drivers...)
						time.Sleep(since)
						if since > 0 {
							slave.Unit(2).Misbehave(tt.fault)
						}
						const watched = 100 * time.Second
						time.Sleep(watched)
						slave.Unit(2).Misbehave()
						time.Sleep(35 * time.Second) // a hundred times what one try costs its neighbours
						stop()
						late := tt.late
						if f.cfg.ASCII {
							late += 50 * time.Millisecond // its frames take twice as long
						}
						for _, id := range []string{"d1", "d3", "d4"} {
							onTime(t, id, sink.times(id, start), tt.period, since+watched, late)
						}
						checkUnitOfFour(t, sink)
					})
				})
			}
		}
	}
}

// onTime demands 99 % of the polls of the grid, each no later than allowed.
func onTime(t *testing.T, id string, ts []time.Duration, period, span, late time.Duration) {
	t.Helper()
	kept := map[time.Duration]bool{}
	for _, at := range ts {
		if moment := at.Truncate(period); at < span && at-moment <= late {
			kept[moment] = true
		}
	}
	if want := int(span / period); len(kept)*100 < want*99 {
		t.Errorf("%s: %d of %d polls on time", id, len(kept), want)
	}
}

func checkUnitOfFour(t *testing.T, sink *desk) {
	t.Helper()
	for unit := 1; unit <= 4; unit++ {
		got := sink.values(fmt.Sprintf("p.u%d", unit))
		if slices.ContainsFunc(got, func(v float64) bool { return v != float64(unit) }) {
			t.Errorf("unit %d gave %v", unit, slices.Compact(got))
		}
	}
	told := sink.told()
	if last := told[len(told)-1]; last != "d2: well" {
		t.Errorf("the silent one did not come back: %q", told)
	}
}

func TestWhoConnectsInVainIsToldAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slave := modbustest.New(modbustest.Config{})
		slave.Unit(1).Set(modbustest.Holding, 0, 5)
		refuse := true
		dials := 0
		var mu sync.Mutex
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			dials++
			no := refuse
			mu.Unlock()
			if no {
				return nil, errors.New("connection refused")
			}
			return slave.Dial(ctx, network, addr)
		}
		sink := &desk{}
		pool := modbus.New(modbus.Config{Dial: dial})
		stop := run(t, slave, sink, open(t, pool, device("d", slave.Endpoint(), 1, 100*time.Millisecond), word("p.a", 0)))
		time.Sleep(time.Minute)
		mu.Lock()
		refuse = false
		if dials > 20 {
			t.Errorf("dialled %d times in a minute", dials)
		}
		mu.Unlock()
		time.Sleep(11 * time.Second)
		stop()
		if diff := cmp.Diff([]string{"d: unreachable", "d: well"}, sink.told()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTwoFramingsOnOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slave := modbustest.New(modbustest.Config{})
		pool := modbus.New(modbus.Config{Dial: slave.Dial})
		sink := &desk{}
		stop := run(t, slave, sink, open(t, pool, device("d", "modbus://modbustest:502", 1, time.Second)))
		synctest.Wait()
		other := open(t, pool, device("e", "modbus+rtu://MODBUSTEST:502", 1, time.Second))
		if err := other.Run(t.Context(), sink); !errors.Is(err, devices.ErrConflict) {
			t.Errorf("Run gave %v", err)
		}
		stop()
		if err := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return other.Run(ctx, sink)
		}(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after the other left, Run gave %v", err)
		}
	})
}
