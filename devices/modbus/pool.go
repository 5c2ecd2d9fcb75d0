// Package modbus reads instruments, PLCs and gateways over Modbus TCP and over
// RTU frames carried by TCP (serial device servers).
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
// # One bus
//
// A host and port is one bus: one connection, and a queue in order of arrival
// that devices join anew for each request, so that none is served twice while
// another waits. What the queue's holder may assume of the peer is little:
//
//   - TCP: an answer counts when its transaction id, unit id and function fit; a
//     late one finds nobody who waits for it. A slow answer does not keep the
//     queue: its request stands aside after a while and still has its whole
//     timeout, and whoever holds the queue reads for it.
//   - RTU has no transaction id. Before each request the line is drained until it
//     is silent; after an answer that did not come the connection is closed, the
//     unit is left alone for one timeout, and the first request after that asks
//     for a number of registers that no unanswered request asked for, so that a
//     late answer is known by its length. After four of them in vain the unit is
//     left alone for ten seconds and no answer is expected any more.
//   - Any error that is not a Modbus exception closes the connection, except that
//     one silent unit on TCP does not take it from its neighbours.
//
// A unit that failed twice in a row is left out and tried again now and then,
// for at most a hundredth of the time of the bus, however many are silent.
package modbus

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"offsite/devices"
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
	Log  *slog.Logger // nil means silence
}

func (c *Config) setDefaults() {
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Pool makes drivers that share one bus for each host and port. Its lock comes
// before that of a bus.
type Pool struct {
	cfg Config

	mu    sync.Mutex
	buses map[string]*bus // those that a running driver uses
}

// New gives a pool without any bus.
func New(cfg Config) *Pool {
	cfg.setDefaults()
	return &Pool{cfg: cfg, buses: map[string]*bus{}}
}

// Open checks a device and its bindings and gives its driver; it opens no
// connection. All faults are told at once as devices.Problems.
func (p *Pool) Open(dev devices.Device, bounds []devices.Bound) (devices.Driver, error) {
	if err := check(&dev, bounds); err != nil {
		return nil, err
	}
	u, err := url.Parse(dev.Endpoint)
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
	port := u.Port()
	if port == "" {
		port = "502"
	}
	return &Driver{
		pool: p, dev: dev, rtu: u.Scheme == "modbus+rtu",
		addr:   net.JoinHostPort(strings.ToLower(u.Hostname()), port),
		blocks: plan(pointers, capsOf(dev.Modbus)),
		log:    p.cfg.Log.With("device", dev.ID),
	}, nil
}

// join gives the bus of d's endpoint until leave.
func (p *Pool) join(d *Driver) (*bus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.buses[d.addr]
	if b == nil {
		b = newBus(d.addr, d.rtu, &p.cfg)
		p.buses[d.addr] = b
	}
	if b.rtu != d.rtu {
		return nil, &devices.Problem{
			Kind: devices.ErrConflict, Code: "framing_conflict", Field: "endpoint",
			ZH: fmt.Sprintf("%s 已被另一设备以另一种协议（TCP 或 RTU）使用；同一地址请统一用 modbus:// 或 modbus+rtu://", d.addr),
			EN: fmt.Sprintf("another device uses %s with the other framing; write modbus:// or modbus+rtu:// for all devices of one address", d.addr),
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members[d] = false
	return b, nil
}

// leave closes the bus behind its last user.
func (p *Pool) leave(d *Driver, b *bus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b.mu.Lock()
	delete(b.members, d)
	users := len(b.members)
	b.mu.Unlock()
	if users == 0 {
		b.drop() // nobody has the turn: each Run ends its exchange before it leaves
		delete(p.buses, d.addr)
	}
}
