package field

import (
	"testing"
	"time"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/edge/yardtest"
)

// logHostOf remembers who may connect.
type logHostOf struct {
	updates int
	clients []hj212.Client
}

func (h *logHostOf) Update(clients []hj212.Client) error {
	h.updates++
	h.clients = clients
	return nil
}

func loggerDevice(id, mn string) []devices.Thing {
	return []devices.Thing{
		&devices.Point{ID: "stack." + id, Name: id, Factor: "a21026", Unit: "mg/m3"},
		&devices.Device{ID: id, Site: "plant", Name: id, Driver: devices.DriverHJ212, Password: "123456", HJ212: &devices.HJ212Settings{MN: mn}},
		&devices.Binding{ID: "b-" + id, Point: "stack." + id, Device: id, Factor: &devices.FactorPlace{Code: "a21026"}},
	}
}

func TestTheHostKnowsTheRegisteredLoggers(t *testing.T) {
	host := &logHostOf{}
	inAgentYardWith(t, func(c *Config) { c.Loggers = host }, func(y *agentYard) {
		yardtest.Register(y.t, y.registry, loggerDevice("cems", "M1")...)
		y.after(time.Second)
		if len(host.clients) != 1 || host.clients[0].Device.HJ212.MN != "M1" || len(host.clients[0].Bounds) != 1 {
			t.Errorf("clients %+v", host.clients)
		}
		updates := host.updates
		yardtest.Register(y.t, y.registry, yardtest.ModbusDevice("plc")...)
		y.after(time.Second)
		if host.updates != updates {
			t.Error("the host was told of another driver's device")
		}
	})
}

func TestWithoutAListenerLoggersSayWhatIsMissing(t *testing.T) {
	inAgentYard(t, func(y *agentYard) {
		yardtest.Register(y.t, y.registry, loggerDevice("cems", "M1")...)
		y.after(time.Second)
		if d := y.board.Devices(); len(d) != 1 || d[0].Problem == nil || d[0].Problem.Code != "no_listener" {
			t.Errorf("devices %+v", d)
		}
	})
}
