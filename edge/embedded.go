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

// unboundEvery is how often the broker is asked for topics without a point.
const unboundEvery = time.Second

// mostTopics bounds the rows that one device can fill.
const mostTopics = 64

// tellUnbound writes what devices publish to topics that no point is bound to,
// or that are not theirs, among the losses until ctx ends.
func (b *Box) tellUnbound(ctx context.Context) error {
	ticker := time.NewTicker(unboundEvery)
	defer ticker.Stop()
	told := map[string]map[string]int64{} // by device and topic: how many messages
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for _, u := range b.Broker.Unbound() {
			if told[u.Device] == nil {
				told[u.Device] = map[string]int64{}
			}
			if err := b.addUnbound(ctx, told[u.Device], u); err != nil {
				b.logger.ErrorContext(ctx, "loss not written", "err", err)
			}
		}
	}
}

func (b *Box) addUnbound(ctx context.Context, told map[string]int64, u broker.Unbound) error {
	before, known := told[u.Topic]
	if u.Count < before { // the broker had forgotten the topic
		before = 0
	}
	if u.Count == before || (!known && len(told) >= mostTopics) {
		return nil
	}
	err := b.Ledger.Add(ctx, Loss{
		Kind: LossUnbound, Subject: "device/" + u.Device, Why: unboundProblem(u), From: u.At, To: u.At, Count: u.Count - before, Detail: u.Topic,
	})
	if err == nil {
		told[u.Topic] = u.Count
	}
	return err
}

func unboundProblem(u broker.Unbound) *devices.Problem {
	if u.Forbidden {
		return devices.Invalid("topic", "foreign_topic",
			"设备 "+u.Device+" 向不属于它的主题 "+u.Topic+" 发布，报文未被采用；请在设备上改为 offsite/"+u.Device+"/ 下的主题，或为该主题添加绑定",
			"device "+u.Device+" publishes to topic "+u.Topic+", which is not its own, and nothing is taken from it; set the device to a topic below offsite/"+u.Device+"/, or add a binding with this topic")
	}
	return devices.Invalid("topic", "unknown_topic",
		"设备 "+u.Device+" 的主题 "+u.Topic+" 没有绑定测点，报文未被记录；请为该主题添加绑定，或更正设备的主题",
		"no point is bound to topic "+u.Topic+" of device "+u.Device+" and nothing is recorded from it; add a binding with this topic, or correct the topic in the device")
}
