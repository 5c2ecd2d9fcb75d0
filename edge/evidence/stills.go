package evidence

import (
	"context"
	"errors"
	"slices"
	"time"

	"offsite/devices"
	"offsite/streams"
)

// alike is how far apart two wanted moments may be to be shown by one still.
const alike = 100 * time.Millisecond

// serve settles stills wanted of one camera.
func (t *taking) serve(ctx context.Context, camera string, list []wanted) error {
	if camera == "" {
		return t.settle(ctx, list, outcome{why: noCamera}, t.tell)
	}
	missed, list := t.parted(list)
	if err := t.settle(ctx, missed, outcome{why: gatewayDown}, t.tell); err != nil || len(list) == 0 {
		return err
	}
	target := func(w wanted) time.Time { return t.anchor(w).Add(w.moment) }
	slices.SortFunc(list, func(a, b wanted) int { return target(a).Compare(target(b)) })
	var now []wanted // of which there was no picture, and one of now will do
	for len(list) > 0 {
		n := 1
		for n < len(list) && target(list[n]).Sub(target(list[0])) <= alike {
			n++
		}
		part := list[:n]
		list = list[n:]
		out := t.held(ctx, camera, target(part[0]))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if out.why == nil {
			if err := t.settle(ctx, part, out, t.tell); err != nil {
				return err
			}
			continue
		}
		for _, w := range part {
			if w.moment >= 0 {
				now = append(now, w)
				continue
			}
			if w.expectedAt.Before(t.began) {
				out.why = gatewayDown
			}
			if err := t.settle(ctx, []wanted{w}, out, t.tell); err != nil {
				return err
			}
		}
	}
	if len(now) == 0 {
		return nil
	}
	out, err := t.now(ctx, camera, now)
	if err != nil {
		return err
	}
	if out.why != nil {
		t.cfg.Log.WarnContext(ctx, "no picture for event", "event", now[0].event, "camera", camera, "err", out.why)
	}
	return t.settle(ctx, now, out, t.tell)
}

// held gives the picture of a moment, if it is still held.
func (t *taking) held(ctx context.Context, camera string, at time.Time) outcome {
	return t.try(ctx, func(ctx context.Context) (streams.Still, error) { return t.cameras.Moment(ctx, camera, at) })
}

// now takes a picture as it is. After the breach one try is enough: whoever waited
// for the breach itself has tried all the time.
func (t *taking) now(ctx context.Context, camera string, list []wanted) (outcome, error) {
	if slices.ContainsFunc(list, func(w wanted) bool { return w.moment <= 0 }) {
		return t.shoot(ctx, camera)
	}
	out := t.take(ctx, camera)
	if ctx.Err() != nil {
		return outcome{}, context.Cause(ctx)
	}
	return out, nil
}

func (t *taking) take(ctx context.Context, camera string) outcome {
	return t.try(ctx, func(ctx context.Context) (streams.Still, error) { return t.cameras.Take(ctx, camera) })
}

// shoot tries until there is a picture or the deadline has come. Its error is
// that of ctx and nothing else.
func (t *taking) shoot(ctx context.Context, camera string) (outcome, error) {
	bounded, cancel := context.WithTimeout(ctx, t.cfg.Deadline)
	defer cancel()
	var why *devices.Problem
	for pause := firstPause; ; pause *= 2 {
		out := t.take(bounded, camera)
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
func (t *taking) try(ctx context.Context, take func(context.Context) (streams.Still, error)) outcome {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Attempt)
	defer cancel()
	still, err := take(ctx)
	if p, ok := errors.AsType[*devices.Problem](err); ok {
		return outcome{why: p}
	}
	if err != nil && ctx.Err() != nil {
		return outcome{why: tooSlow}
	}
	if err != nil {
		return outcome{why: devices.AllProblems(err)[0]}
	}
	out := outcome{captured: still.At, lacks: still.Lacks, details: details{MediaType: mediaJPEG, Step: still.Step, Width: still.Width, Height: still.Height}}
	data := still.JPEG
	if len(data) == 0 {
		out.MediaType, data = mediaMP4, still.Frame
	}
	if len(data) == 0 {
		return outcome{why: empty}
	}
	out.timed(still.Taken, still.Source, still.Clock)
	out.Size = int64(len(data))
	if out.sha, err = t.vault.Put(data); err != nil {
		return outcome{why: devices.AllProblems(err)[0]}
	}
	if t.cfg.Watermark == MarkBurn && out.MediaType == mediaJPEG {
		out.picture = data
	}
	return out
}
