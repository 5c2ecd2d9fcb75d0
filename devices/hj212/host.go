// Package hj212 is the host (上位机) for data loggers (数采仪, 现场机) that speak
// HJ 212, the data transmission standard of pollutant monitoring, of 2005, 2017
// and 2025. Loggers connect by TCP.
//
// Minute, hour and day values are the logger's, and their marks are its own: the
// host computes no means and rolls up no marks.
//
// Times are Beijing time. DataTime is the start of the interval for minute,
// hour and day data and the instant for real-time data, whose SampleTime, where
// it is given, is when the sample was taken.
package hj212

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"offsite/devices"
)

// Config says where and how the host listens.
type Config struct {
	Address     string        // host:port; port 0 is chosen by the kernel
	TLS         *tls.Config   // nil means plain TCP, as nearly all loggers speak
	Connections int           // at once; zero means 8,192
	Waiting     int           // packets of one connection that may wait for their answer; zero means 1,024
	Patience    time.Duration // for a logger that reads no answers; zero means 10 s
	SignIn      time.Duration // from the connection to its first packet; zero means 1 min
	Idle        time.Duration // between two packets before a connection is given up; zero means 2 h
	OverTime    time.Duration // for the next packet of a logger's answer to a command; zero means 5 s
	ReCount     int           // how often a command is sent again; zero means 3, less than zero never
	Log         *slog.Logger  // nil means no log
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&c.Patience, 10 * time.Second}, {&c.SignIn, time.Minute}, {&c.Idle, 2 * time.Hour}, {&c.OverTime, 5 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	if c.Connections == 0 {
		c.Connections = 8192
	}
	if c.Waiting == 0 {
		c.Waiting = 1024
	}
	if c.ReCount == 0 {
		c.ReCount = 3
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Client is a data logger that may connect, with its bindings in force.
type Client struct {
	Device devices.Device
	Bounds []devices.Bound
}

// Host answers data loggers. Its methods may be called by several goroutines,
// before, while and after it runs.
type Host struct {
	cfg     Config
	loggers atomic.Pointer[map[string]*logger] // by MN; replaced whole
	counts  counters
	notes   notes

	port   *devices.Port
	mu     sync.Mutex          // never taken while a session's is held
	sink   devices.Sink        // while it runs
	open   map[*session]bool   // every connection
	by     map[string]*session // the connection of each logger, by MN
	told   map[string]string   // code of the last problem told of a device without connection
	lastQN string              // of the last command, so that no two are alike
}

// New gives the host. It does not listen yet.
func New(cfg Config) (*Host, error) {
	cfg.setDefaults()
	if _, _, err := net.SplitHostPort(cfg.Address); err != nil {
		p := devices.Invalid("hj212.listen", "bad_address", "监听地址须形如 0.0.0.0:9212", "write the address like 0.0.0.0:9212")
		p.Cause = err
		return nil, p
	}
	h := &Host{cfg: cfg, port: devices.NewPort("hj212.listen", cfg.Address, cfg.TLS, cfg.Log), open: map[*session]bool{}, by: map[string]*session{}, told: map[string]string{}}
	h.loggers.Store(&map[string]*logger{})
	return h, nil
}

// Update replaces the loggers that may connect. It takes effect at once: one
// that is gone or has another password, key or MN is disconnected, all others go on
// undisturbed. Faults are told as Problems; everything else takes effect.
func (h *Host) Update(clients []Client) error {
	old := *h.loggers.Load()
	next := make(map[string]*logger, len(clients))
	var ps devices.Problems
	for i := range clients {
		c := &clients[i]
		if c.Device.HJ212 != nil {
			was := old[c.Device.HJ212.MN]
			if was != nil && reflect.DeepEqual(was.device, c.Device) && reflect.DeepEqual(was.bounds, c.Bounds) {
				next[c.Device.HJ212.MN] = was
				continue
			}
		}
		l, err := newLogger(c)
		if err != nil {
			ps = append(ps, devices.AllProblems(fmt.Errorf("device %s: %w", c.Device.ID, err))...)
		}
		if was := old[l.settings.MN]; was != nil && was.device.ID == l.device.ID {
			l.frames = was.frames
		}
		next[l.settings.MN] = l
	}
	delete(next, "")
	h.loggers.Store(&next)
	h.mu.Lock()
	defer h.mu.Unlock()
	for mn, s := range h.by {
		if l := next[mn]; l == nil || l.device.ID != s.device || l.secrets != s.secrets {
			s.close(&devices.Problem{
				Kind: devices.ErrUnavailable, Code: "sign_in_changed",
				ZH: "数采仪已停用或密码、密钥已更改，连接已断开", EN: "the logger was retired or its password or key changed; it was disconnected",
			})
		}
	}
	return ps.Err()
}

func (h *Host) logger(mn string) *logger { return (*h.loggers.Load())[mn] }

// Addr is where the host listens, or nil before it has listened.
func (h *Host) Addr() net.Addr { return h.port.Addr() }

// Ready is closed when the host listens for the first time.
func (h *Host) Ready() <-chan struct{} { return h.port.Ready() }

// Run listens and serves until ctx ends; then it disconnects every logger and
// returns when all its goroutines have ended. It may be run again; a port that
// the kernel chose is kept. It returns an error when it cannot listen.
func (h *Host) Run(ctx context.Context, sink devices.Sink) error {
	listener, err := h.port.Listen(ctx)
	if err != nil {
		return err
	}
	h.begin(sink)
	h.cfg.Log.Info("HJ 212 host listens", "addr", listener.Addr().String())
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	running, end := context.WithCancel(ctx)
	defer end()
	var sessions sync.WaitGroup
	err = h.port.Accept(ctx, listener, func(conn net.Conn) { sessions.Go(func() { h.serve(running, conn) }) })
	_ = listener.Close()
	end()
	h.closeAll()
	sessions.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (h *Host) begin(sink devices.Sink) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sink = sink
}

func (h *Host) closeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.open {
		s.close(nil)
	}
}

// Counts are totals since the host was made, for the metrics.
type Counts struct {
	Accepted     int64 // packets that are on disk, repeats not among them
	Failed       int64 // packets that could not be stored and were not answered
	Refused      int64 // frames that could not be understood: dead letters where it is known whose they are
	Repeated     int64 // packets that were on disk already: answered, not stored again
	Strangers    int64 // packets refused for their MN or password
	Deaf         int64 // connections closed because nothing was read from them
	Disconnected int64 // connections closed because the storage failed
	Connected    int64 // loggers now
}

type counters struct {
	accepted, failed, refused, repeated, strangers, deaf, disconnected, connected atomic.Int64
}

// Counts gives the totals.
func (h *Host) Counts() Counts {
	c := &h.counts
	return Counts{
		Accepted: c.accepted.Load(), Failed: c.failed.Load(), Refused: c.refused.Load(), Repeated: c.repeated.Load(),
		Strangers: c.strangers.Load(), Deaf: c.deaf.Load(), Disconnected: c.disconnected.Load(), Connected: c.connected.Load(),
	}
}

// Notes lists what loggers did that people should know of, newest first; at
// most the last 256 kinds of it.
func (h *Host) Notes() []Note { return h.notes.list() }

// joined takes note that a logger has spoken on s, and closes the connection
// that it had before: a logger that lost its power comes back on a new one.
func (h *Host) joined(s *session, l *logger) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.by[l.settings.MN]
	h.by[l.settings.MN] = s
	if old != nil {
		old.close(&devices.Problem{
			Kind: devices.ErrUnavailable, Code: "replaced",
			ZH: "数采仪建立了新的连接，旧连接已断开", EN: "the logger came back on a new connection; the old one was closed",
		})
		return
	}
	h.counts.connected.Add(1)
	delete(h.told, l.device.ID)
	h.sink.Report(devices.Report{Device: l.device.ID, At: time.Now().UTC()})
}

// left takes note that s has ended.
func (h *Host) left(s *session, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, s)
	if s.mn == "" || h.by[s.mn] != s {
		return
	}
	delete(h.by, s.mn)
	h.counts.connected.Add(-1)
	problem := s.why()
	if problem == nil {
		problem = &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "device_offline", Cause: err,
			ZH: "数采仪已断开；请检查数采仪的电源与网络", EN: "the data logger has disconnected; check its power and network",
		}
	}
	h.tell(s.device, problem)
}

// tell reports a problem of a device once; h.mu is held, so that reports leave
// in the order of what happened. Report never blocks.
func (h *Host) tell(device string, problem *devices.Problem) {
	if h.told[device] == problem.Code {
		return
	}
	h.told[device] = problem.Code
	h.sink.Report(devices.Report{Device: device, At: time.Now().UTC(), Problem: problem})
}

// tellAbsent reports a problem of a logger that has no connection; one that has
// is well, and somebody else tries its name.
func (h *Host) tellAbsent(l *logger, problem *devices.Problem) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by[l.settings.MN] == nil {
		h.tell(l.device.ID, problem)
	}
}
