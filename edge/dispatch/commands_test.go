package dispatch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"offsite/edge/dispatch"
	"offsite/edge/dispatch/platformtest"
	"offsite/edge/dispatch/wire"
)

// enrolled gives a platform and a gateway that runs.
func enrolled(t *testing.T, cfg platformtest.Config) (*platformtest.Platform, *gateway, *site) {
	t.Helper()
	cfg.Codes = []string{"code-1"}
	p, url, _ := serve(t, cfg)
	return p, open(t, t.TempDir(), url, "code-1"), newSite()
}

func TestCommandsAreRefused(t *testing.T) {
	const nonce = "0123456789abcdef0123456789abcdef"
	good := func() wire.Command { return command(wire.CommandTypeReadingRead, `{"points":["gate.pm10"]}`) }
	tests := []struct {
		name   string
		change func(c *wire.Command)
		late   time.Duration
		break_ func(s *wire.SignedCommand)
		want   string // problem code; "" is done
		ledger bool   // it is in the ledger: the refusal is its result
	}{
		{name: "right", want: ""},
		{name: "stale", late: -6 * time.Minute, want: "time_outside_window"},
		{name: "from the future", late: 6 * time.Minute, want: "time_outside_window"},
		{name: "body changed", break_: func(s *wire.SignedCommand) { s.Body = strings.Replace(s.Body, "夜间", "日间", 1) }, want: "body_changed"},
		{name: "signature changed", break_: func(s *wire.SignedCommand) {
			last := s.Authorization[len(s.Authorization)-1]
			s.Authorization = s.Authorization[:len(s.Authorization)-1] + string("01"[1-(last&1)&1])
			if s.Authorization[len(s.Authorization)-1] == last {
				s.Authorization = s.Authorization[:len(s.Authorization)-1] + "f"
			}
		}, want: "bad_signature"},
		{name: "no signature", break_: func(s *wire.SignedCommand) { s.Authorization = "Bearer x" }, want: "bad_signature_header"},
		{name: "unknown key", break_: func(s *wire.SignedCommand) {
			s.Authorization = strings.Replace(s.Authorization, "key=p-", "key=q-", 1)
		}, want: "unknown_key"},
		{name: "another gateway", change: func(c *wire.Command) { c.Gateway = "gw-other" }, want: "wrong_gateway"},
		{name: "no officer", change: func(c *wire.Command) { c.Officer = wire.Officer{} }, want: "officer_missing", ledger: true},
		{name: "no purpose", change: func(c *wire.Command) { c.Purpose = " " }, want: "purpose_missing", ledger: true},
		{name: "not on the list", change: func(c *wire.Command) { c.Type = wire.CommandTypeLimitSet }, want: "not_allowed", ledger: true},
		{name: "no such type", change: func(c *wire.Command) { c.Type = "gateway.explode" }, want: "not_allowed", ledger: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, g, s := enrolled(t, platformtest.Config{})
			c := good()
			c.ID = "c-1"
			c.Gateway = p.Gateways()[0]
			if tt.change != nil {
				tt.change(&c)
			}
			gate := c.Gateway
			c.Gateway = p.Gateways()[0]
			signed := func() wire.SignedCommand {
				c := c
				sc, err := p.SignCommand(c, time.Now().Add(tt.late), nonce)
				if gate != c.Gateway { // signed by our own platform's key, for another
					sc, err = p.SignForeign(c, gate, time.Now(), nonce)
				}
				if err != nil {
					t.Fatal(err)
				}
				if tt.break_ != nil {
					tt.break_(&sc)
				}
				return sc
			}
			g.run(t, s)
			p.Offer(signed())
			eventually(t, "an answer", func() bool { return len(p.Results("c-1")) == 1 })
			r := p.Results("c-1")[0]
			if r.Problem.Code != tt.want || (tt.want == "") != (r.Status == wire.ResultStatusDone) {
				t.Errorf("got %+v, want %q", r, tt.want)
			}
			if tt.want != "" && s.runs("c-1") != 0 {
				t.Error("a refused command was executed")
			}
			if refused := g.audit.list("command.refused"); tt.want != "" && !tt.ledger && (len(refused) != 1 || !strings.HasSuffix(refused[0], tt.want)) {
				t.Errorf("audit: %q", refused)
			}
			var n int
			if err := g.db.Read().QueryRow(`SELECT count(*) FROM dispatch_command`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			if inLedger := tt.ledger || tt.want == ""; (n == 1) != inLedger {
				t.Errorf("%d commands in the ledger", n)
			}
		})
	}
}

func TestReplayTakesNoSecondEffect(t *testing.T) {
	p, g, s := enrolled(t, platformtest.Config{})
	g.run(t, s)
	c := command(wire.CommandTypeReadingRead, `{"points":["gate.pm10"]}`)
	c.ID = "c-1"
	nonce := wire.NewNonce()
	first, err := p.SignCommand(c, time.Now(), nonce)
	if err != nil {
		t.Fatal(err)
	}
	p.Offer(first)
	eventually(t, "the result", func() bool { return len(p.Results("c-1")) == 1 })
	first.Authorization += "" // the very same bytes again
	p.Offer(first)
	p.Again("c-1")
	eventually(t, "both repetitions polled and answered by the stored result", func() bool {
		var sent int
		err := g.db.Read().QueryRow(`SELECT result_sent FROM dispatch_command WHERE id = 'c-1'`).Scan(&sent)
		return err == nil && sent == 1
	})
	c.ID = "c-2"
	second, err := p.SignCommand(c, time.Now(), nonce)
	if err != nil {
		t.Fatal(err)
	}
	p.Offer(second)
	eventually(t, "the replayed nonce refused", func() bool { return len(p.Results("c-2")) == 1 })
	if r := p.Results("c-2")[0]; r.Problem.Code != "nonce_replayed" {
		t.Errorf("got %+v", r)
	}
	c.ID, c.Purpose = "c-1", "another purpose"
	var offered time.Time
	eventually(t, "the reused id refused", func() bool {
		if time.Since(offered) > 200*time.Millisecond { // again, as platforms do: the id may just be in use
			third, err := p.SignCommand(c, time.Now(), wire.NewNonce())
			if err != nil {
				t.Fatal(err)
			}
			p.Offer(third)
			offered = time.Now()
		}
		refused := g.audit.list("command.refused")
		return len(refused) > 1 && strings.HasSuffix(refused[1], "command_id_reused")
	})
	if s.runs("c-1") != 1 || s.runs("c-2") != 0 {
		t.Errorf("executed %q", s.executed)
	}
}

func TestDoubledDeliveryIsAnsweredOnce(t *testing.T) {
	p, g, s := enrolled(t, platformtest.Config{})
	p.Inject(platformtest.Fault{Kind: platformtest.Double})
	g.run(t, s)
	for range 10 {
		result, err := p.Command(within(t, 10*time.Second), command(wire.CommandTypeReadingRead, `{"points":["gate.pm10"]}`))
		if err != nil {
			t.Fatal(err)
		}
		if n := s.runs(result.Command); n != 1 || len(p.Results(result.Command)) != 1 {
			t.Errorf("executed %d times, %d results", n, len(p.Results(result.Command)))
		}
	}
	noViolations(t, p)
}

func TestUnauditedCommandIsNotExecuted(t *testing.T) {
	p, g, s := enrolled(t, platformtest.Config{Redeliver: 50 * time.Millisecond})
	g.audit.broken = errors.New("audit is full")
	g.run(t, s)
	got := make(chan wire.Result, 1)
	go func() {
		r, _ := p.Command(within(t, 10*time.Second), command(wire.CommandTypeReadingRead, `{"points":["gate.pm10"]}`))
		got <- r
	}()
	eventually(t, "deliveries", func() bool { return len(p.Heartbeats()) == 1 })
	eventually(t, "three deliveries more", func() bool { return g.audit.tries() > 3 })
	if n := s.count(); n != 0 {
		t.Errorf("executed %q", s.executed)
	}
	g.audit.mu.Lock()
	g.audit.broken = nil
	g.audit.mu.Unlock()
	if r := <-got; r.Status != wire.ResultStatusDone || s.runs(r.Command) != 1 {
		t.Errorf("got %+v", r)
	}
}

func TestResultSurvivesRestart(t *testing.T) {
	p, g, s := enrolled(t, platformtest.Config{})
	heal := p.Inject(platformtest.Fault{Kind: platformtest.Status, Status: 503, Route: "commandResult"})
	stop := g.run(t, s)
	got := make(chan wire.Result, 1)
	go func() {
		r, _ := p.Command(within(t, 10*time.Second), command(wire.CommandTypeSnapshotTake, `{"camera":"cam-1"}`))
		got <- r
	}()
	eventually(t, "tries", func() bool { return p.Met() > 1 })
	stop()
	g.close()
	heal()
	g = open(t, g.dir, "", "")
	g.run(t, s)
	if r := <-got; r.Status != wire.ResultStatusDone || s.runs(r.Command) != 1 {
		t.Errorf("got %+v", r)
	}
	noViolations(t, p)
}

func TestBrokenOffCommandIsNotExecutedAgain(t *testing.T) {
	p, g, s := enrolled(t, platformtest.Config{})
	stop := g.run(t, s)
	c := command(wire.CommandTypeReadingRead, `{"points":["gate.pm10"]}`)
	c.ID = "c-1"
	if _, err := p.Command(within(t, 10*time.Second), c); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := g.db.Update(t.Context(), rewind("c-1")); err != nil { // as a kill during execution leaves it
		t.Fatal(err)
	}
	g.close()
	g = open(t, g.dir, "", "")
	g.run(t, s)
	eventually(t, "told as interrupted", func() bool {
		var raw []byte
		_ = g.db.Read().QueryRow(`SELECT result FROM dispatch_command WHERE id = 'c-1' AND result_sent = 1`).Scan(&raw)
		return strings.Contains(string(raw), `"interrupted"`)
	})
	if s.runs("c-1") != 1 {
		t.Errorf("executed %d times", s.runs("c-1"))
	}
}

// receiver serves what a gateway's own API would.
func receiver(t *testing.T, g *gateway, s *site) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		status, reply := g.Receive(r.Context(), s, r.RemoteAddr, r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header, body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(reply)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestReceive(t *testing.T) {
	p, g, s := enrolled(t, platformtest.Config{})
	url := receiver(t, g, s)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	c := command(wire.CommandTypeSnapshotTake, `{"camera":"cam-1"}`)
	c.ID = "c-1"
	status, result, err := p.Push(t.Context(), client, url, c)
	if err != nil || status != 200 || result.Status != wire.ResultStatusDone || p.Blob(result.Blobs[0]) == nil {
		t.Fatalf("%d %v %+v", status, err, result)
	}
	status, again, err := p.Push(t.Context(), client, url, c)
	if err != nil || status != 200 || again.FinishedAt != result.FinishedAt || s.runs("c-1") != 1 {
		t.Errorf("repeated: %d %v %+v", status, err, again)
	}
	stale, err := p.SignCommand(c, time.Now().Add(-time.Hour), wire.NewNonce())
	if err != nil {
		t.Fatal(err)
	}
	stale.Body = strings.Replace(stale.Body, "c-1", "c-9", 1)
	if status, result, err := p.PushSigned(t.Context(), client, url, stale); err != nil || status != 401 || result.Problem.Code != "body_changed" {
		t.Errorf("forged: %d %v %+v", status, err, result)
	}
	c.ID, c.Type = "c-2", wire.CommandTypeLimitSet
	if status, result, err := p.Push(t.Context(), client, url, c); err != nil || status != 200 || result.Status != wire.ResultStatusRefused {
		t.Errorf("not allowed: %d %v %+v", status, err, result)
	}
	stop := g.run(t, s) // nothing of it is told a second time
	eventually(t, "acts", func() bool { return len(p.Acts()) == 1 })
	stop()
	noViolations(t, p)
}

func TestForgeriesDoNotFloodTheAudit(t *testing.T) {
	_, g, s := enrolled(t, platformtest.Config{})
	for range 500 {
		status, _ := g.Receive(t.Context(), s, "192.0.2.9:1", "POST", dispatch.CommandPath, "", http.Header{}, []byte(`{"id":"c-1"}`))
		if status != 401 {
			t.Fatalf("status %d", status)
		}
	}
	if n := len(g.audit.list("command.refused")); n < 30 || n > 60 {
		t.Errorf("%d of 500 forgeries were audited", n)
	}
}

func TestReceiveWithoutWayUpAnswersLater(t *testing.T) {
	p, g, s := enrolled(t, platformtest.Config{})
	url := receiver(t, g, s)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	heal := p.Inject(platformtest.Fault{Kind: platformtest.Status, Status: 503, Route: "putBlob"})
	got := make(chan wire.Result, 1)
	c := command(wire.CommandTypeSnapshotTake, `{"camera":"cam-1"}`)
	c.ID = "c-1"
	sc, err := p.SignCommand(c, time.Now(), wire.NewNonce())
	if err != nil {
		t.Fatal(err)
	}
	go func() { r, _ := p.Command(within(t, 10*time.Second), c); got <- r }()
	status, result, err := p.PushSigned(t.Context(), client, url, sc)
	if err != nil || status != 202 || result.Status != wire.ResultStatusAccepted {
		t.Fatalf("%d %v %+v", status, err, result)
	}
	heal()
	g.run(t, s)
	if r := <-got; r.Status != wire.ResultStatusDone || s.runs("c-1") != 1 {
		t.Errorf("got %+v", r)
	}
}

func TestBothRoadsAtOnceExecuteOnce(t *testing.T) {
	p, g, s := enrolled(t, platformtest.Config{})
	url := receiver(t, g, s)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	release := make(chan struct{})
	var runs atomic.Int32
	s.execute = func(ctx context.Context, _ wire.Command) (wire.Result, error) {
		runs.Add(1)
		select {
		case <-release:
		case <-ctx.Done():
		}
		return wire.Result{Data: json.RawMessage(`{"readings":[]}`)}, nil
	}
	g.run(t, s)
	c := command(wire.CommandTypeReadingRead, `{"points":["gate.pm10"]}`)
	c.ID = "c-1"
	sc, err := p.SignCommand(c, time.Now(), wire.NewNonce())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan wire.Result, 1)
	go func() { r, _ := p.Command(within(t, 10*time.Second), c); got <- r }()
	eventually(t, "execution", func() bool { return runs.Load() == 1 })
	status, result, err := p.PushSigned(t.Context(), client, url, sc)
	if err != nil || status != 202 || result.Status != wire.ResultStatusAccepted {
		t.Errorf("%d %v %+v", status, err, result)
	}
	close(release)
	if r := <-got; r.Status != wire.ResultStatusDone || runs.Load() != 1 {
		t.Errorf("got %+v after %d runs", r, runs.Load())
	}
}

func FuzzReceive(f *testing.F) {
	p, err := platformtest.Open(platformtest.Config{Codes: []string{"code-1"}})
	if err != nil {
		f.Fatal(err)
	}
	server := httptest.NewServer(p)
	f.Cleanup(server.Close)
	g := openFuzz(f, server.URL)
	s := newSite()
	c := command(wire.CommandTypeReadingRead, `{"points":["gate.pm10"]}`)
	sc, err := p.SignCommand(c, time.Now(), wire.NewNonce())
	if err != nil {
		f.Fatal(err)
	}
	f.Add("POST", dispatch.CommandPath, "", sc.Authorization, []byte(sc.Body))
	f.Add("POST", dispatch.CommandPath, "a=b;c", sc.Authorization, []byte(`{"id":"x"`))
	f.Add("GET", "/", "", "", []byte(nil))
	f.Fuzz(func(t *testing.T, method, path, query, auth string, body []byte) {
		status, reply := g.Receive(t.Context(), s, "fuzz", method, path, query, http.Header{"Authorization": {auth}}, body)
		if !json.Valid(reply) || status < 200 || status > 599 {
			t.Fatalf("%d %q", status, reply)
		}
		if status < 300 && (auth != sc.Authorization || string(body) != sc.Body) {
			t.Fatalf("forged: %q %q", auth, body)
		}
	})
}

// TestALongFileHoldsUpNoOtherResult has results with files and without overtake
// one whose file takes its time.
func TestALongFileHoldsUpNoOtherResult(t *testing.T) {
	p, g, s := enrolled(t, platformtest.Config{})
	film, gate := bytes.Repeat([]byte("film"), 100_000), make(chan struct{})
	sum := hashOf(film)
	s.blobs[sum], s.slow = film, map[string]chan struct{}{sum: gate}
	usual, now := newSite(), wire.At(time.Now())
	s.execute = func(ctx context.Context, c wire.Command) (wire.Result, error) {
		if c.Type != wire.CommandTypeRecordingExport {
			s.mu.Lock()
			s.blobs[hashOf(picture)] = picture
			s.mu.Unlock()
			return usual.Execute(ctx, c)
		}
		data, err := json.Marshal(wire.RecordingExport{Camera: "cam-1", From: now, To: now, Bytes: int64(len(film)), Manifest: sum, Parts: []wire.RecordingPart{
			{Source: wire.RecordingSourceOwn, From: now, To: now, SHA256: sum, MediaType: "video/mp4", Bytes: int64(len(film)), Codec: "h264"},
		}})
		return wire.Result{Data: data, Blobs: []string{sum}}, err
	}
	g.run(t, s)
	open := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open) // before the run is ended
	exported := make(chan error)
	go func() {
		_, err := p.Command(t.Context(), command(wire.CommandTypeRecordingExport, `{"camera":"cam-1","from":"2026-03-01T12:00:00+08:00","to":"2026-03-01T13:00:00+08:00"}`))
		exported <- err
	}()
	eventually(t, "the export is carried out", func() bool { return s.count() == 1 })
	for _, c := range []wire.Command{command(wire.CommandTypeSnapshotTake, `{"camera":"cam-1"}`), command(wire.CommandTypeReadingRead, `{"points":["gate.pm10"]}`)} {
		if r, err := p.Command(within(t, 10*time.Second), c); err != nil || r.Status != wire.ResultStatusDone {
			t.Fatalf("%s: %+v, %v", c.Type, r, err)
		}
	}
	if p.Blob(sum) != nil {
		t.Fatal("the file was not held up")
	}
	open()
	if err := <-exported; err != nil || !bytes.Equal(p.Blob(sum), film) {
		t.Errorf("exported: %v", err)
	}
	noViolations(t, p)
}
