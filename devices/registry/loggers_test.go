package registry_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/registry"
)

func dataLogger(id, mn string) *devices.Device {
	return &devices.Device{ID: id, Site: "north", Name: id, Driver: devices.DriverHJ212, Password: "123456", HJ212: &devices.HJ212Settings{MN: mn}}
}

func factor(id, pt, device, code, kind, field string) *devices.Binding {
	return &devices.Binding{ID: id, Point: pt, Device: device, Factor: &devices.FactorPlace{Code: code, Kind: kind, Field: field}}
}

func TestDataLoggersAndTheirBindings(t *testing.T) {
	with := func(change func(d *devices.Device)) *devices.Device {
		d := dataLogger("x", "M9")
		change(d)
		return d
	}
	both := factor("x", "gate.pm10", "logger", "a34002", "", "")
	both.Register = word(0, "int16")
	tests := []struct {
		name  string
		thing devices.Thing
		want  []string
	}{
		{"fine", dataLogger("x", "M9"), nil},
		{"no MN", with(func(d *devices.Device) { d.HJ212 = nil }), []string{"hj212.mn missing"}},
		{"MN that could not be sent", with(func(d *devices.Device) { d.HJ212.MN = "M;9" }), []string{"hj212.mn bad_mn"}},
		{"MN of another", dataLogger("x", "M1"), []string{"hj212.mn mn_used"}},
		{"every setting wrong", with(func(d *devices.Device) {
			d.Endpoint, d.Password = "tcp://h:1", "a;b"
			d.HJ212.Version, d.HJ212.ST, d.HJ212.SM4Key = "2012", []string{"3"}, "short"
		}), []string{"endpoint not_used", "hj212.version not_one_of", "hj212.st bad_st", "hj212.sm4_key bad_key", "password bad_pw"}},
		{"a key nobody sees", with(func(d *devices.Device) { d.HJ212.SM4Key = "[redacted]" }), []string{"hj212.sm4_key password_hidden"}},
		{"hour of the same factor", factor("x", "gate.tsp", "logger", "a34002", "hour", ""), nil},
		{"same place", factor("x", "gate.tsp", "logger", "a34002", "realtime", "Rtd"), []string{"factor.code factor_bound"}},
		{"no factor", bind("x", "gate.tsp", "logger", nil), []string{"factor.code missing"}},
		{"register too", both, []string{"from binding_overlap", "register not_used"}},
		{"mark as value", factor("x", "gate.tsp", "logger", "a34002", "", "Flag"), []string{"factor.field value_missing"}},
		{"unknown kind", factor("x", "gate.tsp", "logger", "a34002", "week", ""), []string{"factor.kind not_one_of"}},
		{"factor of a PLC", factor("x", "gate.tsp", "plc", "a34002", "", ""), []string{"register missing", "factor not_used"}},
		{"factor of an MQTT device", factor("x", "gate.tsp", "dust", "a34002", "", ""), []string{"factor not_used"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := registry.Open(t.Context(), openState(t, t.TempDir()))
			if err != nil {
				t.Fatal(err)
			}
			yard(t, r)
			create(t, r, dataLogger("logger", "M1"), factor("pm10", "gate.pm10", "logger", "a34002", "", ""))
			err = r.Update(t.Context(), func(e *registry.Edit) error { return e.Create(tt.thing) })
			if diff := cmp.Diff(tt.want, codes(t, err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheKeyOfALoggerIsSealedKeptAndEnded(t *testing.T) {
	const key = "canary-sm4-key-1"
	dir := t.TempDir()
	db := openState(t, dir)
	r, err := registry.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	yard(t, r)
	d := dataLogger("logger", "M1")
	d.HJ212.SM4Key = key
	create(t, r, d)
	for _, tt := range []struct {
		name       string
		sent, want devices.Secret
	}{{"as shown", "[redacted]", key}, {"another", "0123456789abcdef", "0123456789abcdef"}, {"ended", "", ""}} {
		d := dataLogger("logger", "M1")
		d.HJ212.SM4Key, d.Password = tt.sent, ""
		version := r.Snapshot().Devices["logger"].Version
		if err := r.Update(t.Context(), func(e *registry.Edit) error { return e.Replace(d, version) }); err != nil {
			t.Fatal(tt.name, err)
		}
		again, err := registry.Open(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		got := again.Snapshot().Devices["logger"]
		if got.HJ212.SM4Key != tt.want || got.Password != "123456" {
			t.Errorf("%s: key %q, password %q", tt.name, got.HJ212.SM4Key.Reveal(), got.Password.Reveal())
		}
	}
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(key)) {
			t.Errorf("%s holds the key", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
