package hj212

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"offsite/devices"
	"offsite/devices/hj212/wire"
)

// slowDisk is a sink that takes three milliseconds for each delivery, in order,
// and fails while it is told to.
type slowDisk struct {
	queue chan func(error)

	mu      sync.Mutex
	failing bool
	stored  []devices.Delivery
	taken   []devices.Delivery // in the order of queue
	reports []devices.Report
}

func newSlowDisk() *slowDisk { return &slowDisk{queue: make(chan func(error), 10_000)} }

func (d *slowDisk) Accept(v devices.Delivery, done func(error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken = append(d.taken, v)
	d.queue <- done
}

func (d *slowDisk) Report(r devices.Report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reports = append(d.reports, r)
}

func (d *slowDisk) run(ctx context.Context) {
	for i := 0; ; i++ {
		select {
		case done := <-d.queue:
			time.Sleep(3 * time.Millisecond)
			var err error
			d.mu.Lock()
			if d.failing {
				err = errors.New("disk full")
			} else {
				d.stored = append(d.stored, d.taken[i])
			}
			d.mu.Unlock()
			done(err)
		case <-ctx.Done():
			return
		}
	}
}

func (d *slowDisk) fail(yes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failing = yes
}

// field is a host with two loggers, M1 strict and M2 tolerant, in a bubble.
type field struct {
	host *Host
	disk *slowDisk
	ctx  context.Context
	all  *sync.WaitGroup
}

// inField runs body with a field; everything has ended when it returns.
func inField(cfg Config, body func(f *field)) {
	cfg.Address = "127.0.0.1:0" // it never listens
	h, err := New(cfg)
	if err != nil {
		panic(err)
	}
	var clients []Client
	for i, mn := range []string{"M1", "M2"} {
		clients = append(clients, Client{
			Device: devices.Device{ID: mn, Password: "pw", HJ212: &devices.HJ212Settings{MN: mn, Tolerant: i == 1}},
			Bounds: []devices.Bound{{Site: "s", Point: devices.Point{ID: "o." + mn}, Binding: devices.Binding{Factor: &devices.FactorPlace{Code: "w01018"}}}},
		})
	}
	if err := h.Update(clients); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &field{host: h, disk: newSlowDisk(), ctx: ctx, all: &sync.WaitGroup{}}
	h.begin(f.disk)
	f.all.Go(func() { f.disk.run(ctx) })
	body(f)
	h.closeAll()
	time.Sleep(2 * farewell)
	cancel()
	f.all.Wait()
}

// peer is one connection of a logger.
type peer struct {
	conn net.Conn

	mu      sync.Mutex
	answers []string // CN and QN, in order
	packets []*wire.Packet
	closed  bool
}

// connect makes a connection; a deaf one reads nothing.
func (f *field) connect(deaf bool) *peer {
	ours, theirs := net.Pipe()
	f.all.Go(func() { f.host.serve(f.ctx, theirs) })
	p := &peer{conn: ours}
	if !deaf {
		f.all.Go(p.read)
	}
	return p
}

func (p *peer) read() {
	var d wire.Decoder
	buf := make([]byte, 512)
	for {
		n, err := p.conn.Read(buf)
		_, _ = d.Write(buf[:n])
		p.mu.Lock()
		for {
			f, ok := d.Next()
			if !ok {
				break
			}
			if f.Refused != nil {
				p.answers = append(p.answers, "garbled")
				continue
			}
			p.answers = append(p.answers, f.Packet.CN+" "+f.Packet.QN)
			p.packets = append(p.packets, f.Packet)
		}
		p.closed = err != nil
		p.mu.Unlock()
		if err != nil {
			_ = p.conn.Close()
			return
		}
	}
}

// send writes text in pieces of n bytes; a closed connection takes nothing.
func (p *peer) send(text string, n int) {
	for len(text) > 0 {
		k := min(n, len(text))
		if _, err := p.conn.Write([]byte(text[:k])); err != nil {
			return
		}
		text = text[k:]
	}
}

func (p *peer) heard() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.answers)
}

func (p *peer) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// qnOf gives the QN of the n-th packet of the model.
func qnOf(n int) string { return fmt.Sprintf("20240101000000%03d", n%1000) }

func valueFrame(mn, pw string, n int) string {
	return framed(fmt.Sprintf("QN=%s;ST=32;CN=2011;PW=%s;MN=%s;Flag=5;CP=&&DataTime=20240101%02d%02d%02d;w01018-Rtd=%d,w01018-Flag=N&&", qnOf(n), pw, mn, n/3600, n/60%60, n%60, n))
}

// model is what ought to have happened.
type model struct {
	*field
	fault string // the first thing that was wrong
	next  int
	peers [2]*peer
	sent  [2][]string  // answers that are due on the connection in force, in order
	old   [2][]int     // packets that went out whole
	good  map[int]bool // packets that may be on disk
}

// action is one thing that a logger does.
type action struct {
	logger, cut, again int
	what               string
}

func (m *model) wrong(format string, args ...any) {
	if m.fault == "" {
		m.fault = fmt.Sprintf(format, args...)
	}
}

func (m *model) step(a action) {
	i, cut := a.logger, a.cut
	mn := []string{"M1", "M2"}[i]
	n := m.next
	m.next++
	p := m.peers[i]
	due := func(n int) {
		m.good[n] = true
		m.sent[i] = append(m.sent[i], "9014 "+qnOf(n))
		m.old[i] = append(m.old[i], n)
	}
	switch a.what {
	case "packet":
		due(n)
		p.send(valueFrame(mn, "pw", n), cut)
	case "two at once":
		m.next++
		due(n)
		due(n + 1)
		p.send(valueFrame(mn, "pw", n)+valueFrame(mn, "pw", n+1), 1<<16)
	case "half, then a whole one":
		m.next++
		p.send(valueFrame(mn, "pw", n)[:min(cut, 60)], 1<<16)
		due(n + 1)
		p.send(valueFrame(mn, "pw", n+1), cut)
	case "half, then a new connection":
		p.send(valueFrame(mn, "pw", n)[:min(cut, 60)], 1<<16)
		m.reconnect(i)
	case "no CR LF":
		if i == 1 { // a strict logger's line would be lost with the next frame
			due(n)
			p.send(strings.TrimSuffix(valueFrame(mn, "pw", n), "\r\n"), cut)
		}
	case "replay":
		if len(m.old[i]) > 0 {
			again := m.old[i][a.again%len(m.old[i])]
			m.sent[i] = append(m.sent[i], "9014 "+qnOf(again))
			p.send(valueFrame(mn, "pw", again), cut)
		}
	case "another's MN":
		if len(m.sent[i]) > 0 { // else the connection would become the other's
			m.sent[i] = append(m.sent[i], "9011 "+qnOf(n))
			p.send(valueFrame([]string{"M2", "M1"}[i], "pw", n), cut)
		}
	case "wrong password":
		if len(m.sent[i]) > 0 {
			m.sent[i] = append(m.sent[i], "9011 "+qnOf(n))
			p.send(valueFrame(mn, "guess", n), cut)
		}
	case "wrong CRC":
		p.send(strings.Replace(valueFrame(mn, "pw", n), "w01018-Rtd=", "w01018-Rtd=9", 1), cut)
	case "garbage":
		p.send(strings.Repeat("x\x00", cut), 7)
	}
}

// reconnect checks what the old connection heard and opens a new one.
func (m *model) reconnect(i int) {
	m.settle(i)
	_ = m.peers[i].conn.Close()
	time.Sleep(2 * farewell)
	m.peers[i], m.sent[i] = m.connect(false), nil
}

// settle waits for all answers and compares them.
func (m *model) settle(i int) {
	time.Sleep(time.Second)
	if got := m.peers[i].heard(); !slices.Equal(got, m.sent[i]) {
		m.wrong("logger %d heard %q, want %q", i, got, m.sent[i])
	}
}

func TestHostWithMisbehavingLoggers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		actions := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) action {
			return action{
				rapid.IntRange(0, 1).Draw(rt, "logger"), rapid.IntRange(1, 200).Draw(rt, "cut"), rapid.IntRange(0, 99).Draw(rt, "again"),
				rapid.SampledFrom([]string{
					"packet", "two at once", "half, then a whole one", "half, then a new connection", "no CR LF",
					"replay", "another's MN", "wrong password", "wrong CRC", "garbage",
				}).Draw(rt, "what"),
			}
		}), 1, 25).Draw(rt, "actions")
		fault := ""
		synctest.Test(t, func(*testing.T) { // nothing of rapid's own may happen inside
			inField(Config{}, func(f *field) {
				m := &model{field: f, good: map[int]bool{}}
				for i := range m.peers {
					m.peers[i] = f.connect(false)
				}
				for _, a := range actions {
					m.step(a)
				}
				m.settle(0)
				m.settle(1)
				m.compare()
				for _, p := range m.peers {
					_ = p.conn.Close()
				}
				fault = m.fault
			})
		})
		if fault != "" {
			rt.Fatal(fault)
		}
	})
}

// compare holds what is on disk against what was sent: everything good, once,
// with its value, and nothing else.
func (m *model) compare() {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	got := map[int]int{}
	for _, d := range m.disk.stored {
		for _, r := range d.Readings {
			got[int(r.Value)]++
			if want := "o." + d.Origin.Device; r.Point != want {
				m.wrong("%s brought a reading of %s", d.Origin.Device, r.Point)
			}
		}
	}
	for n := range m.good {
		if got[n] != 1 {
			m.wrong("packet %d is on disk %d times", n, got[n])
		}
		delete(got, n)
	}
	if len(got) > 0 {
		m.wrong("on disk though nobody may have sent them: %v", got)
	}
}

func TestAFailingDiskIsNeverAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inField(Config{}, func(f *field) {
			p := f.connect(false)
			p.send(valueFrame("M1", "pw", 0), 1<<16)
			time.Sleep(time.Second)
			f.disk.fail(true)
			p.send(valueFrame("M1", "pw", 1)+valueFrame("M1", "pw", 2), 1<<16)
			time.Sleep(2 * farewell)
			if got := p.heard(); !p.isClosed() || !slices.Equal(got, []string{"9014 " + qnOf(0)}) {
				t.Errorf("closed %v, heard %q", p.isClosed(), got)
			}
			f.disk.fail(false)
			again := f.connect(false)
			again.send(valueFrame("M1", "pw", 1)+valueFrame("M1", "pw", 2), 1<<16)
			time.Sleep(time.Second)
			if got := again.heard(); !slices.Equal(got, []string{"9014 " + qnOf(1), "9014 " + qnOf(2)}) {
				t.Errorf("then heard %q", got)
			}
			if len(f.disk.stored) != 3 {
				t.Errorf("%d deliveries on disk", len(f.disk.stored))
			}
			_ = again.conn.Close()
		})
	})
}

func TestPatience(t *testing.T) {
	tests := []struct {
		name string
		deaf bool
		send string
		want time.Duration
		code string // of the last report; none where it was never known whose it is
	}{
		{"says nothing", false, "", time.Minute, ""},
		{"says nothing that can be read", false, "hello", time.Minute, ""},
		{"says nothing more", false, valueFrame("M1", "pw", 0), 2 * time.Hour, "device_offline"},
		{"reads nothing", true, valueFrame("M1", "pw", 0), 10 * time.Second, "deaf_device"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inField(Config{}, func(f *field) {
					began := time.Now()
					p := f.connect(tt.deaf)
					p.send(tt.send, 1<<16)
					synctest.Wait()
					open := func() bool {
						f.host.mu.Lock()
						defer f.host.mu.Unlock()
						return len(f.host.open) > 0
					}
					for open() {
						time.Sleep(100 * time.Millisecond)
					}
					if took := time.Since(began); took < tt.want || took > tt.want+2*farewell {
						t.Errorf("closed after %s, want %s", took, tt.want)
					}
					_ = p.conn.Close()
					f.disk.mu.Lock()
					defer f.disk.mu.Unlock()
					code := ""
					if n := len(f.disk.reports); n > 0 {
						code = f.disk.reports[n-1].Problem.Code
					}
					if code != tt.code {
						t.Errorf("reported %q, want %q", code, tt.code)
					}
				})
			})
		})
	}
}

func TestAFullQueueStopsTheReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inField(Config{Waiting: 4}, func(f *field) {
			p := f.connect(false)
			began := time.Now()
			for n := range 20 {
				p.send(valueFrame("M1", "pw", n), 1<<16)
			}
			if took := time.Since(began); took < 14*3*time.Millisecond {
				t.Errorf("twenty packets were taken within %s though four may wait for a disk that needs 3 ms each", took)
			}
			time.Sleep(time.Second)
			if got := len(p.heard()); got != 20 {
				t.Errorf("%d answers", got)
			}
			_ = p.conn.Close()
		})
	})
}

func TestACommandIsRepeatedAndGivenUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inField(Config{}, func(f *field) {
			p := f.connect(false)
			p.send(valueFrame("M1", "pw", 0), 1<<16)
			time.Sleep(time.Second)
			began := time.Now()
			_, err := f.host.Request(t.Context(), "M1", Command{CN: "1011"})
			if ps := devices.AllProblems(err); ps[0].Code != "no_answer" || time.Since(began) != 4*5*time.Second {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
			if got := p.heard(); len(got) != 5 || got[1] != got[4] {
				t.Errorf("heard %q", got)
			}
			_ = p.conn.Close()
			time.Sleep(2 * farewell)
			if _, err := f.host.Request(t.Context(), "M1", Command{CN: "1011"}); devices.AllProblems(err)[0].Code != "device_offline" {
				t.Error(err)
			}
		})
	})
}
