package edge

import (
	"context"
	"crypto/tls"
	"time"

	"offsite/devices"
	"offsite/devices/broker"
)

// openBroker composes the embedded broker from its configuration.
func (b *Box) openBroker() (*broker.Broker, error) {
	c := b.cfg.Broker
	cfg := broker.Config{Address: c.Listen, Insecure: c.Insecure, Log: b.logger}
	if c.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
		if err != nil {
			return nil, &devices.Problem{
				Field: "broker.certificate", Code: "bad_certificate", Cause: err,
				ZH: "证书或私钥无法使用，请检查文件", EN: "certificate or key cannot be used; check the files",
			}
		}
		cfg.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	if c.Insecure {
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
