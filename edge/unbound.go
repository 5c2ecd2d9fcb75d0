package edge

import (
	"context"
	"time"

	"offsite/devices"
	"offsite/devices/broker"
)

// unboundEvery is how often the broker is asked for topics without a point.
const unboundEvery = time.Second

// mostTopics bounds the rows that one device can fill; what it publishes to
// further topics shares a row.
const (
	mostTopics  = 64
	otherTopics = "…"
)

// unbound writes what devices publish to topics that no point is bound to, or
// that are not theirs, among the losses.
type unbound struct {
	ledger *Ledger
	told   map[[2]string]int64        // by device and topic: messages told, of those that the broker remembers
	rows   map[string]map[string]bool // by device: topics with a row of their own
}

func newUnbound(ledger *Ledger) *unbound {
	return &unbound{ledger: ledger, told: map[[2]string]int64{}, rows: map[string]map[string]bool{}}
}

// tellUnbound asks the broker until ctx ends.
func (b *Box) tellUnbound(ctx context.Context) error {
	ticker := time.NewTicker(unboundEvery)
	defer ticker.Stop()
	for u := newUnbound(b.Ledger); ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := u.tell(ctx, b.Broker.Unbound()); err != nil && ctx.Err() == nil {
			b.logger.ErrorContext(ctx, "loss not written", "err", err)
		}
	}
}

// tell adds what is new in heard. After an error it can be called again with
// the next list: nothing is told twice.
func (u *unbound) tell(ctx context.Context, heard []broker.Unbound) (first error) {
	told := make(map[[2]string]int64, len(heard))
	for _, h := range heard {
		key := [2]string{h.Device, h.Topic}
		before := u.told[key]
		if h.Count < before { // the broker had forgotten the topic
			before = 0
		}
		told[key] = h.Count
		if h.Count == before {
			continue
		}
		err := u.ledger.Add(ctx, Loss{
			Kind: LossUnbound, Subject: "device/" + h.Device, Why: unboundProblem(h), From: h.At, To: h.At, Count: h.Count - before,
			Detail: u.row(h.Device, h.Topic),
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

// row gives the detail of the row that takes a topic's messages.
func (u *unbound) row(device, topic string) string {
	rows := u.rows[device]
	if rows == nil {
		rows = map[string]bool{}
		u.rows[device] = rows
	}
	if !rows[topic] && len(rows) >= mostTopics {
		return otherTopics
	}
	rows[topic] = true
	return topic
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
