package devices

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

const (
	acceptTries = 100 // failures to accept in a row before listening ends
	acceptPause = 100 * time.Millisecond
	mostPlaces  = 4 // addresses of this machine that people are shown
)

// Port is where devices connect to the gateway by TCP. It may be listened on
// again and again, and keeps the port that the kernel chose the first time. Its
// methods may be called by several goroutines.
type Port struct {
	address string
	field   string
	tls     *tls.Config
	log     *slog.Logger
	ready   chan struct{} // closed when it listens for the first time

	mu   sync.Mutex
	addr net.Addr
}

// NewPort gives the port at address, host:port, which stands in field of the
// configuration; secure may be nil. It does not listen yet.
func NewPort(field, address string, secure *tls.Config, log *slog.Logger) *Port {
	return &Port{address: address, field: field, tls: secure, log: log, ready: make(chan struct{})}
}

// Addr is where it listens, or listened last; nil before it has.
func (p *Port) Addr() net.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addr
}

// Ready is closed when it listens for the first time.
func (p *Port) Ready() <-chan struct{} { return p.ready }

// Reached gives the addresses, host:port, at which other machines reach it; none
// where it listens on loopback alone, or has not listened yet.
func (p *Port) Reached() []string {
	listens := p.Addr()
	if listens == nil {
		return nil
	}
	at, err := netip.ParseAddrPort(listens.String())
	if err != nil || at.Addr().IsLoopback() {
		return nil
	}
	port := strconv.Itoa(int(at.Port()))
	if !at.Addr().IsUnspecified() {
		return []string{net.JoinHostPort(at.Addr().Unmap().String(), port)}
	}
	list, _ := net.InterfaceAddrs() // without them there is nothing to show
	var places []string
	for _, a := range list {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.IsLoopback() || n.IP.IsLinkLocalUnicast() || n.IP.To4() == nil || len(places) == mostPlaces {
			continue
		}
		places = append(places, net.JoinHostPort(n.IP.String(), port))
	}
	return places
}

// Listen begins to listen. The error is a Problem.
func (p *Port) Listen(ctx context.Context) (net.Listener, error) {
	address := p.address
	if last := p.Addr(); last != nil {
		address = last.String()
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, &Problem{
			Kind: ErrUnavailable, Code: "cannot_listen", Field: p.field, Cause: err,
			ZH: "无法在 " + address + " 上监听；请换一个端口，或停止占用它的程序",
			EN: "cannot listen on " + address + "; choose another port or stop the program that holds it",
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.addr == nil {
		close(p.ready)
	}
	p.addr = listener.Addr()
	if p.tls != nil {
		listener = tls.NewListener(listener, p.tls)
	}
	return listener, nil
}

// Accept gives every connection to serve until the listener is closed. It
// outlasts a shortage of file descriptors, because those who are connected go on
// meanwhile.
func (p *Port) Accept(ctx context.Context, listener net.Listener, serve func(net.Conn)) error {
	for failures := 0; ; {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			failures = 0
			serve(conn)
		case errors.Is(err, net.ErrClosed):
			return nil
		case failures == acceptTries:
			return fmt.Errorf("accept connections: %w", err)
		default:
			failures++
			p.log.Warn("connection not accepted", "err", err, "failures", failures)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
		}
	}
}
