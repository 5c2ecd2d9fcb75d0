package letters

import (
	"context"
	"fmt"
	"time"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/mqtt/payload"
	"offsite/timeseries"
)

// Replayed is what a replay brought.
type Replayed struct {
	Understood int      // messages that wait no more
	Readings   int      // that are on disk now
	Failed     []Letter // those that still cannot be understood, each with its present reason
}

// replay is a message that is read again.
type replay struct {
	letter Letter
	stored chan error // one value, when its readings are on disk or could not be put there; nil when it has none
	count  int
}

// Replay reads dead letters again, oldest first, by the bindings that are in
// force now. Their readings are late data of the time that the message states,
// else of the time of its receipt, and a reading that had been understood at
// once comes to the same value at the same time. What is still not understood
// waits on. Messages of MQTT devices and of data loggers can be read again.
func (o *Office) Replay(ctx context.Context, f Filter) (Replayed, error) {
	letters, err := o.List(ctx, f)
	if err != nil {
		return Replayed{}, err
	}
	var done Replayed
	var under []replay
	inboxes, taken := map[string]*payload.Inbox{}, map[instantOf]bool{}
	for i := len(letters) - 1; i >= 0; i-- {
		r := replay{letter: letters[i]}
		d := o.reread(inboxes, &r.letter)
		for i := range d.Readings {
			o.settleTime(ctx, &d.Readings[i], taken)
		}
		if r.count = len(d.Readings); r.count > 0 {
			stored := make(chan error, 1)
			r.stored = stored
			o.cfg.Accept(d, func(err error) { stored <- err })
		}
		under = append(under, r)
	}
	var understood []Letter
	for _, r := range under {
		if r.stored != nil {
			select {
			case err := <-r.stored:
				if err != nil {
					return done, err
				}
			case <-ctx.Done():
				return done, context.Cause(ctx)
			}
		}
		done.Readings += r.count
		if r.letter.Problem == nil {
			understood = append(understood, r.letter)
		} else {
			done.Failed = append(done.Failed, r.letter)
		}
	}
	done.Understood = len(understood)
	return done, o.settle(ctx, understood, done.Failed)
}

// reread decodes a letter again and puts its new problem, nil for none, into it.
func (o *Office) reread(inboxes map[string]*payload.Inbox, l *Letter) devices.Delivery {
	now, s := time.Now().UTC(), o.cfg.Registry.Snapshot()
	dev := s.Devices[l.Device]
	switch {
	case dev == nil:
		l.Problem = devices.Invalid("device", "unknown_device",
			"设备 "+l.Device+" 已停用或不存在，无法重新解析；请先登记设备", "device "+l.Device+" was retired or does not exist, so its messages cannot be read again; register it first")
		return devices.Delivery{}
	case dev.Driver == devices.DriverHJ212:
		var d devices.Delivery
		d, l.Problem = hj212.Reread(hj212.Client{Device: *dev, Bounds: s.Bound(l.Device, now)}, l.Payload, l.Received)
		return asReplay(d, l, now)
	case dev.Driver != devices.DriverMQTT && dev.Driver != devices.DriverBroker:
		l.Problem = devices.Invalid("driver", "not_replayable",
			"只有 MQTT 设备和数采仪的报文可以重新解析；该设备的驱动是 "+dev.Driver, "only messages of MQTT devices and data loggers can be read again; the driver of this one is "+dev.Driver)
		return devices.Delivery{}
	}
	in := inboxes[l.Device]
	if in == nil {
		in, _ = payload.OpenInbox(dev, s.Bound(l.Device, now), o.cfg.Formats) // faulty bindings are left out, and told by the registry
		inboxes[l.Device] = in
	}
	d, _ := in.Open(payload.Message{Topic: l.Topic, Payload: l.Payload, Received: l.Received})
	l.Problem = nil
	if d.Letter != nil {
		l.Problem, d.Letter = d.Letter.Problem, nil // it is buried already
	}
	return asReplay(d, l, now)
}

// asReplay lets a delivery come from the letter, now.
func asReplay(d devices.Delivery, l *Letter, now time.Time) devices.Delivery {
	d.Origin.ID, d.Received = fmt.Sprintf("replay-%d", l.Seq), now
	return d
}

// instantOf is a millisecond of a point.
type instantOf struct {
	point string
	ms    int64
}

// settleTime keeps a reading that states no time at the time of its receipt, or
// as soon after it as no other reading of the point stands there: the pipeline
// would move it to now. taken are the readings of this replay.
func (o *Office) settleTime(ctx context.Context, r *devices.Reading, taken map[instantOf]bool) {
	if !r.Stamped {
		return
	}
	r.Stamped = false
	for ; ; r.At = r.At.Add(time.Millisecond) {
		at := instantOf{r.Point, r.At.UnixMilli()}
		if taken[at] {
			continue
		}
		held, err := o.cfg.History.Range(ctx, timeseries.Series{Site: r.Site, Point: r.Point}, r.At, r.At.Add(time.Millisecond), 1)
		if err == nil && len(held) > 0 && held[0].Value != r.Value {
			continue
		}
		taken[at] = true
		return
	}
}
