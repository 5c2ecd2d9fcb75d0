package onvif

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Found is a device that answered a search. What it says of itself is not to be
// believed before it was asked by a [Client].
type Found struct {
	URL      string     `json:"url"`  // of its device service, at the address that answered
	From     netip.Addr `json:"from"` // where the answer came from
	Name     string     `json:"name"` // scopes name, hardware and location, "" if not told
	Hardware string     `json:"hardware"`
	Location string     `json:"location"`
	UUID     string     `json:"uuid"`
}

// Search says where to look.
type Search struct {
	Interfaces []string      // by name; empty: all that are up and can multicast
	For        time.Duration // 3 s
	Group      string        // where to; 239.255.255.250:3702

	Allow func(netip.AddrPort) error // where cameras may be; nil: anywhere
}

// mostFound bounds what one search gives; mostAnswer is the largest datagram.
const (
	mostFound  = 256
	mostAnswer = 16 << 10
)

// Discover asks who is there: a Probe of WS-Discovery 2005/04 for
// NetworkVideoTransmitter, sent twice, as the network may lose one. Answers count
// only when they relate to it and come from where a camera may be.
func Discover(ctx context.Context, s Search) ([]Found, error) {
	if s.For <= 0 {
		s.For = 3 * time.Second
	}
	if s.Group == "" {
		s.Group = "239.255.255.250:3702"
	}
	group, err := netip.ParseAddrPort(s.Group)
	if err != nil {
		return nil, fmt.Errorf("discover: %w", err)
	}
	from, err := s.addresses()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.For)
	defer cancel()
	found := &finds{search: &s, list: map[string]Found{}}
	g, ctx := errgroup.WithContext(ctx)
	for _, at := range from {
		conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		if err != nil {
			continue // an address that has just gone
		}
		g.Go(func() error { return found.listen(ctx, conn, group) })
	}
	_ = g.Wait()
	return found.all(), nil
}

// addresses gives the IPv4 addresses to ask from; on Linux the address that a
// socket is bound to says by which interface a multicast leaves.
func (s *Search) addresses() ([]netip.Addr, error) {
	cards, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("discover: %w", err)
	}
	var list []netip.Addr
	for _, card := range cards {
		chosen := slices.Contains(s.Interfaces, card.Name)
		usable := card.Flags&net.FlagUp != 0 && card.Flags&net.FlagMulticast != 0
		if !chosen && (len(s.Interfaces) > 0 || !usable) {
			continue
		}
		addrs, _ := card.Addrs() // without them it is passed over
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
				list = append(list, netip.AddrFrom4([4]byte(n.IP.To4())))
			}
		}
	}
	if len(list) == 0 {
		p := problem("interfaces", "no_interface", "本机没有可用于搜索的网卡，请检查网线或直接填写摄像机地址", "this machine has no network card to search by; check its cable, or give the camera's address")
		return nil, p
	}
	return list, nil
}

// finds gathers the answers.
type finds struct {
	search *Search

	mu   sync.Mutex
	list map[string]Found // by URL
}

// listen asks by one socket and takes the answers until ctx ends. It closes conn.
func (f *finds) listen(ctx context.Context, conn *net.UDPConn, group netip.AddrPort) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		stop()
		_ = conn.Close()
	}()
	id := uuid()
	probe := []byte(fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="%s" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"><s:Header><a:Action s:mustUnderstand="1">http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action><a:MessageID>urn:uuid:%s</a:MessageID><a:To s:mustUnderstand="1">urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To></s:Header><s:Body><d:Probe xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><d:Types xmlns:dn="http://www.onvif.org/ver10/network/wsdl">dn:NetworkVideoTransmitter</d:Types></d:Probe></s:Body></s:Envelope>`, nsSOAP, id))
	if _, err := conn.WriteToUDPAddrPort(probe, group); err != nil {
		return nil // a card without a route: the others go on
	}
	again := time.AfterFunc(f.search.For/4, func() { _, _ = conn.WriteToUDPAddrPort(probe, group) })
	defer again.Stop()
	buffer := make([]byte, mostAnswer)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		f.take(buffer[:n], from, id)
	}
}

// take keeps what an answer names.
func (f *finds) take(datagram []byte, from netip.AddrPort, id string) {
	for _, d := range readMatches(datagram, from.Addr().Unmap(), id) {
		if !f.allowed(d.URL) {
			continue
		}
		f.mu.Lock()
		if len(f.list) < mostFound {
			f.list[d.URL] = d
		}
		f.mu.Unlock()
	}
}

func (f *finds) allowed(address string) bool {
	if f.search.Allow == nil {
		return true
	}
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	at, err := netip.ParseAddrPort(net.JoinHostPort(u.Hostname(), port))
	return err == nil && f.search.Allow(at) == nil
}

func (f *finds) all() []Found {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]Found, 0, len(f.list))
	for _, d := range f.list {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b Found) int {
		if c := a.From.Compare(b.From); c != 0 {
			return c
		}
		return strings.Compare(a.URL, b.URL)
	})
	return list
}

// readMatches reads the answer to the probe with this id: one device for each
// match. The address is pinned to where the answer came from.
func readMatches(datagram []byte, from netip.Addr, id string) []Found {
	document, err := parse(bytes.NewReader(datagram))
	if err != nil || document.name != "Envelope" {
		return nil
	}
	if !strings.HasSuffix(strings.ToLower(document.value("Header", "RelatesTo")), id) {
		return nil
	}
	var list []Found
	for _, m := range document.at("Body", "ProbeMatches").all("ProbeMatch") {
		if d := matchOf(m, from); d.URL != "" && len(list) < 8 {
			list = append(list, d)
		}
	}
	return list
}

func matchOf(m *element, from netip.Addr) Found {
	d := Found{From: from, UUID: clip(strings.TrimPrefix(m.value("EndpointReference", "Address"), "urn:uuid:"), 64)}
	best := -1
	for _, address := range strings.Fields(m.value("XAddrs")) {
		u, err := url.Parse(address)
		if err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") {
			continue
		}
		fits := 0 // addresses of another family often have other ports
		if at, err := netip.ParseAddr(u.Hostname()); err == nil && at == from {
			fits = 2
		} else if err == nil && at.Is4() == from.Is4() {
			fits = 1
		}
		if fits <= best {
			continue
		}
		u.User, u.RawQuery, u.Fragment = nil, "", ""
		u.Host = hostAt(from, u.Port())
		best, d.URL = fits, u.String()
	}
	for _, scope := range strings.Fields(m.value("Scopes")) {
		kind, value, ok := strings.Cut(strings.TrimPrefix(scope, "onvif://www.onvif.org/"), "/")
		text, err := url.PathUnescape(value)
		if !ok || err != nil {
			continue
		}
		text = clip(strings.ReplaceAll(text, "_", " "), 64)
		switch strings.ToLower(kind) {
		case "name":
			d.Name = text
		case "hardware":
			d.Hardware = text
		case "location":
			d.Location = text
		}
	}
	return d
}

// hostAt writes an address as it stands in a URL.
func hostAt(at netip.Addr, port string) string {
	if port != "" {
		return net.JoinHostPort(at.String(), port)
	}
	if at.Is6() {
		return "[" + at.String() + "]"
	}
	return at.String()
}
