package hj212

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"offsite/devices"
	"offsite/devices/hj212/wire"
)

// frames is what a logger sent last of each kind, for people to look at.
type frames struct {
	mu   sync.Mutex
	kept map[string]*keptFrame
}

type keptFrame struct {
	raw     []byte // with its password: it is taken out before anybody sees it
	at      time.Time
	refused *devices.Problem // why the host did not take it; nil if it did
}

// mostFrames bounds the kinds that are kept of one logger, its split packets
// each.
const mostFrames = 16

func (fs *frames) note(kind string, f *wire.Frame, at time.Time) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	k := fs.kept[kind]
	if k == nil {
		if len(fs.kept) >= mostFrames {
			return
		}
		if fs.kept == nil {
			fs.kept = map[string]*keptFrame{}
		}
		k = &keptFrame{}
		fs.kept[kind] = k
	}
	k.raw, k.at, k.refused = append(k.raw[:0], f.Raw...), at, f.Refused
}

// list gives copies, oldest first.
func (fs *frames) list() []keptFrame {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	list := make([]keptFrame, 0, len(fs.kept))
	for _, k := range fs.kept {
		list = append(list, keptFrame{slices.Clone(k.raw), k.at, k.refused})
	}
	slices.SortFunc(list, func(a, b keptFrame) int { return a.at.Compare(b.at) })
	return list
}

// probeFresh is how old a refusal may be that says something of now.
const probeFresh = time.Hour

var _ devices.Prober = (*Host)(nil)

// Probe tells how a data logger fares, as [devices.Prober] says; it only looks.
// Its steps are setup (what to type into the logger), sign_in, message and
// values.
func (h *Host) Probe(ctx context.Context, dev devices.Device, bounds []devices.Bound) ([]devices.Step, error) {
	dev, bounds = devices.Unsaved(dev, bounds, devices.DriverHJ212)
	if err := dev.Check(); err != nil {
		return nil, err
	}
	for i := range bounds {
		if bounds[i].Point.ID == "" {
			bounds[i].Point.ID = bounds[i].Binding.Point
		}
	}
	form, err := newLogger(&Client{Device: dev, Bounds: bounds})
	if err != nil {
		return nil, err
	}
	setup, listens := h.setup(form)
	steps := []devices.Step{setup}
	if !listens {
		return steps, nil
	}
	present, here := h.present(&dev)
	steps = append(steps, present)
	if present.Skipped {
		return steps, nil
	}
	return append(steps, h.hear(ctx, form, bounds, here)...), nil
}

// Absent is the prober of data loggers where no host listens for them.
type Absent struct{}

// Probe says that nobody listens.
func (Absent) Probe(context.Context, devices.Device, []devices.Bound) ([]devices.Step, error) {
	return []devices.Step{devices.StepOf("setup", 0, NoListener())}, nil
}

// setup says what to type into the logger.
func (h *Host) setup(form *logger) (s devices.Step, listens bool) {
	at := h.Addr()
	if at == nil {
		return devices.StepOf("setup", 0, &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "not_listening", Field: "hj212.listen",
			ZH: "网关没有在监听数采仪；请查看首页的告警，并核对 offsite.yaml 中的 hj212.listen", EN: "the gateway does not listen for data loggers; see the warnings of the first page, and check hj212.listen in offsite.yaml",
		}), false
	}
	places := h.port.Reached()
	s = devices.Step{Name: "setup", OK: true}
	if len(places) == 0 {
		places = []string{at.String()}
		s.CureZH, s.CureEN = "网关只在本机监听；数采仪在别的机器上时请更改 offsite.yaml 中的 hj212.listen", "the gateway listens on this machine alone; for loggers elsewhere change hj212.listen in offsite.yaml"
	}
	where := strings.Join(places, " / ")
	safeZH, safeEN := "", ""
	if h.cfg.TLS != nil {
		safeZH, safeEN = "，使用 TLS", ", with TLS"
	}
	s.ZH = fmt.Sprintf("在数采仪中填写：中心（上位机）地址和端口 %s（TCP 客户端%s），MN %s，密码 PW 为登记的密码", where, safeZH, form.settings.MN)
	s.EN = fmt.Sprintf("type into the logger: host address and port %s (TCP client%s), MN %s, the registered password PW", where, safeEN, form.settings.MN)
	return s, true
}

// present says whether the logger is connected, and from where.
func (h *Host) present(dev *devices.Device) (s devices.Step, here bool) {
	mn := dev.HJ212.MN
	h.mu.Lock()
	session := h.by[mn]
	h.mu.Unlock()
	if session != nil {
		return devices.GoodStep("sign_in", 0, "数采仪已连接，来自 "+session.remote, "the logger is connected, from "+session.remote), true
	}
	if n, ok := h.refusal(mn); ok {
		s := devices.StepOf("sign_in", 0, n.Problem)
		s.ZH = fmt.Sprintf("%s（%s 来自 %s，共 %d 次）", s.ZH, devices.Clock(n.At), n.Remote, n.Count)
		s.EN = fmt.Sprintf("%s (%s from %s, %d times)", s.EN, devices.Clock(n.At), n.Remote, n.Count)
		return s, false
	}
	if h.logger(mn) == nil {
		return devices.Step{
			Name: "sign_in", Skipped: true,
			ZH: "数采仪尚未保存，不能接入", EN: "the logger is not saved yet and is not admitted",
			CureZH: "请先保存，再让数采仪连接", CureEN: "save it, then have it connect",
		}, false
	}
	return devices.StepOf("sign_in", 0, &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "device_offline",
		ZH: "数采仪没有连接；请核对数采仪中的中心地址与端口，以及网络与电源", EN: "the logger is not connected; check host address and port in the logger, the network and its power",
	}), false
}

// refusal gives the last reason for which a packet of this MN was refused.
func (h *Host) refusal(mn string) (Note, bool) {
	for _, n := range h.Notes() {
		signIn := n.Problem != nil && slices.Contains([]string{codeUnknownMN, "bad_password", "no_password"}, n.Problem.Code)
		if n.MN == mn && signIn && time.Since(n.At) < probeFresh {
			return n, true
		}
	}
	return Note{}, false
}

// hear looks at what the logger sent, and waits until there is something of each
// binding.
func (h *Host) hear(ctx context.Context, form *logger, bounds []devices.Bound, here bool) []devices.Step {
	var sent []keptFrame
	var found *devices.Findings
	took := devices.Overhear(ctx, here, func() bool {
		if l := h.logger(form.settings.MN); l != nil {
			sent = l.frames.list()
		}
		found = form.findings(bounds, sent)
		return len(sent) > 0 && found.Complete()
	})
	if len(sent) == 0 {
		return []devices.Step{devices.StepOf("message", took, &devices.Problem{
			Code: "nothing_heard",
			ZH:   "还没有收到数据包；请核对数采仪的上报间隔，稍后再测", EN: "no data packet has come yet; check how often the logger sends, and test again",
		})}
	}
	return told(sent, found, bounds, took)
}

// findings reads the frames with the bindings of the form.
func (l *logger) findings(bounds []devices.Bound, sent []keptFrame) *devices.Findings {
	found := devices.NewFindings(bounds)
	for _, k := range sent {
		p := l.read(k)
		if p == nil {
			continue
		}
		out := l.open(p, k.at)
		for i := range bounds {
			b := &bounds[i]
			found.Add(l.itemOf(p, b), only(out.readings, b.Point.ID), nil, nil)
		}
		for _, r := range out.reports {
			if r.Problem != nil {
				found.Add(string(scrub(k.raw)), nil, r.Points, r.Problem)
			}
		}
	}
	return found
}

func only(list []devices.Reading, point string) []devices.Reading {
	at := slices.IndexFunc(list, func(r devices.Reading) bool { return r.Point == point })
	if at < 0 {
		return nil
	}
	return list[at : at+1]
}

// itemOf gives the text of the item that holds a binding's value.
func (l *logger) itemOf(p *wire.Packet, b *devices.Bound) string {
	place := b.Binding.Factor.Full()
	for _, item := range p.CP {
		var parts []string
		mine := false
		for _, f := range item {
			parts = append(parts, f.Name+"="+f.Value)
			code, field, ok := wire.SplitName(f.Name)
			mine = mine || (ok && l.code(code) == l.code(place.Code) && field == place.Field)
		}
		if mine {
			return strings.Join(parts, ",")
		}
	}
	return ""
}

// told makes the steps message and values.
func told(sent []keptFrame, found *devices.Findings, bounds []devices.Bound, took time.Duration) []devices.Step {
	last := sent[len(sent)-1]
	at, text := devices.Clock(last.at), devices.SampleOf(scrub(last.raw))
	s := devices.GoodStep("message", took,
		fmt.Sprintf("最后一个数据包 %s：%s", at, text), fmt.Sprintf("the last packet, %s: %s", at, text))
	if last.refused != nil {
		s = devices.StepOf("message", took, last.refused)
		s.ZH, s.EN = fmt.Sprintf("%s，数据包 %s", s.ZH, text), fmt.Sprintf("%s, packet %s", s.EN, text)
	}
	if len(bounds) == 0 {
		return []devices.Step{s}
	}
	return []devices.Step{s, found.Step()}
}
