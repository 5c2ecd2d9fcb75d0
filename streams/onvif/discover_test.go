package onvif_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/streams/onvif"
	"offsite/streams/onvif/onviftest"
)

// answers has d answer probes that come by conn until the test ends.
func answers(t *testing.T, d *onviftest.Device, conn *net.UDPConn, tweak func(string) string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Answer(ctx, conn, tweak) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestSearch(t *testing.T) {
	t.Parallel()
	replace := func(from, to string) func(string) string {
		return func(s string) string { return strings.ReplaceAll(s, from, to) }
	}
	own := func(d *onviftest.Device) string { return d.URL() }
	for _, tc := range []struct {
		name    string
		foreign string
		tweak   func(string) string
		allow   func(netip.AddrPort) error
		want    func(*onviftest.Device) string // URL; nil: nothing is found
	}{
		{"as usual", "", nil, nil, own},
		{"names another host", "203.0.113.9", nil, nil, own},
		{"answers another probe", "", replace("RelatesTo>urn", "RelatesTo>x"), nil, own},
		{"relates to nothing", "", func(s string) string {
			head, _, _ := strings.Cut(s, "<wsa:RelatesTo>")
			_, tail, _ := strings.Cut(s, "</wsa:RelatesTo>")
			return head + tail
		}, nil, nil},
		{"no address", "", replace("http://", "ftp://"), nil, nil},
		{"garbage", "", func(string) string { return "<!DOCTYPE a><a>" }, nil, nil},
		{"too long", "", func(s string) string { return s + strings.Repeat(" ", 20<<10) }, nil, own},
		{"not allowed", "", nil, func(netip.AddrPort) error { return devices.ErrInvalid }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := device(t, onviftest.Config{Name: "北门 球机", Foreign: tc.foreign})
			conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			answers(t, d, conn, tc.tweak)
			found, err := onvif.Discover(t.Context(), onvif.Search{Interfaces: []string{"lo"}, For: 400 * time.Millisecond, Group: conn.LocalAddr().String(), Allow: tc.allow})
			if err != nil {
				t.Fatal(err)
			}
			want := []onvif.Found{}
			if tc.want != nil {
				want = append(want, onvif.Found{URL: tc.want(d), From: netip.MustParseAddr("127.0.0.1"), Name: "北门 球机", Hardware: "DOME-1", UUID: "11111111-2222-3333-4444-555555555555"})
			}
			if diff := cmp.Diff(want, found, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The multicast that cameras listen to, on whatever network card there is.
func TestMulticast(t *testing.T) {
	t.Parallel()
	card, at := multicastCard(t)
	d := device(t, onviftest.Config{Name: "A"})
	conn, err := net.ListenMulticastUDP("udp4", card, &net.UDPAddr{IP: net.IPv4(239, 255, 255, 250), Port: 3702})
	if err != nil {
		t.Skip("this machine takes no multicast:", err)
	}
	answers(t, d, conn, nil)
	found, err := onvif.Discover(t.Context(), onvif.Search{Interfaces: []string{card.Name}, For: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.From == at && f.Name == "A" {
			return
		}
	}
	t.Errorf("found %+v", found)
}

func multicastCard(t *testing.T) (*net.Interface, netip.Addr) {
	t.Helper()
	cards, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, card := range cards {
		addrs, _ := card.Addrs()
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if ok && n.IP.To4() != nil && card.Flags&net.FlagMulticast != 0 && card.Flags&net.FlagUp != 0 {
				return &card, netip.AddrFrom4([4]byte(n.IP.To4()))
			}
		}
	}
	t.Skip("this machine has no network card that can multicast")
	return nil, netip.Addr{}
}

func TestNoCard(t *testing.T) {
	t.Parallel()
	if _, err := onvif.Discover(t.Context(), onvif.Search{Interfaces: []string{"none0"}}); code(err) != "no_interface" {
		t.Error(err)
	}
}
