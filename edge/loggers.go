package edge

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"offsite/devices"
	"offsite/devices/hj212"
)

// HJ212Config sets up the host for HJ 212 data loggers.
type HJ212Config struct {
	Listen      string `yaml:"listen"`   // empty (the default): no logger can connect
	Insecure    bool   `yaml:"insecure"` // allow plain TCP off loopback, as nearly all loggers need it
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

func (c *HJ212Config) validate(ps *devices.Problems) {
	if c.Listen == "" {
		return
	}
	host, _, err := net.SplitHostPort(c.Listen)
	switch {
	case err != nil:
		ps.Add(devices.Invalid("hj212.listen", "bad_address", "监听地址须形如 0.0.0.0:9212", `write an address like "0.0.0.0:9212"`))
	case !loopback(host) && !c.Insecure && c.Certificate == "":
		ps.Add(devices.Invalid("hj212.listen", "plain_off_loopback",
			"本机以外的 HJ 212 明文传输可被窃听和篡改：请在专网或 VPN 内使用并设置 hj212.insecure: true，或填写 hj212.certificate 和 hj212.key",
			"plain HJ 212 off loopback can be read and changed on the way: keep it in a private network and set hj212.insecure: true, or give hj212.certificate and hj212.key"))
	}
	if (c.Certificate == "") != (c.Key == "") {
		ps.Add(devices.Invalid("hj212.certificate", "incomplete", "证书与私钥须同时填写", "give certificate and key together"))
		return
	}
	_, problem := c.tls()
	ps.Add(problem)
}

// tls is nil where no certificate is given.
func (c *HJ212Config) tls() (*tls.Config, *devices.Problem) {
	if c.Certificate == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		p := devices.Invalid("hj212.certificate", "bad_certificate",
			"证书或私钥无法使用，请检查文件是否存在、可读且互相匹配", "certificate or key cannot be used; see that the files are there, can be read and belong together")
		p.Cause = err
		return nil, p
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// openLoggers composes the host for data loggers; it stays nil where none is
// to listen.
func (b *Box) openLoggers() error {
	c := &b.cfg.HJ212
	if c.Listen == "" {
		return nil
	}
	cfg := hj212.Config{Address: c.Listen, Log: b.logger}
	var problem *devices.Problem
	if cfg.TLS, problem = c.tls(); problem != nil {
		return problem
	}
	if host, _, err := net.SplitHostPort(c.Listen); err == nil && cfg.TLS == nil && !loopback(host) {
		b.condition.set(noticePlainLoggers, &devices.Problem{
			Code: "hj212_insecure", ZH: "HJ 212 未加密且可从本机以外访问：数据可被窃听和篡改，请只在专网内使用",
			EN: "HJ 212 is open beyond this machine without encryption: data can be read and changed on the way; use it in a private network only",
		})
	}
	var err error
	b.Loggers, err = hj212.New(cfg)
	return err
}

// noListener is the driver of data loggers while no host listens for them.
func noListener(devices.Device, []devices.Bound) (devices.Driver, error) {
	return nil, &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "no_listener", Field: "hj212.listen",
		ZH: "网关没有监听数采仪：请在配置文件中填写 hj212.listen 并重启网关",
		EN: "the gateway does not listen for data loggers: set hj212.listen in its configuration and start it again",
	}
}

// runLoggers is the task of the host for data loggers.
func (b *Box) runLoggers(ctx context.Context) error {
	listens := time.AfterFunc(brokerSettles, func() { b.condition.set(noticeLoggers, nil) })
	err := b.Loggers.Run(ctx, sink{b, ctx})
	listens.Stop()
	if err != nil && ctx.Err() == nil {
		b.condition.set(noticeLoggers, devices.AllProblems(err)[0])
	}
	return err
}

// tellLoggers writes what the host noted among the losses until ctx ends.
func (b *Box) tellLoggers(ctx context.Context) error {
	ticker := time.NewTicker(unboundEvery)
	defer ticker.Stop()
	for u := newUnbound(b.Ledger); ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := u.tellNotes(ctx, b.Loggers.Notes()); err != nil && ctx.Err() == nil {
			b.logger.ErrorContext(ctx, "loss not written", "err", err)
		}
	}
}

// tellNotes adds what is new in notes. After an error it can be called again
// with the next list: nothing is told twice.
func (u *unbound) tellNotes(ctx context.Context, notes []hj212.Note) (first error) {
	told := make(map[[2]string]int64, len(notes))
	for _, n := range notes {
		detail := noteDetail(n)
		key := [2]string{n.Device + " " + n.MN + " " + n.Problem.Code, detail}
		before := u.told[key]
		if n.Count < before { // the host had forgotten it
			before = 0
		}
		told[key] = n.Count
		if n.Count == before {
			continue
		}
		subject := "device/" + n.Device
		if n.Device == "" {
			subject = subjectGateway
		}
		err := u.ledger.Add(ctx, Loss{
			Kind: LossUnbound, Subject: subject, Why: n.Problem, From: n.At, To: n.At, Count: n.Count - before, Detail: u.row(n.Device, detail),
		})
		if err != nil {
			told[key] = before
			if first == nil {
				first = err
			}
		}
	}
	u.told = told
	return first
}

// noteDetail says which factor, or whose packets.
func noteDetail(n hj212.Note) string {
	if n.Problem.Code == hj212.CodeUnknownFactor {
		return n.Detail
	}
	if n.MN != "" {
		return "MN=" + n.MN
	}
	host, _, _ := net.SplitHostPort(n.Remote) // the port is another each time
	return host
}
