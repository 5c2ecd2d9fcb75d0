package gateway_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/gateway"
	"offsite/gateway/accounts"
	"offsite/gateway/api"
	"offsite/gateway/api/contract"
	"offsite/streams/rtsp"
)

// bound makes a token that is bound to these cameras.
func (b *box) bound(role accounts.Role, cameras ...string) string {
	b.t.Helper()
	_, secret, err := b.accounts.IssueToken(b.t.Context(), accounts.By{Who: "root"}, accounts.NewToken{Name: "bound", Role: role, Cameras: cameras})
	must(b.t, err)
	return secret
}

// TestATokenOfOneCameraReachesNothingElse walks every operation of the document with
// tokens of camera A that ask for camera B, and for all that is no camera.
func TestATokenOfOneCameraReachesNothingElse(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	tokens := map[string]string{}
	for _, role := range []accounts.Role{accounts.Administrator, accounts.FieldEngineer, accounts.Staff, accounts.Viewer, accounts.Integrator} {
		tokens[string(role)] = b.bound(role, "cam-a")
	}
	operations, err := api.New(api.Backend{}, nil).Operations()
	must(t, err)
	asked, ofCameras := 0, 0
	for _, op := range operations {
		ofOne := strings.HasPrefix(op.Path, "/cameras/{id}")
		if op.Open() || (op.Cameras && !ofOne) {
			continue
		}
		role := op.Roles[0] // it may, but for the camera
		path := strings.NewReplacer("{id}", "cam-b", "{kind}", "cameras", "{sha256}", strings.Repeat("0", 64), "{name}", "x").Replace(op.Path)
		b.call(op.Method, "/api/v1"+path, bearer(tokens[role]), nil).problem(403, "camera_not_allowed")
		asked++
		if ofOne {
			ofCameras++
			act := op.Act
			if act == "" {
				act = "access.refused"
			}
			if !slices.ContainsFunc(b.acts(act), func(r audit.Row) bool {
				return r.What == "camera/cam-b" && r.Result == "camera_not_allowed" && r.Detail == op.ID
			}) {
				t.Errorf("%s: no row of %s in the trail", op.ID, act)
			}
		}
	}
	if ofCameras < 20 || asked < 80 {
		t.Errorf("%d operations were tried, %d of them of cameras: what was walked?", asked, ofCameras)
	}
}

func TestATokenOfOneCameraReachesThatOne(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	var made contract.TokenSecret
	root := bearer(b.token(accounts.Administrator))
	b.call("POST", "/api/v1/tokens", root, map[string]any{"name": "nvr", "role": "integrator", "cameras": []string{"cam-a"}}).want(201).into(&made)
	b.call("POST", "/api/v1/tokens", root, map[string]any{"name": "nvr", "role": "integrator", "cameras": []string{"cam-x"}}).problem(400, "unknown_camera")
	if !slices.Equal(made.Token.Cameras, []string{"cam-a"}) {
		t.Errorf("%+v", made.Token)
	}
	a := bearer(made.Secret)
	b.call("GET", "/api/v1/cameras/cam-a/still.jpg", a, nil).want(200)
	b.call("GET", "/api/v1/cameras/cam-a/clip?"+lasting(time.Minute), a, nil).want(200)
	b.call("GET", "/api/v1/me", a, nil).want(200)
	var list contract.CameraList
	b.call("GET", "/api/v1/cameras", a, nil).want(200).into(&list)
	if len(list.Items) != 1 || list.Items[0].ID != "cam-a" {
		t.Errorf("the list shows %+v", list.Items)
	}
	b.watch("cam-a", a)
	if _, resp, err := b.dial("cam-b", a); err == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("live picture of another: %v, %v", resp, err)
	}
	var ticket contract.Ticket
	b.call("POST", "/api/v1/tickets", a, map[string]string{"purpose": "still", "target": "cam-a"}).want(201).into(&ticket)
	b.call("GET", ticket.URL, nil, nil).want(200)
	b.call("POST", "/api/v1/tickets", a, map[string]string{"purpose": "still", "target": "cam-b"}).want(404)
	b.call("POST", "/api/v1/tickets", a, map[string]string{"purpose": "live"}).want(201).into(&ticket)
	b.call("GET", ticket.URL, nil, nil).problem(403, "camera_not_allowed")
}

func TestRTSPKnowsTheCamerasOfAToken(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	parts := b.parts()
	parts.Feeds = feedsOf(nil)
	server, err := gateway.Open(gateway.Config{HTTP: "127.0.0.1:0"}, parts)
	must(t, err)
	secret := b.bound(accounts.Integrator, "cam-a")
	ask := func(camera string) string {
		_, err := server.Admit(rtsp.Ask{Password: secret, Camera: camera})
		var p *devices.Problem
		if errors.As(err, &p) {
			return p.Code
		}
		return ""
	}
	if code := ask("cam-b"); code != "camera_not_allowed" {
		t.Errorf("another camera: %q", code)
	}
	if rows := b.acts("live.rtsp"); len(rows) != 1 || rows[0].What != "camera/cam-b" || rows[0].Result != "camera_not_allowed" {
		t.Errorf("the trail has %+v", rows)
	}
	if code := ask("cam-a"); code != "" {
		t.Errorf("its own camera: %q", code)
	}
}

// TestEveryViewHasItsEnd opens live pictures by WebSocket; the others' ends are looked
// for where they are tested.
func TestEveryViewHasItsEnd(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	h := bearer(b.token(accounts.Viewer))
	b.watch("cam-a", h)
	conn, _, err := b.dial("cam-b", h) // gives no picture
	must(t, err)
	_, _, err = conn.Read(t.Context())
	if websocket.CloseStatus(err) != websocket.StatusTryAgainLater {
		t.Errorf("silent camera: %v", err)
	}
	until(t, "both ends", func() bool { return len(b.acts("live.view.end")) == 2 })
	for _, r := range b.acts("live.view.end") {
		want := map[string]string{"camera/cam-a": "main, 0 s: the viewer left", "camera/cam-b": "main, 0 s: "}[r.What]
		if !strings.HasPrefix(r.Detail, want) {
			t.Errorf("%s: %q", r.What, r.Detail)
		}
	}
}
