package modbus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/modbus"
	"offsite/devices/modbus/modbustest"
)

// known resolves every name but "nowhere".
func known(_ context.Context, host string) ([]netip.Addr, error) {
	if host == "nowhere" {
		return nil, errors.New("no such host")
	}
	return []netip.Addr{netip.MustParseAddr("10.0.3.7")}, nil
}

// outcome gives steps in short: "answer failed".
func outcome(t *testing.T, steps []devices.Step) (lines []string) {
	t.Helper()
	for _, s := range steps {
		word := map[bool]string{true: "ok", false: "failed"}[s.OK]
		if s.Skipped {
			word = "skipped"
		}
		lines = append(lines, s.Name+" "+word)
		if s.ZH == "" || s.EN == "" || (s.CureZH == "") != (s.CureEN == "") {
			t.Errorf("%s is not bilingual: %+v", s.Name, s)
		}
		if !s.OK && s.CureEN == "" {
			t.Errorf("%s has no cure: %s", s.Name, s.EN)
		}
	}
	return lines
}

func TestProbe(t *testing.T) {
	reach := []string{"resolve ok", "address ok", "connect ok"}
	with := func(more ...string) []string { return append(append([]string{}, reach...), more...) }
	tests := []struct {
		name   string
		slave  modbustest.Config
		change func(u *modbustest.Unit, d *devices.Device)
		want   []string
		words  string // in the English of the last step or its cure
	}{
		{"well", modbustest.Config{}, func(*modbustest.Unit, *devices.Device) {}, with("answer ok", "values ok"), "read 2 of 2"},
		{"well on RTU", modbustest.Config{RTU: true}, func(*modbustest.Unit, *devices.Device) {}, with("answer ok", "values ok"), "read 2 of 2"},
		{"well in ASCII", modbustest.Config{ASCII: true}, func(*modbustest.Unit, *devices.Device) {}, with("answer ok", "values ok"), "read 2 of 2"},
		{"one register missing", modbustest.Config{}, func(u *modbustest.Unit, _ *devices.Device) { u.Clear(modbustest.Holding, 1) }, with("answer ok", "values failed"), "read 1 of 2"},
		{"exceptions only", modbustest.Config{}, func(u *modbustest.Unit, _ *devices.Device) {
			u.Misbehave(modbustest.Fault{Kind: modbustest.Refuse, Exception: 4})
		}, with("answer ok", "values failed"), "read 0 of 2"},
		{"silent", modbustest.Config{}, func(u *modbustest.Unit, _ *devices.Device) {
			u.Misbehave(modbustest.Fault{Kind: modbustest.Silent})
		}, with("answer failed", "framing failed"), "check unit id, port"},
		{"a gateway without its unit", modbustest.Config{}, func(_ *modbustest.Unit, d *devices.Device) { d.Modbus.Unit = 77 }, with("answer failed"), "exception 11"},
		{"TCP asked of an RTU slave", modbustest.Config{RTU: true}, func(_ *modbustest.Unit, d *devices.Device) {
			d.Endpoint = "modbus://modbustest:502"
		}, with("answer failed", "framing ok"), "modbus+rtu://modbustest:502"},
		{"RTU asked of a TCP slave", modbustest.Config{}, func(_ *modbustest.Unit, d *devices.Device) {
			d.Endpoint = "modbus+rtu://modbustest:502"
		}, with("answer failed", "framing ok"), "modbus://modbustest:502"},
		{"unknown host", modbustest.Config{}, func(_ *modbustest.Unit, d *devices.Device) { d.Endpoint = "modbus://nowhere" }, []string{"resolve failed"}, "check its name"},
		{"forbidden address", modbustest.Config{}, func(_ *modbustest.Unit, d *devices.Device) { d.Endpoint = "modbus://169.254.1.1" }, []string{"address failed"}, "choose another"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slave := modbustest.New(tt.slave)
				u := slave.Unit(5)
				u.Set(modbustest.Holding, 0, 17)
				u.Set(modbustest.Holding, 1, 4)
				pool := modbus.New(modbus.Config{Dial: slave.Dial, Resolve: known, Allow: func(a netip.AddrPort) error {
					if a.Addr().IsLinkLocalUnicast() {
						return devices.Invalid("endpoint", "forbidden", "不允许；请更换", "not allowed; choose another")
					}
					return nil
				}})
				dev := devices.Device{Endpoint: slave.Endpoint(), Modbus: &devices.ModbusSettings{Unit: 5}}
				tt.change(u, &dev)
				stop := run(t, slave, &desk{})
				defer stop()
				steps, err := pool.Probe(t.Context(), dev, []devices.Bound{
					{Binding: devices.Binding{Register: &devices.Register{Table: "holding", Address: 0, Type: "uint16"}, Scale: 0.5}},
					{Binding: devices.Binding{Register: &devices.Register{Table: "holding", Address: 1, Type: "bit", Bit: 2}}},
				})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, outcome(t, steps)); diff != "" {
					t.Error(diff)
				}
				if last := steps[len(steps)-1]; !strings.Contains(last.EN+last.CureEN, tt.words) {
					t.Errorf("said %q, %q; want %q", last.EN, last.CureEN, tt.words)
				}
			})
		})
	}
}

func TestProbeShowsEveryOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slave := modbustest.New(modbustest.Config{})
		slave.Unit(1).Put(modbustest.Input, 8, "CDAB", float32(23.5))
		slave.Unit(1).Set(modbustest.Input, 10, 1)
		slave.Unit(1).Set(modbustest.Coil, 3, 1)
		low, high := -40.0, 80.0
		stop := run(t, slave, &desk{})
		defer stop()
		steps, err := modbus.New(modbus.Config{Dial: slave.Dial, Resolve: known}).Probe(t.Context(),
			devices.Device{Endpoint: slave.Endpoint(), Modbus: &devices.ModbusSettings{Unit: 1}},
			[]devices.Bound{
				{Binding: devices.Binding{Register: &devices.Register{Table: "input", Address: 8, Type: "float32"}}, Point: devices.Point{ID: "o.temp", Min: &low, Max: &high}},
				{Binding: devices.Binding{Register: &devices.Register{Table: "input", Address: 10, Type: "uint16"}}, Point: devices.Point{Labels: []devices.Label{{Value: 1, Text: "运行"}}}},
				{Binding: devices.Binding{Register: &devices.Register{Table: "coil", Address: 3, Type: "bit"}}},
				{Binding: devices.Binding{Register: &devices.Register{Table: "discrete", Address: 3, Type: "bit"}}},
			})
		if err != nil {
			t.Fatal(err)
		}
		values := steps[len(steps)-1].Values
		if len(values) != 4 {
			t.Fatalf("%+v", steps)
		}
		temp := values[0]
		if temp.Raw != "00 00 41 BC" || temp.Point != "o.temp" || temp.Plausible || !strings.Contains(temp.EN, "that fit: CDAB DCBA") || !strings.Contains(temp.ZH, "CDAB") {
			t.Errorf("%+v", temp)
		}
		var orders []string
		for _, o := range temp.Orders {
			orders = append(orders, fmt.Sprintf("%s %.4g %v", o.Order, *o.Value, o.Plausible))
		}
		if diff := cmp.Diff([]string{"ABCD 2.358e-41 false", "CDAB 23.5 true", "BADC 6.753e-41 false", "DCBA -0.01178 true"}, orders); diff != "" {
			t.Error(diff)
		}
		if run := values[1]; *run.Value != 1 || run.Label != "运行" || len(run.Orders) != 2 || *run.Orders[1].Value != 256 {
			t.Errorf("%+v", run)
		}
		if coil := values[2]; coil.Raw != "1" || *coil.Value != 1 || coil.Orders != nil {
			t.Errorf("%+v", coil)
		}
		if missing := values[3]; missing.Value != nil || !strings.Contains(missing.EN, "illegal data address") || !strings.Contains(missing.ZH, "异常 2") {
			t.Errorf("%+v", missing)
		}
	})
}

func TestAFormWithFaultsIsNotTried(t *testing.T) {
	pool := modbus.New(modbus.Config{Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("dialled")
		return nil, errors.New("no")
	}})
	_, err := pool.Probe(t.Context(), devices.Device{Endpoint: "modbus://10.0.0.1", Modbus: &devices.ModbusSettings{Unit: 250}},
		[]devices.Bound{{Binding: devices.Binding{Register: &devices.Register{Table: "holding", Type: "word"}}}})
	var fields []string
	for _, p := range devices.AllProblems(err) {
		fields = append(fields, p.Field)
	}
	if diff := cmp.Diff([]string{"modbus.unit", "bindings.0.register.type"}, fields); diff != "" {
		t.Error(diff)
	}
}

// A probe of a unit that does not answer, beside units that are polled: it uses
// their connection, tries no other framing, and no poll comes late.
func TestAProbeDoesNotDisturbPolls(t *testing.T) {
	for _, f := range framings {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slave := modbustest.New(f.cfg)
				slave.Unit(9).Misbehave(modbustest.Fault{Kind: modbustest.Silent})
				dials := 0
				pool := modbus.New(modbus.Config{Resolve: known, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					dials++
					return slave.Dial(ctx, network, addr)
				}})
				sink := &desk{}
				var drivers []devices.Driver
				for unit := uint8(1); unit <= 3; unit++ {
					slave.Unit(unit).Set(modbustest.Holding, 0, uint16(unit))
					drivers = append(drivers, open(t, pool, device(fmt.Sprintf("d%d", unit), slave.Endpoint(), unit, time.Second), word(fmt.Sprintf("p.u%d", unit), 0)))
				}
				start := time.Now()
				stop := run(t, slave, sink, drivers...)
				time.Sleep(1950 * time.Millisecond) // just before the next poll
				form := devices.Device{Endpoint: slave.Endpoint(), Timeout: devices.Duration(5 * time.Second), Modbus: &devices.ModbusSettings{Unit: 9}}
				steps, err := pool.Probe(t.Context(), form, []devices.Bound{word("p.new", 0)})
				if err != nil {
					t.Fatal(err)
				}
				want := []string{"resolve ok", "address ok", "connect ok", "answer failed", "framing skipped"}
				if diff := cmp.Diff(want, outcome(t, steps)); diff != "" {
					t.Error(diff)
				}
				form.Modbus.Unit = 2
				steps, err = pool.Probe(t.Context(), form, []devices.Bound{word("p.new", 0)})
				if err != nil || *steps[len(steps)-1].Values[0].Value != 2 {
					t.Errorf("%+v, %v", steps, err)
				}
				other := form
				other.Endpoint = "modbus+ascii://modbustest:502"
				if f.cfg.ASCII {
					other.Endpoint = "modbus://modbustest:502"
				}
				steps, err = pool.Probe(t.Context(), other, nil)
				if diff := cmp.Diff([]string{"resolve ok", "address ok", "connect failed", "framing skipped"}, outcome(t, steps)); diff != "" || err != nil {
					t.Error(diff, err)
				}
				time.Sleep(time.Until(start.Add(10500 * time.Millisecond)))
				stop()
				if dials > 2 || (dials > 1 && f.name == "TCP") {
					t.Errorf("dialled %d times", dials)
				}
				for _, id := range []string{"d1", "d2", "d3"} {
					if ts := sink.times(id, start); len(ts) != 11 {
						t.Errorf("%s was polled %d times of 11: %v", id, len(ts), ts)
					} else {
						onTime(t, id, ts, time.Second, 11*time.Second, 350*time.Millisecond)
					}
				}
			})
		})
	}
}
