package evidence

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/streams"
)

const (
	pendingPage = 1000                   // rows read at once
	settleAtOne = 100                    // rows settled in one transaction
	firstPause  = 500 * time.Millisecond // before a second try; doubles
	rescan      = time.Minute            // finds what was expected by one who died before Wake
)

// Reasons why there is no picture, besides those of the camera itself.
var (
	noCamera    = unavailable("no_picture_no_camera", "没有图像：该点位没有摄像机", "no picture: no camera watches this outlet")
	gatewayDown = unavailable("no_picture_gateway_down", "没有图像：网关当时未运行，未能及时抓拍", "no picture: the gateway was down and could not take one in time")
	tooSlow     = unavailable("no_picture_timeout", "没有图像：摄像机未在时限内给出图片", "no picture: the camera gave none in time")
	empty       = unavailable("no_picture_empty", "没有图像：抓拍结果为空", "no picture: the still came out empty")
)

func unavailable(code, zh, en string) *devices.Problem {
	return &devices.Problem{Kind: devices.ErrUnavailable, Code: code, ZH: zh, EN: en}
}

// wanted is a picture that is pending.
type wanted struct {
	id         int64
	event      string
	camera     string
	expectedAt time.Time
}

// Tell hands on what became of an event's pictures, in the transaction that
// settles the last of them. It may be called again for the same event.
type Tell = func(ctx context.Context, tx *sql.Tx, r Result) error

// Run takes pictures until ctx ends or the storage fails. No camera waits for
// another; what is pending when Run begins is taken up again.
func (c *Collector) Run(ctx context.Context, taker Taker, tell Tell) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.assign(ctx, g, taker, tell) })
	return g.Wait()
}

// assign gives each camera's pending pictures to one goroutine at a time.
func (c *Collector) assign(ctx context.Context, g *errgroup.Group, taker Taker, tell Tell) error {
	waiting, busy, idle := map[string][]wanted{}, map[string]bool{}, make(chan string)
	tick := time.NewTicker(rescan)
	defer tick.Stop()
	for last := int64(0); ; {
		rows, err := c.pending(ctx, last)
		if err != nil {
			return fmt.Errorf("read expected evidence: %w", err)
		}
		for _, w := range rows {
			last = w.id
			waiting[w.camera] = append(waiting[w.camera], w)
		}
		for camera, list := range waiting {
			if busy[camera] {
				continue
			}
			delete(waiting, camera)
			busy[camera] = true
			g.Go(func() error {
				if err := c.serve(ctx, camera, list, taker, tell); err != nil {
					return err
				}
				select {
				case idle <- camera:
				case <-ctx.Done():
				}
				return nil
			})
		}
		if len(rows) == pendingPage {
			continue
		}
		select {
		case camera := <-idle:
			delete(busy, camera)
		case <-c.wake:
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// serve settles the pictures wanted of one camera.
func (c *Collector) serve(ctx context.Context, camera string, list []wanted, taker Taker, tell Tell) error {
	if camera == "" {
		return c.settle(ctx, list, outcome{why: noCamera}, tell)
	}
	var missed []wanted
	list = slices.DeleteFunc(list, func(w wanted) bool {
		old := time.Since(w.expectedAt) > c.cfg.Oldest
		if old {
			missed = append(missed, w)
		}
		return old
	})
	if err := c.settle(ctx, missed, outcome{why: gatewayDown}, tell); err != nil || len(list) == 0 {
		return err
	}
	out, err := c.shoot(ctx, camera, taker)
	if err != nil {
		return err
	}
	if out.why != nil {
		c.cfg.Log.WarnContext(ctx, "no picture for event", "event", list[0].event, "camera", camera, "err", out.why)
	}
	return c.settle(ctx, list, out, tell)
}

// outcome is a picture in the vault, or why there is none.
type outcome struct {
	still     streams.Still
	sha       string
	mediaType string
	why       *devices.Problem
}

// shoot tries until there is a picture or the deadline has come. Its error is
// that of ctx and nothing else.
func (c *Collector) shoot(ctx context.Context, camera string, taker Taker) (outcome, error) {
	bounded, cancel := context.WithTimeout(ctx, c.cfg.Deadline)
	defer cancel()
	var why *devices.Problem
	for pause := firstPause; ; pause *= 2 {
		out := c.try(bounded, camera, taker)
		if ctx.Err() != nil {
			return outcome{}, context.Cause(ctx)
		}
		if out.why == nil {
			return out, nil
		}
		if why == nil || out.why != tooSlow { // the camera's own reason says more
			why = out.why
		}
		if errors.Is(why, devices.ErrNotFound) {
			return outcome{why: why}, nil
		}
		select {
		case <-time.After(pause):
		case <-bounded.Done():
		}
		switch {
		case ctx.Err() != nil:
			return outcome{}, context.Cause(ctx)
		case bounded.Err() != nil:
			return outcome{why: why}, nil
		}
	}
}

// try takes one picture and puts it into the vault.
func (c *Collector) try(ctx context.Context, camera string, taker Taker) outcome {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Attempt)
	defer cancel()
	still, err := taker.Take(ctx, camera)
	if p, ok := errors.AsType[*devices.Problem](err); ok {
		return outcome{why: p}
	}
	if err != nil && ctx.Err() != nil {
		return outcome{why: tooSlow}
	}
	if err != nil {
		return outcome{why: devices.AllProblems(err)[0]}
	}
	out := outcome{still: still, mediaType: mediaJPEG}
	data := still.JPEG
	if len(data) == 0 {
		out.mediaType, data = mediaMP4, still.Frame
	}
	if len(data) == 0 {
		return outcome{why: empty}
	}
	if out.sha, err = c.vault.Put(data); err != nil {
		return outcome{why: devices.AllProblems(err)[0]}
	}
	return out
}

// settle commits the outcome for every picture of the list, and tells of each
// event of which it was the last.
func (c *Collector) settle(ctx context.Context, list []wanted, out outcome, tell Tell) error {
	ctx = context.WithoutCancel(ctx) // what is taken is kept, also when Run is ending
	for part := range slices.Chunk(list, settleAtOne) {
		err := c.db.Update(ctx, func(tx *sql.Tx) error {
			for _, w := range part {
				if err := settleOne(ctx, tx, w, out, tell); err != nil {
					return fmt.Errorf("evidence of event %s: %w", w.event, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		events := make([]string, len(part))
		for i, w := range part {
			events[i] = w.event
		}
		c.cfg.Told(events)
	}
	return nil
}

func settleOne(ctx context.Context, tx *sql.Tx, w wanted, out outcome, tell Tell) error {
	var err error
	if out.why != nil {
		_, err = tx.ExecContext(ctx, sqlNone, w.id, out.why.Stored())
	} else {
		_, err = tx.ExecContext(ctx, sqlAttach, w.id, out.sha, out.mediaType, out.still.At.UnixMilli(), out.still.Step, out.still.Width, out.still.Height)
	}
	if err != nil {
		return err
	}
	rows, err := queryItems(ctx, tx, sqlOfEvent, w.event)
	if err != nil {
		return err
	}
	r := resultOf(w.event, rows)
	if r.State == Pending {
		return nil
	}
	return tell(ctx, tx, r)
}

// pending reads what is wanted beyond the row last.
func (c *Collector) pending(ctx context.Context, last int64) ([]wanted, error) {
	rows, err := c.db.Read().QueryContext(ctx, sqlPending, last, pendingPage)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []wanted
	for rows.Next() {
		var w wanted
		var expected int64
		if err := rows.Scan(&w.id, &w.event, &w.camera, &expected); err != nil {
			return nil, err
		}
		w.expectedAt = time.UnixMilli(expected)
		out = append(out, w)
	}
	return out, rows.Err()
}
