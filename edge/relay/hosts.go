package relay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"offsite/devices"
)

// Key is where the list of hosts stands in offsite.yaml; problems name it.
const Key = "platform.push.hosts"

// perAddress is how long one of several addresses may take.
const perAddress = 4 * time.Second

// Hosts says where pictures may go: media.example.cn, media.example.cn:8443,
// 203.0.113.7, 203.0.113.0/24. A name is resolved anew for each connection and
// what is dialled is the address that was checked. A name never leads to the
// machine itself or to a link-local address (where clouds keep their metadata)
// unless the list has that address too.
type Hosts struct {
	Insecure bool // plain rtsp and http are allowed off loopback
	Resolve  func(ctx context.Context, host string) ([]netip.Addr, error)

	names    map[string]bool
	networks []netip.Prefix
}

// ReadHosts reads the list; all its faults are told in one Problem.
func ReadHosts(list []string) (*Hosts, error) {
	h := &Hosts{names: map[string]bool{}, Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}
	var bad []string
	for _, word := range list {
		if word = strings.ToLower(strings.TrimSpace(word)); !h.add(word) {
			bad = append(bad, word)
		}
	}
	if len(bad) > 0 {
		return nil, devices.Invalid(Key, "bad_host", "无法识别 "+strings.Join(bad, "、")+"；请写 media.example.cn、media.example.cn:8443、203.0.113.7 或 203.0.113.0/24",
			strings.Join(bad, ", ")+` cannot be read; write "media.example.cn", "media.example.cn:8443", "203.0.113.7" or "203.0.113.0/24"`)
	}
	return h, nil
}

func (h *Hosts) add(word string) bool {
	if p, err := netip.ParsePrefix(word); err == nil {
		h.networks = append(h.networks, p.Masked())
		return true
	}
	if a, err := netip.ParseAddr(word); err == nil {
		h.networks = append(h.networks, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
		return true
	}
	if word == "" || strings.ContainsAny(word, "/@* \t") || strings.Count(word, ":") > 1 {
		return false
	}
	h.names[word] = true
	return true
}

// Empty says that pictures may go nowhere.
func (h *Hosts) Empty() bool { return len(h.names)+len(h.networks) == 0 }

// Check says by a Problem why pictures may not go to an address; it looks no name up.
func (h *Hosts) Check(u *url.URL) error {
	host, port := u.Hostname(), u.Port()
	secure, known := map[string]bool{"https": true, "rtsps": true, "http": false, "rtsp": false}[u.Scheme]
	switch {
	case !known || host == "" || u.User != nil || u.Fragment != "":
		return devices.Invalid("push_url", "bad_address", "推流地址须形如 https://media.example.cn/whip/1 或 rtsps://media.example.cn/1，不含用户名",
			`write the address like "https://media.example.cn/whip/1" or "rtsps://media.example.cn/1", without a user`)
	case h.Empty():
		return devices.Invalid("push_url", "push_off", "网关未允许推流；请由管理员在 offsite.yaml 的 "+Key+" 中填写流媒体服务器", "this gateway pushes no pictures; have its administrator name the media server in "+Key+" of offsite.yaml")
	case !h.named(host, port) && !h.literal(host):
		return refusedHost(host)
	case !secure && !h.Insecure && !loopback(host):
		return devices.Invalid("push_url", "insecure", "推流须加密（https 或 rtsps）；或由管理员设置 platform.push.insecure: true",
			"pictures go out encrypted (https or rtsps), or have the administrator set platform.push.insecure: true")
	}
	return nil
}

func refusedHost(host string) *devices.Problem {
	return devices.Invalid("push_url", "push_host", host+" 不在允许的推流主机内；请由管理员加入 offsite.yaml 的 "+Key, host+" is not on the allow-list; have the administrator add it to "+Key+" of offsite.yaml")
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

func (h *Hosts) named(host, port string) bool {
	host = strings.ToLower(host)
	return h.names[host] || h.names[host+":"+port]
}

func (h *Hosts) literal(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && h.holds(a.Unmap())
}

func (h *Hosts) holds(a netip.Addr) bool {
	for _, n := range h.networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// may says whether an address that a name led to may be dialled.
func (h *Hosts) may(a netip.Addr, byName bool) bool {
	local := a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || a.IsMulticast()
	return h.holds(a) || byName && a.IsValid() && !local
}

// addresses gives where host:port may be dialled.
func (h *Hosts) addresses(ctx context.Context, host, port string) ([]netip.Addr, error) {
	named := h.named(host, port)
	all := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		all = append(all, a)
	} else if all, err = h.Resolve(ctx, host); err != nil {
		return nil, err
	}
	var good []netip.Addr
	for _, a := range all {
		if a = a.Unmap().WithZone(""); h.may(a, named) {
			good = append(good, a)
		}
	}
	if len(good) == 0 {
		return nil, refusedHost(host)
	}
	return good, nil
}

// Dial connects to host:port at one of its allowed addresses, the first that
// answers. The error is the Problem of Check where none is allowed.
func (h *Hosts) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	list, err := h.addresses(ctx, host, port)
	if err != nil {
		return nil, err
	}
	var all error
	for _, a := range list {
		limited, cancel := context.WithTimeout(ctx, perAddress)
		conn, err := (&net.Dialer{}).DialContext(limited, network, net.JoinHostPort(a.String(), port))
		cancel()
		if err == nil {
			return conn, nil
		}
		all = errors.Join(all, err)
	}
	return nil, all
}

// Media gives what says whether pictures may go to an address that a receiver
// named: one of its own, or one of the list.
func (h *Hosts) Media(ctx context.Context, receiver *url.URL) func(netip.Addr) bool {
	own, _ := h.addresses(ctx, receiver.Hostname(), receiver.Port()) // without them the list is left
	return func(a netip.Addr) bool { return slices.Contains(own, a) || h.holds(a) }
}
