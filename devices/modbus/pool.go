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
// # Polls
//
// How a bus is shared, and what is assumed of its peer, is written in package bus.
//
// All devices of one period are polled at the same moments of the clock, besides
// once at their start.
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
	"time"

	"offsite/devices"
	"offsite/devices/modbus/bus"
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
	Port func(path string, line devices.SerialLine) (bus.Link, error)
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
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Pool makes drivers that share one bus for each address, and lets guests ask
// there.
type Pool struct {
	cfg   Config
	buses *bus.Pool
}

// New gives a pool without any bus.
func New(cfg Config) *Pool {
	cfg.setDefaults()
	return &Pool{cfg: cfg, buses: bus.NewPool(bus.Config{Dial: cfg.Dial, Port: cfg.Port})}
}

// Open checks a device and its bindings and gives its driver; it opens no
// connection. All faults are told at once as devices.Problems.
func (p *Pool) Open(dev devices.Device, bounds []devices.Bound) (devices.Driver, error) {
	if err := check(&dev, bounds); err != nil {
		return nil, err
	}
	at, err := bus.EndpointOf(&dev)
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
