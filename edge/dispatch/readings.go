package dispatch

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"offsite/devices"
	"offsite/edge/dispatch/wire"
)

const (
	readingBatch = 1000   // readings in one message
	pendingMost  = 10_000 // readings that wait for a platform that cannot be reached
)

// readings sends the subscribed points' newest values whenever they are due.
// What could not be sent goes first the next time, marked as resent.
func (c *Client) readings(site Site) step {
	q := queue{last: make(map[string]time.Time)}
	return func(ctx context.Context) (time.Duration, Answer) {
		sub, err := c.store.subscription(ctx)
		if err != nil {
			return 0, local(err)
		}
		now := time.Now() // intervals are monotonic
		q.collect(sub, now, site.Latest)
		for len(q.waiting) > 0 {
			part := q.waiting[:min(readingBatch, len(q.waiting))]
			a := c.sendReadings(ctx, part)
			if a.Class == Retry || a.Class == Pause {
				q.keep()
				return 0, a
			}
			q.waiting = q.waiting[len(part):]
		}
		return q.next(now), Answer{Class: Done}
	}
}

func (c *Client) sendReadings(ctx context.Context, part []wire.Reading) Answer {
	body, err := json.Marshal(wire.ReadingBatch{Kind: wire.ReadingBatchKindRealtime, Readings: part})
	if err != nil {
		return local(err)
	}
	var receipt wire.Receipt
	a := c.call(ctx, c.identity.Load(), call{method: http.MethodPost, path: "/v1/readings", key: "readings:" + wire.NewNonce(), body: body, into: &receipt})
	if a.Class == Refused {
		c.reports.problem(PartReadings, a.Problem)
		c.cfg.Log.ErrorContext(ctx, "readings refused by the platform", "err", a.Problem)
	}
	for _, r := range receipt.Refusals {
		if r.Index < len(part) {
			c.cfg.Log.WarnContext(ctx, "reading refused by the platform", "point", part[r.Index].Point, "err", r.Code+": "+r.Reason)
		}
	}
	return a
}

// queue knows what of a subscription is due and what still waits to be sent.
type queue struct {
	sub     string      // the subscription that due belongs to
	due     []time.Time // of each item
	every   []time.Duration
	last    map[string]time.Time // newest At sent or waiting, by point
	waiting []wire.Reading
}

// collect puts the new values of the items that are due behind what waits.
func (q *queue) collect(sub wire.Subscription, now time.Time, latest func([]string) []wire.Reading) {
	if id := fmt.Sprint(sub.Items); id != q.sub || len(q.due) != len(sub.Items) {
		q.sub, q.due, q.every = id, make([]time.Time, len(sub.Items)), make([]time.Duration, len(sub.Items))
		q.last = make(map[string]time.Time) // a new subscription begins with all values
	}
	for i, item := range sub.Items {
		if q.every[i] = time.Duration(item.EverySeconds) * time.Second; now.Before(q.due[i]) {
			continue
		}
		if q.due[i] = q.due[i].Add(q.every[i]); !q.due[i].After(now) { // late, or the first time
			q.due[i] = now.Add(q.every[i])
		}
		points := item.Points
		for _, p := range points {
			if p == "*" {
				points = nil
				break
			}
		}
		if points == nil && len(item.Points) == 0 {
			continue
		}
		for _, r := range latest(points) {
			if r.At.After(q.last[r.Point]) {
				q.last[r.Point] = r.At.Time
				q.waiting = append(q.waiting, r)
			}
		}
	}
}

// keep marks what could not be sent. Beyond pendingMost the oldest go: history
// has them, and the platform can ask for them.
func (q *queue) keep() {
	if over := len(q.waiting) - pendingMost; over > 0 {
		q.waiting = append([]wire.Reading(nil), q.waiting[over:]...)
	}
	for i := range q.waiting {
		q.waiting[i].Resent = true
	}
}

// next is how long until an item is due; negative if there is none.
func (q *queue) next(now time.Time) time.Duration {
	rest := time.Duration(-1)
	for _, due := range q.due {
		if d := max(due.Sub(now), 0); rest < 0 || d < rest {
			rest = d
		}
	}
	return rest
}

// subscribe carries out subscription.set.
func (c *Client) subscribe(ctx context.Context, cmd wire.Command) (wire.Result, error) {
	var sub wire.Subscription
	if err := json.Unmarshal(cmd.Args, &sub); err != nil {
		return wire.Result{}, devices.Invalid("args", "bad_args", "参数不是有效的订阅："+err.Error(), "the arguments are no subscription: "+err.Error())
	}
	for i, item := range sub.Items {
		if item.EverySeconds < 1 || item.EverySeconds > 86400 {
			return wire.Result{}, devices.Invalid(fmt.Sprintf("items[%d].every_seconds", i), "out_of_range", "间隔须为 1 至 86400 秒", "send every 1 to 86400 seconds")
		}
		for k, p := range item.Points {
			if p != "*" && devices.CheckPointID("", p) != nil {
				return wire.Result{}, devices.CheckPointID(fmt.Sprintf("items[%d].points[%d]", i, k), p)
			}
		}
	}
	if err := c.store.db.Update(ctx, func(tx *sql.Tx) error { return setSubscription(ctx, tx, sub) }); err != nil {
		return wire.Result{}, err
	}
	poke(c.wakeReadings)
	return done(sub)
}
