package platformtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/edge/dispatch"
	"offsite/edge/dispatch/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer speaks to a platform without any of the client's code but the signing.
type peer struct {
	t      *testing.T
	url    string
	client *http.Client
	id     wire.Enrolled
}

func newPeer(t *testing.T, p *Platform) *peer {
	t.Helper()
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	t.Cleanup(p.Close)
	return &peer{t: t, url: server.URL, client: server.Client()}
}

func (e *peer) enrol(code, key string) (int, string) {
	status, body := e.send("POST", "/v1/enrolments", `{"activation_code":"`+code+`","version":"1"}`, key, nil)
	if status == 200 {
		if err := json.Unmarshal([]byte(body), &e.id); err != nil {
			e.t.Fatal(err)
		}
	}
	return status, problemCode(body)
}

// send signs as sign says; nil means not at all.
func (e *peer) send(method, path, body, key string, sign func(wire.Request) string) (int, string) {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.url+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	if sign != nil {
		req.Header.Set("Authorization", sign(wire.Request{
			Method: method, Path: req.URL.EscapedPath(), Query: req.URL.RawQuery, Idempotency: key,
			BodyHash: wire.BodyHash(wire.AlgorithmHMACSHA256, []byte(body)),
		}))
	}
	resp, err := e.client.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func (e *peer) signed(r wire.Request) string {
	auth, err := wire.Sign(e.id.GatewayKey, r, time.Now(), wire.NewNonce())
	if err != nil {
		e.t.Fatal(err)
	}
	return auth
}

func problemCode(body string) string {
	var p wire.ProblemBody
	_ = json.Unmarshal([]byte(body), &p)
	return p.Code
}

const batch = `{"kind":"realtime","readings":[{"site":"yard","point":"gate.pm10","at":"2026-03-01T12:00:00+08:00","value":81.5,"quality":"good"}]}`

func TestRefusals(t *testing.T) {
	p, err := Open(Config{Codes: []string{"code-1"}})
	if err != nil {
		t.Fatal(err)
	}
	e := newPeer(t, p)
	if status, code := e.enrol("code-1", "k-1"); status != 200 {
		t.Fatalf("%d %s", status, code)
	}
	nonce := wire.NewNonce()
	replay := func(r wire.Request) string {
		auth, err := wire.Sign(e.id.GatewayKey, r, time.Now(), nonce)
		if err != nil {
			t.Fatal(err)
		}
		return auth
	}
	if status, body := e.send("POST", "/v1/readings", batch, "first", replay); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	tests := []struct {
		name, method, path, body, key string
		sign                          func(wire.Request) string
		status                        int
		code                          string
	}{
		{"unsigned", "POST", "/v1/readings", batch, "a", nil, 401, "bad_signature_header"},
		{"signed for another path", "POST", "/v1/readings", batch, "b", func(r wire.Request) string { r.Path = "/v1/acts"; return e.signed(r) }, 401, "bad_signature"},
		{"signed for another body", "POST", "/v1/readings", batch, "c", func(r wire.Request) string { r.BodyHash = strings.Repeat("0", 64); return e.signed(r) }, 401, "body_changed"},
		{"signed for another key", "POST", "/v1/readings", batch, "d", func(r wire.Request) string { r.Idempotency = "x"; return e.signed(r) }, 401, "bad_signature"},
		{"replayed nonce", "POST", "/v1/readings", batch, "e", replay, 401, "nonce_replayed"},
		{"an hour old", "POST", "/v1/readings", batch, "f", func(r wire.Request) string {
			auth, _ := wire.Sign(e.id.GatewayKey, r, time.Now().Add(-time.Hour), wire.NewNonce())
			return auth
		}, 401, "time_outside_window"},
		{"unknown key", "POST", "/v1/readings", batch, "g", func(r wire.Request) string { return strings.Replace(e.signed(r), "key=k-", "key=j-", 1) }, 401, "unknown_key"},
		{"another gateway", "PUT", "/v1/gateways/gw-other", `{}`, "h", e.signed, 403, "another_gateway"},
		{"not JSON", "POST", "/v1/readings", `{`, "i", e.signed, 422, "contract_broken"},
		{"field missing", "POST", "/v1/readings", strings.Replace(batch, `"value":81.5,`, "", 1), "j", e.signed, 422, "contract_broken"},
		{"time without zone", "POST", "/v1/readings", strings.Replace(batch, "+08:00", "", 1), "k", e.signed, 422, "contract_broken"},
		{"no idempotency key", "POST", "/v1/readings", batch, "", e.signed, 422, "contract_broken"},
		{"key of another body", "POST", "/v1/readings", strings.Replace(batch, "81.5", "82", 1), "first", e.signed, 422, "key_reused"},
		{"changes before the directory", "POST", "/v1/resources", `{"mode":"changes","revision":1,"resources":[]}`, "l", e.signed, 422, "resync_required"},
		{"blob of another hash", "PUT", "/v1/blobs/" + strings.Repeat("0", 64), "{}", "m", e.signed, 422, "hash_mismatch"},
		{"result of an unknown command", "POST", "/v1/commands/c-1/result", `{"command":"c-1","status":"done","started_at":"2026-03-01T12:00:00+08:00","finished_at":"2026-03-01T12:00:00+08:00"}`, "n", e.signed, 404, "unknown_command"},
		{"no such path", "GET", "/v2", "", "o", e.signed, 404, "no_such_path"},
		{"the gateway's own path", "POST", dispatch.CommandPath, "{}", "p", e.signed, 404, "no_such_path"},
		{"code used up", "POST", "/v1/enrolments", `{"activation_code":"code-1","version":"1"}`, "k-2", nil, 403, "code_used"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body := e.send(tt.method, tt.path, tt.body, tt.key, tt.sign)
			if status != tt.status || problemCode(body) != tt.code {
				t.Errorf("got %d %s, want %d %s", status, body, tt.status, tt.code)
			}
		})
	}
	if n := p.ReadingCount(); n != 1 {
		t.Errorf("%d readings took effect", n)
	}
}

func TestSameKeyHasOneEffect(t *testing.T) {
	for _, conflict := range []bool{false, true} {
		p, err := Open(Config{Codes: []string{"code-1"}, Conflict: conflict})
		if err != nil {
			t.Fatal(err)
		}
		e := newPeer(t, p)
		e.enrol("code-1", "k-1")
		first := e.id
		if e.enrol("code-1", "k-1"); !cmp.Equal(first, e.id) {
			t.Error("the same enrolment gave another identity")
		}
		want := 200
		for range 3 {
			if status, body := e.send("POST", "/v1/readings", batch, "a", e.signed); status != want {
				t.Errorf("got %d %s, want %d", status, body, want)
			}
			if conflict {
				want = 409
			}
		}
		if n := p.ReadingCount(); n != 1 || len(p.Violations()) != 0 {
			t.Errorf("%d effects, %q", n, p.Violations())
		}
	}
}

func TestJournalRestoresWhatWasAccepted(t *testing.T) {
	dir := t.TempDir()
	p, err := Open(Config{Codes: []string{"code-1"}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	e := newPeer(t, p)
	e.enrol("code-1", "k-1")
	blob := "a picture"
	sum := wire.BodyHash(wire.AlgorithmHMACSHA256, []byte(blob))
	for _, m := range []struct{ method, path, body, key string }{
		{"POST", "/v1/readings", batch, "a"},
		{"PUT", "/v1/blobs/" + sum, blob, "b"},
		{"POST", "/v1/resources", `{"mode":"full","revision":1,"sync":"s","last":true,"resources":[{"op":"A","kind":"site","id":"yard","revision":1,"data":{"id":"yard"}}]}`, "c"},
		{"POST", "/v1/events", `{"step":"opened","id":"ev-1","revision":1,"kind":"alarm","site":"yard","outlet":"gate","point":"gate.pm10","factor":"a34002","value":1,"unit":"","averaging":"instant","limit":1,"level":"H","started_at":"2026-03-01T12:00:00+08:00","rule_version":1,"evidence":{"state":"pending"}}`, "d"},
	} {
		if status, body := e.send(m.method, m.path, m.body, m.key, e.signed); status != 200 {
			t.Fatalf("%s: %d %s", m.path, status, body)
		}
	}
	p.Close()
	q, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for name, show := range map[string]func(*Platform) any{
		"events":    func(p *Platform) any { return p.Events() },
		"readings":  func(p *Platform) any { return p.Readings() },
		"resources": func(p *Platform) any { return p.Resources()[0].ID },
		"blobs":     func(p *Platform) any { return p.Blob(sum) },
		"effects":   func(p *Platform) any { return p.Effects() },
		"gateways":  func(p *Platform) any { return p.Gateways() },
	} {
		if diff := cmp.Diff(show(p), show(q)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	again := newPeer(t, q)
	again.id = e.id
	if status, body := again.send("POST", "/v1/readings", batch, "a", again.signed); status != 200 || q.ReadingCount() != 1 {
		t.Errorf("after the restart: %d %s, %d effects", status, body, q.ReadingCount())
	}
}

func TestReceivedPages(t *testing.T) {
	seen := make(chan Event, 1)
	p, err := Open(Config{Codes: []string{"code-1"}, OnEvent: func(e Event) { seen <- e }})
	if err != nil {
		t.Fatal(err)
	}
	e := newPeer(t, p)
	for page, want := range map[string]string{"events": "[]", "resources": "[]", "readings": "[]", "gateways": "[]", "acts": "[]", "violations": "[]"} {
		if status, body := e.send("GET", "/received/"+page, "", "", nil); status != 200 || body != want {
			t.Errorf("%s: %d %s", page, status, body)
		}
	}
	e.enrol("code-1", "k-1")
	opened := `{"step":"opened","id":"ev-1","revision":1,"kind":"alarm","site":"yard","outlet":"gate","point":"gate.pm10","factor":"a34002","value":163.5,"unit":"ug/m3","averaging":"instant","limit":150,"level":"H","started_at":"2026-03-01T12:00:00+08:00","rule_version":1,"evidence":{"state":"pending"}}`
	if status, body := e.send("POST", "/v1/events", opened, "gw:ev-1:1", e.signed); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if got := <-seen; got.ID != "ev-1" || got.Key != "gw:ev-1:1" {
		t.Errorf("told %+v", got)
	}
	_, body := e.send("GET", "/received/events", "", "", nil)
	var events []map[string]any
	if err := json.Unmarshal([]byte(body), &events); err != nil || len(events) != 1 {
		t.Fatalf("%v %s", err, body)
	}
	for _, field := range []string{"id", "kind", "step", "revision", "value", "limit", "received_at", "evidence", "key", "gateway"} {
		if _, have := events[0][field]; !have {
			t.Errorf("events lack %s: %s", field, body)
		}
	}
	jpeg := "\xff\xd8\xff\xe0 a picture"
	sum := wire.BodyHash(wire.AlgorithmHMACSHA256, []byte(jpeg))
	e.send("PUT", "/v1/blobs/"+sum, jpeg, sum, e.signed)
	if status, body := e.send("GET", "/received/blobs/"+sum, "", "", nil); status != 200 || !bytes.Equal([]byte(body), []byte(jpeg)) {
		t.Errorf("blob: %d %q", status, body)
	}
	for path, want := range map[string]int{"/received/blobs/" + strings.Repeat("0", 64): 404, "/received/nothing": 404} {
		if status, _ := e.send("GET", path, "", "", nil); status != want {
			t.Errorf("%s: %d", path, status)
		}
	}
	if status, _ := e.send("DELETE", "/received/events", "", "", nil); status != 405 {
		t.Errorf("delete: %d", status)
	}
	if status, _ := e.send("POST", "/received/commands", "{", "", nil); status != 400 {
		t.Errorf("bad command: %d", status)
	}
}
