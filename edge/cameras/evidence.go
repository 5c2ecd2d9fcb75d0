package cameras

import (
	"context"
	"fmt"
	"io"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/clip"
)

// Moment gives the camera's picture nearest to at, of those of the main stream that
// the feed still holds. Its error is a Problem that says why there is none.
func (f *Feeds) Moment(ctx context.Context, id string, at time.Time) (streams.Still, error) {
	feed, err := f.Feed(id, devices.MainProfile)
	if err != nil {
		return streams.Still{}, err
	}
	still, err := f.cfg.Taker.Moment(ctx, feed, at)
	if err != nil {
		return streams.Still{}, fmt.Errorf("camera %s: %w", id, err)
	}
	return still, nil
}

// Shrink makes a still as small as suits a screen of width pixels.
func (f *Feeds) Shrink(ctx context.Context, still streams.Still, width int) (streams.Still, error) {
	return f.cfg.Taker.Fit(ctx, still, width)
}

// Clip writes what the camera's main stream shows in [from, to) to out; see
// [clip.Record].
func (f *Feeds) Clip(ctx context.Context, id string, from, to time.Time, out io.WriteSeeker, cfg clip.Config) (clip.Clip, error) {
	feed, err := f.Feed(id, devices.MainProfile)
	if err != nil {
		return clip.Clip{}, err
	}
	made, err := clip.Record(ctx, feed, from, to, out, cfg)
	if err != nil {
		return made, fmt.Errorf("camera %s: %w", id, err)
	}
	return made, nil
}
