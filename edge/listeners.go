package edge

import (
	"context"
	"net"
	"time"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/mqtt/broker"
	"offsite/edge/notice"
	"offsite/streams/whep"
)

// openBroker composes the embedded broker from its configuration.
func (b *Box) openBroker() (*broker.Broker, error) {
	c := &b.cfg.Broker
	cfg := broker.Config{Address: c.Listen, Insecure: c.Insecure, Formats: b.formats, Log: b.logger}
	var problem *devices.Problem
	if cfg.TLS, problem = c.tls(); problem != nil {
		return nil, problem
	}
	if host, _, err := net.SplitHostPort(c.Listen); err == nil && cfg.TLS == nil && !loopback(host) {
		b.notices.Set(notice.Insecure, &devices.Problem{
			Code: "broker_insecure", ZH: "MQTT 未加密且可从本机以外访问：数据可被窃听和篡改，请配置证书",
			EN: "MQTT is open beyond this machine without encryption: data can be read and changed on the way; configure a certificate",
		})
	}
	return broker.New(cfg)
}

// brokerSettles is how long the broker must run for its notice to end.
const brokerSettles = time.Second

// runBroker is the task of the embedded broker.
func (b *Box) runBroker(ctx context.Context) error {
	// It fails at once where it cannot listen, and says nothing when it can.
	listens := time.AfterFunc(brokerSettles, func() { b.notices.Set(notice.Broker, nil) })
	err := b.Broker.Run(ctx, sink{b, ctx})
	listens.Stop()
	if err != nil && ctx.Err() == nil {
		b.notices.Set(notice.Broker, devices.AllProblems(err)[0])
	}
	return err
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
		b.notices.Set(notice.PlainLoggers, &devices.Problem{
			Code: "hj212_insecure", ZH: "HJ 212 未加密且可从本机以外访问：数据可被窃听和篡改，请只在专网内使用",
			EN: "HJ 212 is open beyond this machine without encryption: data can be read and changed on the way; use it in a private network only",
		})
	}
	var err error
	b.Loggers, err = hj212.New(cfg)
	return err
}

// runLoggers is the task of the host for data loggers.
func (b *Box) runLoggers(ctx context.Context) error {
	listens := time.AfterFunc(brokerSettles, func() { b.notices.Set(notice.Loggers, nil) })
	err := b.Loggers.Run(ctx, sink{b, ctx})
	listens.Stop()
	if err != nil && ctx.Err() == nil {
		b.notices.Set(notice.Loggers, devices.AllProblems(err)[0])
	}
	return err
}

// runWebRTC is the task of the ports of WebRTC.
func (b *Box) runWebRTC(ctx context.Context) error {
	err := b.WebRTC.Run(ctx, func(whep.Addresses) { b.notices.Set(notice.WebRTC, nil) })
	if err != nil && ctx.Err() == nil {
		b.notices.Set(notice.WebRTC, devices.AllProblems(err)[0])
	}
	return err
}
