// Package networks says where devices may be. Addresses of instruments, brokers
// and cameras are typed in by people who may register devices; without a bound
// such an address would let them knock, through the gateway, at any program of
// the machine and of the networks behind it.
//
// Allowed networks are written as a list with commas:
//
//	private      10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 (RFC 1918), fc00::/7 (RFC 4193),
//	             100.64.0.0/10 (RFC 6598: the private networks of mobile operators)
//	loopback     127.0.0.0/8, ::1
//	link-local   169.254.0.0/16, fe80::/10: where clouds keep their metadata
//	public       every other unicast address
//	10.8.0.0/16  a network; 10.8.0.7 one address
//	10.8.0.7:443 one port of an address, which may be the gateway's own
//
// A name is resolved anew for every connection, each of its addresses is
// checked, and what is dialled is the address that was checked, so that a name
// server cannot change its mind between the two.
package networks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"offsite/devices"
)

// Key is where the list stands in offsite.yaml; problems name it.
const Key = "devices.networks"

// Defaults is the list of a gateway whose owner has decided nothing.
const Defaults = "private"

// Everywhere is the list that bounds nothing but addresses that nobody has.
const Everywhere = "private, loopback, link-local, public"

// perAddress is how long one of several addresses may take, so that one that is
// silent leaves time for the next.
const perAddress = 4 * time.Second

// Config is what a Guard needs of its surroundings; only Allowed has to be given.
type Config struct {
	Allowed string          // the list; empty allows nothing
	Own     func() []string // host:port where the gateway itself listens; nil means nowhere
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	Local   func() []netip.Addr // addresses of this machine; nil asks the system
}

func (c *Config) setDefaults() {
	if c.Own == nil {
		c.Own = func() []string { return nil }
	}
	if c.Resolve == nil {
		c.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if c.Local == nil {
		c.Local = local
	}
}

// local gives the addresses of this machine.
func local() []netip.Addr {
	list, _ := net.InterfaceAddrs() // without them loopback is left, which is checked apart
	var addrs []netip.Addr
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				addrs = append(addrs, addr.Unmap())
			}
		}
	}
	return addrs
}

// Guard opens the connections to devices. Its methods may be called by several
// goroutines.
type Guard struct {
	cfg  Config
	list list
}

// New reads the list. The error is a Problem of field [Key].
func New(cfg Config) (*Guard, error) {
	cfg.setDefaults()
	l, err := read(cfg.Allowed)
	if err != nil {
		return nil, err
	}
	return &Guard{cfg, l}, nil
}

// Resolve gives the addresses behind a host name or a literal address.
func (g *Guard) Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	return g.cfg.Resolve(ctx, host)
}

// Allow says, by a Problem of field endpoint, that no device may be there.
func (g *Guard) Allow(at netip.AddrPort) error {
	at = netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
	a := at.Addr()
	switch {
	case !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return refused(at, "是无效的设备地址；请填写设备自己的地址", "is no address that a device may have; give the device's own")
	case slices.Contains(g.list.places, at):
		return nil
	case g.own(at):
		return refused(at, "是网关自己的端口，不是设备；请填写设备自己的地址和端口", "is a port of the gateway itself, not a device; give the device's own address and port")
	case g.list.holds(a):
		return nil
	}
	return refused(at,
		fmt.Sprintf("不在允许的网络内；请核对地址，或由管理员在 offsite.yaml 的 %s 中加入 %s 并重启网关", Key, wordFor(a)),
		fmt.Sprintf("is outside the allowed networks; check it, or have the administrator add %s to %s in offsite.yaml and start the gateway again", wordFor(a), Key))
}

// Code is that of the Problem of an address that is not allowed.
const Code = "address_refused"

func refused(at netip.AddrPort, zh, en string) *devices.Problem {
	return devices.Invalid("endpoint", Code, at.String()+" "+zh, at.String()+" "+en)
}

// own says whether the gateway itself listens there.
func (g *Guard) own(at netip.AddrPort) bool {
	for _, listens := range g.cfg.Own() {
		host, port, err := net.SplitHostPort(listens)
		if err != nil || port != fmt.Sprint(at.Port()) {
			continue
		}
		addr, err := netip.ParseAddr(host)
		switch {
		case err == nil && addr.Unmap() == at.Addr():
			return true
		case host == "localhost":
			if at.Addr().IsLoopback() {
				return true
			}
		case err == nil && !addr.IsUnspecified():
		case at.Addr().IsLoopback() || slices.Contains(g.cfg.Local(), at.Addr()): // it listens everywhere, or where a name says
			return true
		}
	}
	return false
}

// Dial connects to host:port at one of its allowed addresses, the first that
// answers. The error is a *net.OpError as that of a net.Dialer, around that of
// Allow where no address is allowed.
func (g *Guard) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := g.dial(ctx, network, address)
	var op *net.OpError
	if err != nil && !errors.As(err, &op) {
		err = &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return conn, err
}

func (g *Guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	if err != nil {
		return nil, err
	}
	addrs, err := g.Resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	var good []netip.AddrPort
	var first error
	for _, a := range addrs {
		at := netip.AddrPortFrom(a.Unmap(), uint16(port)) //nolint:gosec // LookupPort gives 0 to 65535
		if err := g.Allow(at); err == nil {
			good = append(good, at)
		} else if first == nil {
			first = err
		}
	}
	if len(good) == 0 {
		return nil, first
	}
	return dial(ctx, network, good)
}

// dial tries the addresses one after the other. The error is that of the first.
func dial(ctx context.Context, network string, addrs []netip.AddrPort) (net.Conn, error) {
	var first error
	for i, at := range addrs {
		conn, err := dialOne(ctx, network, at, i == len(addrs)-1)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

func dialOne(ctx context.Context, network string, at netip.AddrPort, last bool) (net.Conn, error) {
	if !last {
		limited, cancel := context.WithTimeout(ctx, perAddress)
		defer cancel()
		ctx = limited
	}
	return (&net.Dialer{}).DialContext(ctx, network, at.String())
}

// list is what the owner allows.
type list struct {
	networks []netip.Prefix
	places   []netip.AddrPort
	public   bool
}

var words = map[string][]string{
	"private":    {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"},
	"loopback":   {"127.0.0.0/8", "::1/128"},
	"link-local": {"169.254.0.0/16", "fe80::/10"},
}

// read reads the list; all its faults are told in one Problem.
func read(text string) (list, error) {
	var l list
	var bad []string
	for word := range strings.SplitSeq(text, ",") {
		word = strings.ToLower(strings.TrimSpace(word))
		if word != "" && !l.add(word) {
			bad = append(bad, word)
		}
	}
	if len(bad) > 0 {
		p := devices.Invalid(Key, "bad_network",
			"无法识别 "+strings.Join(bad, "、")+"；请写 private、loopback、link-local、public、10.8.0.0/16、10.8.0.7 或 10.8.0.7:502，以逗号分隔",
			strings.Join(bad, ", ")+" cannot be read; write private, loopback, link-local, public, 10.8.0.0/16, 10.8.0.7 or 10.8.0.7:502 with commas between")
		p.Cause = errors.New(text)
		return l, p
	}
	return l, nil
}

func (l *list) add(word string) bool {
	if word == "public" {
		l.public = true
		return true
	}
	if prefixes := words[word]; prefixes != nil {
		for _, p := range prefixes {
			l.networks = append(l.networks, netip.MustParsePrefix(p))
		}
		return true
	}
	if p, err := netip.ParsePrefix(word); err == nil {
		l.networks = append(l.networks, p.Masked())
		return true
	}
	if a, err := netip.ParseAddr(word); err == nil && a.Zone() == "" {
		l.networks = append(l.networks, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
		return true
	}
	at, err := netip.ParseAddrPort(word)
	if err == nil {
		l.places = append(l.places, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
	}
	return err == nil
}

func (l *list) holds(a netip.Addr) bool {
	if slices.ContainsFunc(l.networks, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return true
	}
	return l.public && wordFor(a) == a.String()
}

// wordFor is what to add to the list for an address: the word of its kind, else
// itself.
func wordFor(a netip.Addr) string {
	for _, word := range [...]string{"private", "loopback", "link-local"} {
		for _, p := range words[word] {
			if netip.MustParsePrefix(p).Contains(a) {
				return word
			}
		}
	}
	return a.String()
}
