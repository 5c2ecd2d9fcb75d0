package snapshot

import (
	"context"
	"slices"
	"time"

	"offsite/streams"
)

// CodeMissed says that the camera sent nothing around the moment.
const CodeMissed = "no_picture_missed"

const (
	reach     = 2 * time.Second        // from a moment to a frame that still shows it
	near      = 200 * time.Millisecond // to a key frame that is as good as the nearest frame
	mostGroup = 300                    // frames decoded for one picture
	mostBytes = 24 << 20               // of those frames
)

// Moment gives the picture that is nearest to at of those that the feed holds. It
// never takes one from before or after a silence of the camera: without a frame
// within two seconds there is none, and the error is a *devices.Problem that says so,
// or ctx's cause.
func (t *Taker) Moment(ctx context.Context, feed *streams.Feed, at time.Time) (streams.Still, error) {
	frames := feed.Ring(at.Add(-reach), at.Add(reach))
	wanted := nearest(frames, at, func(*streams.Frame) bool { return true })
	if wanted < 0 || away(frames[wanted], at) > reach || gone(feed.State(), frames, at) {
		when := clock(at)
		return streams.Still{}, none(CodeMissed, "摄像机在 "+when+" 前后 2 秒内没有画面", "the camera sent nothing within two seconds of "+when, nil)
	}
	key := nearest(frames, at, func(f *streams.Frame) bool { return f.Key })
	if key < 0 {
		return streams.Still{}, none(CodeMissed, "该时刻的关键帧已不在缓存中", "the key frame of that moment is no longer held", nil)
	}
	clock := feed.State().Clock
	if away(frames[key], at) > max(near, away(frames[wanted], at)) {
		if group := groupOf(frames, wanted); group != nil && t.groups() {
			still := blank(frames[wanted])
			var err error
			if still.JPEG, still.Step, err = t.decode(ctx, group); err == nil {
				still.Clock = clock
				return still, nil
			}
			if ctx.Err() != nil {
				return streams.Still{}, context.Cause(ctx)
			}
			t.cfg.Log.Warn("the nearest frame gave no picture; its key frame is taken", "err", err)
		}
	}
	still, why := t.make(ctx, frames[key])
	if ctx.Err() != nil {
		return streams.Still{}, context.Cause(ctx)
	}
	if why != nil {
		return streams.Still{}, why
	}
	still.Clock = clock
	return still, nil
}

// gone says that the camera had left before the moment and was not yet back: its
// last picture, however near, is not of the moment.
func gone(s streams.State, frames []*streams.Frame, at time.Time) bool {
	last := frames[len(frames)-1]
	return last.At.Before(at) && (!s.Connected || last.Connection != s.Connections)
}

// groups says whether frames other than key frames can be decoded.
func (t *Taker) groups() bool {
	step, _ := t.Rung()
	return step == StepFFmpeg
}

// nearest gives the place of the frame that is nearest to at among those that
// count, -1 where none does.
func nearest(frames []*streams.Frame, at time.Time, counts func(*streams.Frame) bool) int {
	best := -1
	for i, f := range frames {
		if counts(f) && (best < 0 || away(f, at) < away(frames[best], at)) {
			best = i
		}
	}
	return best
}

func away(f *streams.Frame, at time.Time) time.Duration { return f.At.Sub(at).Abs() }

// groupOf gives the key frame of frame i and all up to it; nil where one is
// missing or they are too many.
func groupOf(frames []*streams.Frame, i int) []*streams.Frame {
	bytes := 0
	for k := i; k >= 0 && i-k < mostGroup && frames[k].Group == frames[i].Group; k-- {
		if bytes += frames[k].Size(); bytes > mostBytes || frames[i].Seq-frames[k].Seq != uint64(i-k) { //nolint:gosec // not negative
			return nil
		}
		if frames[k].Key {
			return whole(frames[k : i+1])
		}
	}
	return nil
}

// whole gives the group, or nil where a step in it is far longer than the others:
// a frame was lost on the way, and ffmpeg does not notice (measured with 5.1) but
// goes on with pictures that never were.
func whole(group []*streams.Frame) []*streams.Frame {
	steps := make([]time.Duration, 0, len(group))
	for i := 1; i < len(group); i++ {
		steps = append(steps, group[i].DTS-group[i-1].DTS)
	}
	slices.Sort(steps)
	if n := len(steps); n > 0 && steps[n-1] > steps[n/2]*3/2 {
		return nil
	}
	return group
}
