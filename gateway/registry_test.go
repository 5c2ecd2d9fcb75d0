package gateway_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/gateway/accounts"
	"offsite/gateway/api/request"
)

var collections = []string{"entities", "sites", "outlets", "points", "devices", "bindings", "cameras", "limits"}

// firstOf is a thing of site a in each collection.
var firstOf = map[string]string{
	"entities": "ent-a", "sites": "a", "outlets": "gate-a", "points": "gate-a.pm10", "devices": "dust-a",
	"bindings": "bind-a", "cameras": "cam-a", "limits": "lim-a",
}

func TestThingsFromCreationToRetirement(t *testing.T) {
	t.Parallel()
	b := open(t)
	root := bearer(b.token(accounts.Administrator))
	b.furnish(b.token(accounts.FieldEngineer))
	for _, coll := range collections {
		t.Run(coll, func(t *testing.T) {
			path := "/api/v1/" + coll + "/" + firstOf[coll]
			a := b.call("GET", path, root, nil).want(200)
			if a.header.Get("ETag") != `"1"` {
				t.Errorf("ETag %s", a.header.Get("ETag"))
			}
			var thing map[string]any
			a.into(&thing)
			if thing["name"] != nil {
				thing["name"] = "新名字"
			}
			delete(thing, "version")
			b.call("PUT", path, root, thing).problem(400, "missing")
			h := bearer(b.token(accounts.Administrator))
			h["If-Match"] = `"1"`
			a = b.call("PUT", path, h, thing).want(200)
			if a.header.Get("ETag") != `"2"` {
				t.Errorf("ETag after replacing: %s", a.header.Get("ETag"))
			}
			thing["version"] = 1
			b.call("PUT", path, root, thing).problem(409, "version_changed")
			thing["version"] = 2
			b.call("PUT", path, root, thing).want(200)
			b.call("GET", "/api/v1/"+coll+"/none.none", root, nil).problem(404, "not_found")
			b.call("DELETE", "/api/v1/"+coll+"/none", root, nil).problem(404, "not_found")
		})
	}
	b.call("DELETE", "/api/v1/sites/a", root, nil).problem(409, "in_use")
	for _, coll := range []string{"limits", "cameras", "bindings", "devices", "points", "outlets", "sites", "entities"} {
		b.call("DELETE", "/api/v1/"+coll+"/"+firstOf[coll], root, nil).want(204)
		b.call("GET", "/api/v1/"+coll+"/"+firstOf[coll], root, nil).problem(404, "not_found")
		a := b.call("GET", "/api/v1/"+coll+"?retired=true", root, nil).want(200)
		if !strings.Contains(string(a.body), `"`+firstOf[coll]+`"`) {
			t.Errorf("retired %s are %s", coll, a.body)
		}
	}
	b.call("POST", "/api/v1/entities", root, entity("ent-a", "又来")).problem(409, "id_used")
	for act, n := range map[string]int{"limit.create": 2, "limit.replace": 2, "limit.retire": 1, "site.create": 2} {
		rows := b.acts(act)
		if len(rows) != n {
			t.Errorf("%d rows of %s in the trail, want %d", len(rows), act, n)
		}
		for _, r := range rows {
			if r.Who == "" || r.From != "127.0.0.1" || r.What == "" || (r.Before == "") != strings.HasSuffix(act, "create") || (r.After == "") != strings.HasSuffix(act, "retire") {
				t.Errorf("row of %s: %+v", act, r)
			}
		}
	}
	must(t, b.log.Verify(t.Context()))
}

func TestRefusedChangesAreNotInTheTrail(t *testing.T) {
	t.Parallel()
	b := open(t)
	root := bearer(b.token(accounts.Administrator))
	b.call("POST", "/api/v1/outlets", root, map[string]any{"id": "x", "site": "none", "name": "n", "kind": "dust"}).problem(400, "unknown_site")
	if rows := b.acts("outlet.create"); len(rows) != 0 {
		t.Errorf("trail: %+v", rows)
	}
}

func TestIDIsMadeWhenLeftOut(t *testing.T) {
	t.Parallel()
	b := open(t)
	root := bearer(b.token(accounts.Administrator))
	body := entity("", "丙公司")
	delete(body, "id")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.http.URL+"/api/v1/entities", strings.NewReader(mustJSON(t, body)))
	must(t, err)
	r.Header.Set("Authorization", root["Authorization"])
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultTransport.RoundTrip(r)
	must(t, err)
	defer resp.Body.Close()
	at := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusCreated || !strings.HasPrefix(at, "/api/v1/entities/") {
		t.Fatalf("%d, Location %q", resp.StatusCode, at)
	}
	b.call("GET", at, root, nil).want(200)
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	must(t, err)
	return string(text)
}

func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	b := open(t)
	root := bearer(b.token(accounts.Administrator))
	b.furnish(b.token(accounts.Administrator))
	a := b.call("GET", "/api/v1/devices/dust-a", root, nil).want(200)
	var dev map[string]any
	a.into(&dev)
	if dev["password"] != "[redacted]" {
		t.Errorf("password is shown as %v", dev["password"])
	}
	b.call("PUT", "/api/v1/devices/dust-a", root, dev).want(200)
	if got := b.registry.Snapshot().Devices["dust-a"].Password.Reveal(); got != "s3cret-canary" {
		t.Errorf("after sending the placeholder back the password is %q", got)
	}
	for _, path := range []string{"/api/v1/devices", "/api/v1/audit", "/api/v1/devices?retired=true"} {
		if a := b.call("GET", path, root, nil).want(200); strings.Contains(string(a.body), "s3cret-canary") {
			t.Errorf("%s shows the password", path)
		}
	}
}

func TestListsArePagedAndFiltered(t *testing.T) {
	t.Parallel()
	b := open(t)
	root := bearer(b.token(accounts.Administrator))
	b.furnish(b.token(accounts.Administrator))
	ids := func(path string) (got []string, next string) {
		var list struct {
			Items []struct{ ID string }
			Next  string
		}
		b.call("GET", path, root, nil).want(200).into(&list)
		for _, it := range list.Items {
			got = append(got, it.ID)
		}
		return got, list.Next
	}
	tests := []struct {
		path string
		want []string
		next string
	}{
		{"/api/v1/sites", []string{"a", "b"}, ""},
		{"/api/v1/sites?max=1", []string{"a"}, "a"},
		{"/api/v1/sites?max=1&after=a", []string{"b"}, ""},
		{"/api/v1/entities?site=b", []string{"ent-b"}, ""},
		{"/api/v1/outlets?site=b", []string{"gate-b"}, ""},
		{"/api/v1/points?outlet=gate-a", []string{"gate-a.pm10"}, ""},
		{"/api/v1/points?site=none", nil, ""},
		{"/api/v1/bindings?point=gate-b.pm10", []string{"bind-b"}, ""},
		{"/api/v1/bindings?device=dust-a", []string{"bind-a"}, ""},
		{"/api/v1/cameras?outlet=gate-b", []string{"cam-b"}, ""},
		{"/api/v1/limits?point=gate-a.pm10", []string{"lim-a"}, ""},
		{"/api/v1/limits?site=b", []string{"lim-b"}, ""},
	}
	for _, tt := range tests {
		got, next := ids(tt.path)
		if diff := cmp.Diff(tt.want, got); diff != "" || next != tt.next {
			t.Errorf("%s: next %q, %s", tt.path, next, diff)
		}
	}
	b.call("GET", "/api/v1/sites?stie=a", root, nil).problem(400, "unknown_parameter")
	b.call("GET", "/api/v1/sites?max=0", root, nil).problem(400, "out_of_range")
	b.call("GET", "/api/v1/sites?retired=maybe", root, nil).problem(400, "not_one_of")
}

func TestScopeHidesOtherSites(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	only := bearer(b.token(accounts.FieldEngineer, "a"))
	for _, coll := range collections {
		other := strings.Replace(firstOf[coll], "-a", "-b", 1)
		if coll == "sites" {
			other = "b"
		}
		b.call("GET", "/api/v1/"+coll+"/"+firstOf[coll], only, nil).want(200)
		hidden := b.call("GET", "/api/v1/"+coll+"/"+other, only, nil).problem(404, "not_found")
		absent := b.call("GET", "/api/v1/"+coll+"/none.none", only, nil).problem(404, "not_found")
		if strings.ReplaceAll(hidden.En, `"`+other+`"`, "X") != strings.ReplaceAll(absent.En, `"none.none"`, "X") || !strings.Contains(hidden.En, other) {
			t.Errorf("%s: what is hidden is told apart from what is absent: %q, %q", coll, hidden.En, absent.En)
		}
		b.call("DELETE", "/api/v1/"+coll+"/"+other, only, nil).problem(404, "not_found")
		var thing map[string]any
		b.call("GET", "/api/v1/"+coll+"/"+other, bearer(b.token(accounts.Administrator)), nil).want(200).into(&thing)
		b.call("PUT", "/api/v1/"+coll+"/"+other, only, thing).problem(404, "not_found")
		a := b.call("GET", "/api/v1/"+coll, only, nil).want(200)
		if strings.Contains(string(a.body), `"`+other+`"`) {
			t.Errorf("the list of %s shows %s: %s", coll, other, a.body)
		}
	}
	tests := []struct {
		name, method, path string
		body               map[string]any
		status             int
		code               string
	}{
		{"outlet in another site", "POST", "outlets", map[string]any{"id": "x", "site": "b", "name": "n", "kind": "dust"}, 400, "unknown_site"},
		{"point at another site's outlet", "POST", "points", map[string]any{"id": "gate-b.x", "name": "n", "factor": "f", "unit": "", "digits": 0}, 400, "unknown_site"},
		{"limit for every site", "POST", "limits", map[string]any{"id": "x", "outlet_kind": "dust", "factor": "a34002", "level": "H", "value": 1, "averaging": "instant"}, 403, "all_sites_only"},
		{"new site", "POST", "sites", map[string]any{"id": "a", "name": "n", "kind": "plant"}, 403, "all_sites_only"},
		{"entity", "POST", "entities", entity("x", "n"), 403, "all_sites_only"},
		{"retire own site", "DELETE", "sites/a", nil, 403, "all_sites_only"},
		{"own outlet", "POST", "outlets", map[string]any{"id": "x", "site": "a", "name": "n", "kind": "dust"}, 201, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var body any
			if tt.body != nil {
				body = tt.body
			}
			a := b.call(tt.method, "/api/v1/"+tt.path, only, body)
			if tt.code == "" {
				a.want(tt.status)
			} else {
				a.problem(tt.status, tt.code)
			}
		})
	}
}

func TestBadBodies(t *testing.T) {
	t.Parallel()
	b := open(t)
	root := bearer(b.token(accounts.Administrator))
	tests := []struct {
		name, path, body string
		status           int
		code             string
		fields           []string
	}{
		{"unknown field", "devices", `{"id":"x","modbus":{"uint":1}}`, 400, "unknown_field", []string{"modbus.uint"}},
		{"unknown fields at once", "sites", `{"a":1,"entities":[{"entity":"e","rolle":"owner"}]}`, 400, "invalid", []string{"a", "entities[0].rolle"}},
		{"wrong case", "sites", `{"ID":"x"}`, 400, "unknown_field", []string{"ID"}},
		{"wrong types", "points", `{"id":5,"digits":"two","min":"low"}`, 400, "invalid", []string{"digits", "id", "min"}},
		{"bad duration", "devices", `{"period":"fast"}`, 400, "bad_duration", []string{"period"}},
		{"bad time", "bindings", `{"from":"yesterday"}`, 400, "bad_time", []string{"from"}},
		{"register too large", "bindings", `{"register":{"address":70000}}`, 400, "bad_type", []string{"register.address"}},
		{"list for object", "devices", `{"modbus":[]}`, 400, "not_an_object", []string{"modbus"}},
		{"object for list", "cameras", `{"outlets":{}}`, 400, "not_a_list", []string{"outlets"}},
		{"malformed", "sites", "{\n  \"id\": \"x\",,\n}", 400, "bad_json", nil},
		{"two values", "sites", `{} {}`, 400, "bad_json", nil},
		{"empty", "sites", ``, 400, "bad_json", nil},
		{"not an object", "sites", `[]`, 400, "not_an_object", nil},
		{"deep", "sites", strings.Repeat("[", 100000), 400, "bad_json", nil},
		{"large", "sites", `{"name":"` + strings.Repeat("x", request.MaxBody) + `"}`, 413, "body_too_large", nil},
		{"USCC", "entities", `{"id":"x","name":"n","uscc":"91350211M000100Y40","region_code":"310115"}`, 400, "uscc_check", []string{"uscc"}},
		{"every fault at once", "limits", `{"id":"No","level":"X","averaging":"day","deadband":-1}`, 400, "invalid", []string{"value", "id", "point", "level", "averaging", "deadband"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := b.call("POST", "/api/v1/"+tt.path, root, tt.body).problem(tt.status, tt.code)
			var fields []string
			for _, f := range p.Errors {
				fields = append(fields, f.Field)
			}
			if diff := cmp.Diff(tt.fields, fields); diff != "" {
				t.Error(diff)
			}
			if tt.name == "malformed" && !strings.Contains(p.En, "line 2, column 13") {
				t.Errorf("place: %s", p.En)
			}
		})
	}
	h := bearer(b.token(accounts.Administrator))
	h["Content-Type"] = "text/plain"
	b.call("POST", "/api/v1/sites", h, `{}`).problem(415, "wrong_media_type")
}

func TestProblemSpeaksTheReadersLanguage(t *testing.T) {
	t.Parallel()
	b := open(t)
	for accept, want := range map[string]string{"": "请先登录，或提供令牌", "en-GB,zh;q=0.5": "sign in, or send a token", "zh-CN,en;q=0.5": "请先登录，或提供令牌", "fr": "sign in, or send a token"} {
		p := b.call("GET", "/api/v1/sites", header{"Accept-Language": accept}, nil).problem(401, "not_signed_in")
		if p.Title != want || p.Type != "urn:offsite:problem:not_signed_in" || p.Instance == "" {
			t.Errorf("%q: %+v", accept, p)
		}
	}
}
