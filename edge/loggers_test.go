package edge

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/hj212"
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
	inAgentYardWith(t, func(a *Agent) { a.loggers = host }, func(y *agentYard) {
		register(y.t, y.registry, loggerDevice("cems", "M1")...)
		y.after(time.Second)
		if len(host.clients) != 1 || host.clients[0].Device.HJ212.MN != "M1" || len(host.clients[0].Bounds) != 1 {
			t.Errorf("clients %+v", host.clients)
		}
		updates := host.updates
		register(y.t, y.registry, modbusDevice("plc")...)
		y.after(time.Second)
		if host.updates != updates {
			t.Error("the host was told of another driver's device")
		}
	})
}

func TestWithoutAListenerLoggersSayWhatIsMissing(t *testing.T) {
	inAgentYard(t, func(y *agentYard) {
		register(y.t, y.registry, loggerDevice("cems", "M1")...)
		y.after(time.Second)
		if d := y.board.Devices(); len(d) != 1 || d[0].Problem == nil || d[0].Problem.Code != "no_listener" {
			t.Errorf("devices %+v", d)
		}
	})
}

func TestWhatTheHostNotedIsToldOnce(t *testing.T) {
	ledger := openLedger(t)
	u := newUnbound(ledger)
	note := func(device, mn, code, detail string, count int64) hj212.Note {
		return hj212.Note{Device: device, MN: mn, Detail: detail, Remote: "192.0.2.7:1234", At: noon, Count: count, Problem: devices.Invalid("mn", code, code, code)}
	}
	for _, notes := range [][]hj212.Note{
		{note("", "M9", "unknown_mn", "", 1), note("cems", "M1", "unknown_factor", "a0 realtime Rtd", 2), note("", "", "garbage", "x", 1)},
		{note("", "M9", "unknown_mn", "", 4), note("cems", "M1", "unknown_factor", "a0 realtime Rtd", 2), note("", "", "garbage", "y", 2)},
		{note("cems", "M1", "replayed", "QN=1", 1)},
		{note("cems", "M1", "replayed", "QN=2", 2)},
	} {
		if err := u.tellNotes(t.Context(), notes); err != nil {
			t.Fatal(err)
		}
	}
	losses, err := ledger.Losses(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, l := range losses {
		got[l.Subject+" "+l.Why.Code+" "+l.Detail] = l.Count
	}
	want := map[string]int64{
		"gateway unknown_mn MN=M9": 4, "device/cems unknown_factor a0 realtime Rtd": 2, "gateway garbage 192.0.2.7": 2, "device/cems replayed MN=M1": 2,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestHJ212Configuration(t *testing.T) {
	tests := []struct {
		name string
		cfg  HJ212Config
		want string
	}{
		{"none", HJ212Config{}, ""},
		{"loopback", HJ212Config{Listen: "127.0.0.1:9212"}, ""},
		{"no port", HJ212Config{Listen: "0.0.0.0"}, "hj212.listen bad_address"},
		{"plain off loopback", HJ212Config{Listen: "0.0.0.0:9212"}, "hj212.listen plain_off_loopback"},
		{"accepted", HJ212Config{Listen: "0.0.0.0:9212", Insecure: true}, ""},
		{"key without certificate", HJ212Config{Listen: "127.0.0.1:9212", Key: "k"}, "hj212.certificate incomplete"},
		{"no such file", HJ212Config{Listen: "127.0.0.1:9212", Key: "k", Certificate: "c"}, "hj212.certificate bad_certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var ps devices.Problems
			tt.cfg.validate(&ps)
			got := ""
			for _, p := range ps {
				got += p.Field + " " + p.Code
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
