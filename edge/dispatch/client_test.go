package dispatch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/edge/dispatch"
	"offsite/edge/dispatch/platformtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

// quick are time-outs for platforms that hang.
var quick = dispatch.Timeouts{Header: 300 * time.Millisecond, Call: time.Second}

// site is a site of two points and a camera.
type site struct {
	mu       sync.Mutex
	revision int64
	things   map[string]dispatch.Resource
	changes  []dispatch.Resource
	wake     chan struct{}
	readings map[string]dispatch.Reading
	blobs    map[string][]byte
	executed []string
	execute  func(ctx context.Context, c dispatch.Command) (dispatch.Result, error)
}

func newSite() *site {
	s := &site{
		things: make(map[string]dispatch.Resource), wake: make(chan struct{}, 1),
		readings: make(map[string]dispatch.Reading), blobs: make(map[string][]byte),
	}
	s.put(dispatch.ResourceKindSite, "yard")
	s.put(dispatch.ResourceKindPoint, "gate.pm10")
	s.read("gate.pm10", 81)
	s.read("gate.noise", 55)
	return s
}

func (s *site) put(kind dispatch.ResourceKind, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	r := dispatch.Resource{Op: dispatch.ResourceOpA, Kind: kind, ID: id, Revision: s.revision, Data: json.RawMessage(`{"id":"` + id + `"}`)}
	if _, have := s.things[id]; have {
		r.Op = dispatch.ResourceOpU
	}
	s.things[id] = r
	s.changed(r)
}

func (s *site) retire(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	r := s.things[id]
	delete(s.things, id)
	s.changed(dispatch.Resource{Op: dispatch.ResourceOpD, Kind: r.Kind, ID: id, Revision: s.revision})
}

func (s *site) changed(r dispatch.Resource) {
	s.changes = append(s.changes, r)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *site) read(point string, v float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readings[point] = dispatch.Reading{Site: "yard", Point: point, Unit: "ug/m3", At: dispatch.At(time.Now()), Value: v, Quality: dispatch.ReadingQualityGood}
}

func (s *site) Status() dispatch.Heartbeat {
	return dispatch.Heartbeat{Buffer: dispatch.Buffer{Waiting: 3}, Devices: dispatch.OnlineCount{Total: 2, Online: 1}}
}

func (s *site) Watch() (<-chan struct{}, func()) { return s.wake, func() {} }

func (s *site) Changes(_ context.Context, since int64, max int) ([]dispatch.Resource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []dispatch.Resource
	for _, r := range s.changes {
		if r.Revision > since && len(out) < max {
			out = append(out, r)
		}
	}
	return out, nil
}

func (s *site) Directory(context.Context) (int64, []dispatch.Resource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []dispatch.Resource
	for _, r := range s.things {
		r.Op = dispatch.ResourceOpA
		out = append(out, r)
	}
	return s.revision, out, nil
}

func (s *site) Latest(points []string) []dispatch.Reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []dispatch.Reading
	for id, r := range s.readings {
		if points == nil || slices.Contains(points, id) {
			out = append(out, r)
		}
	}
	return out
}

var picture = append([]byte{0xff, 0xd8, 0xff, 0xe0}, bytes.Repeat([]byte("picture"), 30_000)...)

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (s *site) Execute(ctx context.Context, c dispatch.Command) (dispatch.Result, error) {
	s.mu.Lock()
	s.executed = append(s.executed, c.ID)
	execute := s.execute
	s.mu.Unlock()
	if execute != nil {
		return execute(ctx, c)
	}
	switch c.Type {
	case dispatch.CommandTypeSnapshotTake:
		sum := hashOf(picture)
		s.mu.Lock()
		s.blobs[sum] = picture
		s.mu.Unlock()
		data, err := json.Marshal(dispatch.SnapshotData{Camera: "cam-1", SHA256: sum, MediaType: "image/jpeg", CapturedAt: dispatch.At(time.Now())})
		return dispatch.Result{Data: data, Blobs: []string{sum}}, err
	case dispatch.CommandTypeReadingRead:
		data, err := json.Marshal(dispatch.ReadingData{Readings: s.Latest([]string{"gate.pm10"})})
		return dispatch.Result{Data: data}, err
	default:
		return dispatch.Result{}, &devices.Problem{Kind: devices.ErrNotFound, Code: "no_such_camera", ZH: "没有此摄像机", EN: "there is no such camera"}
	}
}

func (s *site) Blob(sum string) (dispatch.Blob, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, have := s.blobs[sum]
	if !have {
		return dispatch.Blob{}, errors.New("no such file")
	}
	return dispatch.Blob{ReadCloser: io.NopCloser(bytes.NewReader(b)), Size: int64(len(b)), MediaType: "image/jpeg"}, nil
}

func (s *site) runs(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, e := range s.executed {
		if e == id {
			n++
		}
	}
	return n
}

func (s *site) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.executed)
}

// audit keeps entries in memory; broken refuses them.
type audit struct {
	mu      sync.Mutex
	entries []dispatch.Entry
	broken  error
	tried   int
}

func (a *audit) tries() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tried
}

func (a *audit) Audit(_ context.Context, _ *sql.Tx, e dispatch.Entry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tried++
	if a.broken != nil {
		return a.broken
	}
	a.entries = append(a.entries, e)
	return nil
}

func (a *audit) list(act string) (out []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.entries {
		if e.Act == act {
			out = append(out, e.Result+" "+e.What+" "+e.Detail)
		}
	}
	return out
}

// serve runs a platform on loopback until the test ends.
func serve(t *testing.T, cfg platformtest.Config) (p *platformtest.Platform, url string, stop func()) {
	t.Helper()
	p, err := platformtest.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return serveAt(t, p, "127.0.0.1:0")
}

func serveAt(t *testing.T, p *platformtest.Platform, addr string) (_ *platformtest.Platform, url string, stop func()) {
	t.Helper()
	ln, err := platformtest.Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return p.Run(ctx, ln) })
	stop = sync.OnceFunc(func() {
		cancel()
		if err := g.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("platform: %v", err)
		}
	})
	t.Cleanup(stop)
	return p, "http://" + ln.Addr().String(), stop
}

// gateway is a client with what it stands on.
type gateway struct {
	*dispatch.Client
	db    *state.DB
	audit *audit
	dir   string
	close func()
}

// open opens a client in dir, enrolled at url if code is given.
func open(t *testing.T, dir, url, code string, change ...func(*dispatch.Config)) *gateway {
	t.Helper()
	db, err := state.Open(t.Context(), state.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{db: db, audit: &audit{}, dir: dir}
	cfg := dispatch.Config{Version: "1.2.3", Auditor: g.audit, PollWait: 2 * time.Second, MaxPause: 20 * time.Millisecond, Heartbeat: 50 * time.Millisecond}
	for _, c := range change {
		c(&cfg)
	}
	if g.Client, err = dispatch.Open(t.Context(), db, cfg); err != nil {
		t.Fatal(err)
	}
	g.close = sync.OnceFunc(func() {
		g.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(g.close)
	if code != "" {
		if err := g.Enrol(t.Context(), url, code); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// run runs the client until the test ends or stop is called.
func (g *gateway) run(t *testing.T, s *site) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var group errgroup.Group
	group.Go(func() error { return g.Run(ctx, s) })
	stop = sync.OnceFunc(func() {
		cancel()
		if err := group.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// eventually waits for what a real connection brings.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("did not happen: %s", what)
		}
	}
}

func noViolations(t *testing.T, p *platformtest.Platform) {
	t.Helper()
	if v := p.Violations(); len(v) > 0 {
		t.Errorf("contract broken:\n%s", strings.Join(v, "\n"))
	}
}

var officer = dispatch.Officer{ID: "320100-17", Name: "李明", Unit: "生态环境局"}

func command(kind dispatch.CommandType, args string) dispatch.Command {
	return dispatch.Command{Type: kind, Officer: officer, Purpose: "夜间施工检查", Args: json.RawMessage(args)}
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestTheWholeRoad(t *testing.T) {
	for _, alg := range []dispatch.Algorithm{dispatch.AlgorithmHMACSHA256, dispatch.AlgorithmHMACSM3} {
		t.Run(string(alg), func(t *testing.T) {
			p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}, Algorithm: alg})
			g, s := open(t, t.TempDir(), url, "code-1"), newSite()
			g.run(t, s)
			eventually(t, "heartbeat with revision", func() bool {
				h := p.Heartbeats()
				return len(h) == 1 && h[0].ResourcesRevision == 2 && h[0].Buffer.Waiting == 3 && h[0].Clock.State == dispatch.ClockStateSynced
			})
			eventually(t, "current values", func() bool { return len(p.Readings()) == 2 })
			s.put("limit", "pm10-h") // not for the platform's directory
			s.put(dispatch.ResourceKindCamera, "cam-1")
			s.retire("gate.pm10")
			eventually(t, "changes of resources", func() bool {
				var ids []string
				for _, r := range p.Resources() {
					ids = append(ids, r.ID)
				}
				return cmp.Equal(ids, []string{"cam-1", "yard"})
			})
			result, err := p.Command(within(t, 10*time.Second), command(dispatch.CommandTypeSnapshotTake, `{"camera":"cam-1"}`))
			if err != nil || result.Status != dispatch.ResultStatusDone || !bytes.Equal(p.Blob(result.Blobs[0]), picture) {
				t.Fatalf("snapshot: %v %+v", err, result)
			}
			if result, err = p.Command(within(t, 10*time.Second), command(dispatch.CommandTypeReadingRead, `{"points":["gate.pm10"]}`)); err != nil || result.Status != dispatch.ResultStatusDone {
				t.Fatalf("reading: %v %+v", err, result)
			}
			eventually(t, "acts", func() bool { return len(p.Acts()) == 2 })
			if a := p.Acts()[0]; a.What != "camera/cam-1" || a.Officer != officer || a.Kind != dispatch.ActKindRemoteView || a.Result != dispatch.ActResultDone {
				t.Errorf("act: %+v", a)
			}
			if got := g.audit.list("snapshot.take"); len(got) != 2 || !strings.HasPrefix(got[0], "taken camera/cam-1 ") || !strings.HasPrefix(got[1], "done camera/cam-1 ") {
				t.Errorf("audit: %q", got)
			}
			noViolations(t, p)
		})
	}
}

func TestSubscriptionDecidesWhatIsSent(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}, Subscription: &dispatch.Subscription{Items: []dispatch.SubscriptionItem{}}})
	g, s := open(t, t.TempDir(), url, "code-1"), newSite()
	stop := g.run(t, s)
	result, err := p.Command(within(t, 10*time.Second), command(dispatch.CommandTypeSubscriptionSet, `{"items":[{"points":["gate.noise"],"every_seconds":1}]}`))
	if err != nil || result.Status != dispatch.ResultStatusDone {
		t.Fatalf("%v %+v", err, result)
	}
	eventually(t, "first value", func() bool { return len(p.Readings()) == 1 })
	s.read("gate.noise", 71.5)
	eventually(t, "next value", func() bool { return p.Readings()[0].Value == 71.5 })
	if n := p.ReadingCount(); n != 2 {
		t.Errorf("%d readings were sent, want only the two that are new", n)
	}
	for _, bad := range []string{`{"items":[{"points":["*"],"every_seconds":0}]}`, `{"items":[{"points":["Gate"],"every_seconds":1}]}`, `{"items":3}`} {
		if result, err := p.Command(within(t, 10*time.Second), command(dispatch.CommandTypeSubscriptionSet, bad)); err != nil || result.Status != dispatch.ResultStatusFailed {
			t.Errorf("%s: %v %+v", bad, err, result)
		}
	}
	stop()
	g.close()
	g = open(t, g.dir, "", "")
	s.read("gate.noise", 72)
	g.run(t, s)
	eventually(t, "a value after a restart", func() bool { return p.Readings()[0].Value == 72 })
	noViolations(t, p)
}

func TestReadingsAreResent(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	heal := p.Inject(platformtest.Fault{Kind: platformtest.Status, Status: 503, Route: "postReadings"})
	g, s := open(t, t.TempDir(), url, "code-1"), newSite()
	g.run(t, s)
	eventually(t, "a failure", func() bool { return p.Met() > 2 })
	s.read("gate.pm10", 99)
	heal()
	eventually(t, "the newest value", func() bool { return len(p.Readings()) == 2 && p.Readings()[1].Value == 99 })
	if r := p.Readings()[0]; !r.Resent {
		t.Errorf("not marked as resent: %+v", r)
	}
}

func TestResourcesAreSentWholeOnRequest(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	g, s := open(t, t.TempDir(), url, "code-1"), newSite()
	for i := range 1200 {
		s.put(dispatch.ResourceKindDevice, fmt.Sprintf("dev-%d", i))
	}
	g.run(t, s)
	eventually(t, "directory in batches", func() bool { return len(p.Resources()) == 1202 })
	s.mu.Lock() // lost without a trace in the change feed
	delete(s.things, "dev-7")
	s.mu.Unlock()
	result, err := p.Command(within(t, 10*time.Second), command(dispatch.CommandTypeResourcesSync, `{}`))
	if err != nil || !strings.Contains(string(result.Data), `"resources":1201`) {
		t.Fatalf("%v %+v", err, result)
	}
	eventually(t, "full run by command", func() bool { return len(p.Resources()) == 1201 })
	s.mu.Lock()
	delete(s.things, "dev-8")
	s.mu.Unlock()
	p.AskResync()
	eventually(t, "full run by heartbeat", func() bool { return len(p.Resources()) == 1200 })
	noViolations(t, p)
}

func TestKeysRotateWhileMessagesFlow(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	g, s := open(t, t.TempDir(), url, "code-1"), newSite()
	g.run(t, s)
	p.Inject(platformtest.Fault{Kind: platformtest.CommitReset, Route: "rotateKeys", Times: 1})
	p.AskRotation()
	eventually(t, "an answer lost", func() bool { return p.Met() == 1 })
	p.AskRotation()
	key := func() (id string) {
		if err := g.db.Read().QueryRow(`SELECT count(*) FROM dispatch_key WHERE ends_at IS NOT NULL`).Scan(&id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	eventually(t, "old keys that will end", func() bool { return key() == "2" })
	for range 3 {
		if _, err := p.Command(within(t, 10*time.Second), command(dispatch.CommandTypeReadingRead, `{"points":["gate.pm10"]}`)); err != nil {
			t.Fatal(err)
		}
	}
	noViolations(t, p)
}

func TestEnrolment(t *testing.T) {
	tests := []struct {
		name, url, code string
		fault           *platformtest.Fault
		want            string
	}{
		{name: "wrong code", code: "nope", want: "platform_unknown_code"},
		{name: "used code", code: "used", want: "platform_code_used"},
		{name: "no code", code: "", want: "bad_code"},
		{name: "plain http abroad", url: "http://192.0.2.1", code: "good", want: "insecure"},
		{name: "no address", url: "platform", code: "good", want: "bad_address"},
		{name: "password in the address", url: "https://u:p@192.0.2.1", code: "good", want: "bad_address"},
		{name: "garbage", code: "good", fault: &platformtest.Fault{Kind: platformtest.Garbage}, want: "platform_garbled"},
		{name: "redirect", code: "good", fault: &platformtest.Fault{Kind: platformtest.Redirect}, want: "platform_redirects"},
		{name: "right", code: "good", want: ""},
		{name: "answer lost, then again", code: "good", fault: &platformtest.Fault{Kind: platformtest.CommitReset, Times: 1}, want: ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, url, _ := serve(t, platformtest.Config{Codes: []string{"good", "used"}})
			open(t, t.TempDir(), url, "used")
			if tt.fault != nil {
				p.Inject(*tt.fault)
			}
			if tt.url != "" {
				url = tt.url
			}
			g := open(t, t.TempDir(), "", "")
			err := g.Enrol(t.Context(), url, tt.code)
			if tt.fault != nil && tt.fault.Times == 1 { // the person tries again
				if err == nil {
					t.Error("a lost answer went unnoticed")
				}
				err = g.Enrol(t.Context(), url, tt.code)
			}
			got := ""
			if err != nil {
				got = devices.AllProblems(err)[0].Code
			}
			if got != tt.want {
				t.Errorf("got %q, want %q (%v)", got, tt.want, err)
			}
			if id, _ := g.Enrolled(); (id != "") != (tt.want == "") {
				t.Errorf("enrolled as %q", id)
			}
		})
	}
}

func TestSecretsAreSealed(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	g := open(t, t.TempDir(), url, "code-1")
	rows, err := g.db.Read().Query(`SELECT sealed FROM dispatch_key`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var sealed []byte
		if err := rows.Scan(&sealed); err != nil {
			t.Fatal(err)
		}
		if len(sealed) != 32+29 {
			t.Errorf("a key of 32 bytes is stored in %d", len(sealed))
		}
		n++
	}
	if err := rows.Err(); err != nil || n != 2 {
		t.Errorf("%d keys, %v", n, err)
	}
	_ = p
}

func TestClockIsCorrected(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	slow := func(c *dispatch.Config) { c.Now = func() time.Time { return time.Now().Add(-time.Hour) } }
	g, s := open(t, t.TempDir(), url, "code-1", slow), newSite()
	g.run(t, s)
	eventually(t, "an offset of an hour", func() bool {
		k := g.Clock()
		return k.State == dispatch.ClockStateOff && k.OffsetMS > 3_599_000 && k.OffsetMS < 3_601_000
	})
	if result, err := p.Command(within(t, 10*time.Second), command(dispatch.CommandTypeReadingRead, `{"points":["gate.pm10"]}`)); err != nil || result.Status != dispatch.ResultStatusDone {
		t.Errorf("%v %+v", err, result)
	}
}

func TestReportsTellChangesOnly(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	var mu sync.Mutex
	var got []string
	g := open(t, t.TempDir(), "", "", func(c *dispatch.Config) {
		c.Report = func(r dispatch.Report) {
			if r.Part != dispatch.PartPlatform {
				return
			}
			text := "works"
			if r.Problem != nil {
				text = r.Problem.Code
			}
			mu.Lock()
			got = append(got, text)
			mu.Unlock()
		}
	})
	saw := func(n int) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return len(got) >= n }
	}
	stop := g.run(t, newSite())
	eventually(t, "not enrolled", saw(1))
	if err := g.Enrol(t.Context(), url, "code-1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "works", saw(2))
	heal := p.Inject(platformtest.Fault{Kind: platformtest.Reset})
	eventually(t, "fails", saw(3))
	heal()
	eventually(t, "works again", saw(4))
	eventually(t, "three heartbeats more", func() bool { return len(p.Heartbeats()) == 1 })
	stop()
	if want := []string{"not_enrolled", "works", "platform_unreachable", "works"}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}

func TestDialFunctionIsUsed(t *testing.T) {
	_, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	refused := errors.New("address not allowed")
	g := open(t, t.TempDir(), "", "", func(c *dispatch.Config) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, refused }
	})
	if err := g.Enrol(t.Context(), url, "code-1"); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
}
