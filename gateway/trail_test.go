package gateway_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"offsite/edge/audit"
	"offsite/gateway"
	"offsite/gateway/accounts"
	"offsite/gateway/api"
	"offsite/gateway/api/contract"
)

// TestEveryActOfTheDocumentIsWritten does each act that the document names once
// and then looks for it in the trail.
func TestEveryActOfTheDocumentIsWritten(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.call("POST", "/api/v1/setup", nil, map[string]string{"token": b.accounts.SetupToken(), "id": "root", "name": "管理员", "password": password}).want(201)
	me := header{"Cookie": b.signIn("root")}
	root := bearer(b.token(accounts.Administrator))
	b.field()
	b.call("POST", "/api/v1/points/gate-a.fan:write", root, map[string]any{"value": 1, "seen": 21, "reason": "x"}).want(200)
	b.call("POST", "/api/v1/devices/logger:command", root, map[string]any{"cn": "1011"}).want(200)
	for _, coll := range collections {
		var thing map[string]any
		path := "/api/v1/" + coll + "/" + firstOf[coll]
		b.call("GET", path, root, nil).want(200).into(&thing)
		b.call("PUT", path, root, thing).want(200)
	}
	b.site.events["al-1"] = alarm("al-1", "a", day)
	b.call("POST", "/api/v1/events/al-1:acknowledge", root, map[string]string{"note": ""}).want(200)
	b.call("GET", "/api/v1/blobs/"+b.site.exhibit("x", "a"), root, nil).want(200)
	b.site.pictures["al-1"] = contract.Evident{Manifest: b.site.exhibit("x", "a")}
	b.call("POST", "/api/v1/events/al-1:verify", root, nil).want(200)
	b.call("POST", "/api/v1/events/al-1:hold", root, map[string]string{"reason": "诉讼"}).want(200)
	b.call("POST", "/api/v1/events/al-1:release", root, nil).want(200)
	b.call("GET", "/api/v1/events/al-1/evidence.zip", root, nil).want(200)
	b.call("POST", "/api/v1/cameras/cam-a:set-reference", root, nil).want(200)
	b.call("GET", "/api/v1/cameras/cam-a/reference.jpg?place=3", root, nil).want(200)
	b.call("POST", "/api/v1/dead-letters:replay", root, map[string]any{"ids": []int{7}}).want(200)
	for _, path := range []string{"/api/v1/devices/dust-a/maintenance", "/api/v1/points/gate-a.pm10/maintenance"} {
		b.call("PUT", path, root, map[string]any{"until": day, "reason": "校准"}).want(200)
		b.call("DELETE", path, root, nil).want(204)
	}
	b.call("GET", "/api/v1/cameras/cam-a/still.jpg", root, nil).want(200)
	b.watch("cam-a", root)
	b.call("GET", "/api/v1/cameras/cam-a/clip?"+lasting(time.Minute), root, nil).want(200)
	b.call("POST", "/api/v1/cameras/cam-a/recordings:export", root, map[string]any{"from": day, "to": day.Add(time.Minute), "reason": "x"}).want(200)
	b.playback("cam-a", "", root)
	b.call("DELETE", "/api/v1/cameras/cam-a/"+b.offer("cam-a", "", root).want(201).header.Get("Location"), nil, nil).want(200)
	b.call("POST", "/api/v1/cameras/cam-a:retry", root, nil).want(204)
	b.steer("cam-a", root)
	b.call("POST", "/api/v1/cameras/cam-a/events", root, map[string]any{"id": "1", "type": "smoke", "on": true}).want(202)
	b.call("POST", "/api/v1/cameras:discover", root, map[string]any{}).want(200)
	b.call("POST", "/api/v1/cameras:inspect", root, map[string]any{"camera": map[string]any{"onvif": "http://10.1.1.1/"}}).want(200)
	b.call("POST", "/api/v1/devices:probe", root, map[string]any{"device": map[string]any{"driver": "modbus", "endpoint": "modbus://10.1.1.1", "modbus": map[string]any{"unit": 1}}}).want(200)
	b.call("POST", "/api/v1/cameras:probe", root, map[string]any{"camera": map[string]any{"url": "rtsp://10.1.1.1/"}}).want(200)
	b.call("POST", "/api/v1/devices:scan", root, map[string]any{"device": map[string]any{"endpoint": slaveOnLoopback(t)}, "first": 3, "last": 3}).want(200)
	b.call("POST", "/api/v1/devices:listen", root, map[string]any{"device": map[string]any{"driver": "broker"}}).want(200)
	b.call("POST", "/api/v1/import/sites", table(root), "id,name\na,新名\n").want(200)
	b.call("GET", "/api/v1/export/sites.csv", root, nil).want(200)
	b.call("POST", "/api/v1/platform", root, map[string]string{"url": "https://platform.example", "code": "good"}).want(200)
	b.call("POST", "/api/v1/people", root, map[string]any{"id": "li", "name": "李", "role": "staff", "password": password}).want(201)
	b.call("PUT", "/api/v1/people/li", root, map[string]any{"name": "李", "role": "viewer", "version": 1}).want(200)
	b.call("POST", "/api/v1/people/li/password", root, map[string]string{"password": "Battery-Staple-8"}).want(200)
	b.call("DELETE", "/api/v1/people/li", root, nil).want(204)
	var made contract.TokenSecret
	b.call("POST", "/api/v1/tokens", root, map[string]any{"name": "t", "role": "viewer"}).want(201).into(&made)
	b.call("DELETE", "/api/v1/tokens/"+made.Token.ID, root, nil).want(204)
	b.call("POST", "/api/v1/me/password", me, map[string]string{"old": password, "new": "Battery-Staple-8"}).want(200)
	b.call("DELETE", "/api/v1/session", me, nil).want(204)
	for _, path := range []string{"bindings/fan", "bindings/temp", "points/gate-a.fan", "points/gate-a.temp", "devices/plc", "devices/logger"} {
		b.call("DELETE", "/api/v1/"+path, root, nil).want(204)
	}
	for _, coll := range []string{"limits", "cameras", "bindings", "devices", "points", "outlets", "sites", "entities"} {
		b.call("DELETE", "/api/v1/"+coll+"/"+firstOf[coll], root, nil).want(204)
	}
	operations, err := api.New(api.Backend{}, nil).Operations()
	must(t, err)
	for _, op := range operations {
		writes := op.Method != http.MethodGet
		switch {
		case op.Act == "" && writes && !slices.Contains([]string{"createTicket", "renderTemplate", "replaceMyWalls", "trickleWHEP"}, op.ID):
			t.Errorf("%s changes something and names no act", op.ID)
		case op.Act == "" || slices.Contains(op.Roles, api.FromPlatform): // those are in the platform client's hands
		case len(b.acts(op.Act)) == 0:
			t.Errorf("%s: no row of %s in the trail", op.ID, op.Act)
		}
	}
	must(t, b.log.Verify(t.Context()))
}

// watch opens a live picture and leaves.
func (b *box) watch(camera string, h header) {
	b.t.Helper()
	conn, _, err := b.dial(camera, h)
	must(b.t, err)
	_, _, err = conn.Read(b.t.Context())
	must(b.t, err)
	_ = conn.Close(websocket.StatusNormalClosure, "")
}

func (b *box) dial(camera string, h header) (*websocket.Conn, *http.Response, error) {
	headers := http.Header{}
	for k, v := range h {
		headers.Set(k, v)
	}
	return websocket.Dial(b.t.Context(), strings.Replace(b.http.URL, "http", "ws", 1)+"/api/v1/cameras/"+camera+"/live", &websocket.DialOptions{HTTPHeader: headers})
}

func TestLiveViewsOfOneAreBounded(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	one, other := bearer(b.token(accounts.Viewer)), bearer(b.token(accounts.Viewer))
	view := func(h header) (*websocket.Conn, int) {
		conn, answer, _ := b.dial("cam-a", h) //nolint:bodyclose // a WebSocket's, or read whole by the library
		if conn != nil {
			t.Cleanup(func() { _ = conn.CloseNow() })
		}
		return conn, answer.StatusCode
	}
	for range 32 {
		if _, status := view(one); status != http.StatusSwitchingProtocols {
			t.Fatalf("status %d", status)
		}
	}
	if _, status := view(one); status != http.StatusServiceUnavailable {
		t.Errorf("one more: status %d", status)
	}
	if _, status := view(other); status != http.StatusSwitchingProtocols {
		t.Errorf("of another: status %d", status)
	}
}

var errNoTrail = errors.New("no trail")

// noTrail is a trail that cannot be written.
type noTrail struct{ *audit.Log }

func (noTrail) Append(context.Context, *sql.Tx, audit.Entry) error { return errNoTrail }

func (noTrail) Record(context.Context, audit.Entry) error { return errNoTrail }

func TestWhatCannotBeAuditedDoesNotHappen(t *testing.T) {
	t.Parallel()
	b := open(t)
	root := bearer(b.token(accounts.Administrator))
	b.furnish(b.token(accounts.Administrator))
	b.site.events["al-1"] = alarm("al-1", "a", day)
	sum := b.site.exhibit("x", "a")
	parts := b.parts()
	parts.Backend.Audit = noTrail{b.log}
	s, err := gateway.Open(gateway.Config{HTTP: "127.0.0.1:0"}, parts)
	must(t, err)
	b.http.Config.Handler = s.Handler()
	for _, tt := range []struct {
		method, path string
		body         any
	}{
		{"POST", "/entities", entity("x", "n")},
		{"DELETE", "/limits/lim-a", nil},
		{"POST", "/events/al-1:acknowledge", map[string]string{"note": ""}},
		{"POST", "/events/al-1:hold", map[string]string{"reason": "诉讼"}},
		{"GET", "/blobs/" + sum, nil},
		{"GET", "/cameras/cam-a/still.jpg", nil},
		{"GET", "/cameras/cam-a/clip?" + lasting(time.Minute), nil},
		{"POST", "/cameras/cam-a/recordings:export", map[string]any{"from": day, "to": day.Add(time.Minute), "reason": "x"}},
		{"GET", "/cameras/cam-a/hls/index.m3u8", nil},
		{"POST", "/devices:probe", map[string]any{"device": map[string]any{"driver": "modbus", "endpoint": "modbus://10.1.1.1", "modbus": map[string]any{"unit": 1}}}},
		{"POST", "/cameras:probe", map[string]any{"camera": map[string]any{"url": "rtsp://10.1.1.1/"}}},
		{"POST", "/cameras:discover", map[string]any{}},
		{"POST", "/cameras:inspect", map[string]any{"camera": map[string]any{"onvif": "http://10.1.1.1/"}}},
		{"POST", "/cameras:adopt", map[string]any{"cameras": []any{map[string]any{"site": "a", "name": "x", "url": "rtsp://10.1.1.1/"}}}},
		{"POST", "/cameras/cam-a/ptz:stop", nil},
		{"POST", "/devices:scan", map[string]any{"device": map[string]any{"endpoint": "modbus://10.1.1.1"}}},
		{"POST", "/devices:listen", map[string]any{"device": map[string]any{"driver": "broker"}}},
		{"POST", "/devices:adopt", map[string]any{"outlet": "gate-a", "points": []any{map[string]any{"name": "x", "factor": "x", "unit": "", "device": "dust-a", "topic": map[string]any{"topic": "t"}}}}},
		{"POST", "/templates/tank-radar-level:register", map[string]any{"outlet": "gate-a", "device": "gauge", "parameters": map[string]any{"address": "10.1.1.1"}}},
		{"GET", "/export/sites.csv", nil},
		{"PUT", "/devices/dust-a/maintenance", map[string]any{"until": day, "reason": "校准"}},
		{"POST", "/platform", map[string]string{"url": "https://platform.example", "code": "good"}},
	} {
		b.call(tt.method, "/api/v1"+tt.path, root, tt.body).problem(500, "internal")
	}
	if _, resp, err := b.dial("cam-a", root); err == nil || resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("live picture: %v, %v", resp, err)
	}
	b.call("POST", "/api/v1/import/entities", table(root), "id,name,uscc,region_code\nx,n,91350211M000100Y46,310115\n").problem(500, "internal")
	now := b.registry.Snapshot()
	if now.Entities["x"] != nil || now.Devices["gauge"] != nil || now.Limits["lim-a"] == nil || b.site.events["al-1"].Acknowledgment != nil {
		t.Error("something happened all the same")
	}
}

// TestTheTrailIsSearchedAndProved asks for rows of one kind and for the state of the chain.
func TestTheTrailIsSearchedAndProved(t *testing.T) {
	t.Parallel()
	b := open(t)
	root := bearer(b.token(accounts.Administrator))
	b.furnish(b.token(accounts.Administrator))
	var list contract.AuditList
	b.call("GET", "/api/v1/audit?act=camera.&what=camera/", root, nil).want(200).into(&list)
	if len(list.Items) != len(b.acts("camera.create")) || len(list.Items) == 0 {
		t.Errorf("%d rows of cameras, want %d", len(list.Items), len(b.acts("camera.create")))
	}
	b.call("GET", "/api/v1/audit?before=yesterday", root, nil).want(400)
	var chain contract.AuditChain
	b.call("GET", "/api/v1/audit/chain", root, nil).want(200).into(&chain)
	if !chain.Whole || chain.Seq == 0 || len(chain.Hash) != 64 {
		t.Errorf("the chain: %+v", chain)
	}
}
