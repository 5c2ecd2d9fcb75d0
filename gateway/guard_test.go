package gateway_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"offsite/gateway/accounts"
	"offsite/gateway/api"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

func trusting(t *testing.T, pem []byte) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate")
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
}

var roles = []accounts.Role{accounts.Administrator, accounts.FieldEngineer, accounts.Staff, accounts.Viewer, accounts.Integrator}

// TestEveryRoleOnEveryOperation walks the whole document: who is not named in
// x-roles gets 403, nobody at all 401, and who is named gets past the guard.
func TestEveryRoleOnEveryOperation(t *testing.T) {
	t.Parallel()
	b := open(t)
	operations, err := api.New(api.Backend{}, nil).Operations()
	must(t, err)
	if len(operations) < 60 {
		t.Fatalf("only %d operations", len(operations))
	}
	tokens := map[accounts.Role]string{}
	for _, r := range roles {
		tokens[r] = b.token(r)
	}
	for _, op := range operations {
		path := contract.Base + strings.NewReplacer("{id}", "none", "{sha256}", strings.Repeat("0", 64)).Replace(op.Path)
		send := func(h header) int {
			if op.ID == "watchLive" && h["Authorization"] != "" && op.Allows(contract.Viewer) {
				h["X-Probe"] = "1"
				path += "?site=a&nothing=1" // refused by its query, after the guard
			}
			return b.call(op.Method, path, h, nil).status
		}
		if op.ID == "watchLive" {
			// It would stream: the guard is asked through an operation alike.
			if status := b.call(op.Method, path, nil, nil).status; status != http.StatusUnauthorized {
				t.Errorf("%s for nobody: %d", op.ID, status)
			}
			continue
		}
		anybody := op.Open()
		if status := send(header{}); (status == http.StatusUnauthorized) == anybody && op.ID != "receiveCommand" {
			t.Errorf("%s %s for nobody: %d", op.Method, op.Path, status)
		}
		if anybody {
			continue
		}
		for _, r := range roles {
			status := send(bearer(tokens[r]))
			if allowed := slices.Contains(op.Roles, string(r)); allowed == (status == http.StatusForbidden) || status == http.StatusUnauthorized {
				t.Errorf("%s %s for %s: %d, allowed %v", op.Method, op.Path, r, status, allowed)
			}
		}
	}
}

func TestAdministratorOfOneSiteStaysThere(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	only := bearer(b.token(accounts.Administrator, "a"))
	for _, tt := range []struct{ method, path string }{
		{"GET", "/people"},
		{"POST", "/people"},
		{"PUT", "/people/x"},
		{"POST", "/people/x/password"},
		{"DELETE", "/people/x"},
		{"GET", "/tokens"},
		{"POST", "/tokens"},
		{"DELETE", "/tokens/x"},
		{"GET", "/audit"},
		{"POST", "/platform"},
	} {
		b.call(tt.method, "/api/v1"+tt.path, only, nil).problem(403, "all_sites_only")
	}
	b.call("GET", "/api/v1/sites/a", only, nil).want(200)
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	t.Parallel()
	b := open(t)
	base, stop := b.running()
	defer stop()
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	must(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "))
	must(t, err)
	must(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("the connection is still open: %v", err)
	}
}

func TestOtherSitesPagesAreRefused(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.root()
	cookie := b.signIn("root")
	own := b.http.URL
	tests := []struct {
		name   string
		h      header
		status int
	}{
		{"own page", header{"Cookie": cookie, "Origin": own, "Sec-Fetch-Site": "same-origin"}, 201},
		{"no browser", header{"Cookie": cookie}, 201},
		{"another site's page", header{"Cookie": cookie, "Sec-Fetch-Site": "cross-site"}, 403},
		{"a sibling's page", header{"Cookie": cookie, "Sec-Fetch-Site": "same-site"}, 403},
		{"old browser, other origin", header{"Cookie": cookie, "Origin": "https://evil.example"}, 403},
		{"sandboxed frame", header{"Cookie": cookie, "Origin": "null"}, 403},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := b.call("POST", "/api/v1/entities", tt.h, entity(string(rune('a'+i)), "n"))
			if tt.status == 403 {
				a.problem(403, "cross_site")
			} else {
				a.want(tt.status)
			}
		})
	}
	h := bearer(b.token(accounts.Administrator))
	h["Origin"], h["Sec-Fetch-Site"] = "https://scada.example", "cross-site"
	b.call("POST", "/api/v1/entities", h, entity("by-token", "n")).want(201)
	evil := header{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
	b.call("POST", "/api/v1/session", evil, map[string]string{"id": "root", "password": password}).problem(403, "cross_site")
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.root()
	cookie := b.signIn("root")
	tests := []struct {
		name string
		h    header
		code string
	}{
		{"nothing", header{}, "not_signed_in"},
		{"wrong token", bearer("offsite_wrong"), "bad_token"},
		{"wrong token beside a good cookie", header{"Authorization": "Bearer wrong", "Cookie": cookie}, "bad_token"},
		{"basic", header{"Authorization": "Basic cm9vdDpyb290"}, "bad_scheme"},
		{"made-up session", header{"Cookie": request.CookieName + "=AAAA"}, "session_ended"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := b.call("GET", "/api/v1/sites", tt.h, nil)
			a.problem(401, tt.code)
			if a.header.Get("WWW-Authenticate") != "Bearer" {
				t.Error("no WWW-Authenticate")
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	b := open(t)
	for _, path := range []string{"/", "/api/v1/sites", "/nothing.here", "/livez"} {
		h := b.call("GET", path, nil, nil).header
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, h.Get(name))
			}
		}
		policy := h.Get("Content-Security-Policy")
		if !strings.Contains(policy, "script-src 'self';") || !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("%s: policy %q", path, policy)
		}
	}
}

func TestNamesAreAnsweredAsData(t *testing.T) {
	t.Parallel()
	b := open(t)
	root := bearer(b.token(accounts.Administrator))
	attack := `<script>alert(1)</script>`
	b.call("POST", "/api/v1/entities", root, entity("x", attack)).want(201)
	a := b.call("GET", "/api/v1/entities/x", root, nil).want(200)
	if strings.Contains(string(a.body), "<script>") || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		t.Errorf("%s %s", a.header.Get("Content-Type"), a.body)
	}
	b.call("GET", "/api/v1/entities/"+"%3Cscript%3E", root, nil).problem(404, "not_found")
	b.call("POST", "/api/v1/entities", root, entity("y", "line\nbreak")).problem(400, "bad_name")
}

func TestConsole(t *testing.T) {
	t.Parallel()
	b := open(t)
	tests := []struct {
		name, path, cache, contains string
		status                      int
	}{
		{"root", "/", "no-cache", "id=app", 200},
		{"a page of the console", "/sites/a/points", "no-cache", "id=app", 200},
		{"an asset", "/assets/app-1234.js", "public, max-age=31536000, immutable", "export", 200},
		{"a missing asset", "/assets/gone.js", "", "no_such_path", 404},
		{"escape", "/../gateway.go", "", "no_such_path", 404},
		{"API beside", "/api/v2/sites", "", "no_such_path", 404},
		{"unknown operation", "/api/v1/nothing", "", "no_such_path", 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := b.call("GET", tt.path, nil, nil)
			if a.status != tt.status || !strings.Contains(string(a.body), tt.contains) || (tt.cache != "" && a.header.Get("Cache-Control") != tt.cache) {
				t.Errorf("%d %v %s", a.status, a.header, a.body)
			}
		})
	}
	a := b.call("GET", "/assets/app-1234.js", header{"Accept-Encoding": "gzip"}, nil)
	if a.header.Get("Content-Encoding") != "gzip" || len(a.body) > 1000 {
		t.Errorf("not compressed: %v, %d bytes", a.header, len(a.body))
	}
	b.call("POST", "/", nil, "{}").problem(405, "method_not_allowed")
	b.call("PATCH", "/api/v1/sites", nil, "{}").problem(405, "method_not_allowed")
}

func TestHealthAndMetrics(t *testing.T) {
	t.Parallel()
	b := open(t)
	proxied := header{"X-Forwarded-For": "203.0.113.5"}
	b.call("GET", "/livez", proxied, nil).want(200)
	if a := b.call("GET", "/readyz", proxied, nil).want(200); strings.Contains(string(a.body), "stills") {
		t.Errorf("told to anyone: %s", a.body)
	}
	if a := b.call("GET", "/readyz", nil, nil).want(200); !strings.Contains(string(a.body), "stills: sandbox (no ffmpeg)") {
		t.Errorf("not told: %s", a.body)
	}
	b.site.away = true
	if a := b.call("GET", "/readyz", proxied, nil).want(503); strings.Contains(string(a.body), "history") {
		t.Errorf("a stranger sees why: %s", a.body)
	}
	if a := b.call("GET", "/readyz", nil, nil).want(503); !strings.Contains(string(a.body), "the history is being opened again") {
		t.Errorf("this machine does not see why: %s", a.body)
	}
	b.call("GET", "/metrics", proxied, nil).problem(403, "token_needed")
	b.call("GET", "/api/v1/sites", nil, nil).want(401)
	h := bearer(b.token(accounts.Viewer))
	h["X-Forwarded-For"] = "203.0.113.5"
	if a := b.call("GET", "/metrics", h, nil).want(200); !strings.Contains(string(a.body), `offsite_http_request_seconds_count{operation="listSites",status="401"} 1`) {
		t.Errorf("metrics: %s", a.body)
	}
}

func TestPanicIsAnsweredWithARequestID(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	b.site.panics = true
	p := b.call("GET", "/api/v1/cameras/cam-a/still.jpg", bearer(b.token(accounts.Viewer)), nil).problem(500, "internal")
	if p.Instance == "" || strings.Contains(p.En, "cam-a") {
		t.Errorf("%+v", p)
	}
}
