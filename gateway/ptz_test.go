package gateway_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/edge/alerts"
	"offsite/edge/cameras"
	"offsite/edge/ptz"
	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
	"offsite/streams/onvif"
)

// cameraFinder finds one recorder of two channels.
type cameraFinder struct{}

func (cameraFinder) Find(context.Context, onvif.Search) ([]onvif.Found, error) {
	return []onvif.Found{{URL: "http://10.0.0.9:8000/onvif/device_service", From: netip.MustParseAddr("10.0.0.9"), Name: "NVR"}}, nil
}

func (cameraFinder) Inspect(_ context.Context, cam devices.Camera) (*cameras.Inspection, error) {
	if cam.Password == "wrong" {
		return nil, &devices.Problem{Kind: devices.ErrUnavailable, Code: onvif.CodePassword, Field: "password", ZH: "密码错误", EN: "wrong"}
	}
	return &cameras.Inspection{
		Information: onvif.Information{Model: "NVR"}, ClockOffset: 90 * time.Second,
		Channels: []onvif.Channel{{Source: "1", Name: "通道 1", URL: "rtsp://10.0.0.9/1", Profiles: []onvif.Profile{}, Moved: []string{}}, {Source: "2", Name: "通道 2", URL: "rtsp://10.0.0.9/2", Profiles: []onvif.Profile{}, Moved: []string{}}},
	}, nil
}

// steering takes everything; its camera is in wang's hands where somebody else
// turns it to the left.
type steering struct{}

func (steering) State(context.Context, string) (ptz.State, error) {
	return ptz.State{Presets: []onvif.Preset{{Token: "1", Name: "门"}}}, nil
}

func (steering) Continues(_ string, who ptz.Mover) bool {
	return strings.HasPrefix(who.ID, "token:again")
}

func (steering) Move(_ context.Context, _ string, _ ptz.Mover, v onvif.Vector) error {
	if v.Pan < 0 {
		return &devices.Problem{Kind: devices.ErrConflict, Code: "ptz_held", ZH: "王正在控制", EN: "wang steers it"}
	}
	return nil
}
func (steering) Nudge(context.Context, string, ptz.Mover, onvif.Vector) error { return nil }
func (steering) Stop(context.Context, string) error                           { return nil }
func (steering) GoTo(context.Context, string, ptz.Mover, string) error        { return nil }
func (steering) Patrol(context.Context, string, ptz.Mover, string) error      { return nil }
func (steering) SetPreset(context.Context, string, ptz.Mover, string, string) (string, error) {
	return "7", nil
}
func (steering) RemovePreset(context.Context, string, ptz.Mover, string) error { return nil }

// steer does everything once that can be done with a camera that turns.
func (b *box) steer(camera string, h header) {
	b.t.Helper()
	at := "/api/v1/cameras/" + camera + "/ptz"
	var made contract.PTZPreset
	b.call("GET", at, h, nil).want(200)
	b.call("POST", at+":move", h, map[string]any{"pan": 0.5, "tilt": 0, "zoom": 0}).want(204)
	b.call("POST", at+":move", h, map[string]any{"pan": 0.5, "tilt": 0, "zoom": 0, "step": true}).want(204)
	b.call("POST", at+":stop", h, nil).want(204)
	b.call("POST", at+":look", h, map[string]any{"token": "1", "name": ""}).want(204)
	b.call("POST", at+":patrol", h, map[string]any{"name": "夜巡"}).want(204)
	b.call("POST", at+":remember", h, map[string]any{"token": "", "name": " 罐区 "}).want(200).into(&made)
	b.call("POST", at+":forget", h, made).want(204)
	if diff := cmp.Diff(contract.PTZPreset{Token: "7", Name: "罐区"}, made); diff != "" {
		b.t.Error(diff)
	}
}

func TestSteering(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	staff := bearer(b.token(accounts.Staff, "a"))
	at := "/api/v1/cameras/cam-a/ptz"
	b.call("POST", at+":move", staff, map[string]any{"pan": -1, "tilt": 0, "zoom": 0}).problem(409, "ptz_held")
	rows := b.acts("camera.move")
	if len(rows) != 2 || rows[0].Result == rows[1].Result {
		t.Errorf("the trail: %+v", rows)
	}
	b.call("POST", at+":move", staff, map[string]any{"pan": 2, "tilt": 0, "zoom": 0}).problem(400, "out_of_range")
	b.call("POST", at+":look", staff, map[string]any{"token": "", "name": ""}).problem(400, "missing")
	b.call("POST", at+":remember", staff, map[string]any{"token": "", "name": "x"}).problem(403, "role_not_allowed")
	b.call("POST", at+":stop", bearer(b.token(accounts.Viewer)), nil).problem(403, "role_not_allowed")
	b.call("POST", at+":stop", bearer(b.token(accounts.Staff, "b")), nil).problem(404, "not_found")
	if rows := b.acts("camera.stop"); len(rows) != 1 || rows[0].Result != "role_not_allowed" {
		t.Errorf("the trail: %+v", rows)
	}
}

func TestRecordersAreRegisteredAtOnce(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	engineer := bearer(b.token(accounts.FieldEngineer))
	var finds contract.CameraFinds
	b.call("POST", "/api/v1/cameras:discover", engineer, map[string]any{"for": "1s"}).want(200).into(&finds)
	if len(finds.Items) != 1 || len(finds.Items[0].Cameras) != 0 {
		t.Fatalf("%+v", finds)
	}
	b.call("POST", "/api/v1/cameras:discover", engineer, map[string]any{"for": "1m"}).problem(400, "out_of_range")
	access := map[string]any{"onvif": finds.Items[0].URL, "username": "admin", "password": "wrong"}
	b.call("POST", "/api/v1/cameras:inspect", engineer, map[string]any{"camera": access}).problem(503, onvif.CodePassword)
	access["password"] = "right"
	var seen contract.CameraInspection
	b.call("POST", "/api/v1/cameras:inspect", engineer, map[string]any{"camera": access}).want(200).into(&seen)
	var list []any
	for _, ch := range seen.Channels {
		list = append(list, map[string]any{"site": "a", "name": ch.Name, "url": ch.URL, "onvif": finds.Items[0].URL, "source": ch.Source, "username": "admin", "password": "right"})
	}
	list[1].(map[string]any)["url"] = "ftp://10.0.0.9/"
	if body := b.call("POST", "/api/v1/cameras:adopt", engineer, map[string]any{"cameras": list}).want(400).body; !strings.Contains(string(body), `cameras[1].url`) {
		t.Errorf("%s", body)
	}
	before := len(b.registry.Snapshot().Cameras)
	list[1].(map[string]any)["url"] = "rtsp://10.0.0.9/2"
	var made contract.CameraAdoptResult
	b.call("POST", "/api/v1/cameras:adopt", engineer, map[string]any{"cameras": list}).want(201).into(&made)
	if now := len(b.registry.Snapshot().Cameras); len(made.Cameras) != 2 || now != before+2 || made.Cameras[1].Source != "2" {
		t.Errorf("%d of %d, %+v", len(made.Cameras), now, made)
	}
	b.call("POST", "/api/v1/cameras:discover", engineer, map[string]any{}).want(200).into(&finds)
	if len(finds.Items[0].Cameras) != 2 {
		t.Errorf("%+v", finds)
	}
	// The stored password goes to its own address alone.
	again := map[string]any{"id": made.Cameras[0].ID, "onvif": finds.Items[0].URL, "password": "[redacted]"}
	b.call("POST", "/api/v1/cameras:inspect", engineer, map[string]any{"camera": again}).want(200)
	again["onvif"] = "http://10.0.0.66/"
	b.call("POST", "/api/v1/cameras:inspect", engineer, map[string]any{"camera": again}).problem(400, "secret_needed")
	b.call("POST", "/api/v1/cameras:inspect", bearer(b.token(accounts.FieldEngineer, "b")), map[string]any{"camera": map[string]any{"site": "a", "onvif": "http://10.0.0.9/"}}).problem(400, "unknown_site")
	elsewhere := map[string]any{"site": "a", "name": "x", "url": "rtsp://10.0.0.9/1", "onvif": "http://10.0.0.10/"}
	b.call("POST", "/api/v1/cameras:adopt", engineer, map[string]any{"cameras": []any{elsewhere}}).problem(400, "other_host")
}

// alerting takes everything for one event.
type alerting struct{}

func (alerting) Tell(_ context.Context, a alerts.Alert) (string, error) {
	if a.Type == "fire" && a.Once {
		return "", nil
	}
	return "ca-1", nil
}

func TestCameraEventsArePushed(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	box := bearer(b.token(accounts.Integrator, "a"))
	at := "/api/v1/cameras/cam-a/events"
	var taken contract.CameraEventTaken
	b.call("POST", at, box, map[string]any{"id": "1", "type": "smoke", "on": true}).want(202).into(&taken)
	if taken.Event != "ca-1" {
		t.Errorf("%+v", taken)
	}
	b.call("POST", at, box, map[string]any{"id": "2", "type": "fire"}).want(202).into(&taken)
	if taken.Event != "" {
		t.Errorf("%+v", taken)
	}
	b.call("POST", at, box, map[string]any{"id": "", "type": "ghost"}).want(400)
	b.call("POST", at, bearer(b.token(accounts.Integrator, "b")), map[string]any{"id": "1", "type": "smoke"}).problem(404, "not_found")
	b.call("POST", at, bearer(b.token(accounts.Staff)), map[string]any{"id": "1", "type": "smoke"}).problem(403, "role_not_allowed")
}
