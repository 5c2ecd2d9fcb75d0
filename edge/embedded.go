package edge

import (
	"context"
	"net"
	"time"

	"offsite/devices"
	"offsite/devices/broker"
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
		b.condition.set(noticeInsecure, &devices.Problem{
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
	listens := time.AfterFunc(brokerSettles, func() { b.condition.set(noticeBroker, nil) })
	err := b.Broker.Run(ctx, sink{b, ctx})
	listens.Stop()
	if err != nil && ctx.Err() == nil {
		b.condition.set(noticeBroker, devices.AllProblems(err)[0])
	}
	return err
}
