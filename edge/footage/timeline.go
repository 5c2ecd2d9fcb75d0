package footage

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"offsite/devices"
)

const (
	leastGap   = 2 * time.Second // that a recorder is asked to fill: less costs more than it tells
	seam       = time.Second     // shorter ones are no gaps
	mostPieces = 16              // stretches that are fetched from a recorder for one who asks
)

// Stretch is a time of which one source has pictures.
type Stretch struct {
	Span
	Source Source
	Bytes  int64            // that the gateway keeps; 0 at a recorder
	Why    *devices.Problem // at a recorder: why the gateway has none of its own
}

// Gap is a time of which nobody has pictures.
type Gap struct {
	Span
	Why      *devices.Problem // that the gateway has none
	Recorder *devices.Problem // that its recorder has none; nil: it has no recorder
}

// Timeline tells what there is of a camera in an interval.
type Timeline struct {
	Stretches []Stretch // oldest first, never two of the same time
	Gaps      []Gap     // what lies between them, up to now
	Recorder  *Told     // nil: the camera has none, or nobody had to ask it
	Own       Kept
}

// Told is what a recorder says.
type Told struct {
	Holding
	Why *devices.Problem // why it says nothing; nil: it does
}

// Timeline tells what there is of a camera in [from, to), at most 31 days, and asks
// the camera's recorder too.
func (f *Footage) Timeline(ctx context.Context, camera string, from, to time.Time) (*Timeline, error) {
	kept, err := f.cfg.Own.Kept(ctx, camera, from, to)
	if err != nil {
		return nil, err
	}
	told, err := f.ask(ctx, camera, from, to)
	if err != nil {
		return nil, err
	}
	return stitch(kept, told), nil
}

// needed is Timeline, for which no recorder is asked where the gateway has all.
func (f *Footage) needed(ctx context.Context, camera string, from, to time.Time) (*Timeline, error) {
	kept, err := f.cfg.Own.Kept(ctx, camera, from, to)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(kept.Gaps, func(g Reason) bool { return g.length() >= leastGap }) {
		return stitch(kept, nil), nil
	}
	told, err := f.ask(ctx, camera, from, to)
	if err != nil {
		return nil, err
	}
	return stitch(kept, told), nil
}

// ask asks the camera's recorder, but not for long; nil is none. What it has said is believed for a while:
// a player asks for a clip in many parts.
func (f *Footage) ask(ctx context.Context, camera string, from, to time.Time) (*Told, error) {
	key := question{camera, from.UnixNano(), to.UnixNano()}
	if told := f.heard.get(key, time.Now()); told != nil {
		return told, nil
	}
	limited, cancel := context.WithTimeout(ctx, f.cfg.Patience)
	defer cancel()
	h, err := f.cfg.Recorders.Holding(limited, camera, from, to)
	switch {
	case err == nil:
		told := &Told{Holding: h}
		f.heard.put(key, told, time.Now())
		return told, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, devices.ErrNotFound):
		return nil, nil //nolint:nilnil // a camera without one
	case limited.Err() != nil:
		return &Told{Why: recorderSilent}, nil
	}
	return &Told{Why: devices.AllProblems(err)[0]}, nil
}

// question is what a recorder was asked.
type question struct {
	camera   string
	from, to int64 // Unix nanoseconds
}

// heard is what recorders have said lately.
type heard struct {
	mu   sync.Mutex
	told map[question]answer
}

type answer struct {
	*Told
	until time.Time
}

const heardLasts = 15 * time.Second

func (h *heard) get(q question, now time.Time) *Told {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a := h.told[q]; now.Before(a.until) {
		return a.Told
	}
	return nil
}

func (h *heard) put(q question, told *Told, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.told == nil {
		h.told = map[question]answer{}
	}
	maps.DeleteFunc(h.told, func(_ question, a answer) bool { return !now.Before(a.until) })
	h.told[q] = answer{told, now.Add(heardLasts)}
}

// Why a recorder gives nothing.
var (
	recorderSilent = &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "recorder_silent", ZH: "录像机未及时应答，请检查其电源和网络", EN: "the recorder did not answer in time; check its power and network",
	}
	recorderNothing = &devices.Problem{Kind: devices.ErrNotFound, Code: "recorder_nothing", ZH: "录像机也没有该时段的录像", EN: "the recorder keeps nothing of it either"}
	recorderBrief   = &devices.Problem{Kind: devices.ErrNotFound, Code: "recorder_brief", ZH: "时间过短，未向录像机取", EN: "too short to be fetched from the recorder"}
)

// stitch puts both answers into one row.
func stitch(kept Kept, told *Told) *Timeline {
	t := &Timeline{Recorder: told, Own: kept}
	for _, s := range kept.Recorded {
		t.Stretches = append(t.Stretches, Stretch{Span: s.Span, Source: Own, Bytes: s.Bytes})
	}
	var filled []Span
	if told != nil && told.Why == nil {
		for _, g := range kept.Gaps {
			for _, s := range told.within(g.Span) {
				filled = append(filled, s)
				t.Stretches = append(t.Stretches, Stretch{Span: s, Source: Recorder, Why: g.Why})
			}
		}
	}
	slices.SortStableFunc(t.Stretches, func(a, b Stretch) int { return a.From.Compare(b.From) })
	t.Gaps = missing(kept.Gaps, filled, func(s Span) *devices.Problem {
		switch {
		case told == nil:
			return nil
		case told.Why != nil:
			return told.Why
		case s.length() < leastGap:
			return recorderBrief
		}
		return recorderNothing
	})
	return t
}

// within gives what the recorder keeps of a time, or may keep.
func (t *Told) within(s Span) []Span {
	if !t.Known {
		if s.length() < leastGap {
			return nil
		}
		return []Span{s}
	}
	var list []Span
	for _, h := range t.Held {
		if both := s.and(h); both.length() >= leastGap {
			list = append(list, both)
		}
	}
	return list
}

func (s Span) length() time.Duration { return s.To.Sub(s.From) }

// and is the time that is in both.
func (s Span) and(o Span) Span {
	if o.From.After(s.From) {
		s.From = o.From
	}
	if o.To.Before(s.To) {
		s.To = o.To
	}
	return s
}

// less gives what is left of a time without others, which are in order.
func (s Span) less(others []Span) []Span {
	var left []Span
	for _, o := range others {
		if s.and(o).length() <= 0 {
			continue
		}
		if o.From.After(s.From) {
			left = append(left, Span{s.From, o.From})
		}
		s.From = o.To
	}
	if s.length() > 0 {
		left = append(left, s)
	}
	return left
}

// missing gives what is left of the gaps of one source where another fills some, with
// what that one says of the rest.
func missing(gaps []Reason, filled []Span, why func(Span) *devices.Problem) []Gap {
	var list []Gap
	for _, g := range gaps {
		for _, s := range g.less(filled) {
			if s.length() >= seam || s == g.Span {
				list = append(list, Gap{Span: s, Why: g.Why, Recorder: why(s)})
			}
		}
	}
	return list
}
