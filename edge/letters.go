package edge

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"offsite/devices"
	"offsite/timeseries"
)

// lettersAtATime is how many dead letters one listing gives and one replay takes.
const lettersAtATime = 1000

// Letter is a message that could not be understood, and waits for its device's
// bindings to be mended.
type Letter struct {
	Seq      uint64 // in the log
	Device   string
	Topic    string
	Payload  []byte // at most 64 KiB of it
	Received time.Time
	Problem  *devices.Problem
}

// LetterFilter says which dead letters are meant; zero fields do not matter.
type LetterFilter struct {
	Device string
	Seqs   []uint64
	Before uint64 // only those with a lower Seq
	Most   int    // zero means 1,000, which is also the most
}

// Letters gives the dead letters that wait, newest first.
func (g *Ledger) Letters(ctx context.Context, f LetterFilter) ([]Letter, error) {
	where, args := []string{"replayed_ms IS NULL"}, []any{}
	if f.Device != "" {
		where, args = append(where, "device = ?"), append(args, f.Device)
	}
	if f.Before != 0 {
		where, args = append(where, "seq < ?"), append(args, int64(f.Before))
	}
	if len(f.Seqs) > 0 {
		where = append(where, "seq IN (?"+strings.Repeat(", ?", len(f.Seqs)-1)+")")
		for _, seq := range f.Seqs {
			args = append(args, int64(seq))
		}
	}
	most := f.Most
	if most <= 0 || most > lettersAtATime {
		most = lettersAtATime
	}
	rows, err := g.db.Read().QueryContext(ctx, `SELECT seq, device, topic, payload, code, field, zh, en, received_ms FROM dead_letters WHERE `+
		strings.Join(where, " AND ")+` ORDER BY seq DESC LIMIT ?`, append(args, most)...)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	defer rows.Close()
	var list []Letter
	for rows.Next() {
		l, p, ms := Letter{}, &devices.Problem{Kind: devices.ErrInvalid}, int64(0)
		if err := rows.Scan(&l.Seq, &l.Device, &l.Topic, &l.Payload, &p.Code, &p.Field, &p.ZH, &p.EN, &ms); err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		l.Problem, l.Received = p, time.UnixMilli(ms).UTC()
		list = append(list, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return list, nil
}

// settle takes note of what a replay brought: letters that were understood wait
// no more, the others have a new reason.
func (g *Ledger) settle(ctx context.Context, understood, failed []Letter) error {
	err := g.db.Update(ctx, func(tx *sql.Tx) error {
		now := time.Now().UnixMilli()
		for _, l := range understood { // the row stays, its payload is in the readings now
			if _, err := tx.ExecContext(ctx, `UPDATE dead_letters SET replayed_ms = ?, payload = x'' WHERE seq = ?`, now, int64(l.Seq)); err != nil {
				return err
			}
		}
		for _, l := range failed {
			p := l.Problem
			if _, err := tx.ExecContext(ctx, `UPDATE dead_letters SET code = ?, field = ?, zh = ?, en = ? WHERE seq = ?`, p.Code, p.Field, p.ZH, p.EN, int64(l.Seq)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("settle dead letters: %w", err)
	}
	return nil
}

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
// waits on. Only messages of MQTT devices can be read again.
func (b *Box) Replay(ctx context.Context, f LetterFilter) (Replayed, error) {
	letters, err := b.Ledger.Letters(ctx, f)
	if err != nil {
		return Replayed{}, err
	}
	var done Replayed
	var under []replay
	inboxes, taken := map[string]*devices.Inbox{}, map[instantOf]bool{}
	for i := len(letters) - 1; i >= 0; i-- {
		r := replay{letter: letters[i]}
		d := b.reread(inboxes, &r.letter)
		for i := range d.Readings {
			b.settleTime(ctx, &d.Readings[i], taken)
		}
		if r.count = len(d.Readings); r.count > 0 {
			stored := make(chan error, 1)
			r.stored = stored
			b.Pipeline.Accept(d, func(err error) { stored <- err })
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
	return done, b.Ledger.settle(ctx, understood, done.Failed)
}

// reread decodes a letter again and puts its new problem, nil for none, into it.
func (b *Box) reread(inboxes map[string]*devices.Inbox, l *Letter) devices.Delivery {
	now, s := time.Now().UTC(), b.Registry.Snapshot()
	dev := s.Devices[l.Device]
	switch {
	case dev == nil:
		l.Problem = devices.Invalid("device", "unknown_device",
			"设备 "+l.Device+" 已停用或不存在，无法重新解析；请先登记设备", "device "+l.Device+" was retired or does not exist, so its messages cannot be read again; register it first")
		return devices.Delivery{}
	case dev.Driver != devices.DriverMQTT && dev.Driver != devices.DriverBroker:
		l.Problem = devices.Invalid("driver", "not_replayable",
			"只有 MQTT 设备的报文可以重新解析；该设备的驱动是 "+dev.Driver, "only messages of MQTT devices can be read again; the driver of this one is "+dev.Driver)
		return devices.Delivery{}
	}
	in := inboxes[l.Device]
	if in == nil {
		in, _ = devices.OpenInbox(dev, s.Bound(l.Device, now), b.formats) // faulty bindings are left out, and told by the registry
		inboxes[l.Device] = in
	}
	d, _ := in.Open(devices.Message{Topic: l.Topic, Payload: l.Payload, Received: l.Received})
	l.Problem = nil
	if d.Letter != nil {
		l.Problem, d.Letter = d.Letter.Problem, nil // it is buried already
	}
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
func (b *Box) settleTime(ctx context.Context, r *devices.Reading, taken map[instantOf]bool) {
	if !r.Stamped {
		return
	}
	r.Stamped = false
	for ; ; r.At = r.At.Add(time.Millisecond) {
		at := instantOf{r.Point, r.At.UnixMilli()}
		if taken[at] {
			continue
		}
		held, err := b.History.Range(ctx, timeseries.Series{Site: r.Site, Point: r.Point}, r.At, r.At.Add(time.Millisecond), 1)
		if err == nil && len(held) > 0 && held[0].Value != r.Value {
			continue
		}
		taken[at] = true
		return
	}
}
