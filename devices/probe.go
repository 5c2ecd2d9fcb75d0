package devices

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Prober tries a device that need not be registered, as a form stands, and
// tells step by step what it saw.
//
// The error is about the form: Problems, every fault at once, each naming its
// field; nothing was tried then. What the device does or does not do is never an
// error but a step. A probe never disturbs a running poll: where the endpoint is
// polled it shares its connection and waits its turn, and what cannot be tried
// so is skipped, and said so. Bindings without an id are named by their place in
// the list. It ends when ctx does.
type Prober interface {
	Probe(ctx context.Context, dev Device, bounds []Bound) ([]Step, error)
}

// Step is one thing that a probe tried.
type Step struct {
	Name    string   `json:"name"`              // stable, such as address, resolve, connect, answer, framing, values
	OK      bool     `json:"ok"`                //
	Skipped bool     `json:"skipped,omitempty"` // was not tried; the text says why
	Took    Duration `json:"took"`
	ZH      string   `json:"zh"` // what was seen
	EN      string   `json:"en"`
	CureZH  string   `json:"cure_zh,omitempty"` // what to do about it
	CureEN  string   `json:"cure_en,omitempty"`
	Values  []Probed `json:"values,omitempty"`
}

// Probed is what stands at one binding.
type Probed struct {
	Binding   string         `json:"binding"`
	Point     string         `json:"point,omitempty"`
	Raw       string         `json:"raw,omitempty"`    // as it came: bytes in hexadecimal, or the payload
	Value     *float64       `json:"value,omitempty"`  // in the point's unit; nil if there is none
	Label     string         `json:"label,omitempty"`  // of an enumeration
	Plausible bool           `json:"plausible"`        // the value lies in the point's stated range, and is not next to nothing as wrong orders often are
	Orders    []OrderedValue `json:"orders,omitempty"` // what the same bytes say in every word order
	ZH        string         `json:"zh,omitempty"`     // why there is no value, or what to look at
	EN        string         `json:"en,omitempty"`
}

// OrderedValue is a value read in one word order.
type OrderedValue struct {
	Order     string   `json:"order"`
	Value     *float64 `json:"value,omitempty"` // nil if the bytes are no number in this order
	Plausible bool     `json:"plausible"`
}

// StepOf gives the step that p ended. A Problem's sentence holds its cure behind
// a semicolon.
func StepOf(name string, took time.Duration, p *Problem) Step {
	s := Step{Name: name, Took: Duration(took)}
	s.ZH, s.CureZH, _ = strings.Cut(p.ZH, "；")
	s.EN, s.CureEN, _ = strings.Cut(p.EN, "; ")
	return s
}

// GoodStep is a step that went well.
func GoodStep(name string, took time.Duration, zh, en string) Step {
	return Step{Name: name, OK: true, Took: Duration(took), ZH: zh, EN: en}
}

// Unsaved gives a form with what it may leave open filled in, as far as a probe
// does not care. Bindings without an id are named by their place in the list.
func Unsaved(dev Device, bounds []Bound, driver string) (Device, []Bound) {
	fill := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	fill(&dev.ID, "unsaved")
	fill(&dev.Site, "unsaved")
	fill(&dev.Name, "unsaved")
	fill(&dev.Driver, driver)
	bounds = slices.Clone(bounds)
	for i := range bounds {
		b := &bounds[i].Binding
		fill(&b.ID, strconv.Itoa(i))
		fill(&b.Point, "unsaved."+b.ID)
		fill(&b.Device, dev.ID)
	}
	return dev, bounds
}

// Places tells a probe where a host is and where devices may be.
type Places struct {
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	Allow   func(netip.AddrPort) error // by a Problem
}

// Locate takes the first steps of a probe on a network: resolve, where the host
// has a name, and address. ok says that a connection to address, host:port, may
// be tried.
func (p Places) Locate(ctx context.Context, address string) (steps []Step, ok bool) {
	host, service, err := net.SplitHostPort(address)
	port, bad := strconv.ParseUint(service, 10, 16)
	if err != nil || bad != nil {
		return []Step{StepOf("resolve", 0, Invalid("endpoint", "bad_address", "地址无法识别；请写作 主机:端口", "the address cannot be read; write host:port"))}, false
	}
	addrs := []netip.Addr{}
	if literal, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, literal)
	} else {
		began := time.Now()
		addrs, err = p.Resolve(ctx, host)
		took := time.Since(began)
		if err != nil || len(addrs) == 0 {
			return []Step{StepOf("resolve", took, &Problem{
				Code:  "no_address",
				ZH:    fmt.Sprintf("找不到主机 %s 的地址；请检查主机名与本机的 DNS 设置，或直接填写 IP 地址", host),
				EN:    fmt.Sprintf("the host %s has no address; check its name and this machine's DNS, or give its IP address", host),
				Cause: err,
			})}, false
		}
		steps = append(steps, Step{
			Name: "resolve", OK: true, Took: Duration(took),
			ZH: fmt.Sprintf("%s 的地址是 %s", host, addrs[0]), EN: fmt.Sprintf("%s is at %s", host, addrs[0]),
		})
	}
	var refused error
	for _, a := range addrs {
		at := netip.AddrPortFrom(a.Unmap(), uint16(port))
		err := p.Allow(at)
		if err == nil { // the others are not dialled
			return append(steps, Step{Name: "address", OK: true, ZH: fmt.Sprintf("允许连接 %s", at), EN: fmt.Sprintf("%s may be connected to", at)}), true
		}
		if refused == nil {
			refused = err
		}
	}
	return append(steps, StepOf("address", 0, AllProblems(refused)[0])), false
}
