// Package clip writes a span of a camera's pictures into one file as they come:
// the clip of an event, from some seconds before it, which the feed's ring still
// holds, to some seconds after.
//
// # The file
//
// Fragmented MP4 (ISO 14496-12, 14496-15), to be played from its start while it
// is still loading: ftyp, moov, free, and for each fragment prft, moof, mdat. A
// fragment begins with a key frame, or after two seconds or 4 MiB without one.
//
// Track 1 is the video, 90,000 ticks a second, decoding times from zero; an edit
// list takes out the delay of B-frames. prft gives the time (UTC, NTP format) at
// which the fragment's first frame came to the gateway; its flags are 24. Where the
// camera was away the frame before stands still until it is back. A clip is of one camera: where the feed
// goes over to another one it ends.
//
// A camera that changes its parameter sets gets a further sample description. All
// are then of kind avc3 or hev1, and key frames from there on carry their sets as
// well, because not every player looks at the description of a fragment.
//
// Track 2, where a caption is wanted, is timed text (tx3g, 3GPP TS 26.245), 1,000 ticks
// a second, a line for each second: the watermark, which leaves the picture as it is.
//
// The head is written last, into 8 KiB that were left free for it (more, where the
// first parameter sets need it), because what it says is known only then. A clip ends
// before the frame whose parameter sets have no room there. Memory is one fragment, whose frames the ring holds too.
package clip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"offsite/streams"
)

// ErrEmpty says that the camera gave no picture in the whole span.
var ErrEmpty = errors.New("no picture in this span")

// Config of a clip. Zero values mean the defaults.
type Config struct {
	Caption func(at time.Time) string // text over the picture at a time; nil: none
	Most    int64                     // bytes after which a clip ends; 60 MiB
	Settle  time.Duration             // that frames are waited for after the end, by the clock; 300 ms
	Missing time.Duration             // without a frame that is told as a gap; 2 s
}

func (c *Config) setDefaults() {
	if c.Most <= 0 {
		c.Most = 60 << 20
	}
	if c.Settle <= 0 {
		c.Settle = 300 * time.Millisecond
	}
	if c.Missing <= 0 {
		c.Missing = 2 * time.Second
	}
}

// Span is some time without pictures.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Clip tells what was written. Times are arrivals by the gateway's clock.
type Clip struct {
	First   *streams.Frame // its parameters, time and source of time are the clip's
	Start   time.Time      // of the first frame
	End     time.Time      // of the last frame and its duration
	Clock   streams.Clock  // how the camera's clock stood against the gateway's
	Frames  int
	Bytes   int64
	Sets    int    // different parameter sets
	Gaps    []Span // without pictures, in order
	Crowded bool   // it ended early because the head had no room for what the camera had changed to
	Full    bool   // it ended early because it had reached Config.Most
	Broken  bool   // it ended early because ctx did
	Another bool   // it ended early because from then on the feed showed another camera
}

// Record follows the feed and writes what arrives in [from, to), and what came
// before it since the last key frame, to out, which is empty. It returns at the
// latest Config.Settle after to. Where ctx ends before that, or the feed goes over to another
// camera, the clip is finished with what there is. It returns ErrEmpty where nothing came; what
// the Clip says of its end stands then, too.
func Record(ctx context.Context, feed *streams.Feed, from, to time.Time, out io.WriteSeeker, cfg Config) (Clip, error) {
	cfg.setDefaults()
	reader := feed.Follow(from)
	defer reader.Close()
	bounded, cancel := context.WithDeadline(ctx, to.Add(cfg.Settle))
	defer cancel()
	r := recording{writer: newWriter(out, cfg), from: from, missing: cfg.Missing, last: from}
	for {
		f, err := reader.Next(bounded)
		r.clip.Another = errors.Is(err, streams.ErrReplaced)
		if err != nil || !f.At.Before(to) {
			break
		}
		err = r.take(f)
		if errors.Is(err, errCrowded) {
			r.clip.Crowded = true
			break
		}
		if err != nil {
			return Clip{}, fmt.Errorf("write clip: %w", err)
		}
		if r.writer.pos >= cfg.Most {
			r.clip.Full = true
			break
		}
	}
	r.clip.Broken, r.clip.Clock = ctx.Err() != nil, feed.State().Clock
	return r.finish(to)
}

// recording is a clip under way.
type recording struct {
	writer  *writer
	from    time.Time
	missing time.Duration
	lead    []*streams.Frame // a group that began before from and has not reached it
	last    time.Time        // arrival of the newest frame written, or from
	clip    Clip
}

// take adds a frame. The group that holds the moment from is needed whole, but
// one that ended before it is an old picture and never used.
func (r *recording) take(f *streams.Frame) error {
	if r.clip.Frames == 0 && f.At.Before(r.from) {
		if f.Key {
			r.lead = r.lead[:0]
		}
		r.lead = append(r.lead, f)
		return nil
	}
	if len(r.lead) > 0 && r.lead[0].Group == f.Group {
		for _, l := range r.lead {
			if err := r.add(l); err != nil {
				return err
			}
		}
	}
	r.lead = nil
	return r.add(f)
}

func (r *recording) add(f *streams.Frame) error {
	if err := r.writer.add(f); err != nil {
		return err
	}
	if r.clip.Frames == 0 {
		r.clip.First, r.clip.Start = f, f.At
	}
	if f.At.Sub(r.last) > r.missing {
		r.clip.Gaps = append(r.clip.Gaps, Span{r.last, f.At})
	}
	if f.At.After(r.last) {
		r.last = f.At
	}
	r.clip.Frames++
	return nil
}

func (r *recording) finish(to time.Time) (Clip, error) {
	if r.clip.Frames == 0 {
		return Clip{Another: r.clip.Another}, ErrEmpty
	}
	if to.Sub(r.last) > r.missing {
		r.clip.Gaps = append(r.clip.Gaps, Span{r.last, to})
	}
	if err := r.writer.finish(); err != nil {
		return Clip{}, fmt.Errorf("write clip: %w", err)
	}
	r.clip.End = r.writer.wall(r.writer.end)
	r.clip.Bytes, r.clip.Sets = r.writer.pos, len(r.writer.entries)
	return r.clip, nil
}
