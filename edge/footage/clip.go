package footage

import (
	"context"
	"errors"
	"time"

	"offsite/devices"
	"offsite/streams/recording"
)

// run is a time for which one source is asked.
type run struct {
	Span
	source Source
	why    *devices.Problem // a recorder's: why the gateway has none of its own
}

// Clip is an interval, or the first part of it, of one source.
type Clip struct {
	*recording.Clip
	Source  Source
	Fetched *Fetched // nil: the gateway's own
	Next    *Stretch // where what there is goes on, and whose it is; nil: it does not
}

// Clip gives the first stretch of [from, to): it ends where the next one, of another source, begins.
// A source that is named is the only one that is asked. It returns ErrNotFound where nobody has
// anything, and what ails the recorder where only that could have something.
func (f *Footage) Clip(ctx context.Context, camera string, from, to time.Time, source Source) (*Clip, error) {
	if err := recording.CheckInterval(from, to); err != nil {
		return nil, err
	}
	if source != "" {
		return f.clip(ctx, camera, run{Span: Span{from, to}, source: source})
	}
	t, err := f.needed(ctx, camera, from, to)
	if err != nil {
		return nil, err
	}
	var failed error
	runs := t.runs(Span{from, to}, f.cfg.Longest)
	for i, r := range runs {
		c, err := f.clip(ctx, camera, r)
		switch {
		case err == nil:
			if i+1 < len(runs) {
				c.Next = &Stretch{Span: runs[i+1].Span, Source: runs[i+1].source}
			}
			return c, nil
		case ctx.Err() != nil, r.source == Own && !errors.Is(err, devices.ErrNotFound):
			return nil, err
		case failed == nil || errors.Is(failed, devices.ErrNotFound):
			failed = err
		}
	}
	return nil, t.nothing(failed)
}

// clip asks one source.
func (f *Footage) clip(ctx context.Context, camera string, r run) (*Clip, error) {
	if r.source == Own {
		c, err := f.cfg.Own.Clip(ctx, camera, r.From, r.To)
		return &Clip{Clip: c, Source: Own}, err
	}
	c, err := f.cfg.Recorders.Clip(ctx, camera, r.From, r.To)
	return &Clip{Clip: c.Clip, Source: Recorder, Fetched: &c}, err
}

// nothing is why there is nothing at all, where asking failed with an error or was in vain.
func (t *Timeline) nothing(failed error) error {
	switch {
	case failed != nil && !errors.Is(failed, devices.ErrNotFound):
		return failed
	case t.Recorder != nil && t.Recorder.Why != nil:
		return t.Recorder.Why
	}
	return recording.Nothing()
}

// runs gives whom to ask for which part of a time: recorders, for at most longest at
// once, for what they alone have, and the gateway for all between.
func (t *Timeline) runs(within Span, longest time.Duration) []run {
	var theirs []run
	for _, s := range t.Stretches {
		if s.Source != Recorder {
			continue
		}
		part := within.and(s.Span)
		if n := len(theirs); n > 0 && theirs[n-1].To.Equal(part.From) && part.To.Sub(theirs[n-1].From) <= longest {
			theirs[n-1].To = part.To
			continue
		}
		for ; part.length() > longest; part.From = part.From.Add(longest) {
			theirs = append(theirs, run{Span{part.From, part.From.Add(longest)}, Recorder, s.Why})
		}
		theirs = append(theirs, run{part, Recorder, s.Why})
	}
	return t.around(within, theirs)
}

// around puts the gateway's own between runs of a recorder, where it has something.
func (t *Timeline) around(within Span, theirs []run) []run {
	var list []run
	mine := func(s Span) {
		for _, o := range t.Own.Recorded {
			if s.and(o.Span).length() > 0 {
				list = append(list, run{Span: s, source: Own})
				return
			}
		}
	}
	at := within.From
	for _, r := range theirs {
		mine(Span{at, r.From})
		list = append(list, r)
		at = r.To
	}
	mine(Span{at, within.To})
	return list
}
