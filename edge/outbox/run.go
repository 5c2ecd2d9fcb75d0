package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
)

// Housekeeping.
const (
	forgetEvery = time.Hour
	forgetAtOne = 1000 // rows deleted in one transaction
)

// outcome is what a worker tells the schedule.
type outcome struct {
	lane    *lane
	verdict Verdict
	gone    bool // the message waits no longer
}

// Run delivers until ctx ends or the storage fails. deliver is called for one
// message of a lane at a time, at most Config.Workers at once; it must end when
// its context does and bound its own time. What the context's end interrupts
// is delivered again by the next Run.
func (o *Outbox) Run(ctx context.Context, deliver func(context.Context, Message) Verdict) error {
	g, ctx := errgroup.WithContext(ctx)
	work, finished := make(chan *lane), make(chan outcome)
	for range o.cfg.Workers {
		g.Go(func() error { return o.work(ctx, deliver, work, finished) })
	}
	g.Go(func() error { return newSchedule(o).run(ctx, work, finished) })
	g.Go(func() error { return o.keepHouse(ctx) })
	return g.Wait()
}

// work delivers the heads of lanes and stores the outcomes.
func (o *Outbox) work(ctx context.Context, deliver func(context.Context, Message) Verdict, work <-chan *lane, finished chan<- outcome) error {
	for {
		var l *lane
		select {
		case l = <-work:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		out, err := o.handOver(ctx, deliver, l)
		if err != nil {
			return err
		}
		select {
		case finished <- out:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// handOver delivers the head of a lane once.
func (o *Outbox) handOver(ctx context.Context, deliver func(context.Context, Message) Verdict, l *lane) (outcome, error) {
	m, err := o.load(ctx, l.head.seq)
	if errors.Is(err, sql.ErrNoRows) { // somebody removed it
		return outcome{lane: l, verdict: Verdict{Class: Done}, gone: true}, nil
	}
	if err != nil {
		return outcome{}, fmt.Errorf("outbox: read message %d: %w", l.head.seq, err)
	}
	v := deliver(ctx, m)
	if v.Class != Done && ctx.Err() != nil {
		return outcome{}, context.Cause(ctx)
	}
	out := outcome{lane: l, verdict: v}
	switch v.Class {
	case Done:
		out.gone = true
		err = o.change(ctx, sqlDone, time.Now().UnixMilli(), l.head.seq)
	case Refused:
		out.gone, err = o.refuse(ctx, l, m, v)
	default:
	}
	if err != nil {
		return outcome{}, fmt.Errorf("outbox: store outcome of %s: %w", m.Key, err)
	}
	return out, nil
}

// refuse counts a refusal and says whether it was the last.
func (o *Outbox) refuse(ctx context.Context, l *lane, m Message, v Verdict) (dead bool, err error) {
	why := v.Reason
	if why == nil {
		why = &devices.Problem{Code: "refused", ZH: "对方拒绝该消息，未说明原因", EN: "the destination refused the message without a reason"}
	}
	l.head.refusals++
	if l.head.refusals < tries {
		return false, o.change(ctx, sqlRefuse, l.head.seq)
	}
	o.cfg.Log.Error("message refused for good", "key", m.Key, "kind", m.Kind, "event", m.Event, "err", why)
	return true, o.db.Update(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, sqlBury, time.Now().UnixMilli(), why.Stored(), l.head.seq); err != nil {
			return err
		}
		if o.cfg.Buried == nil {
			return nil
		}
		return o.cfg.Buried(ctx, tx, m, why)
	})
}

// change stores an outcome, even while Run is ending: what is stored is not
// delivered again.
func (o *Outbox) change(ctx context.Context, query string, args ...any) error {
	ctx = context.WithoutCancel(ctx)
	return o.db.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
}

func (o *Outbox) load(ctx context.Context, seq int64) (Message, error) {
	var m Message
	var blobs []byte
	var created int64
	err := o.db.Read().QueryRowContext(ctx, sqlLoad, seq).Scan(&m.Key, &m.Lane, &m.After, &m.Kind, &m.Event, &m.Body, &blobs, &created)
	if err != nil {
		return Message{}, err
	}
	m.Created = time.UnixMilli(created).UTC()
	return m, json.Unmarshal(blobs, &m.Blobs)
}

// keepHouse forgets what was delivered long ago.
func (o *Outbox) keepHouse(ctx context.Context) error {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		if err := o.forget(ctx, time.Now().Add(-o.cfg.Keep)); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// forget deletes what was delivered before the time given, a few at a time so
// that it holds up no judgement.
func (o *Outbox) forget(ctx context.Context, before time.Time) error {
	for {
		var n int64
		err := o.db.Update(ctx, func(tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, sqlForget, before.UnixMilli(), forgetAtOne)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil {
			return fmt.Errorf("outbox: forget delivered messages: %w", err)
		}
		if n < forgetAtOne {
			return nil
		}
	}
}
