package recordings

import (
	"context"
	"slices"
	"time"

	"offsite/devices"
)

// Stretch is a time that was recorded without a gap.
type Stretch struct {
	From, To time.Time
	Bytes    int64
}

// Mark is an event within a timeline, with what is held around it.
type Mark struct {
	Event    string
	From, To time.Time
}

// Timeline tells what there is of a camera in an interval.
type Timeline struct {
	Recorded []Stretch // oldest first
	Gaps     []Reason  // between them, each with its reason
	Marks    []Mark    // oldest first
	Bytes    int64     // of all that is kept of the camera
	Oldest   time.Time // UTC day of the oldest; zero where there is nothing
	Days     int       // that recordings are kept
}

const longest = 31 * 24 * time.Hour // that is told of at once

// Timeline tells what was recorded of a camera in [from, to), at most 31 days.
func (r *Recordings) Timeline(ctx context.Context, camera string, from, to time.Time) (Timeline, error) {
	switch {
	case !to.After(from):
		return Timeline{}, devices.Invalid("to", "before_from", "结束时间须晚于开始时间", "the end must come after the beginning")
	case to.Sub(from) > longest:
		return Timeline{}, devices.Invalid("to", "too_long", "一次最多查询 31 天", "ask for at most 31 days at once")
	}
	if err := r.await(ctx); err != nil {
		return Timeline{}, err
	}
	segments, err := r.archive.Segments(camera, from, to)
	if err != nil {
		return Timeline{}, err
	}
	usage := r.archive.Usage()[camera]
	t := Timeline{Bytes: usage.Bytes, Oldest: usage.Oldest, Days: r.Days(camera)}
	for _, s := range segments {
		if n := len(t.Recorded); n > 0 && s.From.Sub(t.Recorded[n-1].To) < seam {
			last := &t.Recorded[n-1]
			last.Bytes += s.Bytes
			if s.To.After(last.To) {
				last.To = s.To
			}
			continue
		}
		t.Recorded = append(t.Recorded, Stretch{s.From, s.To, s.Bytes})
	}
	for _, h := range r.held(camera, from, to) {
		if h.kind != holdExport {
			t.Marks = append(t.Marks, Mark{h.subject, h.from.Add(r.cfg.Before), h.to})
		}
	}
	slices.SortFunc(t.Marks, func(a, b Mark) int { return a.From.Compare(b.From) })
	t.Gaps, err = r.gaps(ctx, camera, t, from, to)
	return t, err
}
