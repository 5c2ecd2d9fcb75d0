package broker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

// recent is what a device last sent to each bound topic, for people to look at.
type recent struct {
	mu     sync.Mutex
	topics map[string]*sample
}

// sample is a message, or the beginning of a long one.
type sample struct {
	payload.Message
	whole bool
}

// mostRecent is how many topics of a device are remembered.
const mostRecent = 16

// note keeps a copy of a message.
func (r *recent) note(m *payload.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.topics[m.Topic]
	if kept == nil {
		if len(r.topics) >= mostRecent {
			return
		}
		if r.topics == nil {
			r.topics = map[string]*sample{}
		}
		kept = &sample{Message: payload.Message{Topic: m.Topic}}
		r.topics[m.Topic] = kept
	}
	kept.Payload = append(kept.Payload[:0], m.Payload[:min(len(m.Payload), mostSample)]...)
	kept.Received, kept.whole = m.Received, len(m.Payload) <= mostSample
}

// list gives copies.
func (r *recent) list() []sample {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]sample, 0, len(r.topics))
	for _, m := range r.topics {
		kept := *m
		kept.Payload = slices.Clone(m.Payload)
		list = append(list, kept)
	}
	return list
}

// probeFresh is how old a refusal may be that says something of now.
const probeFresh = time.Hour

var _ devices.Prober = (*Broker)(nil)

// Probe tells how a device of the embedded broker fares, as [devices.Prober]
// says; it only looks. Its steps are setup (what to type into the device),
// sign_in, message and values.
func (b *Broker) Probe(ctx context.Context, dev devices.Device, bounds []devices.Bound) ([]devices.Step, error) {
	dev, bounds = devices.Unsaved(dev, bounds, devices.DriverBroker)
	if err := dev.Check(); err != nil {
		return nil, err
	}
	inbox, err := payload.OpenInbox(&dev, bounds, b.cfg.Formats)
	if err != nil {
		return nil, err
	}
	setup, listens := b.setup(&dev, inbox)
	steps := []devices.Step{setup}
	if !listens {
		return steps, nil
	}
	present, here := b.present(dev.ID)
	steps = append(steps, present)
	if present.Skipped {
		return steps, nil
	}
	return append(steps, b.hear(ctx, dev.ID, inbox, bounds, here)...), nil
}

// setup says what to type into the device.
func (b *Broker) setup(dev *devices.Device, inbox *payload.Inbox) (s devices.Step, listens bool) {
	at := b.Addr()
	b.mu.Lock()
	running := b.host != nil
	b.mu.Unlock()
	if at == nil || !running {
		return devices.StepOf("setup", 0, &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "not_listening", Field: "broker.listen",
			ZH: "内置代理没有在监听；请查看首页的告警，并核对 offsite.yaml 中的 broker.listen", EN: "the embedded broker does not listen; see the warnings of the first page, and check broker.listen in offsite.yaml",
		}), false
	}
	topics := inbox.Filters()
	if len(topics) == 0 {
		topics = []string{ownPrefix + dev.ID + "/…"}
	}
	safeZH, safeEN := "不加密", "without TLS"
	if b.cfg.TLS != nil {
		safeZH, safeEN = "使用 TLS", "with TLS"
	}
	places := b.port.Reached()
	s = devices.Step{Name: "setup", OK: true}
	if len(places) == 0 {
		places = []string{at.String()}
		s.CureZH, s.CureEN = "代理只监听本机；设备在别的机器上时请更改 offsite.yaml 中的 broker.listen", "the broker listens on this machine alone; for devices elsewhere change broker.listen in offsite.yaml"
	}
	where, what := strings.Join(places, " / "), strings.Join(topics[:min(len(topics), 4)], ", ")
	s.ZH = fmt.Sprintf("在设备中填写：服务器 %s（%s），用户名 %s，密码为登记的密码，主题 %s", where, safeZH, dev.ID, what)
	s.EN = fmt.Sprintf("type into the device: server %s (%s), user name %s, the registered password, topic %s", where, safeEN, dev.ID, what)
	return s, true
}

// present says whether the device is signed in, and from where.
func (b *Broker) present(device string) (s devices.Step, here bool) {
	if (*b.clients.Load())[device] == nil {
		return devices.Step{
			Name: "sign_in", Skipped: true,
			ZH: "设备尚未保存，不能登录", EN: "the device is not saved yet and cannot sign in",
			CureZH: "请先保存，再让设备连接", CureEN: "save it, then have it connect",
		}, false
	}
	if from := b.remotes(device); len(from) > 0 {
		where := strings.Join(from, ", ")
		return devices.GoodStep("sign_in", 0, "设备已登录，来自 "+where, "the device is signed in, from "+where), true
	}
	for _, r := range b.Refused() {
		if r.Username == device && time.Since(r.At) < probeFresh {
			s := devices.StepOf("sign_in", 0, r.Problem)
			s.ZH = fmt.Sprintf("%s（%s 来自 %s，共 %d 次）", s.ZH, devices.Clock(r.At), r.Remote, r.Count)
			s.EN = fmt.Sprintf("%s (%s from %s, %d times)", s.EN, devices.Clock(r.At), r.Remote, r.Count)
			return s, false
		}
	}
	return devices.StepOf("sign_in", 0, &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "device_offline",
		ZH: "设备没有连接；请核对设备中的服务器地址、端口与用户名，以及网络与电源", EN: "the device is not connected; check server, port and user name in the device, the network and its power",
	}), false
}

// remotes gives where the connections of a device come from.
func (b *Broker) remotes(device string) (from []string) {
	b.mu.Lock()
	h := b.host
	b.mu.Unlock()
	if h == nil {
		return nil
	}
	h.mu.Lock()
	lines := slices.Collect(maps.Keys(h.lines))
	h.mu.Unlock()
	for _, l := range lines {
		l.mu.Lock()
		if l.device == device && l.online && !l.closed {
			from = append(from, l.remote)
		}
		l.mu.Unlock()
	}
	slices.Sort(from)
	return from
}

// hear looks at what the device sent, and waits until there is something of each
// binding.
func (b *Broker) hear(ctx context.Context, device string, inbox *payload.Inbox, bounds []devices.Bound, here bool) []devices.Step {
	var sent []sample
	var found *devices.Findings
	took := devices.Overhear(ctx, here, func() bool {
		sent = b.sent(device)
		found = findings(inbox, bounds, sent)
		return len(sent) > 0 && found.Complete()
	})
	if len(sent) == 0 {
		return []devices.Step{devices.StepOf("message", took, &devices.Problem{
			Code: "nothing_heard", Field: "topic.topic",
			ZH: "还没有收到设备的报文；请核对设备的主题与上报周期，稍后再测", EN: "no message of the device has come yet; check its topic and how often it sends, and test again",
		})}
	}
	return told(sent, found, bounds, took)
}

// sent gives the last messages of a device, oldest first, bound topics or not.
func (b *Broker) sent(device string) []sample {
	var list []sample
	for _, u := range b.Unbound() {
		if u.Device == device && !u.Forbidden {
			list = append(list, sample{payload.Message{Topic: u.Topic, Payload: u.Sample, Received: u.At}, len(u.Sample) == u.Bytes})
		}
	}
	if c := (*b.clients.Load())[device]; c != nil {
		list = append(list, c.recent.list()...)
	}
	slices.SortStableFunc(list, func(a, b sample) int { return a.Received.Compare(b.Received) })
	return list
}

// findings reads the messages with the bindings of the form.
func findings(inbox *payload.Inbox, bounds []devices.Bound, sent []sample) *devices.Findings {
	found := devices.NewFindings(bounds)
	for _, m := range sent {
		points := inbox.PointsAt(m.Topic)
		if !m.whole {
			found.Add(devices.SampleOf(m.Payload), nil, points, &devices.Problem{
				Code: "too_long_to_show", ZH: "报文超过 4 KiB，测试不解析；保存后请看读数", EN: "a message of more than 4 KiB is not read by a test; save and look at the readings",
			})
			continue
		}
		d, _ := inbox.Open(m.Message)
		var why *devices.Problem
		if d.Letter != nil {
			why = d.Letter.Problem
		}
		found.Add(devices.SampleOf(m.Payload), d.Readings, points, why)
	}
	return found
}

// told makes the steps message and values.
func told(sent []sample, found *devices.Findings, bounds []devices.Bound, took time.Duration) []devices.Step {
	last := sent[len(sent)-1]
	topics := make([]string, 0, len(sent))
	for _, m := range sent {
		topics = append(topics, m.Topic)
	}
	heard, at := strings.Join(topics[max(0, len(topics)-6):], ", "), devices.Clock(last.Received)
	steps := []devices.Step{devices.GoodStep("message", took,
		fmt.Sprintf("已收到主题 %s；最后一条 %s 于 %s：%s", heard, last.Topic, at, devices.SampleOf(last.Payload)),
		fmt.Sprintf("heard topics %s; the last, %s at %s: %s", heard, last.Topic, at, devices.SampleOf(last.Payload)))}
	if len(bounds) > 0 {
		steps = append(steps, found.Step())
	}
	return steps
}
