package bus

import (
	"context"
	"fmt"
	"net"
	"sync"

	"offsite/devices"
	"offsite/devices/modbus/serial"
)

// Config is how buses are reached. The zero Config will do.
type Config struct {
	// Dial connects to host:port; nil means a net.Dialer. It is given 5 s. The
	// place to check where a device may be.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Port opens a serial port; nil means [serial.Open].
	Port func(path string, line devices.SerialLine) (Link, error)
}

func (c *Config) setDefaults() {
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Port == nil {
		c.Port = func(path string, line devices.SerialLine) (Link, error) {
			f, err := serial.Open(path, line)
			if err != nil {
				return nil, err
			}
			return f, nil
		}
	}
}

// Pool keeps one bus for each address that is in use. Its lock comes before that
// of a bus.
type Pool struct {
	cfg Config

	mu     sync.Mutex
	buses  map[string]*bus          // in use, by address
	trials map[string]chan struct{} // of another framing, by address; closed at their end
}

// NewPool gives a pool without any bus.
func NewPool(cfg Config) *Pool {
	cfg.setDefaults()
	return &Pool{cfg: cfg, buses: map[string]*bus{}, trials: map[string]chan struct{}{}}
}

// Join gives a driver that polls a seat on the bus at an endpoint, until Leave.
// While another framing is tried there, it waits. The error is a Problem or the
// context's.
func (p *Pool) Join(ctx context.Context, at Endpoint, w Wishes) (*Seat, error) {
	s, err := p.Visit(ctx, at, w)
	if err != nil {
		return nil, err
	}
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.bus.members[s] = false
	return s, nil
}

// Visit is Join for a guest, who asks and does not poll.
func (p *Pool) Visit(ctx context.Context, at Endpoint, w Wishes) (*Seat, error) {
	for {
		b, tried, err := p.enter(at)
		if err != nil {
			return nil, err
		}
		if tried == nil {
			return &Seat{bus: b, wishes: w, exit: func() { p.exit(b) }}, nil
		}
		select {
		case <-tried:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Try gives a seat on a connection of its own to an address that nobody uses, and
// keeps all others from there until Leave. free is false where somebody does.
func (p *Pool) Try(at Endpoint, w Wishes) (s *Seat, free bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.buses[at.Addr] != nil || p.trials[at.Addr] != nil {
		return nil, false
	}
	done := make(chan struct{})
	p.trials[at.Addr] = done
	b := newBus(at, &p.cfg)
	return &Seat{bus: b, wishes: w, exit: func() {
		b.drop()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.trials, at.Addr)
		close(done)
	}}, true
}

// enter counts a user of the bus at an endpoint, or gives what to wait for.
func (p *Pool) enter(at Endpoint) (*bus, chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if tried := p.trials[at.Addr]; tried != nil {
		return nil, tried, nil
	}
	b := p.buses[at.Addr]
	if b == nil {
		b = newBus(at, &p.cfg)
		p.buses[at.Addr] = b
	}
	if b.at != at {
		return nil, nil, conflict(b.at, at)
	}
	b.users++
	return b, nil, nil
}

// exit closes the bus behind its last user.
func (p *Pool) exit(b *bus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.users--; b.users == 0 {
		b.drop() // nobody has the turn: each user ends its exchange before it leaves
		delete(p.buses, b.at.Addr)
	}
}

// conflict says how two devices of one endpoint contradict each other.
func conflict(is, want Endpoint) *devices.Problem {
	if is.Framing == want.Framing {
		return &devices.Problem{
			Kind: devices.ErrConflict, Code: "line_conflict", Field: "modbus.serial",
			ZH: fmt.Sprintf("%s 已被另一设备以 %s 使用；同一串口上的设备须用相同的串口参数", is.Addr, is.LineWords()),
			EN: fmt.Sprintf("another device uses %s at %s; give all devices of one port the same line settings", is.Addr, is.LineWords()),
		}
	}
	return &devices.Problem{
		Kind: devices.ErrConflict, Code: "framing_conflict", Field: "endpoint",
		ZH: fmt.Sprintf("%s 已被另一设备以 %s 方式使用；同一地址的设备请统一写作 %s://", is.Addr, is.Framing, is.Framing.scheme()),
		EN: fmt.Sprintf("another device uses %s with %s framing; write %s:// for all devices of one address", is.Addr, is.Framing, is.Framing.scheme()),
	}
}
