package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/snapshot/decoder"
)

var errDamaged = errors.New("damaged")

// damaged says that the frames are at fault, and not what decodes them.
func damaged(err error) bool { return errors.Is(err, errDamaged) || errors.Is(err, decoder.ErrDamaged) }

// make gives the frame's picture by the highest rung that works. What is wrong
// with the frame itself ends the ladder.
func (t *Taker) make(ctx context.Context, frame *streams.Frame) (streams.Still, *devices.Problem) {
	still, err := t.decode(ctx, []*streams.Frame{frame})
	switch at := clock(frame.At); {
	case err == nil:
		return still, nil
	case damaged(err):
		return streams.Still{}, none(CodeDamaged, at+" 的关键帧已损坏，无法解码；请检查摄像机与网络", "the key frame of "+at+" is damaged and cannot be decoded; check the camera and the network", err)
	case errors.Is(err, decoder.ErrRefused):
		return streams.Still{}, none(CodeRefused, "图像过大或格式不受支持；请把摄像机设为 4K 及以下的 H.264、H.265 或 JPEG", "the picture is too large or of a format that is not decoded; set the camera to H.264, H.265 or JPEG of at most 4K", err)
	case ctx.Err() == nil && !errors.Is(err, decoder.ErrUnusable):
		t.cfg.Log.Warn("decoder failed", "err", err)
		return streams.Still{}, none(CodeDecoder, "解码 "+at+" 的关键帧时超时、内存不足或出错", "decoding the key frame of "+at+" took too long, took too much memory or failed", err)
	}
	still = stillOf(frame, StepFrame, nil)
	if still.Frame, err = packFrame(frame); err != nil {
		return streams.Still{}, none(CodeDamaged, "关键帧无法封装", "the key frame cannot be packed", err)
	}
	return still, nil
}

// stillOf is the still of a frame whose picture has been made.
func stillOf(frame *streams.Frame, step string, picture []byte) streams.Still {
	return streams.Still{
		JPEG: picture, Step: step, At: frame.At, Taken: frame.Taken, Source: frame.Source,
		Width: frame.Params.Width, Height: frame.Params.Height,
	}
}

// decode gives the last frame of a group by the highest rung that works; by the
// module, one before it where the budget does not reach so far.
func (t *Taker) decode(ctx context.Context, group []*streams.Frame) (streams.Still, error) {
	if err := t.turn.Acquire(ctx, 1); err != nil {
		return streams.Still{}, err
	}
	defer t.turn.Release(1)
	last := group[len(group)-1]
	if last.Params.Codec == streams.MJPEG {
		return stillOf(last, StepMJPEG, last.NALUs[0]), checkJPEG(last.NALUs[0], last.Params)
	}
	if t.ffmpeg != nil && (!hidden(group) || t.module.Usable() != nil) {
		picture, err := t.ffmpeg.jpeg(ctx, group)
		if err == nil {
			err = checkJPEG(picture, last.Params)
		}
		if ctx.Err() != nil {
			return streams.Still{}, err
		}
		if err == nil || errors.Is(err, errDamaged) || errors.Is(err, decoder.ErrRefused) {
			t.note(nil)
			return stillOf(last, StepFFmpeg, picture), err
		}
		t.note(err)
	}
	return t.sandboxed(ctx, group)
}

// hidden says that ffmpeg would go on from a picture of which a slice is missing: of H.265 it does not
// notice (measured with 5.1), and only of the picture that comes out can be seen here that it has a
// hole. The module looks at each.
func hidden(group []*streams.Frame) bool {
	sliced := func(f *streams.Frame) bool {
		n := 0
		for _, u := range f.NALUs {
			if u[0]>>1&0x3f < 32 { // a slice (H.265, table 7-1)
				n++
			}
		}
		return n > 1
	}
	return len(group) > 1 && group[0].Params.Codec == streams.H265 && slices.ContainsFunc(group, sliced)
}

// sandboxed gives the picture of the group by the embedded decoder.
func (t *Taker) sandboxed(ctx context.Context, group []*streams.Frame) (streams.Still, error) {
	units := func(yield func(time.Duration, []byte) bool) {
		for _, f := range group {
			if !yield(f.PTS, f.AnnexB()) {
				return
			}
		}
	}
	last := group[len(group)-1]
	img, shown, err := t.module.Decode(ctx, last.Params.Codec, units, last.PTS)
	if err != nil {
		return streams.Still{}, err
	}
	i := slices.IndexFunc(group, func(f *streams.Frame) bool { return f.PTS == shown })
	if i < 0 {
		return streams.Still{}, fmt.Errorf("decoder module gave a picture of %v, which it was not given", shown)
	}
	if err := check(img, last.Params); err != nil {
		return streams.Still{}, err
	}
	picture, err := encodeJPEG(img)
	return stillOf(group[i], StepSandbox, picture), err
}

// note keeps why ffmpeg does not work, and tells it when that begins.
func (t *Taker) note(err error) {
	t.mu.Lock()
	before := t.hurt
	t.hurt = err
	t.mu.Unlock()
	if err != nil && before == nil {
		t.cfg.Log.Warn("ffmpeg failed; the embedded decoder takes its place", "err", err)
	}
}

// checkJPEG decodes the picture to see that it is whole.
func checkJPEG(picture []byte, want *streams.Parameters) error {
	img, err := decodeJPEG(picture)
	switch {
	case errors.Is(err, decoder.ErrRefused):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return check(img, want)
}
