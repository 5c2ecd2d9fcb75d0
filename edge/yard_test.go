package edge

import (
	"testing"
	"time"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/devices/state"
)

// The yard is a site with an outlet of some points, each with a device of its own.

func openDB(t testing.TB, dir string) *state.DB {
	t.Helper()
	db, err := state.Open(t.Context(), state.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func openRegistry(t testing.TB, db *state.DB) *registry.Registry {
	t.Helper()
	r, err := registry.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// register creates the things, or replaces what has their ids.
func register(t testing.TB, r *registry.Registry, list ...devices.Thing) {
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

func retire(t testing.TB, r *registry.Registry, list ...devices.Thing) {
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

// yard gives the site and its outlet.
func yard() []devices.Thing {
	return []devices.Thing{
		&devices.Site{ID: "plant", Name: "试验厂", SiteKind: "plant"},
		&devices.Outlet{ID: "stack", Site: "plant", Name: "一号排口", OutletKind: "flue_gas"},
	}
}

// modbusDevice gives a device with a point and a binding of their own.
func modbusDevice(id string) []devices.Thing {
	return []devices.Thing{
		&devices.Point{ID: "stack." + id, Name: id, Factor: "a34002", Unit: "ug/m3"},
		&devices.Device{ID: id, Site: "plant", Name: id, Driver: devices.DriverModbus, Endpoint: "modbus://127.0.0.1:502", Modbus: &devices.ModbusSettings{Unit: 1}},
		&devices.Binding{ID: "b-" + id, Point: "stack." + id, Device: id, Register: &devices.Register{Table: "holding", Type: "uint16"}},
	}
}

// brokerDevice gives a client of the embedded broker with a point and a binding.
func brokerDevice(id string, password devices.Secret) []devices.Thing {
	return []devices.Thing{
		&devices.Point{ID: "stack." + id, Name: id, Factor: "a34002", Unit: "ug/m3"},
		&devices.Device{ID: id, Site: "plant", Name: id, Driver: devices.DriverBroker, Password: password},
		&devices.Binding{ID: "b-" + id, Point: "stack." + id, Device: id},
	}
}

func highLimit(id, point string, value float64) *devices.Limit {
	return &devices.Limit{ID: id, Point: point, Level: "H", Value: value, Averaging: devices.AveragingInstant}
}

// lossRows gives the ledger's rows in a short form, oldest first.
type lossRow struct {
	Subject, Code string
	Span          time.Duration
	Count         int64
	Open          bool
}

func lossRows(t testing.TB, ledger *Ledger) []lossRow {
	t.Helper()
	list, err := ledger.Losses(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]lossRow, len(list))
	for i, l := range list {
		rows[len(list)-1-i] = lossRow{l.Subject, l.Why.Code, l.To.Sub(l.From).Round(10 * time.Millisecond), l.Count, l.Open}
	}
	return rows
}
