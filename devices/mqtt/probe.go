package mqtt

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

// Times of a probe.
const (
	probeWait    = 12 * time.Second // for a message of every binding
	probeConnect = 5 * time.Second  // for each of connecting, encrypting and signing in
	probeRest    = time.Second      // before the probe's own time is up, so that what was seen is told
)

// Prober tries devices at external brokers.
type Prober struct {
	cfg  Config
	wait time.Duration
}

var _ devices.Prober = (*Prober)(nil)

// NewProber gives a prober that reaches brokers as drivers with this Config do.
func NewProber(cfg Config) *Prober {
	cfg.setDefaults()
	cfg.Connect = min(cfg.Connect, probeConnect)
	return &Prober{cfg, probeWait}
}

// Probe tries a device as [devices.Prober] says, by a session of its own that
// leaves nothing behind: another client id, no group, a clean session, QoS 0. Its
// steps are resolve, address, connect, encrypt (of mqtts), sign_in, subscribe,
// message and values.
func (p *Prober) Probe(ctx context.Context, dev devices.Device, bounds []devices.Bound) ([]devices.Step, error) {
	dev, bounds = devices.Unsaved(dev, bounds, devices.DriverMQTT)
	if err := dev.Check(); err != nil {
		return nil, err
	}
	settings := devices.MQTTSettings{}
	if dev.MQTT != nil {
		settings = *dev.MQTT
	}
	settings.ClientID, settings.Share, settings.Status = "offsite-probe-"+rand.Text()[:12], "", nil
	dev.MQTT = &settings
	d, err := Open(dev, bounds, p.cfg)
	if err != nil {
		return nil, err
	}
	pr := &probe{
		listener: listener{driver: d, heard: make(chan payload.Message, 256), lost: make(chan error, 1)},
		found:    devices.NewFindings(bounds), wait: p.wait,
	}
	steps, located := devices.Places{Resolve: p.cfg.Resolve, Allow: p.cfg.Allow}.Locate(ctx, d.address)
	if pr.steps = steps; located {
		pr.run(ctx)
	}
	return pr.steps, nil
}

// probe is one probe under way.
type probe struct {
	listener
	found *devices.Findings
	wait  time.Duration
	steps []devices.Step
}

func (pr *probe) add(s devices.Step) { pr.steps = append(pr.steps, s) }

// fail adds the step that err ended.
func (pr *probe) fail(ctx context.Context, name string, began time.Time, err error) {
	p := devices.AllProblems(err)[0]
	if ctx.Err() != nil {
		p = &devices.Problem{Code: "out_of_time", ZH: "测试时间已到；请稍后再试", EN: "the probe ran out of time; try again"}
	}
	pr.add(devices.StepOf(name, time.Since(began), p))
}

// run connects and listens.
func (pr *probe) run(ctx context.Context) {
	raw := pr.dial(ctx)
	if raw == nil {
		return
	}
	began := time.Now()
	client, err := pr.signIn(ctx, func(context.Context) (net.Conn, error) { return raw, nil })
	if err != nil {
		_ = raw.Close()
		pr.fail(ctx, "sign_in", began, err)
		return
	}
	defer client.Disconnect(0)
	who := pr.driver.dev.Username
	if who == "" {
		who = "—"
	}
	pr.add(devices.GoodStep("sign_in", time.Since(began), "服务器接受了登录，用户名 "+who, "the broker let the gateway in, user name "+who))
	if filters := pr.driver.inbox.Filters(); len(filters) == 0 {
		pr.add(devices.Step{Name: "subscribe", Skipped: true, ZH: "没有绑定测点，未订阅主题", EN: "no point is bound, so nothing was subscribed to"})
	} else if granted := pr.ask(ctx, client, filters); len(granted) > 0 {
		pr.hear(ctx, granted)
	}
}

// dial takes the steps connect and encrypt; it gives nil where one failed.
func (pr *probe) dial(ctx context.Context) net.Conn {
	d := pr.driver
	limited, cancel := context.WithTimeout(ctx, d.cfg.Connect)
	defer cancel()
	began := time.Now()
	raw, err := d.cfg.Dial(limited, "tcp", d.address)
	if err != nil {
		pr.fail(ctx, "connect", began, d.connectProblem(err))
		return nil
	}
	pr.add(devices.GoodStep("connect", time.Since(began), "已连接 "+raw.RemoteAddr().String(), "connected to "+raw.RemoteAddr().String()))
	if d.secure == nil {
		return buffered(raw, nil)
	}
	limited, cancel = context.WithTimeout(ctx, d.cfg.Connect)
	defer cancel()
	began = time.Now()
	secured, err := d.encrypt(limited, raw)
	if err != nil {
		pr.fail(ctx, "encrypt", began, d.connectProblem(err))
		return nil
	}
	seen := secured.ConnectionState()
	cert := seen.PeerCertificates[0]
	name, until := tls.VersionName(seen.Version), cert.NotAfter.In(devices.Beijing).Format("2006-01-02")
	pr.add(devices.GoodStep("encrypt", time.Since(began),
		fmt.Sprintf("%s 握手成功，服务器证书有效至 %s", name, until), fmt.Sprintf("%s is set up; the broker's certificate holds until %s", name, until)))
	return buffered(secured, nil)
}

// ask subscribes to every filter and gives those that the broker granted.
func (pr *probe) ask(ctx context.Context, client paho.Client, filters []string) (granted []string) {
	began := time.Now()
	var refused []string
	for part := range slices.Chunk(filters, filtersAtOnce) {
		err := pr.subscribe(ctx, client, part)
		var p *devices.Problem
		switch {
		case err == nil:
			granted = append(granted, part...)
			continue
		case !errors.As(err, &p) || p.Code != codeSubscription:
			pr.fail(ctx, "subscribe", began, err)
			return nil
		}
		for _, f := range part { // one by one, to tell which
			if pr.subscribe(ctx, client, []string{f}) == nil {
				granted = append(granted, f)
			} else {
				refused = append(refused, f)
			}
		}
	}
	if len(refused) > 0 {
		pr.add(devices.StepOf("subscribe", time.Since(began), subscriptionRefused(brief(refused))))
	} else {
		pr.add(devices.GoodStep("subscribe", time.Since(began), "服务器同意订阅 "+brief(granted), "the broker grants "+brief(granted)))
	}
	return granted
}

// brief names a few topics.
func brief(topics []string) string {
	const few = 3
	if len(topics) > few {
		return strings.Join(topics[:few], ", ") + ", …"
	}
	return strings.Join(topics, ", ")
}

// hear waits for a message of every binding.
func (pr *probe) hear(ctx context.Context, topics []string) {
	wait := pr.wait
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end)-probeRest)
	}
	end := time.NewTimer(wait)
	defer end.Stop()
	began := time.Now()
	var first time.Duration
	var last payload.Message
	heard := 0
	for waiting := true; waiting && !pr.found.Complete(); {
		select {
		case m := <-pr.heard:
			if heard++; heard == 1 {
				first = time.Since(began)
			}
			last = m
			pr.note(m)
		case err := <-pr.lost:
			pr.fail(ctx, "message", began, pr.driver.lostProblem(err))
			return
		case <-end.C:
			waiting = false
		case <-ctx.Done():
			waiting = false
		}
	}
	if heard == 0 {
		pr.add(devices.StepOf("message", time.Since(began), &devices.Problem{
			Code: "nothing_heard", Field: "topic.topic",
			ZH: fmt.Sprintf("%s 内没有收到 %s 的报文；请核对主题（区分大小写），并确认设备正在发送", wait.Round(time.Second), brief(topics)),
			EN: fmt.Sprintf("nothing came on %s within %s; check the topic, whose case matters, and that the device sends", brief(topics), wait.Round(time.Second)),
		}))
		return
	}
	kept, kept2 := "", ""
	if last.Retained {
		kept, kept2 = "（服务器保留的旧报文）", " (kept by the broker from earlier)"
	}
	pr.add(devices.GoodStep("message", first,
		fmt.Sprintf("收到 %d 条报文；最后一条%s %s：%s", heard, kept, last.Topic, excerpt(last.Payload)),
		fmt.Sprintf("%d messages came; the last%s on %s: %s", heard, kept2, last.Topic, excerpt(last.Payload))))
	pr.add(pr.found.Step())
}

// note reads what a message says of the bindings.
func (pr *probe) note(m payload.Message) {
	in := pr.driver.inbox
	d, _ := in.Open(m)
	var why *devices.Problem
	if d.Letter != nil {
		why = d.Letter.Problem
	}
	pr.found.Add(devices.SampleOf(m.Payload), d.Readings, in.PointsAt(m.Topic), why)
}

// excerpt is the beginning of a payload.
func excerpt(payload []byte) string {
	const most = 160
	text := devices.SampleOf(payload[:min(len(payload), most)])
	if len(payload) > most {
		text += "…"
	}
	return text
}
