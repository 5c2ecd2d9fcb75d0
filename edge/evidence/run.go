package evidence

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
)

const (
	pendingPage = 1000                   // rows read at once
	settleAtOne = 100                    // rows settled in one transaction
	firstPause  = 500 * time.Millisecond // before a second try; doubles
	rescan      = time.Minute            // finds what was expected by one who died before Wake
	behind      = 200 * time.Millisecond // that a still after the breach is taken late, so that there is a picture behind it
)

// Reasons why there is no picture, besides those of the camera itself.
var (
	noCamera    = unavailable("no_picture_no_camera", "没有图像：该点位没有摄像机", "no picture: no camera watches this outlet")
	gatewayDown = unavailable("no_picture_gateway_down", "没有图像：网关当时未运行，未能及时抓拍", "no picture: the gateway was down and could not take one in time")
	tooSlow     = unavailable("no_picture_timeout", "没有图像：摄像机未在时限内给出图片", "no picture: the camera gave none in time")
	empty       = unavailable("no_picture_empty", "没有图像：抓拍结果为空", "no picture: the still came out empty")
	replaced    = unavailable("no_clip_replaced", "没有录像：摄像机的地址在其间被修改，此后的画面属于另一台摄像机", "no clip: the camera's address was changed meanwhile, and what followed is of another camera")
	noClip      = unavailable("no_clip_silent", "没有录像：摄像机在这段时间内没有画面", "no clip: the camera sent nothing in this span")
)

func unavailable(code, zh, en string) *devices.Problem {
	return &devices.Problem{Kind: devices.ErrUnavailable, Code: code, ZH: zh, EN: en}
}

// wanted is a piece that is pending.
type wanted struct {
	id         int64
	event      string
	camera     string
	kind       string
	moment     time.Duration
	breachAt   time.Time
	expectedAt time.Time
}

// anchor is the breach by the gateway's clock, or when the gateway learnt of it
// where the pictures of the breach cannot be held any more.
func (c *Collector) anchor(w wanted) time.Time {
	if w.breachAt.After(w.expectedAt) || w.expectedAt.Sub(w.breachAt) > c.cfg.Before {
		return w.expectedAt
	}
	return w.breachAt
}

// due is when a piece can be taken.
func (c *Collector) due(w wanted) time.Time {
	if w.kind == Clip || w.moment <= 0 {
		return w.expectedAt
	}
	return c.anchor(w).Add(w.moment + behind)
}

// Tell hands on what became of an event's evidence, in the transaction that
// settles it: once when the stills up to the breach are settled, unless that is all,
// and once when it is complete. It may be called again for the same event.
type Tell = func(ctx context.Context, tx *sql.Tx, r Result) error

// Run takes pieces until ctx ends or the storage fails. No camera waits for
// another; what is pending when Run begins is taken up again. Clips under way are
// ended with what there is.
func (c *Collector) Run(ctx context.Context, cameras Cameras, tell Tell) error {
	if err := c.sealLeft(ctx, tell); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	t := &taking{Collector: c, cameras: cameras, tell: tell, group: g, stills: map[string][]wanted{}, busy: map[string]bool{}, idle: make(chan string)}
	g.Go(func() error { return t.assign(ctx) })
	return g.Wait()
}

// taking is one Run.
type taking struct {
	*Collector
	cameras Cameras
	tell    Tell
	group   *errgroup.Group

	stills map[string][]wanted // by camera, what waits for its time or for the camera
	busy   map[string]bool     // cameras of which stills are being taken
	idle   chan string
}

// assign gives each camera's pending stills to one goroutine at a time, and each
// clip to one of its own.
func (t *taking) assign(ctx context.Context) error {
	tick := time.NewTicker(rescan)
	defer tick.Stop()
	for last := int64(0); ; {
		rows, err := t.pending(ctx, last)
		if err != nil {
			return fmt.Errorf("read expected evidence: %w", err)
		}
		var clips []wanted
		for _, w := range rows {
			last = w.id
			if w.kind == Clip {
				clips = append(clips, w)
			} else {
				t.stills[w.camera] = append(t.stills[w.camera], w)
			}
		}
		for _, list := range t.spans(clips) {
			t.group.Go(func() error { return t.film(ctx, list) })
		}
		next := t.begin(ctx)
		if len(rows) == pendingPage {
			continue
		}
		wait := time.NewTimer(next)
		select {
		case camera := <-t.idle:
			delete(t.busy, camera)
		case <-t.wake:
		case <-tick.C:
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return context.Cause(ctx)
		}
		wait.Stop()
	}
}

// begin starts on the stills that are due, and gives the time to the next one.
func (t *taking) begin(ctx context.Context) time.Duration {
	now, next := time.Now(), rescan
	for camera, list := range t.stills {
		if t.busy[camera] {
			continue
		}
		var due, later []wanted
		for _, w := range list {
			if left := t.due(w).Sub(now); left > 0 {
				later = append(later, w)
				next = min(next, left)
			} else {
				due = append(due, w)
			}
		}
		if t.stills[camera] = later; len(later) == 0 {
			delete(t.stills, camera)
		}
		if len(due) == 0 {
			continue
		}
		t.busy[camera] = true
		t.group.Go(func() error {
			if err := t.serve(ctx, camera, due); err != nil {
				return err
			}
			select {
			case t.idle <- camera:
			case <-ctx.Done():
			}
			return nil
		})
	}
	return next
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
		var moment, breach, expected int64
		if err := rows.Scan(&w.id, &w.event, &w.camera, &w.kind, &moment, &breach, &expected); err != nil {
			return nil, err
		}
		w.moment = time.Duration(moment) * time.Millisecond
		w.breachAt, w.expectedAt = time.UnixMilli(breach), time.UnixMilli(expected)
		out = append(out, w)
	}
	return out, rows.Err()
}

// parted takes out what was wanted too long ago.
func (c *Collector) parted(list []wanted) (missed, rest []wanted) {
	for _, w := range list {
		if time.Since(w.expectedAt) > c.cfg.Oldest {
			missed = append(missed, w)
		} else {
			rest = append(rest, w)
		}
	}
	return missed, rest
}
