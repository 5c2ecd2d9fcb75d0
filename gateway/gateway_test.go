package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/devices/state"
	"offsite/edge/audit"
	"offsite/gateway"
	"offsite/gateway/accounts"
	"offsite/gateway/api"
	"offsite/gateway/api/commissioning"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/duty"
	"offsite/gateway/api/footage"
	"offsite/gateway/api/instruments"
	"offsite/gateway/api/request"
	"offsite/gateway/api/supervision"
	"offsite/gateway/api/video"
	"offsite/gateway/live"
)

func TestMain(m *testing.M) {
	for _, kind := range []string{sdp, "application/trickle-ice-sdpfrag"} {
		openapi3filter.RegisterBodyDecoder(kind, openapi3filter.PlainBodyDecoder)
	}
	goleak.VerifyTestMain(m)
}

var day = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

const password = "Correct-Horse-7"

// box is a gateway on a real state directory, served on loopback.
type box struct {
	t        *testing.T
	site     *site
	registry *registry.Registry
	log      *audit.Log
	accounts *accounts.Accounts
	server   *gateway.Server
	http     *httptest.Server
	doc      *openapi3.T
}

// document is the API's, read once for all tests: that takes longer than most.
var document = sync.OnceValues(func() (*openapi3.T, error) { return openapi3.NewLoader().LoadFromFile("api/openapi.yaml") })

// open starts a gateway where nobody exists yet.
func open(t *testing.T) *box {
	t.Helper()
	ctx := t.Context()
	db, err := state.Open(ctx, state.Config{Dir: t.TempDir()})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	b := &box{t: t, site: newSite(db)}
	b.registry, err = registry.Open(ctx, db)
	must(t, err)
	b.log, err = audit.Open(ctx, db)
	must(t, err)
	b.accounts, err = accounts.Open(ctx, db, b.log, accounts.Config{})
	must(t, err)
	b.server, err = gateway.Open(gateway.Config{HTTP: "127.0.0.1:0"}, b.parts())
	must(t, err)
	b.http = httptest.NewServer(b.server.Handler())
	t.Cleanup(b.http.Close)
	b.doc, err = document()
	must(t, err)
	return b
}

func (b *box) parts() gateway.Parts {
	return gateway.Parts{
		Backend: api.Backend{
			Registry: b.registry, Audit: b.log,
			Commissioning: commissioning.Backend{Prober: probers(), Discovery: discovery(), Lookout: lookout{}, Finder: cameraFinder{}},
			Instruments:   instruments.Backend{Health: b.site, Letters: b.site},
			Duty: duty.Backend{
				History: b.site, Updates: b.site, Points: b.site, Events: b.site, Evidence: b.site,
				Devices: b.site, Cameras: b.site, Condition: b.site, Platform: b.site,
			},
			Video:       video.Backend{Cameras: b.site, Steering: steering{}, References: newAlbum(b.t, b.site.db), Alerts: alerting{}},
			Footage:     footage.Backend{Films: filmsOf(b.t, b.site.db, newNVR(b.t))},
			Supervision: supervision.Backend{Platform: b.site, Trail: b.log},
		},
		Ready: b.site.Ready, Decoder: b.site.Decoder, Accounts: b.accounts, State: b.t.TempDir(), Live: live.Config{Coalesce: 5 * time.Millisecond},
		Console: fstest.MapFS{
			"index.html":         {Data: []byte("<!doctype html><div id=app></div>")},
			"assets/app-1234.js": {Data: bytes.Repeat([]byte("export default 1\n"), 200)},
		},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// token makes a bearer token.
func (b *box) token(role accounts.Role, sites ...string) string {
	b.t.Helper()
	_, secret, err := b.accounts.IssueToken(b.t.Context(), accounts.By{Who: "root"}, accounts.NewToken{Name: "test", Role: role, Sites: sites})
	must(b.t, err)
	return secret
}

// answer is what came back.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

type header map[string]string

func bearer(token string) header { return header{"Authorization": "Bearer " + token} }

// call makes a request and holds the answer against openapi.yaml.
func (b *box) call(method, path string, h header, body any) answer {
	b.t.Helper()
	var text []byte
	switch v := body.(type) {
	case nil:
	case string:
		text = []byte(v)
	default:
		var err error
		text, err = json.Marshal(v)
		must(b.t, err)
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.http.URL+path, bytes.NewReader(text))
	must(b.t, err)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for k, v := range h {
		r.Header.Set(k, v)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	must(b.t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	must(b.t, err)
	a := answer{b.t, resp.StatusCode, resp.Header, got}
	if rest, ok := strings.CutPrefix(r.URL.Path, contract.Base); ok {
		b.validate(r, rest, text, a)
	}
	return a
}

// validate checks the answer, and the request where it was taken, against the document.
func (b *box) validate(r *http.Request, path string, body []byte, a answer) {
	b.t.Helper()
	route, params := b.route(r.Method, path)
	if route == nil {
		return
	}
	r = r.Clone(context.Background())
	r.Body = io.NopCloser(bytes.NewReader(body))
	in := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, QueryParams: r.URL.Query(), Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, ExcludeReadOnlyValidations: true, IncludeResponseStatus: true,
			ExcludeRequestQueryParams: r.URL.Query().Has("ticket"),
		},
	}
	if a.status < 300 && route.Operation.OperationID != "receiveCommand" {
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			b.t.Errorf("%s %s was taken, but the document does not allow it: %.400s", r.Method, path, err.Error())
		}
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: a.status, Header: a.header, Options: in.Options}
	out.SetBodyBytes(a.body)
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		b.t.Errorf("%s %s: %d %s\ndoes not fit the document: %.400s", r.Method, path, a.status, a.body, err.Error())
	}
}

// route finds the operation in the document.
func (b *box) route(method, path string) (*routers.Route, map[string]string) {
	for _, template := range b.doc.Paths.InMatchingOrder() {
		params, ok := matches(template, path)
		item := b.doc.Paths.Value(template)
		if ok && item.GetOperation(method) != nil {
			return &routers.Route{Spec: b.doc, Path: template, PathItem: item, Method: method, Operation: item.GetOperation(method)}, params
		}
	}
	return nil, nil
}

func matches(template, path string) (map[string]string, bool) {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	params := map[string]string{}
	for i, w := range want {
		name, tail, isParam := strings.Cut(strings.TrimPrefix(w, "{"), "}")
		switch {
		case isParam && strings.HasPrefix(w, "{") && strings.HasSuffix(got[i], tail):
			params[name] = strings.TrimSuffix(got[i], tail)
			if tail == "" && strings.Contains(got[i], ":") {
				return nil, false
			}
		case w != got[i]:
			return nil, false
		}
	}
	return params, true
}

// want fails unless the status is as wanted.
func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// problem fails unless the answer is a problem with this status and code.
func (a answer) problem(status int, code string) contract.Problem {
	a.t.Helper()
	var p contract.Problem
	if err := json.Unmarshal(a.body, &p); err != nil || a.status != status || p.Code != code || p.Zh == "" || p.En == "" {
		a.t.Fatalf("got %d %s, want a problem %d %s", a.status, a.body, status, code)
	}
	return p
}

func (a answer) into(v any) {
	a.t.Helper()
	must(a.t, json.Unmarshal(a.body, v))
}

// root makes an administrator.
func (b *box) root() {
	b.t.Helper()
	_, err := b.accounts.CreateReady(b.t.Context(), accounts.By{Who: "gateway"}, accounts.NewPerson{ID: "root", Name: "管理员", Role: accounts.Administrator, Password: password})
	must(b.t, err)
}

// signIn gives the session's cookie.
func (b *box) signIn(id string) string {
	b.t.Helper()
	a := b.call("POST", "/api/v1/session", nil, map[string]string{"id": id, "password": password}).want(200)
	cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	return cookie
}

func entity(id, name string) map[string]any {
	return map[string]any{"id": id, "name": name, "uscc": "91350211M000100Y46", "region_code": "310115"}
}

// furnish registers two sites, a and b, each with an outlet, a point, a
// device, a binding, a camera and a limit.
func (b *box) furnish(token string) {
	b.t.Helper()
	h := bearer(token)
	b.call("POST", "/api/v1/entities", h, entity("ent-a", "甲公司")).want(201)
	b.call("POST", "/api/v1/entities", h, entity("ent-b", "乙公司")).want(201)
	for _, s := range []string{"a", "b"} {
		for _, thing := range []struct {
			path string
			body map[string]any
		}{
			{"sites", map[string]any{"id": s, "name": "工地" + s, "kind": "construction", "entities": []any{map[string]string{"entity": "ent-" + s, "role": "owner"}}}},
			{"outlets", map[string]any{"id": "gate-" + s, "site": s, "name": "大门", "kind": "dust"}},
			{"points", map[string]any{"id": "gate-" + s + ".pm10", "name": "PM10", "factor": "a34002", "unit": "ug/m3", "digits": 0}},
			{"devices", map[string]any{"id": "dust-" + s, "site": s, "name": "扬尘仪", "driver": "broker", "password": "s3cret-canary"}},
			{"bindings", map[string]any{"id": "bind-" + s, "point": "gate-" + s + ".pm10", "device": "dust-" + s}},
			{"cameras", map[string]any{"id": "cam-" + s, "site": s, "name": "大门", "url": "rtsp://127.0.0.1:1/1", "outlets": []string{"gate-" + s}}},
			{"limits", map[string]any{"id": "lim-" + s, "point": "gate-" + s + ".pm10", "level": "H", "value": 150, "unit": "ug/m3", "averaging": "instant"}},
		} {
			b.call("POST", "/api/v1/"+thing.path, h, thing.body).want(201)
		}
	}
}

func (b *box) acts(want string) (rows []audit.Row) {
	b.t.Helper()
	all, err := b.log.List(b.t.Context(), 0, 1000)
	must(b.t, err)
	for _, r := range all {
		if r.Act == want {
			rows = append(rows, r)
		}
	}
	return rows
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t)
	parts := b.parts()
	parts.State = dir
	serve := func() string {
		s, err := gateway.Open(gateway.Config{Listen: "127.0.0.1:0"}, parts)
		must(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ready, ended := make(chan gateway.Addresses, 1), make(chan error, 1)
		go func() { ended <- s.Run(ctx, func(a gateway.Addresses) { ready <- a }) }()
		at := <-ready
		pem, err := os.ReadFile(filepath.Join(dir, "tls.crt"))
		must(t, err)
		client := trusting(t, pem)
		resp, err := client.Get(at.URL() + "/livez")
		must(t, err)
		resp.Body.Close()
		if resp.TLS == nil || resp.StatusCode != http.StatusOK {
			t.Errorf("livez over TLS: %+v", resp)
		}
		client.CloseIdleConnections()
		stop()
		<-ended
		return string(pem)
	}
	first := serve()
	parts.Metrics = nil
	if serve() != first {
		t.Error("the certificate changed at the second start")
	}
	info, err := os.Stat(filepath.Join(dir, "tls.key"))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v", info.Mode())
	}
	must(t, os.WriteFile(filepath.Join(dir, "tls.key"), []byte("damaged"), 0o600))
	if _, err := gateway.Open(gateway.Config{Listen: "127.0.0.1:0"}, parts); err == nil || devices.AllProblems(err)[0].Code != "bad_certificate" {
		t.Errorf("damaged key: %v", err)
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		cfg  gateway.Config
		want string
	}{
		{"plain HTTP for everybody", gateway.Config{HTTP: "0.0.0.0:8080"}, "plain_off_loopback"},
		{"plain HTTP without host", gateway.Config{HTTP: ":8080"}, "plain_off_loopback"},
		{"plain HTTP by name", gateway.Config{HTTP: "localhost:8080"}, ""},
		{"plain HTTP on IPv6 loopback", gateway.Config{HTTP: "[::1]:8080"}, ""},
		{"no port", gateway.Config{Listen: "0.0.0.0"}, "bad_address"},
		{"certificate without key", gateway.Config{Certificate: "x"}, "incomplete"},
		{"idle", gateway.Config{Idle: devices.Duration(time.Second)}, "out_of_range"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := tt.cfg.Validate(); err != nil {
				got = devices.AllProblems(err)[0].Code
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSetUpSignInAndOut(t *testing.T) {
	t.Parallel()
	b := open(t)
	var state contract.SetupState
	b.call("GET", "/api/v1/setup", nil, nil).want(200).into(&state)
	if !state.Needed {
		t.Error("no set-up is needed although nobody exists")
	}
	first := map[string]string{"token": "wrong", "id": "root", "name": "管理员", "password": password}
	b.call("POST", "/api/v1/setup", nil, first).problem(400, "bad_setup_token")
	first["token"] = b.accounts.SetupToken()
	if a := b.call("POST", "/api/v1/setup", nil, first).want(201); !strings.Contains(a.header.Get("Set-Cookie"), request.CookieName) {
		t.Error("the first person is not signed in")
	}
	b.call("POST", "/api/v1/setup", nil, first).problem(409, "setup_done")
	b.call("POST", "/api/v1/session", nil, map[string]string{"id": "root", "password": "wrong"}).problem(401, "sign_in_failed")
	cookie := b.signIn("root")
	var me contract.Me
	b.call("GET", "/api/v1/me", header{"Cookie": cookie}, nil).want(200).into(&me)
	if left := time.Until(me.ExpiresAt); me.ID != "root" || me.Role != contract.Administrator || me.IdleTimeout.D() != 15*time.Minute || left < 11*time.Hour || left > 12*time.Hour {
		t.Errorf("me: %+v", me)
	}
	a := b.call("DELETE", "/api/v1/session", header{"Cookie": cookie}, nil).want(204)
	if !strings.Contains(a.header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("cookie after sign-out: %s", a.header.Get("Set-Cookie"))
	}
	b.call("GET", "/api/v1/me", header{"Cookie": cookie}, nil).problem(401, "session_ended")
}

func TestCookieIsStrict(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.root()
	a := b.call("POST", "/api/v1/session", nil, map[string]string{"id": "root", "password": password}).want(200)
	got := a.header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(got, want) {
			t.Errorf("cookie %q lacks %s", got, want)
		}
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Error("the answer may be stored")
	}
}

func TestFirstPasswordMustBeChanged(t *testing.T) {
	t.Parallel()
	b := open(t)
	root := bearer(b.token(accounts.Administrator))
	b.call("POST", "/api/v1/people", root, map[string]any{"id": "li", "name": "李", "role": "staff", "password": password}).want(201)
	me := header{"Cookie": b.signIn("li")}
	b.call("GET", "/api/v1/sites", me, nil).problem(403, "password_change_required")
	b.call("GET", "/api/v1/me", me, nil).want(200)
	b.call("POST", "/api/v1/me/password", me, map[string]string{"old": password, "new": "Battery-Staple-8"}).want(200)
	b.call("GET", "/api/v1/sites", me, nil).want(200)
}

func TestPeopleAndTokens(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.root()
	root := bearer(b.token(accounts.Administrator))
	b.furnish(b.token(accounts.Administrator))
	b.call("POST", "/api/v1/people", root, map[string]any{"id": "li", "name": "李", "role": "staff", "password": "short"}).problem(400, "password_length")
	b.call("POST", "/api/v1/people", root, map[string]any{"id": "li", "name": "李", "role": "staff", "sites": []string{"a", "c"}, "password": password}).problem(400, "unknown_site")
	b.call("POST", "/api/v1/people", root, map[string]any{"id": "li", "name": "李", "role": "staff", "sites": []string{"a"}, "password": password}).want(201)
	var p contract.Person
	b.call("GET", "/api/v1/people/li", root, nil).want(200).into(&p)
	b.call("PUT", "/api/v1/people/li", root, map[string]any{"name": "李四", "role": "viewer", "version": p.Version}).want(200).into(&p)
	if p.Name != "李四" || p.Role != contract.Viewer || len(p.Sites) != 0 {
		t.Errorf("person: %+v", p)
	}
	b.call("PUT", "/api/v1/people/li", root, map[string]any{"name": "x", "role": "viewer", "version": 1}).problem(409, "version_changed")
	b.call("POST", "/api/v1/people/li/password", root, map[string]string{"password": "Battery-Staple-8"}).want(200)
	b.call("DELETE", "/api/v1/people/root", root, nil).problem(409, "last_administrator")
	b.call("DELETE", "/api/v1/people/li", root, nil).want(204)
	b.call("GET", "/api/v1/people/li", root, nil).problem(404, "not_found")
	var made contract.TokenSecret
	b.call("POST", "/api/v1/tokens", root, map[string]any{"name": "平台", "role": "integrator"}).want(201).into(&made)
	b.call("GET", "/api/v1/sites", bearer(made.Secret), nil).want(200)
	b.call("DELETE", "/api/v1/tokens/"+made.Token.ID, root, nil).want(204)
	b.call("GET", "/api/v1/sites", bearer(made.Secret), nil).problem(401, "bad_token")
	var list contract.PersonList
	b.call("GET", "/api/v1/people", root, nil).want(200).into(&list)
	if len(list.Items) != 1 {
		t.Errorf("people: %+v", list)
	}
	b.call("GET", "/api/v1/tokens", root, nil).want(200)
	var trail contract.AuditList
	b.call("GET", "/api/v1/audit?max=3", root, nil).want(200).into(&trail)
	if len(trail.Items) != 3 || trail.Next == 0 || trail.Items[0].Act != "token.retire" {
		t.Errorf("trail: %+v", trail)
	}
	b.call("GET", fmt.Sprintf("/api/v1/audit?before=%d", trail.Next), root, nil).want(200)
}

func TestLinkSignsIn(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.root()
	link, err := b.accounts.Link("root", time.Hour)
	must(t, err)
	b.call("POST", "/api/v1/session/link", nil, map[string]string{"link": link}).want(200)
	b.call("POST", "/api/v1/session/link", nil, map[string]string{"link": link}).problem(401, "bad_link")
}
