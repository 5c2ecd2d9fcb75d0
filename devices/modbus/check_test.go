package modbus_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/modbus"
)

func TestOpenTellsEveryFaultAtOnce(t *testing.T) {
	good := func() devices.Device { return device("d", "modbus://10.0.3.7", 1, time.Second) }
	with := func(change func(*devices.Device)) devices.Device {
		d := good()
		change(&d)
		return d
	}
	reg := func(point, table string, addr uint16, typ string) devices.Bound {
		return bound(point, devices.Register{Table: table, Address: addr, Type: typ})
	}
	noRegister := word("p.none", 0)
	noRegister.Binding.Register = nil
	tests := []struct {
		name   string
		dev    devices.Device
		bounds []devices.Bound
		want   []string // field: code
	}{
		{"nothing wrong", good(), []devices.Bound{word("p.a", 0), word("p.b", 1)}, nil},
		{"no bindings yet", good(), nil, nil},
		{"unit 250", with(func(d *devices.Device) { d.Modbus.Unit = 250 }), nil, []string{"modbus.unit: out_of_range"}},
		{"unit 255 on TCP", with(func(d *devices.Device) { d.Modbus.Unit = 255 }), nil, nil},
		{"unit 0 on TCP", with(func(d *devices.Device) { d.Modbus.Unit = 0 }), nil, nil},
		{"unit 0 on RTU", with(func(d *devices.Device) { d.Endpoint, d.Modbus.Unit = "modbus+rtu://h:4001", 0 }), nil, []string{"modbus.unit: out_of_range"}},
		{"several at once", with(func(d *devices.Device) { d.Modbus.Unit, d.Modbus.Gap, d.Endpoint = 250, 125, "http://x" }), []devices.Bound{noRegister, reg("p.a", "coils", 65535, "float32")}, []string{
			"endpoint: bad_address", "modbus.unit: out_of_range", "modbus.gap: register_span", "bindings.b-p-none.register: missing",
			"bindings.b-p-a.register.table: not_one_of", "bindings.b-p-a.register.address: out_of_range",
		}},
		{"another driver's device", devices.Device{ID: "d", Site: "s", Name: "n", Driver: devices.DriverBroker}, nil, []string{"driver: not_modbus"}},
		{"no settings", with(func(d *devices.Device) { d.Modbus = nil }), nil, []string{"modbus: missing"}},
		{"half a float read as int16", good(), []devices.Bound{reg("p.a", "holding", 10, "float32"), reg("p.b", "holding", 11, "int16")}, []string{"bindings.b-p-b.register.address: register_overlap"}},
		{"floats one off", good(), []devices.Bound{reg("p.a", "holding", 11, "float32"), reg("p.b", "holding", 10, "float32"), reg("p.c", "holding", 13, "float32")}, []string{"bindings.b-p-a.register.address: register_overlap"}},
		{"a float64 over much", good(), []devices.Bound{reg("p.a", "input", 0, "float64"), reg("p.b", "input", 2, "int16"), reg("p.c", "input", 3, "int16")}, []string{"bindings.b-p-b.register.address: register_overlap", "bindings.b-p-c.register.address: register_overlap"}},
		{"int32 and float32 of the same registers", good(), []devices.Bound{reg("p.a", "holding", 10, "float32"), reg("p.b", "holding", 10, "int32")}, []string{"bindings.b-p-b.register.address: register_overlap"}},
		{"other tables do not overlap", good(), []devices.Bound{reg("p.a", "holding", 10, "float32"), reg("p.b", "input", 11, "int16")}, nil},
		{"a status word and its bits", good(), []devices.Bound{reg("p.a", "holding", 10, "uint16"), reg("p.b", "holding", 10, "bit"), reg("p.c", "holding", 10, "bit")}, nil},
		{"int16 and uint16 of the same register", good(), []devices.Bound{reg("p.a", "holding", 10, "uint16"), reg("p.b", "holding", 10, "int16")}, []string{"bindings.b-p-b.register.address: register_overlap"}},
		{"one value for two points", good(), []devices.Bound{reg("p.a", "holding", 10, "float32"), reg("p.b", "holding", 10, "float32")}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			driver, err := modbus.New(modbus.Config{}).Open(tt.dev, tt.bounds)
			if (err == nil) != (driver != nil) {
				t.Fatalf("driver %v with error %v", driver, err)
			}
			var got []string
			for _, p := range devices.AllProblems(err) {
				got = append(got, p.Field+": "+p.Code)
				if p.ZH == "" || p.EN == "" {
					t.Errorf("%s is not bilingual", p.Code)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
