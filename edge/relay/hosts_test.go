package relay

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPicturesGoToListedHostsAlone(t *testing.T) {
	tests := []struct {
		name, url string
		list      []string
		insecure  bool
		want      string
	}{
		{"a name", "https://media.example.cn/whip/1?key=a", []string{"Media.example.cn"}, false, ""},
		{"a name of any case", "rtsps://MEDIA.example.cn/1", []string{"media.example.cn"}, false, ""},
		{"its port", "https://media.example.cn:8443/1", []string{"media.example.cn:8443"}, false, ""},
		{"another port", "https://media.example.cn:22/1", []string{"media.example.cn:8443"}, false, "push_host"},
		{"a longer name", "https://media.example.cn.evil.cn/1", []string{"media.example.cn"}, false, "push_host"},
		{"an address", "rtsps://203.0.113.7/1", []string{"203.0.113.0/24"}, false, ""},
		{"another address", "rtsps://203.0.114.7/1", []string{"203.0.113.0/24"}, false, "push_host"},
		{"an address by a name's list", "https://127.0.0.1/1", []string{"media.example.cn"}, false, "push_host"},
		{"an empty list", "https://media.example.cn/1", nil, false, "push_off"},
		{"plain", "rtsp://203.0.113.7/1", []string{"203.0.113.7"}, false, "insecure"},
		{"plain by choice", "rtsp://203.0.113.7/1", []string{"203.0.113.7"}, true, ""},
		{"plain on loopback", "http://127.0.0.1:8889/1", []string{"127.0.0.1"}, false, ""},
		{"with a user", "rtsps://a:b@203.0.113.7/1", []string{"203.0.113.7"}, false, "bad_address"},
		{"another scheme", "srt://203.0.113.7/1", []string{"203.0.113.7"}, false, "bad_address"},
		{"no host", "https:///1", []string{"203.0.113.7"}, false, "bad_address"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := ReadHosts(tt.list)
			if err != nil {
				t.Fatal(err)
			}
			h.Insecure = tt.insecure
			u, err := url.Parse(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			if got := code(h.Check(u)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFaultsOfTheListAreToldAtOnce(t *testing.T) {
	_, err := ReadHosts([]string{"media.example.cn", "https://a/", "*.example.cn", ""})
	if code(err) != "bad_host" {
		t.Errorf("got %v", err)
	}
}

// TestNamesAreLookedUpForEachConnection has a name server change its mind.
func TestNamesAreLookedUpForEachConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	tests := []struct {
		name  string
		list  []string
		leads []string
		want  string
	}{
		{"to an address that is listed", []string{"media.example.cn", "127.0.0.1"}, []string{"127.0.0.1"}, ""},
		{"to the machine itself", []string{"media.example.cn"}, []string{"127.0.0.1"}, "push_host"},
		{"to the machine itself, in disguise", []string{"media.example.cn"}, []string{"::ffff:127.0.0.1", "0.0.0.0"}, "push_host"},
		{"to the cloud's metadata", []string{"media.example.cn"}, []string{"169.254.169.254"}, "push_host"},
		{"by a name that is not listed", []string{"127.0.0.2"}, []string{"127.0.0.1"}, "push_host"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := ReadHosts(tt.list)
			if err != nil {
				t.Fatal(err)
			}
			h.Resolve = func(context.Context, string) (list []netip.Addr, _ error) {
				for _, a := range tt.leads {
					list = append(list, netip.MustParseAddr(a))
				}
				return list, nil
			}
			conn, err := h.Dial(t.Context(), "tcp", net.JoinHostPort("media.example.cn", port))
			if got := code(err); got != tt.want || (err == nil) != (conn != nil) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if conn != nil {
				_ = conn.Close()
			}
		})
	}
}

func TestMediaGoToTheReceiverOrTheList(t *testing.T) {
	h, err := ReadHosts([]string{"media.example.cn", "198.51.100.0/24"})
	if err != nil {
		t.Fatal(err)
	}
	h.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("203.0.113.7")}, nil
	}
	may := h.Media(t.Context(), &url.URL{Scheme: "https", Host: "media.example.cn"})
	got := map[string]bool{}
	for _, a := range []string{"203.0.113.7", "203.0.113.8", "198.51.100.9", "127.0.0.1", "10.0.0.1"} {
		got[a] = may(netip.MustParseAddr(a))
	}
	if diff := cmp.Diff(map[string]bool{"203.0.113.7": true, "203.0.113.8": false, "198.51.100.9": true, "127.0.0.1": false, "10.0.0.1": false}, got); diff != "" {
		t.Error(diff)
	}
}
