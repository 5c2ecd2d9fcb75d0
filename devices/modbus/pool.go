// Package modbus reads instruments, PLCs and gateways over Modbus TCP, and over
// RTU and ASCII frames on a serial port or carried by TCP (serial device servers).
//
//	modbus://host:502           Modbus TCP
//	modbus+rtu://host:4001      RTU frames over TCP
//	modbus+ascii://host:4001    ASCII frames over TCP
//	modbus+rtu:///dev/ttyUSB0   RTU on a serial port; its line is in the settings
//	modbus+ascii:///dev/ttyS1   ASCII on a serial port
//
// # Bytes and words
//
// Addresses count from 0 as in the request. A register is two bytes, the high
// one first. The order of a value says how its bytes A (most significant), B, …
// arrive, by two independent switches: CDAB and DCBA send the least significant
// word first, BADC and DCBA swap the two bytes of every word.
//
//	order  16 bit  32 bit  64 bit
//	ABCD   AB      ABCD    ABCDEFGH
//	CDAB   AB      CDAB    GHEFCDAB
//	BADC   BA      BADC    BADCFEHG
//	DCBA   BA      DCBA    HGFEDCBA
//
// BCD holds two decimal digits a byte. A string holds two characters a register,
// the first in the high byte (BADC: in the low one), and spells a number between
// spaces or zero bytes. A coil or discrete input is one bit, read by its address.
//
// # One bus
//
// A host and port is one bus, and so is a serial port: one connection, and a queue in order of arrival
// that devices join anew for each request, so that none is served twice while
// another waits. What the queue's holder may assume of the peer is little:
//
//   - TCP: an answer counts when its transaction id, unit id and function fit; a
//     late one finds nobody who waits for it. A slow answer does not keep the
//     queue: its request stands aside after a while and still has its whole
//     timeout, and whoever holds the queue reads for it.
//   - RTU and ASCII have no transaction id. Before each request the line is drained until it
//     is silent; after an answer that did not come the connection is closed, the
//     unit is left alone for one timeout, and the first request after that asks
//     for a number of registers that no unanswered request asked for, so that a
//     late answer is known by its length. After four of them in vain the unit is
//     left alone for ten seconds and no answer is expected any more.
//   - Any error that is not a Modbus exception closes the connection, except that
//     one silent unit on TCP does not take it from its neighbours.
//
// All devices of one period are polled at the same moments of the clock, besides
// once at their start. A bus rests between requests, and after connecting, as long
// as the one of its devices that asks for most.
//
// Probes, scans and set points are guests on the bus of the polls: they wait their
// turn like a device, and share its connection, for a second one could evict the
// first.
//
// A unit that failed twice in a row is left out and tried again now and then,
// for at most a hundredth of the time of the bus, however many are silent.
package modbus

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"offsite/devices"
	"offsite/devices/modbus/serial"
)

// Defaults of a device.
const (
	defaultPeriod  = time.Second
	defaultTimeout = time.Second
)

// Config is what drivers need of their surroundings. The zero Config will do.
type Config struct {
	// Dial connects to host:port; nil means a net.Dialer. It is given 5 s. The
	// place to check where a device may be.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Resolve finds the addresses of a host; nil means net.DefaultResolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Allow says, by a Problem, that no device may be at an address. nil allows
	// all. Only probes ask it; Dial asks for itself at each connect.
	Allow func(netip.AddrPort) error
	// Port opens a serial port; nil means [serial.Open].
	Port func(path string, line devices.SerialLine) (Link, error)
	Log  *slog.Logger // nil means silence
}

func (c *Config) setDefaults() {
	if c.Allow == nil {
		c.Allow = func(netip.AddrPort) error { return nil }
	}
	if c.Resolve == nil {
		c.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
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
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Pool makes drivers that share one bus for each host and port. Its lock comes
// before that of a bus.
type Pool struct {
	cfg Config

	mu     sync.Mutex
	buses  map[string]*bus          // in use, by address
	trials map[string]chan struct{} // of the other framing, by address; closed at their end
}

// New gives a pool without any bus.
func New(cfg Config) *Pool {
	cfg.setDefaults()
	return &Pool{cfg: cfg, buses: map[string]*bus{}, trials: map[string]chan struct{}{}}
}

// Open checks a device and its bindings and gives its driver; it opens no
// connection. All faults are told at once as devices.Problems.
func (p *Pool) Open(dev devices.Device, bounds []devices.Bound) (devices.Driver, error) {
	if err := check(&dev, bounds); err != nil {
		return nil, err
	}
	at, err := endpointOf(&dev)
	if err != nil {
		return nil, fmt.Errorf("open modbus device: %w", err) // check has parsed it before
	}
	if dev.Period == 0 {
		dev.Period = devices.Duration(defaultPeriod)
	}
	if dev.Timeout == 0 {
		dev.Timeout = devices.Duration(defaultTimeout)
	}
	bounds = slices.Clone(bounds)
	pointers := make([]*devices.Bound, len(bounds))
	for i := range bounds {
		pointers[i] = &bounds[i]
	}
	return &Driver{
		pool: p, dev: dev, at: at,
		blocks: plan(pointers, capsOf(dev.Modbus)),
		log:    p.cfg.Log.With("device", dev.ID),
	}, nil
}

// join gives the bus of d's endpoint until leave.
func (p *Pool) join(ctx context.Context, d *Driver) (*bus, error) {
	b, err := p.enter(ctx, d.at)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members[d] = false
	return b, nil
}

// leave ends what join began.
func (p *Pool) leave(d *Driver, b *bus) {
	b.mu.Lock()
	delete(b.members, d)
	b.mu.Unlock()
	p.exit(b)
}

// enter gives the bus at an endpoint until exit. While a probe tries the other
// framing there, it waits.
func (p *Pool) enter(ctx context.Context, at endpoint) (*bus, error) {
	for {
		b, tried, err := p.tryEnter(at)
		if tried == nil {
			return b, err
		}
		select {
		case <-tried:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// tryEnter is enter, or what to wait for.
func (p *Pool) tryEnter(at endpoint) (*bus, chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if tried := p.trials[at.addr]; tried != nil {
		return nil, tried, nil
	}
	b := p.buses[at.addr]
	if b == nil {
		b = newBus(at, &p.cfg)
		p.buses[at.addr] = b
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
		delete(p.buses, b.at.addr)
	}
}

// conflict says how two devices of one endpoint contradict each other.
func conflict(is, want endpoint) *devices.Problem {
	if is.framing == want.framing {
		return &devices.Problem{
			Kind: devices.ErrConflict, Code: "line_conflict", Field: "modbus.serial",
			ZH: fmt.Sprintf("%s 已被另一设备以 %s 使用；同一串口上的设备须用相同的串口参数", is.addr, lineWords(is.line)),
			EN: fmt.Sprintf("another device uses %s at %s; give all devices of one port the same line settings", is.addr, lineWords(is.line)),
		}
	}
	return &devices.Problem{
		Kind: devices.ErrConflict, Code: "framing_conflict", Field: "endpoint",
		ZH: fmt.Sprintf("%s 已被另一设备以 %s 方式使用；同一地址的设备请统一写作 %s://", is.addr, is.framing, is.framing.scheme()),
		EN: fmt.Sprintf("another device uses %s with %s framing; write %s:// for all devices of one address", is.addr, is.framing, is.framing.scheme()),
	}
}

// lineWords writes a line as engineers do: 9600 8N1.
func lineWords(l devices.SerialLine) string {
	return fmt.Sprintf("%d %d%c%d", l.Baud, l.DataBits, map[string]rune{"none": 'N', "even": 'E', "odd": 'O'}[l.Parity], l.StopBits)
}
