package snapshot

import (
	"context"
	"errors"
	"slices"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/snapshot/decoder"
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
// or ctx's cause. Where the picture is further off than one that came, because what lies between
// cannot be decoded, the still's Lacks says why.
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
	var lacks *devices.Problem
	if step, _ := t.Rung(); step != StepFrame && away(frames[key], at) > max(near, away(frames[wanted], at)) {
		still, err := t.between(ctx, frames, wanted)
		if ctx.Err() != nil {
			return streams.Still{}, context.Cause(ctx)
		}
		if err == nil && still.At.Sub(at).Abs() < away(frames[key], at) {
			still.Clock = clock
			return still, nil
		}
		lacks = still.Lacks
		if err != nil {
			t.cfg.Log.Warn("the nearest frame gave no picture; its key frame is taken", "err", err)
			lacks = instead(err)
		}
	}
	still, why := t.make(ctx, frames[key])
	if ctx.Err() != nil {
		return streams.Still{}, context.Cause(ctx)
	}
	if why != nil {
		return streams.Still{}, why
	}
	still.Clock, still.Lacks = clock, lacks
	return still, nil
}

// Why a still is further off than need be.
var (
	lacksWhole = &devices.Problem{Code: "still_damaged", ZH: "该时刻之前有画面数据损坏，取距该时刻最近的完好画面", EN: "a picture before the moment is damaged; the nearest one that is whole is shown"}
	lacksLost  = &devices.Problem{Code: "still_lost", ZH: "该时刻之前有画面在传输中丢失，取距该时刻最近的完好画面", EN: "a picture before the moment was lost on its way; the nearest one that is whole is shown"}
	lacksRoom  = &devices.Problem{Code: "still_budget", ZH: "关键帧间隔过长，未能解码到该时刻，取能解码到的最近一幅；请缩短摄像机的关键帧间隔", EN: "key frames are too far apart to decode up to the moment; the nearest picture that could be had is shown; set the camera to send key frames more often"}
	lacksKey   = &devices.Problem{Code: "still_no_key", ZH: "该时刻的画面所依赖的关键帧已不在缓存中，取最近的关键帧", EN: "the key frame that the pictures of the moment depend on is no longer held; the nearest one is shown"}
	lacksTime  = &devices.Problem{Code: "still_decoder", ZH: "解码该时刻的画面超时或出错，取最近的关键帧", EN: "decoding the picture of the moment took too long or failed; the nearest key frame is shown"}
)

// instead is why a key frame stands for the picture of a moment.
func instead(err error) *devices.Problem {
	switch {
	case damaged(err):
		return lacksWhole
	case errors.Is(err, errNoKey):
		return lacksKey
	}
	return lacksTime
}

// gone says that the camera had left before the moment and was not yet back: its
// last picture, however near, is not of the moment.
func gone(s streams.State, frames []*streams.Frame, at time.Time) bool {
	last := frames[len(frames)-1]
	return last.At.Before(at) && (!s.Connected || last.Connection != s.Connections)
}

// between gives the picture of a frame between two key frames, or of one before it
// that can be had. Groups are decoded one at a time, so that key frames need not wait for them.
func (t *Taker) between(ctx context.Context, frames []*streams.Frame, wanted int) (streams.Still, error) {
	group, cut := groupOf(frames, wanted)
	if group == nil {
		return streams.Still{}, errNoKey
	}
	wait := t.cfg.Patience
	if end, bounded := ctx.Deadline(); bounded { // a quarter is left for the key frame
		wait = min(wait, time.Until(end)*3/4)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := t.group.Acquire(ctx, 1); err != nil {
		return streams.Still{}, err
	}
	defer t.group.Release(1)
	still, err := t.decode(ctx, group)
	if damaged(err) {
		still, err = t.before(ctx, group, err)
		cut = lacksWhole
	}
	if err != nil || frames[wanted].At.Sub(still.At) <= near {
		return still, err
	}
	if still.Lacks = cut; cut == nil { // the decoder's budget did not reach so far
		still.Lacks = lacksRoom
	}
	return still, nil
}

// before gives the last picture of a damaged group before the damage. The module tells
// how far it came; ffmpeg does not, and is asked for halves. The nearest so far stands
// when the time is over; where that is none but the key frame the error is why.
func (t *Taker) before(ctx context.Context, group []*streams.Frame, why error) (streams.Still, error) {
	var best streams.Still
	err := why
	for whole, hurt := 1, len(group); whole+1 < hurt; { // as many frames are whole, as many are not
		n := (whole + hurt) / 2
		if d := new(decoder.Damage); errors.As(err, &d) {
			hurt = min(hurt, d.Unit+1)
			n = hurt - 1
		}
		if n <= whole {
			break
		}
		var still streams.Still
		switch still, err = t.decode(ctx, group[:n]); {
		case err == nil && still.At.Equal(group[n-1].At):
			best, whole = still, n
		case damaged(err):
			hurt = n
		case err == nil && best.At.Before(still.At): // the decoder's budget did not reach so far
			return still, nil
		default:
			hurt = 0
		}
	}
	if best.JPEG == nil {
		return best, why
	}
	return best, nil
}

var errNoKey = errors.New("the key frame that it depends on is no longer held")

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

// groupOf gives the key frame of frame i and what follows it up to i, or up to where
// there are too many or one is missing, which cut tells; nil where the key frame is.
func groupOf(frames []*streams.Frame, i int) (_ []*streams.Frame, cut *devices.Problem) {
	first := slices.IndexFunc(frames, func(f *streams.Frame) bool { return f.Key && f.Seq == frames[i].Group })
	if first < 0 {
		return nil, nil
	}
	group, bytes := frames[first:i+1], 0
	for k, f := range group {
		bytes += f.Size()
		missing := k > 0 && (f.Broken || f.Seq != group[k-1].Seq+1)
		if missing || k > 0 && (k == mostGroup || bytes > mostBytes) {
			if group, cut = group[:k], lacksRoom; missing {
				cut = lacksLost
			}
			break
		}
	}
	if whole := unbroken(group); len(whole) < len(group) {
		group, cut = whole, lacksLost
	}
	return slices.DeleteFunc(slices.Clone(group), leading), cut
}

// leading says that a frame depends on the group before its own as well: a RASL picture
// (H.265, 7.4.2.2), which a decoder that begins with this group leaves out.
func leading(f *streams.Frame) bool {
	return f.Params.Codec == streams.H265 && slices.ContainsFunc(f.NALUs, func(u []byte) bool {
		kind := u[0] >> 1 & 0x3f
		return kind == 8 || kind == 9
	})
}

// unbroken gives the group up to a step that is far longer than the others: a
// frame was lost on the way there, and ffmpeg does not notice (measured with 5.1) but
// goes on with pictures that never were.
func unbroken(group []*streams.Frame) []*streams.Frame {
	steps := make([]time.Duration, 0, len(group))
	for i := 1; i < len(group); i++ {
		steps = append(steps, group[i].DTS-group[i-1].DTS)
	}
	sorted := slices.Sorted(slices.Values(steps))
	for i, step := range steps {
		if step > sorted[len(sorted)/2]*3/2 {
			return group[:i+1]
		}
	}
	return group
}
