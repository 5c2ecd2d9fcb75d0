package gateway_test

import (
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices/template"
	"offsite/gateway"
	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
)

// table gives headers for a body of text/csv.
func table(h header) header {
	h = maps.Clone(h)
	h["Content-Type"] = "text/csv; charset=utf-8"
	return h
}

func TestFaultyTemplatesOfTheUserAreNoticed(t *testing.T) {
	t.Parallel()
	b := open(t)
	dir := t.TempDir()
	for _, name := range []string{"one.yaml", "two.yaml"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("id: [\n"), 0o600))
	}
	parts := b.parts()
	var err error
	parts.Backend.Registration.Templates, err = template.Open(template.Config{Dir: dir})
	must(t, err)
	b.server, err = gateway.Open(gateway.Config{HTTP: "127.0.0.1:0"}, parts)
	must(t, err)
	b.http.Close()
	b.http = httptest.NewServer(b.server.Handler())
	t.Cleanup(b.http.Close)
	var st contract.Status
	b.call("GET", "/api/v1/status", bearer(b.token(accounts.Viewer)), nil).want(200).into(&st)
	at := slices.IndexFunc(st.Notices, func(n contract.Notice) bool { return n.Code == "templates" })
	if at < 0 {
		t.Fatalf("no notice: %+v", st.Notices)
	}
	if n := st.Notices[at]; !strings.Contains(n.En, "one.yaml") || !strings.Contains(n.En, "and 1 more") || !strings.Contains(n.Zh, "另有 1 处") || n.Since.IsZero() {
		t.Errorf("%+v", n)
	}
}

func TestTemplatesAreListedAndRendered(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	root := bearer(b.token(accounts.FieldEngineer))
	var list contract.TemplateList
	b.call("GET", "/api/v1/templates?kind=power_meter", root, nil).want(200).into(&list)
	if len(list.Items) < 2 {
		t.Errorf("%d power meters", len(list.Items))
	}
	b.call("GET", "/api/v1/templates?knd=x", root, nil).problem(400, "unknown_parameter")
	var one contract.Template
	b.call("GET", "/api/v1/templates/eastron-sdm630", root, nil).want(200).into(&one)
	if one.Brand != "Eastron" || len(one.Parameters) == 0 || one.Parameters[0].Name != "address" {
		t.Errorf("%+v", one)
	}
	b.call("GET", "/api/v1/templates/none", root, nil).problem(404, "not_found")
	b.call("POST", "/api/v1/templates/none:render", root, map[string]any{}).problem(404, "not_found")
	b.call("POST", "/api/v1/templates/eastron-sdm630:melt", root, map[string]any{}).problem(404, "no_such_path")
	p := b.call("POST", "/api/v1/templates/gas-detector-controller:render", root, map[string]any{
		"outlet": "gate-a", "device": "gas-1", "parameters": map[string]any{"unit": 999, "channels": 1.5, "chanels": 3},
	}).problem(400, "invalid")
	var fields []string
	for _, f := range p.Errors {
		fields = append(fields, f.Field)
	}
	if diff := cmp.Diff([]string{"parameters.address", "parameters.chanels", "parameters.channels", "parameters.unit"}, fields); diff != "" {
		t.Error(diff)
	}
	var draft contract.TemplateResult
	b.call("POST", "/api/v1/templates/gas-detector-controller:render", root, map[string]any{
		"outlet": "gate-a", "device": "gas-1", "language": "en", "limits": []string{"lel-h", "lel-hh"},
		"parameters": map[string]any{"address": "10.1.1.9", "channels": "2"}, "points": []map[string]string{{"point": "lel-2"}, {"point": "lel-1", "id": "gate-a.east"}},
	}).want(200).into(&draft)
	if draft.Device.Site != "a" || draft.Device.Endpoint != "modbus://10.1.1.9:502" || len(draft.Points) != 2 || draft.Points[0].ID != "gate-a.east" || len(draft.Limits) != 4 || draft.Points[1].Name != "Combustible gas, channel 2" {
		t.Errorf("%+v", draft)
	}
	if b.registry.Snapshot().Devices["gas-1"] != nil {
		t.Error("a draft was registered")
	}
}

func TestTemplateIsRegisteredWhole(t *testing.T) {
	t.Parallel()
	b := open(t)
	root := bearer(b.token(accounts.FieldEngineer))
	b.furnish(b.token(accounts.Administrator))
	before := b.registry.Snapshot().Revision
	body := map[string]any{"outlet": "gate-a", "device": "station-1", "parameters": map[string]any{"address": "10.1.1.9"}}
	p := b.call("POST", "/api/v1/templates/dust-noise-station:register", root, body).problem(400, "binding_overlap")
	if p.Field != "bindings[1].from" || b.registry.Snapshot().Revision != before {
		t.Errorf("%+v", p)
	}
	body["take_over"] = true
	a := b.call("POST", "/api/v1/templates/dust-noise-station:register", root, body).want(201)
	var made contract.TemplateResult
	a.into(&made)
	s := b.registry.Snapshot()
	if a.header.Get("Location") != "/api/v1/devices/station-1" || len(made.Points) != 8 || len(s.Bound("station-1", made.Bindings[0].From)) != 8 {
		t.Errorf("%s %+v", a.header.Get("Location"), made)
	}
	if old := s.Bindings["bind-a"]; old.To == nil || !old.To.Equal(made.Bindings[0].From) {
		t.Errorf("the binding before: %+v", old)
	}
	for act, n := range map[string]int{"device.create": 3, "point.create": 9, "binding.create": 10, "binding.replace": 1} {
		if rows := b.acts(act); len(rows) != n {
			t.Errorf("%d rows of %s, want %d", len(rows), act, n)
		}
	}
	b.call("POST", "/api/v1/templates/pm-sensor:register", root, map[string]any{"outlet": "none", "parameters": map[string]any{"address": "10.1.1.9"}}).problem(400, "unknown_outlet")
	b.call("POST", "/api/v1/templates/flow-meter:register", root, map[string]any{
		"outlet": "gate-a", "parameters": map[string]any{"address": "10.1.1.9"}, "points": []map[string]string{{"point": "flow", "id": "gate-a.pm10"}},
	}).problem(400, "point_differs")
	only := bearer(b.token(accounts.FieldEngineer, "a"))
	b.call("POST", "/api/v1/templates/tank-radar-level:register", only, map[string]any{"outlet": "gate-b", "parameters": map[string]any{"address": "10.1.1.9"}}).problem(400, "unknown_outlet")
	b.call("POST", "/api/v1/templates/tank-radar-level:register", only, map[string]any{"outlet": "gate-b", "site": "b", "parameters": map[string]any{"address": "10.1.1.9"}}).problem(400, "invalid")
	b.call("POST", "/api/v1/templates/tank-radar-level:register", only, map[string]any{"outlet": "gate-a", "parameters": map[string]any{"address": "10.1.1.9"}}).want(201)
	must(t, b.log.Verify(t.Context()))
}

func TestTablesGoOutAndIn(t *testing.T) {
	t.Parallel()
	b := open(t)
	root := bearer(b.token(accounts.FieldEngineer))
	b.furnish(b.token(accounts.Administrator))
	for _, coll := range collections {
		a := b.call("GET", "/api/v1/export/"+coll+".csv", root, nil).want(200)
		if a.header.Get("Content-Disposition") != `attachment; filename="`+coll+`.csv"` || strings.Contains(string(a.body), "canary") {
			t.Errorf("%s: %v %s", coll, a.header, a.body)
		}
		var r contract.ImportResult
		b.call("POST", "/api/v1/import/"+coll, table(root), string(a.body)).want(200).into(&r)
		if diff := cmp.Diff(contract.ImportResult{Rows: 2, Unchanged: 2, Faults: []contract.TableFault{}}, r); diff != "" {
			t.Errorf("%s: %s", coll, diff)
		}
	}
	var r contract.ImportResult
	text := "id;name;factor;unit;digits\ngate-a.x;新;a34004;ug/m3;0\ngate-a.y;坏;;ug/m3;77\n"
	b.call("POST", "/api/v1/import/points?dry_run=true&mode=row", table(root), text).want(200).into(&r)
	if r.Stored || r.Created != 1 || len(r.Faults) != 2 || r.Faults[0].Line != 3 || r.Faults[0].Column != 3 || b.registry.Snapshot().Points["gate-a.x"] != nil {
		t.Errorf("%+v", r)
	}
	b.call("POST", "/api/v1/import/points", table(root), text).want(200).into(&r)
	if r.Stored || b.registry.Snapshot().Points["gate-a.x"] != nil {
		t.Errorf("%+v", r)
	}
	b.call("POST", "/api/v1/import/points?mode=row", table(root), text).want(200).into(&r)
	if !r.Stored || b.registry.Snapshot().Points["gate-a.x"] == nil || b.registry.Snapshot().Points["gate-a.y"] != nil {
		t.Errorf("%+v", r)
	}
	rows := b.acts("table.import")
	if len(rows) != 1 || rows[0].What != "points: 1 created, 0 replaced" || len(rows[0].After) != 64 {
		t.Errorf("trail: %+v", rows)
	}
	must(t, b.log.Verify(t.Context()))
}

func TestTablesOfOneSite(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	only := bearer(b.token(accounts.FieldEngineer, "a"))
	for _, coll := range collections {
		text := string(b.call("GET", "/api/v1/export/"+coll+".csv", only, nil).want(200).body)
		if strings.Contains(text, "乙公司") || strings.Contains(text, "-b") || !strings.Contains(text, "a") {
			t.Errorf("%s: %s", coll, text)
		}
		same := string(b.call("GET", "/api/v1/export/"+coll+".csv?site=a", bearer(b.token(accounts.Viewer)), nil).want(200).body)
		if coll != "sites" && same != text {
			t.Errorf("%s of site a: %s", coll, same)
		}
	}
	tests := []struct{ coll, text, code string }{
		{"outlets", "id,site,name,kind\nx,b,n,dust\n", "unknown_site"},
		{"outlets", "id,name\ngate-b,n\n", "unknown_site"},
		{"points", "id,name,factor,unit\ngate-b.z,n,f,u\n", "unknown_site"},
		{"sites", "id,name,kind\nc,n,plant\n", "all_sites_only"},
		{"entities", "id,name,uscc,region_code\nx,n,91350211M000100Y46,310115\n", "all_sites_only"},
		{"limits", "id,outlet_kind,factor,level,value,averaging\nx,dust,a34002,H,1,instant\n", "all_sites_only"},
	}
	for _, tt := range tests {
		var r contract.ImportResult
		b.call("POST", "/api/v1/import/"+tt.coll, table(only), tt.text).want(200).into(&r)
		if r.Stored || len(r.Faults) != 1 || r.Faults[0].Code != tt.code {
			t.Errorf("%s: %+v, want %s", tt.text, r, tt.code)
		}
	}
}

func TestTablesThatAreRefused(t *testing.T) {
	t.Parallel()
	b := open(t)
	root := bearer(b.token(accounts.FieldEngineer))
	b.call("POST", "/api/v1/import/sites", root, "id\n").problem(415, "not_csv")
	b.call("POST", "/api/v1/import/people", table(root), "id\n").problem(404, "not_found")
	b.call("GET", "/api/v1/export/people.csv", root, nil).problem(404, "not_found")
	b.call("POST", "/api/v1/import/sites", table(root), "").problem(400, "empty")
	b.call("POST", "/api/v1/import/sites", table(root), "id,nom\n").problem(400, "unknown_column")
	b.call("POST", "/api/v1/import/sites?mode=some", table(root), "id\n").problem(400, "not_one_of")
	b.call("POST", "/api/v1/import/sites?dryrun=1", table(root), "id\n").problem(400, "unknown_parameter")
	b.call("POST", "/api/v1/import/sites", table(root), strings.Repeat("x", 16<<20+1)).problem(413, "body_too_large")
}

func TestLabelOpensTheDevicesPage(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	root := bearer(b.token(accounts.Administrator))
	var d map[string]any
	b.call("GET", "/api/v1/devices/dust-a", root, nil).want(200).into(&d)
	d["name"] = `<script>alert("扬尘仪")</script>`
	b.call("PUT", "/api/v1/devices/dust-a", root, d).want(200)
	a := b.call("GET", "/api/v1/devices/dust-a/label.svg", root, nil).want(200)
	if a.header.Get("Content-Type") != "image/svg+xml" || strings.Contains(string(a.body), "<script") || !strings.Contains(string(a.body), ">dust-a<") {
		t.Errorf("%v %s", a.header, a.body)
	}
	for dec := xml.NewDecoder(strings.NewReader(string(a.body))); ; {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
	}
	other := b.call("GET", "/api/v1/devices/dust-a/label.svg?base=https://192.168.1.10:8443", root, nil).want(200)
	if string(other.body) == string(a.body) {
		t.Error("the base does not matter")
	}
	for _, bad := range []string{"javascript:alert(1)", "https://u:p@h", "https://h/x", "h"} {
		b.call("GET", "/api/v1/devices/dust-a/label.svg?base="+bad, root, nil).problem(400, "bad_address")
	}
	b.call("GET", "/api/v1/devices/dust-b/label.svg", bearer(b.token(accounts.Viewer, "a")), nil).problem(404, "not_found")
}

// slow is a body that tells when it is asked for and comes when it is told to.
type slow struct{ asked, come chan struct{} }

func (s slow) Read([]byte) (int, error) { s.asked <- struct{}{}; <-s.come; return 0, io.EOF }

func TestFewTablesAreReadAtOnce(t *testing.T) {
	t.Parallel()
	b := open(t)
	root := table(bearer(b.token(accounts.FieldEngineer)))
	body := slow{make(chan struct{}, 4), make(chan struct{})}
	patient := &http.Transport{ExpectContinueTimeout: time.Minute} // sends no body before it is read
	t.Cleanup(patient.CloseIdleConnections)
	answers := make(chan int, 2)
	for range 2 {
		go func() {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.http.URL+"/api/v1/import/sites", io.MultiReader(strings.NewReader("id\n"), body))
			if err != nil {
				answers <- 0
				return
			}
			for k, v := range root {
				r.Header.Set(k, v)
			}
			r.Header.Set("Expect", "100-continue")
			resp, err := patient.RoundTrip(r)
			if err != nil {
				answers <- 0
				return
			}
			_ = resp.Body.Close()
			answers <- resp.StatusCode
		}()
	}
	<-body.asked
	<-body.asked // both hold their places
	b.call("POST", "/api/v1/import/sites", root, "id\n").want(http.StatusServiceUnavailable)
	close(body.come)
	for range 2 {
		if status := <-answers; status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
	b.call("POST", "/api/v1/import/sites", root, "id\n").want(200)
}
