// Package registrytest has things to register, for tests.
package registrytest

import (
	"fmt"
	"testing"

	"offsite/devices"
	"offsite/devices/registry"
)

// Entity gives one with a good credit code.
func Entity(id string) *devices.Entity {
	return &devices.Entity{ID: id, Name: "某公司", USCC: "91350100M000100Y43", Region: "330106"}
}

// Site gives a construction site.
func Site(id string) *devices.Site {
	return &devices.Site{ID: id, Name: "工地", SiteKind: "construction"}
}

// Outlet gives one for dust.
func Outlet(id, site string) *devices.Outlet {
	return &devices.Outlet{ID: id, Site: site, Name: "扬尘", OutletKind: "dust"}
}

// Point gives PM10, which its id places.
func Point(id string) *devices.Point {
	return &devices.Point{ID: id, Name: "PM10", Factor: "a34002", Unit: "ug/m3"}
}

// PLC gives a Modbus device.
func PLC(id, site string) *devices.Device {
	return &devices.Device{ID: id, Site: site, Name: "PLC", Driver: devices.DriverModbus, Endpoint: "modbus://10.0.0.2:502", Modbus: &devices.ModbusSettings{Unit: 1}}
}

// Sensor gives a client of the embedded broker.
func Sensor(id, site string) *devices.Device {
	return &devices.Device{ID: id, Site: site, Name: "扬尘仪", Driver: devices.DriverBroker, Password: "canary-sensor-pw"}
}

// Camera gives one that watches outlets.
func Camera(id, site string, outlets ...string) *devices.Camera {
	return &devices.Camera{ID: id, Site: site, Name: "球机", URL: "rtsp://10.0.0.3/1", Username: "admin", Password: "canary-camera-pw", Outlets: outlets}
}

// Limit gives an alarm of PM10.
func Limit(id, point string) *devices.Limit {
	return &devices.Limit{ID: id, Point: point, Level: "H", Value: 120, Unit: "ug/m3", Averaging: devices.AveragingInstant}
}

// Bind ties a point to a place in a device.
func Bind(id, point, device string, r *devices.Register) *devices.Binding {
	return &devices.Binding{ID: id, Point: point, Device: device, Register: r}
}

// Word gives a holding register.
func Word(address uint16, kind string) *devices.Register {
	return &devices.Register{Table: "holding", Address: address, Type: kind}
}

// Create registers things in one edit.
func Create(t testing.TB, r *registry.Registry, things ...devices.Thing) {
	t.Helper()
	if err := r.Update(t.Context(), func(e *registry.Edit) error {
		for _, thing := range things {
			if err := e.Create(thing); err != nil {
				return fmt.Errorf("%s %s: %w", thing.Kind(), thing.Key(), err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
