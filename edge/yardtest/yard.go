// Package yardtest gives tests a yard: a site with an outlet of some points, each
// with a device of its own.
package yardtest

import (
	"testing"
	"time"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/devices/state"
)

// OpenDB opens a state in dir that is closed with the test.
func OpenDB(t testing.TB, dir string) *state.DB {
	t.Helper()
	db, err := state.Open(t.Context(), state.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// OpenRegistry opens the registry of db.
func OpenRegistry(t testing.TB, db *state.DB) *registry.Registry {
	t.Helper()
	r, err := registry.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Register creates the things, or replaces what has their ids.
func Register(t testing.TB, r *registry.Registry, list ...devices.Thing) {
	t.Helper()
	err := r.Update(t.Context(), func(e *registry.Edit) error {
		for _, thing := range list {
			if old := e.Get(thing.Kind(), thing.Key()); old != nil {
				if err := e.Replace(thing, old.Life().Version); err != nil {
					return err
				}
			} else if err := e.Create(thing); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Retire retires the things.
func Retire(t testing.TB, r *registry.Registry, list ...devices.Thing) {
	t.Helper()
	err := r.Update(t.Context(), func(e *registry.Edit) error {
		for _, thing := range list {
			if err := e.Retire(thing.Kind(), thing.Key()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Yard gives the site and its outlet.
func Yard() []devices.Thing {
	return []devices.Thing{
		&devices.Site{ID: "plant", Name: "试验厂", SiteKind: "plant"},
		&devices.Outlet{ID: "stack", Site: "plant", Name: "一号排口", OutletKind: "flue_gas"},
	}
}

// ModbusDevice gives a device with a point and a binding of their own.
func ModbusDevice(id string) []devices.Thing {
	return []devices.Thing{
		&devices.Point{ID: "stack." + id, Name: id, Factor: "a34002", Unit: "ug/m3"},
		&devices.Device{ID: id, Site: "plant", Name: id, Driver: devices.DriverModbus, Endpoint: "modbus://127.0.0.1:502", Modbus: &devices.ModbusSettings{Unit: 1}},
		&devices.Binding{ID: "b-" + id, Point: "stack." + id, Device: id, Register: &devices.Register{Table: "holding", Type: "uint16"}},
	}
}

// BrokerDevice gives a client of the embedded broker with a point and a binding.
func BrokerDevice(id string, password devices.Secret) []devices.Thing {
	return []devices.Thing{
		&devices.Point{ID: "stack." + id, Name: id, Factor: "a34002", Unit: "ug/m3"},
		&devices.Device{ID: id, Site: "plant", Name: id, Driver: devices.DriverBroker, Password: password},
		&devices.Binding{ID: "b-" + id, Point: "stack." + id, Device: id},
	}
}

// HighLimit gives a limit H of a point.
func HighLimit(id, point string, value float64) *devices.Limit {
	return &devices.Limit{ID: id, Point: point, Level: "H", Value: value, Averaging: devices.AveragingInstant}
}

// Trouble is a Problem that passes.
func Trouble(code string) *devices.Problem {
	return &devices.Problem{Kind: devices.ErrUnavailable, Code: code, ZH: "故障", EN: "trouble"}
}

// Noon is the time at which most of what tests tell happens.
var Noon = time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)

// After is so many milliseconds after Noon.
func After(ms int) time.Time { return Noon.Add(time.Duration(ms) * time.Millisecond) }
