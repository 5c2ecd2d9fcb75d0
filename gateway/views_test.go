package gateway_test

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/edge/breach"
	"offsite/gateway"
	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/duty"
	"offsite/timeseries"
)

func alarm(id, site string, at time.Time) breach.Event {
	return breach.Event{
		ID: id, Revision: 1, Kind: breach.KindAlarm, USCC: "91350211M000100Y46", Region: "310115", Site: site, Outlet: "gate-" + site, Point: "gate-" + site + ".pm10",
		Factor: "a34002", Value: 160, Peak: 170, PeakAt: at, Unit: "ug/m3", Averaging: "instant", Limit: "lim-" + site, LimitValue: 150, Level: "H",
		RuleVersion: 1, ValidRatio: 1, Since: at, StartedAt: at, ReceivedAt: at, Signal: breach.SignalBreached, State: breach.Unacknowledged, Evidence: breach.EvidencePending,
	}
}

func TestReadings(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	h := bearer(b.token(accounts.Viewer, "a"))
	b.site.keep("a", "gate-a.pm10", day, 1, 2, 3, 4, 5, 6)
	const query = "/api/v1/readings?point=gate-a.pm10&from=2026-03-01T08:00:00%2B08:00&to=2026-03-01T09:00:00%2B08:00"
	var got contract.Readings
	b.call("GET", query+"&max=4", h, nil).want(200).into2(&got)
	if len(*got.Samples) != 4 || !got.Next.Equal(day.Add(4*time.Minute)) || got.Unit != "ug/m3" || got.StaleAfter.D() != 3*time.Minute {
		t.Errorf("first page: %+v", got)
	}
	got = contract.Readings{}
	b.call("GET", query+"&window=2m&fn=mean,max&max=2", h, nil).want(200).into2(&got)
	if len(*got.Windows) != 2 || *(*got.Windows)[1].Mean != 3.5 || *(*got.Windows)[1].Max != 4 || (*got.Windows)[1].Min != nil || !got.Next.Equal(day.Add(4*time.Minute)) || got.StaleAfter.D() != 3*time.Minute {
		t.Errorf("windows: %+v", got)
	}
	tests := []struct{ name, query, code string }{
		{"no point", "", "missing"},
		{"reversed", "point=gate-a.pm10&from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", "empty_span"},
		{"bad time", "point=gate-a.pm10&from=noon", "bad_time"},
		{"bad window", "point=gate-a.pm10&window=1w", "bad_window"},
		{"bad function", "point=gate-a.pm10&window=1h&fn=median", "not_one_of"},
		{"function without window", "point=gate-a.pm10&fn=mean", "missing"},
		{"too many", "point=gate-a.pm10&max=100001", "out_of_range"},
		{"misspelt", "point=gate-a.pm10&form=2026-03-02T00:00:00Z", "unknown_parameter"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { b.call("GET", "/api/v1/readings?"+tt.query, h, nil).problem(400, tt.code) })
	}
	b.call("GET", "/api/v1/readings?point=gate-b.pm10", h, nil).problem(404, "not_found")

	root := b.token(accounts.Administrator)
	b.call("DELETE", "/api/v1/limits/lim-a", bearer(root), nil).want(204)
	b.call("DELETE", "/api/v1/points/gate-a.pm10", bearer(root), nil).want(204)
	got = contract.Readings{}
	b.call("GET", query, h, nil).want(200).into2(&got)
	if len(*got.Samples) != 6 {
		t.Errorf("history of a retired point: %+v", got)
	}
	b.call("GET", query, bearer(b.token(accounts.Viewer, "b")), nil).problem(404, "not_found")
	b.site.away = true
	if a := b.call("GET", query, h, nil); a.problem(503, "history_closed").Code == "" || a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// into2 reads what a plain decoder cannot: qualities are words on the wire.
func TestReadingsAsATable(t *testing.T) {
	t.Parallel()
	b := open(t)
	root := bearer(b.token(accounts.Administrator))
	b.furnish(b.token(accounts.Administrator))
	b.call("POST", "/api/v1/points", root, map[string]any{"id": "gate-a.odd", "name": "odd", "factor": "odd", "unit": "=1+2", "digits": 0}).want(201)
	b.site.keep("a", "gate-a.pm10", day, 1, -2.5, 3)
	b.site.keep("a", "gate-a.odd", day, 1)
	b.site.samples[timeseries.Series{Site: "a", Point: "gate-a.pm10"}][1].Quality = devices.BadMaintenance
	const span = "&from=2026-03-01T08:00:00%2B08:00&to=2026-03-01T09:00:00%2B08:00"
	tests := []struct{ name, query, accept, want string }{
		{"samples", "gate-a.pm10&format=csv", "", "point,unit,at,value,quality,mark\r\n" +
			"gate-a.pm10,ug/m3,2026-03-01T08:00:00.000+08:00,1,good,\r\n" +
			"gate-a.pm10,ug/m3,2026-03-01T08:01:00.000+08:00,-2.5,bad/maintenance,M\r\n" +
			"gate-a.pm10,ug/m3,2026-03-01T08:02:00.000+08:00,3,good,\r\n"},
		{"by header, a unit that a spreadsheet would run", "gate-a.odd", "text/csv", "point,unit,at,value,quality,mark\r\ngate-a.odd,'=1+2,2026-03-01T08:00:00.000+08:00,1,good,\r\n"},
		{"windows", "gate-a.pm10&format=csv&window=2m&fn=max,count,min", "", "point,unit,start,window,count,max,min\r\n" +
			"gate-a.pm10,ug/m3,2026-03-01T08:00:00.000+08:00,2m,2,1,-2.5\r\ngate-a.pm10,ug/m3,2026-03-01T08:02:00.000+08:00,2m,1,3,3\r\n"},
		{"the parameter goes before the header", "gate-a.odd&format=json", "text/csv", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := bearer(b.token(accounts.Viewer, "a"))
			if tt.accept != "" {
				h["Accept"] = tt.accept
			}
			a := b.call("GET", "/api/v1/readings?point="+tt.query+span, h, nil).want(200)
			if tt.want == "" {
				if !json.Valid(a.body) {
					t.Errorf("no JSON: %s", a.body)
				}
				return
			}
			if diff := cmp.Diff("\ufeff"+tt.want, string(a.body)); diff != "" {
				t.Error(diff)
			}
			if got := a.header.Get("Content-Disposition"); !strings.HasPrefix(got, `attachment; filename="gate-a.`) {
				t.Errorf("disposition %q", got)
			}
		})
	}
	b.call("GET", "/api/v1/readings?point=gate-a.pm10&format=csv&max=2"+span, root, nil).problem(400, "too_many_rows")
	b.call("GET", "/api/v1/readings?point=gate-a.pm10&format=xls", root, nil).problem(400, "not_one_of")
	b.call("GET", "/api/v1/readings?point=gate-b.pm10&format=csv", bearer(b.token(accounts.Viewer, "a")), nil).problem(404, "not_found")
}

func (a answer) into2(v *contract.Readings) {
	a.t.Helper()
	var raw struct {
		contract.Readings
		Samples *[]struct{ At time.Time } `json:"samples"`
	}
	must(a.t, json.Unmarshal(a.body, &raw))
	*v = raw.Readings
	if raw.Samples != nil {
		samples := make([]contract.Sample, len(*raw.Samples))
		v.Samples = &samples
	}
}

func TestLast(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	h := bearer(b.token(accounts.Viewer))
	b.call("GET", "/api/v1/points/gate-a.pm10/last", h, nil).problem(404, "no_value")
	b.site.keep("a", "gate-a.pm10", day, 41)
	a := b.call("GET", "/api/v1/points/gate-a.pm10/last", h, nil).want(200)
	if !strings.Contains(string(a.body), `"value":41`) {
		t.Errorf("from history: %s", a.body)
	}
	b.site.latest = []devices.Reading{{Site: "a", Point: "gate-a.pm10", Value: 42, At: day.Add(time.Hour), Quality: devices.UncertainRange}}
	a = b.call("GET", "/api/v1/points/gate-a.pm10/last", h, nil).want(200)
	if !strings.Contains(string(a.body), `"value":42`) || !strings.Contains(string(a.body), `"quality":"uncertain/range"`) {
		t.Errorf("heard: %s", a.body)
	}
	a = b.call("GET", "/api/v1/last", h, nil).want(200)
	if !strings.Contains(string(a.body), `"value":42`) || strings.Contains(string(a.body), "gate-b") {
		t.Errorf("all: %s", a.body)
	}
	if a = b.call("GET", "/api/v1/last", bearer(b.token(accounts.Viewer, "b")), nil).want(200); string(a.body) != `{"items":[]}`+"\n" {
		t.Errorf("of site b: %s", a.body)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	for i, id := range []string{"al-1", "al-2", "al-3"} {
		b.site.events[id] = alarm(id, []string{"a", "b", "a"}[i], day.Add(time.Duration(i)*time.Hour))
	}
	sum := b.site.exhibit("picture", "a")
	b.site.pictures["al-1"] = contract.Evident{Pictures: []contract.Picture{{Camera: "cam-a", Kind: "still", State: contract.Attached, Sha256: sum, TakenAt: day, Distance: devices.Duration(-300 * time.Millisecond)}}}
	staff := bearer(b.token(accounts.Staff, "a"))
	var list struct {
		Items []struct{ ID string }
		Next  string
	}
	b.call("GET", "/api/v1/events?max=1", staff, nil).want(200).into(&list)
	if len(list.Items) != 1 || list.Items[0].ID != "al-3" || list.Next == "" {
		t.Fatalf("first page: %+v", list)
	}
	b.call("GET", "/api/v1/events?max=1&before="+list.Next, staff, nil).want(200).into(&list)
	if list.Items[0].ID != "al-1" {
		t.Errorf("second page: %+v", list)
	}
	b.call("GET", "/api/v1/events/al-2", staff, nil).problem(404, "not_found")
	b.call("POST", "/api/v1/events/al-2:acknowledge", staff, map[string]string{"note": "x"}).problem(404, "not_found")
	b.call("POST", "/api/v1/events/al-1", staff, map[string]string{"note": "x"}).problem(404, "no_such_path")
	a := b.call("GET", "/api/v1/events/al-1", staff, nil).want(200)
	if !strings.Contains(string(a.body), `"distance":"-300ms"`) {
		t.Errorf("pictures: %s", a.body)
	}
	a = b.call("POST", "/api/v1/events/al-1%3Aacknowledge", staff, map[string]string{"note": "已派人"}).want(200)
	if !strings.Contains(string(a.body), `"state":"acknowledged"`) {
		t.Errorf("acknowledged: %s", a.body)
	}
	b.call("POST", "/api/v1/events/al-1:acknowledge", staff, map[string]string{"note": "again"}).problem(409, "already_acknowledged")
	if rows := b.acts("event.acknowledge"); len(rows) != 1 || rows[0].What != "event/al-1" || rows[0].Detail != "已派人" {
		t.Errorf("trail: %+v", rows)
	}
}

// TestEventsOfACameraAndADevice resolves what a camera watches and what a device has
// measured, also before its binding was ended or retired.
func TestEventsOfACameraAndADevice(t *testing.T) {
	t.Parallel()
	b := open(t)
	root := b.token(accounts.Administrator)
	b.furnish(root)
	viewer := bearer(b.token(accounts.Viewer))
	ask := func(query string) breach.Filter {
		t.Helper()
		b.call("GET", "/api/v1/events?"+query, viewer, nil).want(200)
		b.site.mu.Lock()
		defer b.site.mu.Unlock()
		return b.site.asked
	}
	f := ask("camera=cam-a&what=camera_lost")
	if diff := cmp.Diff(&breach.Seen{Camera: "cam-a", Outlets: []string{"gate-a"}}, f.Camera); diff != "" || f.What != "camera_lost" || f.Device != nil {
		t.Errorf("%+v %s", f, diff)
	}
	if f = ask("camera=gone"); f.Camera == nil || len(f.Camera.Outlets) > 0 {
		t.Errorf("a camera that is not there: %+v", f.Camera)
	}
	if f = ask("device=gone"); f.Device == nil || len(f.Device) > 0 {
		t.Errorf("a device that is not there: %+v", f.Device)
	}
	f = ask("device=dust-a")
	if len(f.Device) != 1 || f.Device[0].Point != "gate-a.pm10" || f.Device[0].From.IsZero() || !f.Device[0].To.IsZero() || f.Camera != nil {
		t.Errorf("bound: %+v", f)
	}
	b.call("DELETE", "/api/v1/bindings/bind-a", bearer(root), nil).want(204)
	if again := ask("device=dust-a"); len(again.Device) != 1 || !again.Device[0].From.Equal(f.Device[0].From) || again.Device[0].To.IsZero() {
		t.Errorf("unbound: %+v", again.Device)
	}
	b.call("GET", "/api/v1/events?kind=x", viewer, nil).problem(400, "unknown_parameter")
}

func TestBlobsAndStills(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	sum := b.site.exhibit("\xff\xd8evidence", "a")
	broken := b.site.exhibit("half", "a")
	b.site.blobs[broken] = blob{damaged: true}
	viewer, stranger := bearer(b.token(accounts.Viewer, "a")), bearer(b.token(accounts.Viewer, "b"))
	a := b.call("GET", "/api/v1/blobs/"+sum, viewer, nil).want(200)
	if string(a.body) != "\xff\xd8evidence" || a.header.Get("Content-Type") != "image/jpeg" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v %q", a.header, a.body)
	}
	b.call("GET", "/api/v1/blobs/"+sum, stranger, nil).problem(404, "not_found")
	b.call("GET", "/api/v1/blobs/"+strings.Repeat("0", 64), viewer, nil).problem(404, "not_found")
	b.call("GET", "/api/v1/blobs/..%2f..%2foffsite.db", viewer, nil).problem(404, "not_found")
	b.call("GET", "/api/v1/blobs/"+broken, viewer, nil).problem(500, "evidence_damaged")
	clip := b.site.exhibit("\x00\x00\x00\x20ftypiso6", "a")
	for _, part := range []string{"bytes=0-3", "bytes=4-7", "bytes=8-"} { // one playback
		b.call("GET", "/api/v1/blobs/"+clip, header{"Authorization": viewer["Authorization"], "Range": part}, nil).want(206)
	}
	a = b.call("GET", "/api/v1/cameras/cam-a/still.jpg", viewer, nil).want(200)
	if a.header.Get("X-Captured-At") == "" || a.header.Get("X-Still-Step") != "ffmpeg" {
		t.Errorf("%v", a.header)
	}
	small := b.call("GET", "/api/v1/cameras/cam-a/still.jpg?width=320", viewer, nil).want(200)
	if tag := a.header.Get("ETag"); tag == "" || tag == small.header.Get("ETag") || small.header.Get("Content-Type") != "image/jpeg" {
		t.Errorf("whole %q, small %v", tag, small.header)
	}
	same := header{"Authorization": viewer["Authorization"], "If-None-Match": a.header.Get("ETag")}
	if got := b.call("GET", "/api/v1/cameras/cam-a/still.jpg", same, nil).want(304); len(got.body) > 0 || got.header.Get("X-Captured-At") == "" {
		t.Errorf("%v %q", got.header, got.body)
	}
	b.call("GET", "/api/v1/cameras/cam-a/still.jpg?width=0", viewer, nil).problem(400, "out_of_range")
	b.call("GET", "/api/v1/cameras/cam-b/still.jpg", viewer, nil).problem(404, "not_found")
	b.call("GET", "/api/v1/cameras/cam-b/still.jpg", stranger, nil).problem(503, "camera_silent")
	for act, n := range map[string]int{"blob.view": 2, "still.view": 2} {
		if rows := b.acts(act); len(rows) != n {
			t.Errorf("%d rows of %s, want %d", len(rows), act, n)
		}
	}
}

func TestTickets(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	viewer := bearer(b.token(accounts.Viewer, "a"))
	ask := func(purpose, target string) contract.Ticket {
		var ticket contract.Ticket
		b.call("POST", "/api/v1/tickets", viewer, map[string]string{"purpose": purpose, "target": target}).want(201).into(&ticket)
		return ticket
	}
	ticket := ask("still", "cam-a")
	a := b.call("GET", ticket.URL, nil, nil).want(200)
	if a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Error("another page cannot show it")
	}
	b.call("GET", ticket.URL, nil, nil).problem(401, "bad_ticket")
	ticket = ask("still", "cam-a")
	b.call("GET", "/api/v1/cameras/cam-b/still.jpg?ticket="+ticket.Ticket, nil, nil).problem(401, "bad_ticket")
	ticket = ask("still", "cam-a")
	b.call("GET", "/api/v1/sites?ticket="+ticket.Ticket, nil, nil).problem(401, "not_signed_in")
	sum := b.site.exhibit("x", "a")
	b.call("GET", ask("blob", sum).URL, nil, nil).want(200)
	b.call("POST", "/api/v1/tickets", viewer, map[string]string{"purpose": "still", "target": "cam-b"}).problem(404, "not_found")
	b.call("POST", "/api/v1/tickets", viewer, map[string]string{"purpose": "all", "target": ""}).problem(400, "not_one_of")
	b.call("POST", "/api/v1/tickets", viewer, map[string]string{"purpose": "live", "target": "x"}).problem(400, "not_used")
	b.call("POST", "/api/v1/tickets", viewer, map[string]string{"purpose": "blob", "target": "x"}).problem(400, "bad_hash")
}

func TestStatusLossesAndPlatform(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	b.site.status = []contract.DeviceStatus{{Device: "dust-a", Site: "a", Online: true, Since: day}, {Device: "dust-b", Site: "b", Since: day, Problem: &contract.FieldProblem{Code: "timeout", Zh: "超时", En: "timed out"}}}
	b.site.notices = []contract.Notice{{Code: "broker_insecure", Level: contract.Warning, Since: day, Zh: "未加密", En: "not encrypted"}}
	var st contract.Status
	b.call("GET", "/api/v1/status", bearer(b.token(accounts.Viewer, "b")), nil).want(200).into(&st)
	if len(st.Devices) != 1 || st.Devices[0].Device != "dust-b" || len(st.Cameras) != 0 || len(st.Notices) != 1 || st.Platform != nil {
		t.Errorf("for a viewer of b: %+v", st)
	}
	b.call("GET", "/api/v1/status", bearer(b.token(accounts.Staff)), nil).want(200).into(&st)
	if len(st.Devices) != 2 || st.Platform == nil || st.Platform.Waiting != 3 {
		t.Errorf("for staff: %+v", st)
	}
	var losses contract.LossList
	b.call("GET", "/api/v1/losses", bearer(b.token(accounts.Viewer, "b")), nil).want(200).into(&losses)
	if len(losses.Items) != 2 || losses.Next != "" {
		t.Errorf("losses: %+v", losses)
	}
	for _, want := range []string{"b", ""} {
		var page contract.LossList
		b.call("GET", "/api/v1/losses?max=1&before="+losses.Next, bearer(b.token(accounts.Viewer, "b")), nil).want(200).into(&page)
		if losses.Next = page.Next; len(page.Items) != 1 || page.Items[0].Site != want || (page.Next == "") != (want == "") {
			t.Errorf("the page with %q: %+v", want, page)
		}
	}
	root := bearer(b.token(accounts.Administrator))
	b.call("POST", "/api/v1/platform", root, map[string]string{"url": "https://platform.example", "code": "bad"}).problem(409, "code_refused")
	b.call("POST", "/api/v1/platform", root, map[string]string{"url": "platform", "code": "good"}).problem(400, "bad_address")
	b.call("POST", "/api/v1/platform", root, map[string]string{"url": "https://platform.example", "code": "good"}).want(200)
	var results []string
	for _, r := range b.acts("platform.enrol") {
		results = append(results, r.Result)
	}
	if diff := cmp.Diff([]string{"ok", "asked", "code_refused", "asked"}, results); diff != "" {
		t.Error(diff)
	}
	b.call("POST", "/api/v1/dispatch/commands", nil, map[string]string{"id": "1", "type": "snapshot.take"}).want(401)
	b.call("POST", "/api/v1/dispatch/commands", header{"X-Signature": "x"}, map[string]string{"id": "1", "type": "snapshot.take"}).want(200)
}

// running serves the box as the program does, with its streams.
func (b *box) running() (base string, stop func()) {
	b.t.Helper()
	s, err := gateway.Open(gateway.Config{HTTP: "127.0.0.1:0"}, b.parts())
	must(b.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan gateway.Addresses, 1), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func(a gateway.Addresses) { ready <- a }) }()
	at := <-ready
	return at.URL(), func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			b.t.Errorf("run ended with %v", err)
		}
	}
}

func TestLiveVideo(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.root()
	b.furnish(b.token(accounts.Administrator))
	cookie, viewer := b.signIn("root"), b.token(accounts.Viewer, "a")
	base := b.http.URL
	for name, h := range map[string]header{
		"token, any page":  {"Authorization": "Bearer " + viewer, "Origin": "https://scada.example"},
		"cookie, own page": {"Cookie": cookie, "Origin": base},
	} {
		conn, _, err := b.dial("cam-a", h)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, text, err := conn.Read(t.Context()); err != nil || !strings.Contains(string(text), "video/mp4") {
			t.Errorf("%s: %s, %v", name, text, err)
		}
		conn.CloseNow()
	}
	for name, tt := range map[string]struct {
		h      header
		status int
	}{
		"cookie, another page": {header{"Cookie": cookie, "Origin": "https://evil.example"}, 403},
		"nobody":               {header{}, 401},
		"other site's viewer":  {bearer(b.token(accounts.Viewer, "b")), 404},
	} {
		if _, resp, err := b.dial("cam-a", tt.h); err == nil || resp.StatusCode != tt.status {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
	}
	conn, _, err := b.dial("cam-b", header{"Cookie": cookie})
	must(t, err)
	_, _, err = conn.Read(t.Context())
	if websocket.CloseStatus(err) != websocket.StatusTryAgainLater || !strings.Contains(err.Error(), "摄像机无画面") {
		t.Errorf("silent camera: %v", err)
	}
	if rows := b.acts("live.view"); len(rows) != 3 {
		t.Errorf("%d views in the trail, want 3", len(rows))
	}
}

// stream reads server-sent events.
type stream struct {
	t    *testing.T
	resp *http.Response
	in   *bufio.Scanner
}

func (b *box) listen(base, query, token string) *stream {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, base+"/api/v1/live"+query, nil)
	must(b.t, err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	must(b.t, err)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		b.t.Fatalf("live: %d %v", resp.StatusCode, resp.Header)
	}
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 1<<20)
	return &stream{b.t, resp, in}
}

// next gives the name and data of the next message and checks data against the document.
func (s *stream) next(b *box) (name string, data []byte) {
	s.t.Helper()
	for s.in.Scan() {
		line := s.in.Text()
		switch {
		case strings.HasPrefix(line, "event: "):
			name = line[7:]
		case strings.HasPrefix(line, "data: "):
			data = []byte(line[6:])
		case line == "" && name != "":
			property := b.doc.Components.Schemas["LiveStream"].Value.Properties[name]
			if property == nil {
				s.t.Fatalf("the document knows no message %q", name)
			}
			var v any
			must(s.t, json.Unmarshal(data, &v))
			if err := property.Value.VisitJSON(v); err != nil {
				s.t.Errorf("message %s %s does not fit the document: %v", name, data, err)
			}
			return name, data
		}
	}
	return "", nil
}

func TestLiveUpdates(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	b.site.events["al-1"] = alarm("al-1", "a", day)
	b.site.events["al-2"] = alarm("al-2", "b", day)
	token := b.token(accounts.Viewer, "a")
	base, stop := b.running()
	s := b.listen(base, "", token)
	name, data := s.next(b)
	if name != "state" || !strings.Contains(string(data), "al-1") || strings.Contains(string(data), "al-2") {
		t.Fatalf("%s %s", name, data)
	}
	reading := func(site string, value float64) devices.Reading {
		return devices.Reading{Site: site, Point: "gate-" + site + ".pm10", Value: value, At: day}
	}
	b.site.updates <- duty.Update{Readings: []devices.Reading{reading("b", 9), reading("a", 1), reading("a", 2)}}
	if name, data = s.next(b); name != "readings" || strings.Count(string(data), `"value"`) != 1 || !strings.Contains(string(data), `"value":2`) {
		t.Errorf("%s %s", name, data)
	}
	b.site.updates <- duty.Update{Event: &breach.Transition{Event: alarm("al-4", "b", day), Step: "opened"}}
	b.site.updates <- duty.Update{Event: &breach.Transition{Event: alarm("al-3", "a", day), Step: "opened"}}
	if name, data = s.next(b); name != "event" || !strings.Contains(string(data), "al-3") {
		t.Errorf("%s %s", name, data)
	}
	b.site.updates <- duty.Update{Device: &contract.DeviceStatus{Device: "dust-a", Site: "a", Since: day}}
	b.site.updates <- duty.Update{Registry: true}
	b.site.updates <- duty.Update{Notices: true}
	var names []string
	for range 3 {
		name, _ := s.next(b)
		names = append(names, name)
	}
	if diff := cmp.Diff([]string{"device", "registry", "notices"}, names); diff != "" {
		t.Error(diff)
	}
	stop()
	if name, _ := s.next(b); name != "" {
		t.Errorf("after the end: %s", name)
	}
	s.resp.Body.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestLiveByTicketForOneSite(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	var ticket contract.Ticket
	base, stop := b.running()
	defer stop()
	b.call("POST", "/api/v1/tickets", bearer(b.token(accounts.Viewer)), map[string]string{"purpose": "live"}).want(201).into(&ticket)
	_, secret, _ := strings.Cut(ticket.URL, "?")
	b.site.events["al-1"] = alarm("al-1", "a", day)
	s := b.listen(base, "?site=b&"+secret, "")
	defer s.resp.Body.Close()
	if _, data := s.next(b); strings.Contains(string(data), "al-1") {
		t.Errorf("site b alone: %s", data)
	}
}

// TestEvidencePackage takes the files of an event home, has them checked, and finds
// out when one has changed.
func TestEvidencePackage(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	b.site.events["al-1"] = alarm("al-1", "a", day)
	picture, clip := b.site.exhibit("\xff\xd8picture", "a"), b.site.exhibit("clip", "a")
	b.site.pictures["al-1"] = contract.Evident{Manifest: b.site.exhibit("{}", "a"), Pictures: []contract.Picture{
		{Camera: "cam-a", Kind: "still", Moment: devices.Duration(-5 * time.Second), State: contract.Attached, Sha256: picture, ContentType: "image/jpeg"},
		{Camera: "cam-a", Kind: "still", State: contract.None},
		{Camera: "cam-a", Kind: "clip", State: contract.Attached, Sha256: clip, ContentType: "video/mp4"},
	}}
	viewer := bearer(b.token(accounts.Viewer, "a"))
	a := b.call("GET", "/api/v1/events/al-1/evidence.zip", viewer, nil).want(200)
	archive, err := zip.NewReader(bytes.NewReader(a.body), int64(len(a.body)))
	must(t, err)
	var names []string
	for _, f := range archive.File {
		names = append(names, f.Name)
	}
	if diff := cmp.Diff([]string{"manifest.json", "cam-a-5.0s-before.jpg", "cam-a-clip.mp4", "SHA256SUMS"}, names); diff != "" {
		t.Error(diff)
	}
	sums, err := fs.ReadFile(archive, "SHA256SUMS")
	if err != nil || !strings.Contains(string(sums), picture+"  cam-a-5.0s-before.jpg\n") {
		t.Errorf("%s %v", sums, err)
	}
	var check contract.EvidenceCheck
	b.call("POST", "/api/v1/events/al-1:verify", viewer, nil).want(200).into(&check)
	if !check.Whole || len(check.Files) != 3 {
		t.Errorf("%+v", check)
	}
	b.site.blobs[clip] = blob{damaged: true}
	b.call("POST", "/api/v1/events/al-1:verify", viewer, nil).want(200).into(&check)
	if check.Whole || check.Files[2].Whole || check.Files[2].Problem == nil || check.Files[2].Problem.Code != "evidence_damaged" {
		t.Errorf("%+v", check)
	}
	b.call("GET", "/api/v1/events/al-1/evidence.zip", viewer, nil).problem(500, "evidence_damaged")
	other := bearer(b.token(accounts.Viewer, "b"))
	b.call("GET", "/api/v1/events/al-1/evidence.zip", other, nil).want(404)
	b.call("POST", "/api/v1/events/al-1:verify", other, nil).want(404)
	b.site.events["al-2"] = alarm("al-2", "a", day)
	b.call("GET", "/api/v1/events/al-2/evidence.zip", viewer, nil).problem(404, "no_evidence")
}

// TestEvidenceThatWasDeleted has the clip of an event deleted when its time was over: each
// way to it says so, and nothing calls it damaged.
func TestEvidenceThatWasDeleted(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	b.site.events["al-1"] = alarm("al-1", "a", day)
	clip := b.site.exhibit("clip", "a")
	gone := &devices.Problem{Kind: contract.ErrDeleted, Code: "evidence_deleted", ZH: "已删除", EN: "deleted by retention"}
	b.site.blobs[clip] = blob{sites: []string{"a"}, deleted: gone}
	b.site.pictures["al-1"] = contract.Evident{Manifest: b.site.exhibit("{}", "a"), Pictures: []contract.Picture{
		{Camera: "cam-a", Kind: "clip", State: contract.Attached, Sha256: clip, ContentType: "video/mp4", DeletedAt: day, Problem: contract.ProblemOf(gone)},
	}}
	viewer, staff := bearer(b.token(accounts.Viewer, "a")), bearer(b.token(accounts.Staff, "a"))
	b.call("GET", "/api/v1/blobs/"+clip, viewer, nil).problem(410, "evidence_deleted")
	b.call("GET", "/api/v1/blobs/"+clip, bearer(b.token(accounts.Viewer, "b")), nil).problem(404, "not_found")
	var check contract.EvidenceCheck
	b.call("POST", "/api/v1/events/al-1:verify", viewer, nil).want(200).into(&check)
	if !check.Whole || len(check.Files) != 2 || check.Files[1].Whole || check.Files[1].Problem.Code != "evidence_deleted" {
		t.Errorf("%+v", check)
	}
	a := b.call("GET", "/api/v1/events/al-1/evidence.zip", viewer, nil).want(200)
	archive, err := zip.NewReader(bytes.NewReader(a.body), int64(len(a.body)))
	must(t, err)
	told, err := fs.ReadFile(archive, "DELETED.txt")
	if err != nil || string(told) != clip+"  cam-a-clip.mp4  已删除 / deleted by retention\n" || len(archive.File) != 3 {
		t.Errorf("%q, %d files: %v", told, len(archive.File), err)
	}
	var detail contract.Detail
	b.call("POST", "/api/v1/events/al-1:hold", viewer, map[string]string{"reason": "诉讼"}).problem(403, "role_not_allowed")
	b.call("POST", "/api/v1/events/al-1:hold", staff, map[string]string{"reason": "诉讼"}).want(200).into(&detail)
	if detail.Hold == nil || detail.Hold.Reason != "诉讼" || detail.Hold.By == "" || !detail.Pictures[0].DeletedAt.Equal(day) {
		t.Errorf("%+v", detail)
	}
	detail.Hold = nil
	b.call("POST", "/api/v1/events/al-1:release", staff, nil).want(200).into(&detail)
	if detail.Hold != nil {
		t.Errorf("%+v", detail.Hold)
	}
	b.call("POST", "/api/v1/events/al-1:release", staff, nil).problem(404, "not_held")
}
