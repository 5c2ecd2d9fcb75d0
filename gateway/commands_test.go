package gateway_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/hj212/loggertest"
	"offsite/devices/modbus"
	"offsite/devices/modbus/modbustest"
	"offsite/gateway"
	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/instruments"
)

// field gives the gateway instruments: point gate-a.fan, whose binding "fan"
// takes set points of 0 to 50 into register 3, and gate-a.temp, which takes none.
func (b *box) field() *modbustest.Unit {
	b.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	slave, err := modbustest.Listen(ctx, modbustest.Config{})
	must(b.t, err)
	var running sync.WaitGroup
	running.Go(func() { _ = slave.Run(ctx) })
	b.t.Cleanup(running.Wait)
	b.t.Cleanup(stop)
	u := slave.Unit(3)
	u.Set(modbustest.Holding, 3, 210)
	h := bearer(b.token(accounts.Administrator))
	b.furnish(b.token(accounts.Administrator))
	for _, thing := range []struct {
		path string
		body map[string]any
	}{
		{"devices", map[string]any{"id": "plc", "site": "a", "name": "PLC", "driver": "modbus", "endpoint": slave.Endpoint(), "modbus": map[string]any{"unit": 3}, "timeout": "200ms"}},
		{"points", map[string]any{"id": "gate-a.fan", "name": "风机", "factor": "speed", "unit": "Hz", "digits": 1}},
		{"points", map[string]any{"id": "gate-a.temp", "name": "温度", "factor": "a01001", "unit": "°C", "digits": 1}},
		{"bindings", map[string]any{"id": "fan", "point": "gate-a.fan", "device": "plc", "register": map[string]any{"table": "holding", "address": 3, "type": "uint16"}, "scale": 0.1, "write": map[string]any{"low": 0, "high": 50}}},
		{"bindings", map[string]any{"id": "temp", "point": "gate-a.temp", "device": "plc", "register": map[string]any{"table": "holding", "address": 4, "type": "uint16"}}},
		{"devices", map[string]any{"id": "logger", "site": "a", "name": "数采仪", "driver": "hj212", "password": "123456", "hj212": map[string]any{"mn": "M1"}}},
	} {
		b.call("POST", "/api/v1/"+thing.path, h, thing.body).want(201)
	}
	parts := b.parts()
	parts.Backend.Instruments.Writers = map[string]instruments.Writer{devices.DriverModbus: modbus.New(modbus.Config{})}
	parts.Backend.Instruments.Loggers = b.loggers()
	b.server, err = gateway.Open(gateway.Config{HTTP: "127.0.0.1:0"}, parts)
	must(b.t, err)
	b.http.Close()
	b.http = httptest.NewServer(b.server.Handler())
	b.t.Cleanup(b.http.Close)
	return u
}

// told is the trail of an act: result, purpose and detail of each row.
func (b *box) told(act string) (rows []string) {
	for _, r := range b.acts(act) {
		rows = append([]string{strings.TrimSpace(fmt.Sprint(r.Result, " ", r.What, " ", r.Purpose, " ", r.Detail))}, rows...)
	}
	return rows
}

func TestSetPoints(t *testing.T) {
	t.Parallel()
	b := open(t)
	u := b.field()
	root, path := bearer(b.token(accounts.Administrator)), "/api/v1/points/gate-a.fan:write"
	set := func(value, seen any) map[string]any {
		return map[string]any{"value": value, "seen": seen, "reason": "降尘"}
	}
	var done contract.SetPoint
	b.call("POST", path, root, set(25.5, 21)).want(200).into(&done)
	if diff := cmp.Diff(contract.SetPoint{Point: "gate-a.fan", Device: "plc", Before: 21, After: 25.5, Unit: "Hz", Raw: "00 FF"}, done); diff != "" {
		t.Error(diff)
	}
	b.call("POST", path, root, set(30, 21)).problem(409, "value_changed")
	b.call("POST", path, root, set(30, 25.449)).problem(409, "value_changed") // the first digit shown is another one
	b.call("POST", path, root, set(25.5, 25.46)).want(200)                    // shown as 25.5 as well
	b.call("POST", path, root, set(50.1, 25.5)).problem(400, "out_of_range")
	b.call("POST", path, root, set(25.55, 25.5)).problem(400, "between_steps")
	b.call("POST", "/api/v1/points/gate-a.temp:write", root, set(1, 0)).problem(400, "not_writable")
	b.call("POST", "/api/v1/points/gate-a.pm10:write", root, set(1, 0)).problem(400, "not_writable")
	b.call("POST", path, root, map[string]any{"value": 1, "seen": 2, "reason": " "}).problem(400, "missing")
	b.call("POST", path, root, map[string]any{"value": 1, "reason": "x"}).problem(400, "missing")
	b.call("POST", path, bearer(b.token(accounts.FieldEngineer)), set(30, 25.5)).problem(403, "role_not_allowed")
	b.call("POST", path, bearer(b.token(accounts.Administrator, "b")), set(30, 25.5)).problem(404, "not_found")
	b.call("POST", path, nil, set(30, 25.5)).want(401)
	u.Hold(modbustest.Holding, 3)
	b.call("POST", path, root, set(30, 25.5)).problem(503, "not_taken")
	u.Misbehave(modbustest.Fault{Kind: modbustest.Silent})
	b.call("POST", path, root, set(30, 25.5)).problem(503, "no_answer")
	want := []string{
		"asked point/gate-a.fan 降尘 set 25.5", "ok point/gate-a.fan 降尘 set 25.5; before 21, after 25.5",
		"asked point/gate-a.fan 降尘 set 30", "value_changed point/gate-a.fan 降尘 set 30; before 25.5, after 25.5",
		"asked point/gate-a.fan 降尘 set 30", "value_changed point/gate-a.fan 降尘 set 30; before 25.5, after 25.5",
		"asked point/gate-a.fan 降尘 set 25.5", "ok point/gate-a.fan 降尘 set 25.5; before 25.5, after 25.5",
		"out_of_range point/gate-a.fan 降尘 set 50.1",
		"asked point/gate-a.fan 降尘 set 25.55", "between_steps point/gate-a.fan 降尘 set 25.55",
		"not_writable point/gate-a.temp 降尘 set 1", "not_writable point/gate-a.pm10 降尘 set 1",
		"role_not_allowed point/gate-a.fan",
		"asked point/gate-a.fan 降尘 set 30", "not_taken point/gate-a.fan 降尘 set 30; before 25.5, after 25.5",
		"asked point/gate-a.fan 降尘 set 30", "no_answer point/gate-a.fan 降尘 set 30",
	}
	if diff := cmp.Diff(want, b.told("point.write")); diff != "" {
		t.Error(diff)
	}
	if v, _ := u.Get(modbustest.Holding, 3); v != 255 {
		t.Errorf("the register holds %d", v)
	}
	must(t, b.log.Verify(t.Context()))
}

func TestRangesOfSetPointsThatCannotBe(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.field()
	root := bearer(b.token(accounts.Administrator))
	for _, tt := range []struct {
		table     string
		low, high float64
		code      string
	}{{"input", 0, 1, "read_only"}, {"holding", 1, 1, "empty_range"}, {"holding", 2, 1, "empty_range"}} {
		body := map[string]any{"point": "gate-b.pm10", "device": "plc", "register": map[string]any{"table": tt.table, "address": 9, "type": "uint16"}, "write": map[string]any{"low": tt.low, "high": tt.high}}
		if a := b.call("POST", "/api/v1/bindings", root, body).want(400); !strings.Contains(string(a.body), tt.code) {
			t.Errorf("%+v: %s", tt, a.body)
		}
	}
}

// loggers is a host that a simulated logger of MN M1 is connected to, and that
// follows the registry.
func (b *box) loggers() *hj212.Host {
	b.t.Helper()
	h, err := hj212.New(hj212.Config{Address: "127.0.0.1:0", OverTime: 2 * time.Second})
	must(b.t, err)
	sink := &heard{first: make(chan struct{})}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	update := func() {
		if dev := b.registry.Snapshot().Devices["logger"]; dev != nil { // else it was retired
			must(b.t, h.Update([]hj212.Client{{Device: *dev}}))
		}
	}
	update()
	wake, unwatch := b.registry.Watch()
	running.Go(func() { _ = h.Run(ctx, sink) })
	running.Go(func() {
		defer unwatch()
		for {
			select {
			case <-wake:
				update()
			case <-ctx.Done():
				return
			}
		}
	})
	<-h.Ready()
	l, err := loggertest.New(loggertest.Config{
		MN: "M1", PW: "123456", Period: 20 * time.Millisecond,
		Factors: []loggertest.Factor{{Code: "w01018", Digits: 1, At: func(time.Time) (float64, string) { return 12.5, "N" }}},
	})
	must(b.t, err)
	running.Go(func() { _ = l.Run(ctx, h.Addr().String()) })
	b.t.Cleanup(running.Wait)
	b.t.Cleanup(stop)
	<-sink.first
	return h
}

// heard is a sink that says when something was delivered.
type heard struct {
	once  sync.Once
	first chan struct{}
}

func (h *heard) Accept(_ devices.Delivery, done func(error)) {
	h.once.Do(func() { close(h.first) })
	done(nil)
}

func (h *heard) Report(devices.Report) {}

func TestCommandsToALogger(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.field()
	root, engineer, path := bearer(b.token(accounts.Administrator)), bearer(b.token(accounts.FieldEngineer)), "/api/v1/devices/logger:command"
	var list contract.LoggerCommandList
	b.call("GET", "/api/v1/logger-commands", engineer, nil).want(200).into(&list)
	if len(list.Items) < 20 {
		t.Errorf("%d commands", len(list.Items))
	}
	var got contract.LoggerAnswer
	b.call("POST", path, engineer, map[string]any{"cn": "2061", "from": "2026-03-01T00:00:00+08:00", "to": "2026-02-28T18:00:00Z"}).want(200).into(&got)
	if len(got.Packets) != 3 || got.Packets[2].Content[0] != (contract.LoggerField{Name: "DataTime", Value: "20260301020000"}) || got.Packets[0].Content[1].Value != "12.5" {
		t.Errorf("%+v", got)
	}
	b.call("POST", path, engineer, map[string]any{"cn": "1012", "reason": "对时"}).problem(403, "role_not_allowed")
	b.call("POST", path, root, map[string]any{"cn": "1012"}).problem(400, "missing")
	b.call("POST", path, root, map[string]any{"cn": "1012", "reason": "对时"}).want(200)
	b.call("POST", path, root, map[string]any{"cn": "1062", "reason": "加密", "content": []any{map[string]any{"name": "RtdInterval", "value": "30;X=1"}}}).problem(400, "bad_content")
	b.call("POST", path, root, map[string]any{"cn": "9014"}).problem(400, "unknown_command")
	b.call("POST", path, root, map[string]any{"cn": "2051", "from": "2026-03-01T00:00:00Z"}).problem(400, "incomplete")
	b.call("POST", path, root, map[string]any{"cn": "2051", "from": "2026-03-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}).problem(400, "empty_span")
	b.call("POST", path, root, map[string]any{"cn": "1011", "content": []any{map[string]any{"name": "NewPW", "value": "x"}}}).problem(400, "own_field")
	b.call("POST", path, root, map[string]any{"cn": "1011", "password": "x"}).problem(400, "not_used")
	b.call("POST", path, root, map[string]any{"cn": "1072", "reason": "轮换", "password": "a b"}).problem(400, "bad_pw")
	b.call("POST", path, bearer(b.token(accounts.Staff)), map[string]any{"cn": "1011"}).problem(403, "role_not_allowed")
	b.call("POST", "/api/v1/devices/plc:command", root, map[string]any{"cn": "1011"}).problem(400, "no_logger")
	b.call("POST", path, bearer(b.token(accounts.FieldEngineer, "b")), map[string]any{"cn": "1011"}).problem(404, "not_found")

	b.call("POST", path, root, map[string]any{"cn": "1072", "reason": "轮换", "password": "canary-pw"}).want(200)
	if pw := b.registry.Snapshot().Devices["logger"].Password.Reveal(); pw != "canary-pw" {
		t.Errorf("registered password %q", pw)
	}
	// The logger comes back with its new password.
	for limit := time.After(time.Minute); b.call("POST", path, engineer, map[string]any{"cn": "1011"}).status != 200; {
		select {
		case <-limit:
			t.Fatal("the logger is not admitted by its new password")
		case <-time.After(50 * time.Millisecond):
		}
	}
	trail := strings.Join(b.told("device.command"), "\n")
	for _, want := range []string{
		"asked device/logger  CN=2061 BeginTime=20260301000000 EndTime=20260301020000",
		"role_not_allowed device/logger 对时 CN=1012", "asked device/logger 对时 CN=1012", "bad_content device/logger 加密 CN=1062",
		"asked device/logger 轮换 CN=1072", "ok device/logger 轮换 CN=1072; QN=", "\nrole_not_allowed device/logger\n",
	} {
		if !strings.Contains(trail, want) {
			t.Errorf("no %q in the trail:\n%s", want, trail)
		}
	}
	if strings.Contains(trail, "canary") {
		t.Errorf("the password stands in the trail:\n%s", trail)
	}
	must(t, b.log.Verify(t.Context()))
}
