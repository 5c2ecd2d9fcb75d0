package devices

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestPortIsKeptOverRestarts(t *testing.T) {
	p := NewPort("broker.listen", "127.0.0.1:0", nil, slog.New(slog.DiscardHandler))
	select {
	case <-p.Ready():
		t.Fatal("ready before it listens")
	default:
	}
	first, err := p.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	<-p.Ready()
	_, err = p.Listen(t.Context()) // while it is in use
	if ps := AllProblems(err); len(ps) != 1 || ps[0].Code != "cannot_listen" || ps[0].Field != "broker.listen" {
		t.Errorf("Listen: %v", err)
	}
	first.Close()
	again, err := p.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Addr().String() != first.Addr().String() || p.Addr().String() != first.Addr().String() {
		t.Errorf("listens on %s, then on %s", first.Addr(), again.Addr())
	}
	if at := p.Reached(); at != nil {
		t.Errorf("other machines reach loopback at %v", at)
	}
}

// scarce is a listener that has no file descriptors for a while.
type scarce struct {
	net.Listener
	failures int
	conns    []net.Conn
}

func (s *scarce) Accept() (net.Conn, error) {
	switch {
	case s.failures > 0:
		s.failures--
		return nil, syscall.EMFILE
	case len(s.conns) > 0:
		c := s.conns[0]
		s.conns = s.conns[1:]
		return c, nil
	}
	return nil, net.ErrClosed
}

func TestPortOutlastsAShortageOfDescriptors(t *testing.T) {
	for _, tt := range []struct {
		name     string
		failures int
		served   int
		err      error
	}{{"for a while", acceptTries, 1, nil}, {"for good", acceptTries + 1, 0, syscall.EMFILE}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer near.Close()
				defer far.Close()
				p := NewPort("", "", nil, slog.New(slog.DiscardHandler))
				served, began := 0, time.Now()
				err := p.Accept(context.Background(), &scarce{failures: tt.failures, conns: []net.Conn{near}}, func(net.Conn) { served++ })
				if !errors.Is(err, tt.err) || served != tt.served || time.Since(began) != acceptTries*acceptPause {
					t.Errorf("Accept: %v after %s, %d served", err, time.Since(began), served)
				}
			})
		})
	}
}
