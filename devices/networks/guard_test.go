package networks

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"offsite/devices"
)

func guard(t *testing.T, cfg Config) *Guard {
	t.Helper()
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestAllow(t *testing.T) {
	own := func() []string { return []string{"0.0.0.0:8443", "127.0.0.1:1883", "[::]:9212", "localhost:9000"} }
	mine := func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.168.1.5")} }
	tests := []struct {
		name, allowed, at string
		want              string // part of the English sentence; empty: allowed
	}{
		{"RFC 1918", "private", "192.168.3.4:502", ""},
		{"ten", "private", "10.200.0.1:502", ""},
		{"172.16", "private", "172.31.255.1:502", ""},
		{"beyond 172.16", "private", "172.32.0.1:502", "add 172.32.0.1 to devices.networks"},
		{"mobile operator", "private", "100.64.9.9:502", ""},
		{"unique local", "private", "[fd12::1]:554", ""},
		{"mapped", "private", "[::ffff:192.168.1.1]:80", ""},
		{"mapped loopback", "private", "[::ffff:127.0.0.1]:80", "add loopback to devices.networks"},
		{"loopback", "private", "127.0.0.2:80", "add loopback to"},
		{"loopback six", "private", "[::1]:80", "add loopback to"},
		{"link-local", "private", "169.254.169.254:80", "add link-local to"},
		{"link-local six", "private", "[fe80::1%eth0]:80", "add link-local to"},
		{"link-local allowed", "link-local", "[fe80::1%eth0]:80", ""},
		{"internet", "private", "8.8.8.8:53", "outside the allowed"},
		{"internet allowed", "public", "8.8.8.8:53", ""},
		{"public is not loopback", "public", "127.0.0.1:80", "add loopback"},
		{"public is not private", "public", "10.0.0.1:80", "add private"},
		{"translated", "private", "[64:ff9b::7f00:1]:80", "outside"},
		{"unspecified", "private, loopback, public", "0.0.0.0:80", "no address that a device may have"},
		{"unspecified six", "private, loopback, public", "[::]:80", "no address that a device may have"},
		{"multicast", "public", "239.1.1.1:80", "no address that a device may have"},
		{"broadcast", "public", "255.255.255.255:80", "no address that a device may have"},
		{"own port", "private", "192.168.1.5:8443", "a port of the gateway itself"},
		{"own port on all sixes", "private", "192.168.1.5:9212", "a port of the gateway itself"},
		{"neighbour's port", "private", "192.168.1.6:8443", ""},
		{"own on loopback", "loopback", "127.0.0.1:1883", "a port of the gateway itself"},
		{"own by name", "loopback", "127.0.0.1:9000", "a port of the gateway itself"},
		{"own, other loopback", "loopback", "127.0.0.2:8443", "a port of the gateway itself"},
		{"other port of loopback", "loopback", "127.0.0.1:1884", ""},
		{"own port, on purpose", "127.0.0.1:1883", "127.0.0.1:1883", ""},
		{"only that port", "127.0.0.1:1883", "127.0.0.1:1884", "add loopback"},
		{"a network", " 203.0.113.0/24 ,10.1.1.1", "203.0.113.7:80", ""},
		{"an address", "203.0.113.0/24, 10.1.1.1", "10.1.1.1:80", ""},
		{"another", "203.0.113.0/24, 10.1.1.1", "10.1.1.2:80", "add private"},
		{"nothing", "", "10.1.1.2:80", "add private"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := guard(t, Config{Allowed: tt.allowed, Own: own, Local: mine}).Allow(netip.MustParseAddrPort(tt.at))
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var p *devices.Problem
			if !errors.As(err, &p) || p.Field != "endpoint" || p.Code != Code || !strings.Contains(p.EN, tt.want) || !strings.Contains(p.ZH, "；") || !strings.Contains(p.EN, "; ") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestFaultyLists(t *testing.T) {
	for _, text := range []string{"intranet", "10.0.0.0/33", "private; public", "10.1.1.1:x", "host.example"} {
		if _, err := New(Config{Allowed: text}); err == nil || devices.AllProblems(err)[0].Field != Key {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// listener takes connections on loopback until the test ends.
func listener(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestDialsTheAddressThatWasChecked(t *testing.T) {
	port := listener(t)
	var asked int
	// A name server that changes its mind: allowed at first, loopback later.
	fickle := func(context.Context, string) ([]netip.Addr, error) {
		asked++
		if asked == 1 {
			return []netip.Addr{netip.MustParseAddr("fe80::1"), netip.MustParseAddr("127.0.0.9")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	g := guard(t, Config{Allowed: "127.0.0.9", Resolve: fickle})
	conn, err := g.Dial(t.Context(), "tcp", "camera.local:"+port)
	if err == nil { // nothing listens at 127.0.0.9, unless the test were wrong
		conn.Close()
		t.Fatalf("connected to %s", conn.RemoteAddr())
	}
	var op *net.OpError
	if !errors.As(err, &op) || op.Addr.String() != "127.0.0.9:"+port || asked != 1 {
		t.Fatalf("dialled %v, asked %d times", err, asked)
	}
	if _, err := g.Dial(t.Context(), "tcp", "camera.local:"+port); err == nil || devices.AllProblems(err)[0].Code != Code {
		t.Errorf("the second connection was not checked: %v", err)
	}
}

func TestDial(t *testing.T) {
	port := listener(t)
	two := func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("127.0.0.77"), netip.MustParseAddr("127.0.0.1")}, nil
	}
	conn, err := guard(t, Config{Allowed: "loopback", Resolve: two}).Dial(t.Context(), "tcp", "camera:"+port)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if got := conn.RemoteAddr().String(); got != "127.0.0.1:"+port {
		t.Errorf("connected to %s", got)
	}
	if _, err := guard(t, Config{Allowed: "private", Resolve: two}).Dial(t.Context(), "tcp", "camera:"+port); err == nil || devices.AllProblems(err)[0].Code != Code {
		t.Errorf("got %v", err)
	}
	none := func(context.Context, string) ([]netip.Addr, error) { return nil, nil }
	var dns *net.DNSError
	if _, err := guard(t, Config{Allowed: "private", Resolve: none}).Dial(t.Context(), "tcp", "camera:"+port); !errors.As(err, &dns) {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{"camera", "camera:nope", "camera:70000"} {
		if _, err := guard(t, Config{Allowed: "private"}).Dial(t.Context(), "tcp", bad); err == nil {
			t.Errorf("%s was dialled", bad)
		}
	}
}
