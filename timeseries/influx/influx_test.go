package influx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/timeseries"
	"offsite/timeseries/influx/influxtest"
	"offsite/timeseries/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	noon = time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)
	key  = timeseries.Series{Site: "site-1", Point: "stack.so2"}
)

func open(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// peer is one database of a shared server.
type peer struct{ cfg Config }

func (p *peer) Open(t *testing.T) timeseries.Store { return open(t, p.cfg) }

func (p *peer) Reopen(t *testing.T, s timeseries.Store) timeseries.Store {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, p.cfg)
}

// TestRealServer shares one influxd among its cases: each has its own database.
func TestRealServer(t *testing.T) {
	server := influxtest.Start(t, "large")
	t.Run("conformance", func(t *testing.T) { conform(t, server) })
	for _, c := range []struct {
		name, db string
		run      func(*testing.T, *influxtest.Server)
	}{
		{"one refused line", "refused", oneRefusedLine},
		{"missing database", "present", missingDatabase},
		{"away and back", "away", awayAndBack},
		{"too large is halved", "large", tooLarge},       // needs the restart before it
		{"user and password", "closed", userAndPassword}, // closes the server to the others
	} {
		if _, err := server.Query("", "CREATE DATABASE "+c.db); err != nil {
			t.Fatal(err)
		}
		t.Run(c.name, func(t *testing.T) { c.run(t, server) })
	}
}

func conform(t *testing.T, server *influxtest.Server) {
	n := 0
	storetest.Run(t, func(t *testing.T) storetest.Peer {
		n++
		db := fmt.Sprint("db", n)
		if _, err := server.Query("", "CREATE DATABASE "+db); err != nil {
			t.Fatal(err)
		}
		return &peer{cfg: Config{URL: server.URL, Database: db}}
	})
}

func record(seq uint64, point string, at time.Time, v float64) timeseries.Record {
	return timeseries.Record{Seq: seq, Delivery: devices.Delivery{Readings: []devices.Reading{{Site: "site-1", Point: point, At: at, Value: v}}}}
}

// batchOf is n records of the series key, a second apart, from sequence 1.
func batchOf(n int) []timeseries.Record {
	var recs []timeseries.Record
	for i := range n {
		recs = append(recs, record(uint64(i+1), key.Point, noon.Add(time.Duration(i)*time.Second), float64(i)))
	}
	return recs
}

func count(t *testing.T, server *influxtest.Server, db string) int {
	t.Helper()
	rows, err := server.Query(db, "SELECT count(v) FROM reading")
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) == 0 {
		return 0
	}
	return int(rows[0][1].(float64))
}

func code(err error) string {
	var p *devices.Problem
	if !errors.As(err, &p) {
		return fmt.Sprint(err)
	}
	return p.Code
}

func oneRefusedLine(t *testing.T, server *influxtest.Server) {
	// Somebody else has written this series with another type of v.
	if err := server.Write("refused", "reading,site=site-1,outlet=stack,point=odd v=1i,q=0i "+fmt.Sprint(noon.UnixMilli())); err != nil {
		t.Fatal(err)
	}
	far := noon.Add(365 * 24 * time.Hour) // another shard, where v is not taken yet
	recs := []timeseries.Record{record(1, "stack.odd", noon.Add(time.Second), 1)}
	for i := range 999 {
		recs = append(recs, record(uint64(i+2), "stack.so2", far.Add(time.Duration(i)*time.Second), float64(i)))
	}
	recs[0], recs[500] = recs[500], recs[0]
	recs[0].Seq, recs[500].Seq = 1, 501
	s := open(t, Config{URL: server.URL, Database: "refused"})
	w, err := s.Write(t.Context(), recs)
	if err != nil {
		t.Fatal(err)
	}
	if w.Durable != 1000 || len(w.Refused) != 1 {
		t.Fatalf("durable %d, %d refused", w.Durable, len(w.Refused))
	}
	r := w.Refused[0]
	if r.Seq != 501 || r.Series.Point != "stack.odd" || r.Reason.Code != "line_refused" || !strings.Contains(r.Reason.EN, "type") {
		t.Errorf("refused %+v: %v", r, r.Reason)
	}
	if n := count(t, server, "refused"); n != 999+1 {
		t.Errorf("%d readings in the server, want the other 999 and the one that was there", n)
	}
}

func tooLarge(t *testing.T, server *influxtest.Server) {
	s := open(t, Config{URL: server.URL, Database: "large"})
	w, err := s.Write(t.Context(), batchOf(1000))
	if err != nil || w.Durable != 1000 || len(w.Refused) != 0 {
		t.Errorf("%+v, %v", w, err)
	}
	if n := count(t, server, "large"); n != 1000 {
		t.Errorf("%d readings, want 1000", n)
	}
}

func awayAndBack(t *testing.T, server *influxtest.Server) {
	s := open(t, Config{URL: server.URL, Database: "away", Lines: 100})
	recs := batchOf(1000)
	if w, err := s.Write(t.Context(), recs[:300]); err != nil || w.Durable != 300 {
		t.Fatal(w, err)
	}
	server.Kill()
	w, err := s.Write(t.Context(), recs[300:])
	if code(err) != "influx_unreachable" || !errors.Is(err, devices.ErrUnavailable) || w.Durable != 0 {
		t.Errorf("without a server: %+v, %v", w, err)
	}
	if _, err := s.Last(t.Context(), key); code(err) != "influx_unreachable" {
		t.Errorf("Last = %v", err)
	}
	server.Env = []string{"INFLUXDB_HTTP_MAX_BODY_SIZE=10000"} // for the next case
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w, err := s.Write(t.Context(), recs[200:]); err != nil || w.Durable != 1000 {
		t.Errorf("after the restart: %+v, %v", w, err)
	}
	if n := count(t, server, "away"); n != 1000 {
		t.Errorf("%d readings, want each once", n)
	}
}

func userAndPassword(t *testing.T, server *influxtest.Server) {
	if _, err := server.Query("", "CREATE USER root WITH PASSWORD 'pw secret' WITH ALL PRIVILEGES"); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Query("", "CREATE USER tok WITH PASSWORD 'spaceless' WITH ALL PRIVILEGES"); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Query("", "CREATE USER guest WITH PASSWORD 'guest'"); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	server.Env = []string{"INFLUXDB_HTTP_AUTH_ENABLED=true"}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, user string
		password   devices.Secret
		token      devices.Secret
		code       string
	}{
		{"user and password", "root", "pw secret", "", ""},
		{"both as a token", "", "", "tok:spaceless", ""},
		{"wrong password", "root", "wrong", "", "influx_unauthorized"},
		{"nothing", "", "", "", "influx_unauthorized"},
		{"no right to the database", "guest", "guest", "", "influx_forbidden"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, Config{URL: server.URL, Database: "closed", Username: tt.user, Password: tt.password, Token: tt.token})
			w, err := s.Write(t.Context(), batchOf(3))
			last, lastErr := s.Last(t.Context(), key)
			if tt.code != "" {
				if code(err) != tt.code || w.Durable != 0 || code(lastErr) != tt.code {
					t.Errorf("Write = %v, Last = %v, want %s", err, lastErr, tt.code)
				}
				return
			}
			if err != nil || w.Durable != 3 || lastErr != nil || last.Value != 2 {
				t.Error(w, err, last, lastErr)
			}
		})
	}
}

func missingDatabase(t *testing.T, server *influxtest.Server) {
	s := open(t, Config{URL: server.URL, Bucket: "nowhere"})
	if w, err := s.Write(t.Context(), batchOf(3)); code(err) != "influx_no_bucket" || w.Durable != 0 || len(w.Refused) != 0 {
		t.Errorf("Write = %+v, %v", w, err)
	}
	if _, err := s.Last(t.Context(), key); code(err) != "influx_no_bucket" {
		t.Errorf("Last = %v", err)
	}
	if v, err := s.Probe(t.Context()); err != nil {
		t.Errorf("Probe = %q, %v", v, err)
	}
}

// answer is a server that says what a test wants it to say.
type answer struct {
	status  int
	header  map[string]string
	body    string
	version string
	calls   []string
}

func (a *answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.URL.Path == "/ping" {
		w.Header().Set("X-Influxdb-Version", a.version)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	a.calls = append(a.calls, fmt.Sprintf("%s %s %s %s", r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"), body))
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(a.status)
	io.WriteString(w, a.body)
}

func TestAnswersOfOtherServers(t *testing.T) {
	asJSON := map[string]string{"Content-Type": "application/json"}
	tests := []struct {
		name    string
		answer  answer
		code    string // "" means written
		after   time.Duration
		refused int
	}{
		{"written", answer{status: 204}, "", 0, 0},
		{"unauthorized", answer{status: 401, header: asJSON, body: `{"code":"unauthorized","message":"s3cret is wrong"}`}, "influx_unauthorized", 0, 0},
		{"forbidden", answer{status: 403, header: asJSON, body: `{}`}, "influx_forbidden", 0, 0},
		{"no such bucket", answer{status: 404, header: asJSON, body: `{"code":"not found","message":"bucket"}`, version: "v2.7.12"}, "influx_no_bucket", 0, 0},
		{"too old", answer{status: 404, body: "404 page not found", version: "1.6.7~rc0"}, "influx_too_old", 0, 0},
		{"asked to slow down", answer{status: 429, header: map[string]string{"Retry-After": "30"}}, "influx_busy", 30 * time.Second, 0},
		{"overloaded", answer{status: 503}, "influx_busy", 0, 0},
		{"bad gateway", answer{status: 502, body: "<html>"}, "influx_busy", 0, 0},
		{"a portal's page", answer{status: 200, body: "<html>sign in"}, "influx_unreachable", 0, 0},
		{"redirected", answer{status: 302, header: map[string]string{"Location": "/login"}}, "influx_foreign_answer", 0, 0},
		{"a proxy's 400 throws nothing away", answer{status: 400, body: "plain HTTP sent to HTTPS port"}, "influx_foreign_answer", 0, 0},
		{"every line refused", answer{status: 422, header: asJSON, body: `{"code":"unprocessable entity","message":"field type conflict"}`}, "", 0, 3},
		{"too large even alone", answer{status: 413}, "", 0, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(&tt.answer)
			defer server.Close()
			s := open(t, Config{URL: server.URL, Org: "o", Bucket: "b", Token: "s3cret"})
			w, err := s.Write(t.Context(), batchOf(3))
			if len(w.Refused) != tt.refused {
				t.Errorf("%d refused, want %d", len(w.Refused), tt.refused)
			}
			if tt.code == "" {
				if err != nil || w.Durable != 3 {
					t.Errorf("%+v, %v", w, err)
				}
				return
			}
			if code(err) != tt.code || !errors.Is(err, devices.ErrUnavailable) || w.Durable != 0 {
				t.Errorf("%+v, %v, want %s", w, err, tt.code)
			}
			if got := timeseries.RetryAfter(err); got != tt.after {
				t.Errorf("RetryAfter = %s, want %s", got, tt.after)
			}
			if strings.Contains(fmt.Sprintf("%+v", err), "s3cret") {
				t.Errorf("the token shows: %v", err)
			}
		})
	}
}

func TestWhatIsSentToVersion2(t *testing.T) {
	a := &answer{status: 204, version: "v2.7.12"}
	server := httptest.NewServer(a)
	defer server.Close()
	s := open(t, Config{URL: server.URL + "/", Org: "my org", Bucket: "air/week", Token: "tok"})
	r := record(1, "stack.so2", noon, 1e21)
	r.Readings[0].Quality = devices.BadDevice
	r.Readings[0].Site = "a b,c=d"
	if _, err := s.Write(t.Context(), []timeseries.Record{r, record(2, "stack.nox", noon, 2)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Retain(t.Context(), noon); err != nil {
		t.Fatal(err)
	}
	a.status, a.body = 200, `{"results":[{"statement_id":0}]}`
	if _, err := s.Range(t.Context(), timeseries.Series{Site: `x' OR 'a'='a`, Point: "o.p"}, noon, noon.Add(time.Hour), 5); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"POST /api/v2/write?bucket=air%2Fweek&org=my+org&precision=ms Token tok " +
			`reading,site=a\ b\,c\=d,outlet=stack,point=so2 v=1e+21,q=65i 1772337600000` + "\n" +
			"reading,site=site-1,outlet=stack,point=nox v=2,q=0i 1772337600000",
		"POST /api/v2/delete?bucket=air%2Fweek&org=my+org Token tok " +
			`{"predicate":"_measurement=\"reading\"","start":"1678-01-01T00:00:00Z","stop":"2026-02-28T15:59:59.999999999Z"}`,
		"POST /query Token tok db=air&epoch=ms&q=SELECT+v%2C+q+FROM+reading+WHERE+site+%3D+%27x%5C%27+OR+%5C%27a%5C%27%3D%5C%27a%27+AND+outlet+%3D+%27o%27+AND+point+%3D+%27p%27+" +
			"AND+time+%3E%3D+%272026-03-01T04%3A00%3A00Z%27+AND+time+%3C+%272026-03-01T05%3A00%3A00Z%27+LIMIT+5&rp=week",
	}
	if diff := cmp.Diff(want, a.calls); diff != "" {
		t.Error(diff)
	}
}

func TestGarbageInAnswerToQuery(t *testing.T) {
	for _, body := range []string{"<html>", "{}", "[]", ""} {
		server := httptest.NewServer(&answer{status: 200, body: body})
		s := open(t, Config{URL: server.URL, Bucket: "b"})
		if got, err := s.Range(t.Context(), key, noon, noon.Add(time.Hour), 0); code(err) != "influx_foreign_answer" {
			t.Errorf("%q: %v, %v", body, got, err)
		}
		server.Close()
	}
}

func TestEndOfContext(t *testing.T) {
	held := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(held)
		<-r.Context().Done()
	}))
	defer server.Close()
	s := open(t, Config{URL: server.URL, Bucket: "b"})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-held; cancel() }()
	if w, err := s.Write(ctx, batchOf(3)); !errors.Is(err, context.Canceled) || errors.Is(err, devices.ErrUnavailable) {
		t.Errorf("%+v, %v", w, err)
	}
}

func TestConfigFaults(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want []string
	}{
		{"empty", Config{}, []string{"url", "bucket"}},
		{"not http", Config{URL: "influx:8086", Bucket: "b"}, []string{"url"}},
		{"password in address", Config{URL: "http://u:p@h", Bucket: "b"}, []string{"url"}},
		{"two places, two keys", Config{URL: "http://h", Bucket: "b", Database: "d", Token: "t", Username: "u"}, []string{"database", "token"}},
		{"good", Config{URL: "https://h", Database: "d", RetentionPolicy: "week"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(tt.cfg)
			var fields []string
			for _, p := range devices.AllProblems(err) {
				fields = append(fields, p.Field)
			}
			if diff := cmp.Diff(tt.want, fields); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTooOld(t *testing.T) {
	for version, want := range map[string]bool{
		"1.6.7~rc0": true, "1.7.11": true, "0.13": true, "1.8.10": false, "v2.7.12": false, "2.0": false, "unknown": false, "": false, "3.1": false,
	} {
		if got := tooOld(version); got != want {
			t.Errorf("tooOld(%q) = %t", version, got)
		}
	}
}
