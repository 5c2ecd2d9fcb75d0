package modbus_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/modbus"
	"offsite/devices/modbus/modbustest"
)

func TestWrite(t *testing.T) {
	on := func(table string, addr uint16, typ, order string) devices.Register {
		return devices.Register{Table: table, Address: addr, Type: typ, Order: order}
	}
	only := func(kind modbustest.Kind, function, exception byte) modbustest.Fault {
		return modbustest.Fault{Kind: kind, Exception: exception, When: func(r modbustest.Request) bool { return r.Function == function }}
	}
	tests := []struct {
		name   string
		reg    devices.Register
		scale  float64
		value  float64
		fault  *modbustest.Fault
		want   []uint16 // registers 0 to 3 afterwards, or coils
		code   string
		writes int
	}{
		{"one register", on("holding", 1, "uint16", ""), 0.1, 25.3, nil, []uint16{0xf0f0, 253, 3, 4}, "", 1},
		{"below zero", on("holding", 1, "int16", ""), 0, -5, nil, []uint16{0xf0f0, 0xfffb, 3, 4}, "", 1},
		{"float", on("holding", 2, "float32", "CDAB"), 0, 1.5, nil, []uint16{0xf0f0, 2, 0, 0x3fc0}, "", 1},
		{"one bit among others", devices.Register{Table: "holding", Type: "bit", Bit: 1}, 0, 1, nil, []uint16{0xf0f2, 2, 3, 4}, "", 1},
		{"some bits among others, bytes swapped", devices.Register{Table: "holding", Type: "bits", Bit: 8, Width: 4, Order: "BADC"}, 0, 3, nil, []uint16{0xf0f3, 2, 3, 4}, "", 1},
		{"a coil", on("coil", 2, "bit", ""), 0, 1, nil, []uint16{0, 0, 1, 0}, "", 1},
		{"already so", on("holding", 2, "uint16", ""), 0, 3, nil, []uint16{0xf0f0, 2, 3, 4}, "", 1},
		{"too large", on("holding", 1, "uint16", ""), 0.1, 6554, nil, []uint16{0xf0f0, 2, 3, 4}, "out_of_range", 0},
		{"between two steps", on("holding", 1, "uint16", ""), 0, 2.5, nil, []uint16{0xf0f0, 2, 3, 4}, "between_steps", 0},
		{"an input register", on("input", 1, "uint16", ""), 0, 2, nil, []uint16{0xf0f0, 2, 3, 4}, "read_only", 0},
		{"a text", devices.Register{Table: "holding", Type: "string", Length: 2}, 0, 2, nil, []uint16{0xf0f0, 2, 3, 4}, "not_writable", 0},
		{"a register that is not there", on("holding", 9, "uint16", ""), 0, 2, nil, []uint16{0xf0f0, 2, 3, 4}, "exception_2", 0},
		{"refused", on("holding", 1, "uint16", ""), 0, 7, new(only(modbustest.Refuse, 6, 3)), nil, "exception_3", 1},
		{"function 6 not known", on("holding", 1, "uint16", ""), 0, 7, new(only(modbustest.Refuse, 6, 1)), []uint16{0xf0f0, 7, 3, 4}, "", 2},
		{"not taken", on("holding", 3, "uint16", ""), 0, 7, nil, []uint16{0xf0f0, 2, 3, 4}, "not_taken", 1},
		{"no answer, but done", on("holding", 1, "uint16", ""), 0, 7, new(only(modbustest.Silent, 6, 0)), []uint16{0xf0f0, 7, 3, 4}, "", 1},
		{"answered late, but done", on("holding", 1, "uint16", ""), 0, 7, &modbustest.Fault{
			Kind: modbustest.Late, Delay: 1500 * time.Millisecond, When: func(r modbustest.Request) bool { return r.Function == 6 },
		}, []uint16{0xf0f0, 7, 3, 4}, "", 1},
		{"silent from then on", on("holding", 1, "uint16", ""), 0, 7, nil, []uint16{0xf0f0, 7, 3, 4}, "write_unsure", 1},
	}
	for _, f := range framings {
		for _, tt := range tests {
			t.Run(f.name+"/"+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					slave := modbustest.New(f.cfg)
					u, table := slave.Unit(4), modbustest.Holding
					u.Set(modbustest.Holding, 0, 0xf0f0, 2, 3, 4)
					u.Set(modbustest.Input, 0, 0, 0)
					u.Set(modbustest.Coil, 0, 0, 0, 0, 0)
					if tt.reg.Table == "coil" {
						table = modbustest.Coil
					}
					if tt.code == "not_taken" {
						u.Hold(modbustest.Holding, 3)
					}
					if tt.fault != nil {
						u.Misbehave(*tt.fault)
					}
					if tt.code == "write_unsure" {
						quiet := false // When runs one at a time
						u.Misbehave(modbustest.Fault{Kind: modbustest.Silent, When: func(r modbustest.Request) bool {
							quiet = quiet || r.Function == 6
							return quiet
						}})
					}
					stop := run(t, slave, &desk{})
					defer stop()
					pool := modbus.New(modbus.Config{Dial: slave.Dial})
					w, err := pool.Write(t.Context(), device("d", slave.Endpoint(), 4, time.Second),
						devices.Binding{ID: "b", Point: "o.p", Device: "d", Register: &tt.reg, Scale: tt.scale}, tt.value, nil)
					code := ""
					if err != nil {
						code = devices.AllProblems(err)[0].Code
					} else if w.After-tt.value > 1e-9 || tt.value-w.After > 1e-9 {
						t.Errorf("read back %v", w.After)
					}
					if code != tt.code {
						t.Errorf("%+v, %v; want %q", w, err, tt.code)
					}
					if tt.want != nil {
						var got []uint16
						for i := range uint16(4) {
							v, _ := u.Get(table, i)
							got = append(got, v)
						}
						if diff := cmp.Diff(tt.want, got); diff != "" {
							t.Error(diff)
						}
					}
					writes := 0
					for _, r := range u.Seen() {
						if r.Function > 4 {
							writes++
						}
					}
					if writes != tt.writes {
						t.Errorf("%d writes, want %d", writes, tt.writes)
					}
				})
			})
		}
	}
}

func TestNothingIsWrittenWithoutAgreement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slave := modbustest.New(modbustest.Config{})
		u := slave.Unit(1)
		u.Set(modbustest.Holding, 3, 42)
		defer run(t, slave, &desk{})()
		var asked float64
		no := errors.New("no")
		_, err := modbus.New(modbus.Config{Dial: slave.Dial}).Write(t.Context(), device("d", slave.Endpoint(), 1, time.Second),
			devices.Binding{ID: "b", Point: "o.p", Device: "d", Register: &devices.Register{Table: "holding", Address: 3, Type: "uint16"}, Scale: 0.5}, 7,
			func(before float64) error { asked = before; return no })
		if v, _ := u.Get(modbustest.Holding, 3); !errors.Is(err, no) || asked != 21 || v != 42 {
			t.Errorf("%v, asked about %v, register holds %d", err, asked, v)
		}
	})
}

// Two set points of two bits of one word at once, beside a poll of that word.
func TestWritesAtOnceKeepEachOthersBits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slave := modbustest.New(modbustest.Config{})
		slave.Unit(1).Set(modbustest.Holding, 0, 0)
		slave.Unit(1).Misbehave(modbustest.Fault{Kind: modbustest.Late, Delay: 30 * time.Millisecond})
		pool, sink, dials := modbus.New(modbus.Config{Dial: slave.Dial}), &desk{}, device("d", slave.Endpoint(), 1, 100*time.Millisecond)
		stop := run(t, slave, sink, open(t, pool, dials, word("p.a", 0)))
		ended := make(chan error, 16)
		for bit := range uint8(16) {
			go func() {
				_, err := pool.Write(t.Context(), dials, devices.Binding{
					ID: "b", Point: "o.p", Device: "d", Register: &devices.Register{Table: "holding", Type: "bit", Bit: bit},
				}, 1, nil)
				ended <- err
			}()
		}
		for range 16 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		time.Sleep(200 * time.Millisecond)
		stop()
		if got := sink.values("p.a"); got[len(got)-1] != 65535 || got[0] != 0 {
			t.Errorf("polled %v", got)
		}
	})
}

func TestScan(t *testing.T) {
	for _, f := range framings {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slave := modbustest.New(f.cfg)
				slave.Unit(3).Set(modbustest.Holding, 0, 0x1234)
				slave.Unit(17).Set(modbustest.Input, 0, 1)
				slave.Unit(18).Misbehave(modbustest.Fault{Kind: modbustest.Silent})
				slave.Unit(20).Set(modbustest.Holding, 0, 1)
				pool := modbus.New(modbus.Config{Dial: slave.Dial})
				stop := run(t, slave, &desk{})
				defer stop()
				var found []string
				scan := modbus.Scan{Device: devices.Device{Endpoint: slave.Endpoint()}, First: 2, Last: 19, Every: 200 * time.Millisecond}
				start := time.Now()
				_, err := pool.Scan(t.Context(), scan, func(u modbus.Unit) { found = append(found, u.EN) })
				want := []string{"address 0 is 12 34", "register 0: Modbus exception 2, illegal data address; check whether the manual counts from 0 or 1"}
				if diff := cmp.Diff(want, found); diff != "" || err != nil {
					t.Error(diff, err)
				}
				if took := time.Since(start); took < 18*200*time.Millisecond {
					t.Errorf("18 units within %v", took)
				}
				inParts(t, pool, scan)
				driver := open(t, pool, device("d", slave.Endpoint(), 3, time.Second), word("p.a", 0))
				again := run(t, slave, &desk{}, driver)
				synctest.Wait()
				_, err = pool.Scan(t.Context(), scan, func(modbus.Unit) { t.Error("scanned") })
				if p := devices.AllProblems(err); !errors.Is(err, devices.ErrConflict) || p[0].Code != "endpoint_polled" {
					t.Errorf("beside a poll: %v", err)
				}
				again()
				scan.First = 0
				if _, err := pool.Scan(t.Context(), scan, nil); !errors.Is(err, devices.ErrInvalid) {
					t.Errorf("from unit 0: %v", err)
				}
			})
		})
	}
}

// inParts looks for input register 0 a few seconds at a time, as the console does.
func inParts(t *testing.T, pool *modbus.Pool, scan modbus.Scan) {
	t.Helper()
	scan.Table, scan.Within = "input", time.Second
	var found []uint8
	rounds := 0
	for next := scan.First; next > 0; rounds++ {
		scan.First = next
		var err error
		if next, err = pool.Scan(t.Context(), scan, func(u modbus.Unit) { found = append(found, u.ID) }); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]uint8{3, 17}, found); diff != "" || rounds < 4 {
		t.Errorf("in %d rounds: %s", rounds, diff)
	}
}
