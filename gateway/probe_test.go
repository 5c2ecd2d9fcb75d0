package gateway_test

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/modbus"
	"offsite/devices/modbus/modbustest"
	"offsite/gateway/accounts"
	"offsite/gateway/api/commissioning"
	"offsite/gateway/api/contract"
	"offsite/streams"
)

// slaveOnLoopback is a Modbus slave with one float at input register 8 of unit 3.
func slaveOnLoopback(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	slave, err := modbustest.Listen(ctx, modbustest.Config{})
	must(t, err)
	slave.Unit(3).Put(modbustest.Input, 8, "CDAB", float32(23.5))
	var running sync.WaitGroup
	running.Go(func() { _ = slave.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return slave.Endpoint()
}

func probers() commissioning.Probers {
	return commissioning.Probers{devices.DriverModbus: modbus.New(modbus.Config{Allow: func(a netip.AddrPort) error {
		if a.Addr().IsLoopback() {
			return nil
		}
		return devices.Invalid("endpoint", "address_refused", "此处只允许本机；请更换地址", "only this machine is allowed here; choose another address")
	}})}
}

func TestProbeOfAnUnsavedForm(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	engineer := bearer(b.token(accounts.FieldEngineer))
	form := func(endpoint string) map[string]any {
		return map[string]any{
			"device": map[string]any{"driver": "modbus", "site": "a", "endpoint": endpoint, "modbus": map[string]any{"unit": 3}},
			"bindings": []any{
				map[string]any{"point": "gate-a.temp", "register": map[string]any{"table": "input", "address": 8, "type": "float32"}},
			},
			"points": []any{map[string]any{"id": "gate-a.temp", "name": "t", "factor": "a01001", "unit": "°C", "min": -40, "max": 80}},
		}
	}
	var report contract.ProbeReport
	b.call("POST", "/api/v1/devices:probe", engineer, form(slaveOnLoopback(t))).want(200).into(&report)
	var names []string
	for _, s := range report.Steps {
		names = append(names, s.Name)
	}
	if diff := cmp.Diff([]string{"address", "connect", "answer", "values"}, names); diff != "" {
		t.Fatal(diff)
	}
	v := report.Steps[3].Values[0]
	if v.Plausible || len(v.Orders) != 4 || *v.Orders[1].Value != 23.5 || !strings.Contains(v.ZH, "CDAB") {
		t.Errorf("%+v", v)
	}
	if len(b.acts("device.probe")) != 1 {
		t.Error("nothing in the trail")
	}
	var refused contract.ProbeReport
	b.call("POST", "/api/v1/devices:probe", engineer, form("modbus://10.1.1.1:502")).want(200).into(&refused)
	if len(refused.Steps) != 1 || refused.Steps[0].OK || refused.Steps[0].CureEN != "choose another address" {
		t.Errorf("%+v", refused.Steps)
	}
	faulty := form("modbus://127.0.0.1:1")
	faulty["bindings"].([]any)[0].(map[string]any)["register"].(map[string]any)["type"] = "word"
	if body := string(b.call("POST", "/api/v1/devices:probe", engineer, faulty).want(400).body); !strings.Contains(body, `"bindings[0].register.type"`) {
		t.Errorf("%s", body)
	}
	other := form("opc://10.1.1.1")
	other["device"] = map[string]any{"driver": "mqtt", "site": "a", "endpoint": "mqtt://10.1.1.1"}
	b.call("POST", "/api/v1/devices:probe", engineer, other).problem(400, "not_probed")
	b.call("POST", "/api/v1/devices:probe", bearer(b.token(accounts.Staff)), form("modbus://10.1.1.1:502")).want(403)
	b.call("POST", "/api/v1/devices:probe", bearer(b.token(accounts.FieldEngineer, "b")), form("modbus://10.1.1.1:502")).problem(400, "unknown_site")
	b.call("GET", "/api/v1/devices:probe", engineer, nil).want(405)
	b.call("POST", "/api/v1/devicesprobe", engineer, form("modbus://10.1.1.1:502")).want(404)
}

// lookout sees a picture behind every password but one.
type lookout struct{}

func (lookout) Probe(_ context.Context, cam devices.Camera) (*streams.Trial, error) {
	if cam.Password.Reveal() == "wrong" {
		return &streams.Trial{Steps: []devices.Step{{Name: "describe", EN: "refused", CureEN: "check them"}}}, nil
	}
	return &streams.Trial{
		Steps: []devices.Step{{Name: "video", OK: true, EN: cam.Password.Reveal()}},
		Video: &streams.Video{Codec: streams.H264, Width: 640, Height: 360, FrameRate: 25, Plays: streams.PlaysEverywhere},
		Still: &streams.Still{JPEG: []byte("picture"), Width: 640, Height: 360, At: day},
	}, nil
}

func TestProbeOfAnUnsavedCamera(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	engineer := bearer(b.token(accounts.FieldEngineer))
	form := func(change ...any) map[string]any {
		cam := map[string]any{"site": "a", "url": "rtsp://10.1.1.1/main", "username": "admin", "password": "wrong"}
		for i := 0; i < len(change); i += 2 {
			cam[change[i].(string)] = change[i+1]
		}
		return map[string]any{"camera": cam}
	}
	var report contract.CameraProbeReport
	b.call("POST", "/api/v1/cameras:probe", engineer, form("password", "right")).want(200).into(&report)
	if string(report.Still.Jpeg) != "picture" || report.Video.Plays != "yes" || !report.Still.At.Equal(day) {
		t.Errorf("%+v", report)
	}
	body := string(b.call("POST", "/api/v1/cameras:probe", engineer, form()).want(200).body)
	if strings.Contains(body, "still") || strings.Contains(body, "video") {
		t.Errorf("pictures without a picture: %s", body)
	}
	if len(b.acts("camera.probe")) != 2 {
		t.Error("not each attempt is in the trail")
	}
	var saved map[string]any
	b.call("GET", "/api/v1/cameras/cam-a", engineer, nil).want(200).into(&saved)
	saved["password"] = "of-the-camera"
	b.call("PUT", "/api/v1/cameras/cam-a", engineer, saved).want(200)
	kept := form("id", "cam-a", "url", saved["url"], "password", "[redacted]")
	b.call("POST", "/api/v1/cameras:probe", engineer, kept).want(200).into(&report)
	if report.Steps[0].EN != "of-the-camera" {
		t.Errorf("the stored password was not used: %+v", report)
	}
	b.call("POST", "/api/v1/cameras:probe", engineer, form("id", "cam-a", "password", "[redacted]")).problem(400, "secret_needed")
	b.call("POST", "/api/v1/cameras:probe", engineer, form("id", "cam-a", "url", saved["url"], "still_url", "http://10.9.9.9/", "password", "[redacted]")).problem(400, "secret_needed")
	b.call("POST", "/api/v1/cameras:probe", bearer(b.token(accounts.Staff)), form()).want(403)
	b.call("POST", "/api/v1/cameras:probe", bearer(b.token(accounts.FieldEngineer, "b")), form()).problem(400, "unknown_site")
}

func TestProbeShowsNothingOfOthersDevices(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	other := bearer(b.token(accounts.FieldEngineer, "b"))
	form := map[string]any{"device": map[string]any{"id": "dust-a", "driver": "broker", "site": "b"}}
	b.call("POST", "/api/v1/devices:probe", other, form).problem(400, "taken")
}
