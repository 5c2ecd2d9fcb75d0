// Package modbustest is a Modbus slave that can misbehave, for tests and for
// simulation. It speaks Modbus TCP, or RTU or ASCII frames over TCP as a serial
// device server does, and answers functions 1 to 6, 15 and 16. What it knows of the
// protocol it does not have from package modbus, so that a mistake there is not
// mirrored here.
package modbustest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Config says where and how a slave listens. The zero Config is Modbus TCP on
// a free port of 127.0.0.1.
type Config struct {
	Addr  string // host:port; empty means 127.0.0.1:0
	RTU   bool   // RTU frames over TCP
	ASCII bool   // ASCII frames over TCP
	Log   *slog.Logger
}

// serial says that the units are on a serial line behind the endpoint.
func (c *Config) serial() bool { return c.RTU || c.ASCII }

func (c *Config) setDefaults() {
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Slave is one endpoint with any number of units behind it.
type Slave struct {
	cfg      Config
	listener net.Listener // nil for one that is dialled in memory only
	piped    chan net.Conn

	mu     sync.Mutex
	units  map[byte]*Unit
	newest *line // where a serial device server sends what comes from its bus
}

// New gives a slave without a port: [Slave.Dial] alone reaches it.
func New(cfg Config) *Slave {
	cfg.setDefaults()
	return &Slave{cfg: cfg, piped: make(chan net.Conn), units: map[byte]*Unit{}}
}

// Listen gives a slave that has its port already. Run answers there.
func Listen(ctx context.Context, cfg Config) (*Slave, error) {
	s := New(cfg)
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("modbus slave: %w", err)
	}
	s.listener = l
	return s, nil
}

// Addr is where the slave listens; nil without a port.
func (s *Slave) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Endpoint is the address as a device has it.
func (s *Slave) Endpoint() string {
	scheme, host := "modbus", "modbustest:502"
	switch {
	case s.cfg.RTU:
		scheme = "modbus+rtu"
	case s.cfg.ASCII:
		scheme = "modbus+ascii"
	}
	if s.listener != nil {
		host = s.listener.Addr().String()
	}
	return scheme + "://" + host
}

// Dial connects to the slave in memory. It waits until Run takes it.
func (s *Slave) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case s.piped <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), ours.Close(), theirs.Close())
	}
}

// Unit gives the unit with this id and makes it if there is none. A unit that
// was never made is behind a gateway that cannot reach it: silent on RTU and
// ASCII, exception 11 on TCP.
func (s *Slave) Unit(id byte) *Unit {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[id]
	if u == nil {
		u = &Unit{id: id}
		s.units[id] = u
	}
	return u
}

func (s *Slave) known(id byte) *Unit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.units[id]
}

// Run answers until ctx ends, whose cause it returns.
func (s *Slave) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if s.listener != nil {
		stop := context.AfterFunc(ctx, func() { _ = s.listener.Close() }) // Accept tells
		defer stop()
		g.Go(func() error { return s.accept(ctx, g) })
	}
	g.Go(func() error {
		for {
			select {
			case conn := <-s.piped:
				g.Go(func() error { return s.serve(ctx, g, conn) })
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
	return g.Wait()
}

func (s *Slave) accept(ctx context.Context, g *errgroup.Group) error {
	for {
		conn, err := s.listener.Accept()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("modbus slave: %w", err)
		}
		g.Go(func() error { return s.serve(ctx, g, conn) })
	}
}

// line is one connection with what is to be sent on it, so that a master that
// does not read holds up nobody but itself.
type line struct {
	conn net.Conn
	out  chan []byte
	last chan struct{} // closed when nothing more will be sent
}

// send queues a frame; what a master that does not read has no room for is lost.
func (l *line) send(frame []byte) {
	select {
	case l.out <- frame:
	default:
	}
}

// write sends what is queued until nothing more comes or the master has gone.
func (l *line) write() {
	for {
		select {
		case frame := <-l.out:
			if _, err := l.conn.Write(frame); err != nil {
				return
			}
			continue
		default:
		}
		select {
		case frame := <-l.out:
			if _, err := l.conn.Write(frame); err != nil {
				return
			}
		case <-l.last:
			return
		}
	}
}

// serve answers one connection. What its master does wrong ends the
// connection, not the slave.
func (s *Slave) serve(ctx context.Context, g *errgroup.Group, conn net.Conn) error {
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends reads and writes
	defer stop()
	l := &line{conn: conn, out: make(chan []byte, 64), last: make(chan struct{})}
	var writing sync.WaitGroup
	writing.Go(l.write)
	defer writing.Wait()
	defer close(l.last)
	s.mu.Lock()
	s.newest = l
	s.mu.Unlock()
	in := bufio.NewReader(conn)
	read := readTCP
	switch {
	case s.cfg.RTU:
		read = readRTU
	case s.cfg.ASCII:
		read = readASCII
	}
	for {
		req, err := read(in)
		if err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				s.cfg.Log.Debug("master left", "err", err)
			}
			return nil
		}
		if !s.answer(ctx, g, l, req) {
			return nil
		}
	}
}
