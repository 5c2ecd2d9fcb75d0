package evidence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"offsite/devices"
	"offsite/streams/clip"
)

// together is how far apart the breaches of two events may be for one clip to
// serve both.
const together = 2 * time.Second

// spans parts wanted clips into those that one clip serves.
func (t *taking) spans(list []wanted) [][]wanted {
	slices.SortStableFunc(list, func(a, b wanted) int {
		if by := strings.Compare(a.camera, b.camera); by != 0 {
			return by
		}
		return t.anchor(a).Compare(t.anchor(b))
	})
	var out [][]wanted
	for i, w := range list {
		if i > 0 && w.camera == list[i-1].camera {
			last := &out[len(out)-1]
			if t.anchor(w).Sub(t.anchor((*last)[0])) <= together {
				*last = append(*last, w)
				continue
			}
		}
		out = append(out, []wanted{w})
	}
	return out
}

// film settles clips wanted of one camera at nearly the same time.
func (t *taking) film(ctx context.Context, list []wanted) error {
	missed, list := t.parted(list)
	if err := t.settle(ctx, missed, outcome{why: gatewayDown}, t.tell); err != nil || len(list) == 0 {
		return err
	}
	from, to := t.anchor(list[0]).Add(-t.cfg.Before), t.anchor(list[len(list)-1]).Add(t.cfg.After)
	out := t.record(ctx, list, from, to)
	if out.why != nil && ctx.Err() != nil {
		return context.Cause(ctx) // it is still wanted
	}
	if out.why != nil && list[0].expectedAt.Before(t.began) {
		out.why = gatewayDown
	}
	return t.settle(ctx, list, out, t.tell)
}

// record writes one clip into the vault.
func (t *taking) record(ctx context.Context, list []wanted, from, to time.Time) outcome {
	file, err := t.vault.Create()
	if err != nil {
		return outcome{why: devices.AllProblems(err)[0]}
	}
	defer file.Abort()
	cfg := clip.Config{Most: LargestFile - 4<<20}
	if t.cfg.Watermark != MarkNone {
		cfg.Caption = t.caption(ctx, list)
	}
	made, err := t.cameras.Clip(ctx, list[0].camera, from, to, file, cfg)
	switch {
	case errors.Is(err, clip.ErrEmpty) && made.Another:
		return outcome{why: replaced}
	case errors.Is(err, clip.ErrEmpty):
		return outcome{why: noClip}
	case err != nil:
		return outcome{why: devices.AllProblems(err)[0]}
	}
	sha, size, err := file.Commit()
	if err != nil {
		return outcome{why: devices.AllProblems(err)[0]}
	}
	first := made.First
	out := outcome{
		sha: sha, captured: made.Start, lacks: lacking(made, to),
		details: details{
			MediaType: mediaMP4, Size: size, Width: first.Params.Width, Height: first.Params.Height, Codec: first.Params.Codec,
			Until: made.End.UTC().Truncate(time.Millisecond), Frames: made.Frames, Gaps: made.Gaps,
		},
	}
	out.timed(first.Taken, first.Source, made.Clock)
	return out
}

// lacking says what a clip lacks; nil where it is whole.
func lacking(c clip.Clip, to time.Time) *devices.Problem {
	zh, en := hour(c.End)
	switch {
	case c.Broken:
		return unavailable("clip_stopped", "录像不完整：网关在"+zh+" 停止", "the clip is not whole: the gateway stopped at "+en)
	case c.Another:
		return unavailable("clip_replaced", "录像到"+zh+" 为止：此后摄像机的地址已修改，画面属于另一台摄像机", "the clip ends at "+en+": then the camera's address was changed, and what follows is of another camera")
	case c.Full:
		return unavailable("clip_full", "录像不完整：文件在"+zh+" 达到大小上限；请降低摄像机码率", "the clip is not whole: its file was full at "+en+"; lower the camera's bit rate")
	case c.Crowded:
		return unavailable("clip_crowded", "录像不完整：摄像机在"+zh+" 又更改了编码参数，文件头已容纳不下；请检查摄像机是否反复切换编码设置", "the clip is not whole: at "+en+" the camera changed its parameter sets once more than the file has room for; check whether it keeps changing its coding")
	case len(c.Gaps) > 0:
		g := c.Gaps[0]
		fromZH, fromEN := hour(g.From)
		toZH, toEN := hour(g.To)
		zh, en = fmt.Sprintf("录像不完整：%s 至%s 没有画面", fromZH, toZH), fmt.Sprintf("the clip is not whole: no pictures from %s to %s", fromEN, toEN)
		if n := len(c.Gaps) - 1; n > 0 {
			zh, en = fmt.Sprintf("%s，另有 %d 处", zh, n), fmt.Sprintf("%s, and %d gaps more", en, n)
		}
		return unavailable("clip_gaps", zh, en)
	}
	return nil
}

// hour names the time of day and its zone.
func hour(t time.Time) (zh, en string) {
	at := t.In(devices.Beijing).Format("15:04:05")
	return "北京时间 " + at, at + " (Beijing time)"
}

// caption gives the words over a clip: site, camera, time, events.
func (t *taking) caption(ctx context.Context, list []wanted) func(time.Time) string {
	s := t.about(ctx, list[0].event)
	events := make([]string, 0, len(list))
	for _, w := range list {
		events = append(events, w.event)
	}
	named := strings.Join(events, " ")
	return func(at time.Time) string {
		return strings.Join(append(s.words(list[0].camera, at), named), " · ")
	}
}

// about tells of an event; where that fails, its id.
func (c *Collector) about(ctx context.Context, event string) Subject {
	s, err := c.cfg.About(ctx, event)
	if err != nil {
		c.cfg.Log.WarnContext(ctx, "evidence says little of its event", "event", event, "err", err)
		return Subject{ID: event}
	}
	return s
}
