package dispatch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/edge/dispatch"
	"offsite/edge/dispatch/platformtest"
	"offsite/edge/dispatch/wire"
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
	things   map[string]wire.Resource
	changes  []wire.Resource
	wake     chan struct{}
	readings map[string]wire.Reading
	blobs    map[string][]byte
	slow     map[string]chan struct{} // blobs that are sent once it is closed
	told     atomic.Int64             // heartbeats that were taken
	executed []string
	execute  func(ctx context.Context, c wire.Command) (wire.Result, error)
}

func newSite() *site {
	s := &site{
		things: make(map[string]wire.Resource), wake: make(chan struct{}, 1),
		readings: make(map[string]wire.Reading), blobs: make(map[string][]byte),
	}
	s.put(wire.ResourceKindSite, "yard")
	s.put(wire.ResourceKindPoint, "gate.pm10")
	s.read("gate.pm10", 81)
	s.read("gate.noise", 55)
	return s
}

func (s *site) put(kind wire.ResourceKind, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	r := wire.Resource{Op: wire.ResourceOpA, Kind: kind, ID: id, Revision: s.revision, Data: json.RawMessage(`{"id":"` + id + `"}`)}
	if _, have := s.things[id]; have {
		r.Op = wire.ResourceOpU
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
	s.changed(wire.Resource{Op: wire.ResourceOpD, Kind: r.Kind, ID: id, Revision: s.revision})
}

func (s *site) changed(r wire.Resource) {
	s.changes = append(s.changes, r)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *site) read(point string, v float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readings[point] = wire.Reading{Site: "yard", Point: point, Unit: "ug/m3", At: wire.At(time.Now()), Value: v, Quality: wire.ReadingQualityGood}
}

func (s *site) Status() (wire.Heartbeat, func(context.Context) error) {
	return wire.Heartbeat{
		Losses: []wire.Loss{{ID: s.told.Load() + 1, What: "gap device/pm-1", Count: 3, From: wire.At(time.Now()), To: wire.At(time.Now()), Why: "断电 / power"}},
		Buffer: wire.Buffer{Waiting: 3}, Devices: wire.OnlineCount{Total: 2, Online: 1}, Stale: []string{"gate.pm10"},
		Maintenance: []wire.Maintenance{{Kind: wire.MaintenanceKindDevice, ID: "pm-1", Site: "yard", Reason: "换滤芯", From: wire.At(time.Now()), Until: wire.At(time.Now().Add(time.Hour))}},
	}, func(context.Context) error { s.told.Add(1); return nil }
}

func (s *site) Watch() (<-chan struct{}, func()) { return s.wake, func() {} }

func (s *site) Changes(_ context.Context, since int64, max int) ([]wire.Resource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []wire.Resource
	for _, r := range s.changes {
		if r.Revision > since && len(out) < max {
			out = append(out, r)
		}
	}
	return out, nil
}

func (s *site) Directory(context.Context) (int64, []wire.Resource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []wire.Resource
	for _, r := range s.things {
		r.Op = wire.ResourceOpA
		out = append(out, r)
	}
	return s.revision, out, nil
}

func (s *site) Latest(points []string) []wire.Reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []wire.Reading
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

func (s *site) Execute(ctx context.Context, c wire.Command) (wire.Result, error) {
	s.mu.Lock()
	s.executed = append(s.executed, c.ID)
	execute := s.execute
	s.mu.Unlock()
	if execute != nil {
		return execute(ctx, c)
	}
	switch c.Type {
	case wire.CommandTypeSnapshotTake:
		sum := hashOf(picture)
		s.mu.Lock()
		s.blobs[sum] = picture
		s.mu.Unlock()
		data, err := json.Marshal(wire.SnapshotData{Camera: "cam-1", SHA256: sum, MediaType: "image/jpeg", CapturedAt: wire.At(time.Now())})
		return wire.Result{Data: data, Blobs: []string{sum}}, err
	case wire.CommandTypeReadingRead:
		data, err := json.Marshal(wire.ReadingData{Readings: s.Latest([]string{"gate.pm10"})})
		return wire.Result{Data: data}, err
	default:
		return wire.Result{}, &devices.Problem{Kind: devices.ErrNotFound, Code: "no_such_camera", ZH: "没有此摄像机", EN: "there is no such camera"}
	}
}

func (s *site) Blob(sum string) (dispatch.Blob, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, have := s.blobs[sum]
	if !have {
		return dispatch.Blob{}, errors.New("no such file")
	}
	blob := dispatch.Blob{ReadCloser: io.NopCloser(bytes.NewReader(b)), Size: int64(len(b)), MediaType: "image/jpeg"}
	if gate := s.slow[sum]; gate != nil {
		blob.Slow = func(in io.ReadCloser) io.ReadCloser { return gated{in, gate} }
	}
	return blob, nil
}

// gated gives nothing before its gate is open.
type gated struct {
	io.ReadCloser
	gate <-chan struct{}
}

func (g gated) Read(b []byte) (int, error) {
	<-g.gate
	return g.ReadCloser.Read(b)
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

var officer = wire.Officer{ID: "320100-17", Name: "李明", Unit: "生态环境局"}

func command(kind wire.CommandType, args string) wire.Command {
	return wire.Command{Type: kind, Officer: officer, Purpose: "夜间施工检查", Args: json.RawMessage(args)}
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// rewind makes a command look as if the gateway had died executing it.
func rewind(id string) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		_, err := tx.Exec(`UPDATE dispatch_command SET result = NULL, result_sent = 0, act = NULL, act_sent = 1 WHERE id = ?`, id)
		return err
	}
}

// benchClient gives a client enrolled at p.
func benchClient(b *testing.B, p *platformtest.Platform) (*dispatch.Client, string) {
	b.Helper()
	server := httptest.NewServer(p)
	b.Cleanup(server.Close)
	return openFuzz(b, server.URL), server.URL
}

func openFuzz(f testing.TB, url string) *dispatch.Client {
	f.Helper()
	db, err := state.Open(f.Context(), state.Config{Dir: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	c, err := dispatch.Open(f.Context(), db, dispatch.Config{Auditor: &audit{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		c.Close()
		if err := db.Close(); err != nil {
			f.Error(err)
		}
	})
	if err := c.Enrol(f.Context(), url, "code-1"); err != nil {
		f.Fatal(err)
	}
	return c
}
