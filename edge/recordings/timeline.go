package recordings

import (
	"context"
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
	Marks    []Mark
	Bytes    int64     // of all that is kept of the camera
	Oldest   time.Time // UTC day of the oldest; zero where there is nothing
	Days     int       // that recordings are kept
}

const (
	seam      = time.Second      // shorter ones are no gaps
	unwritten = 10 * time.Second // of the newest pictures, which are not on disk yet
	longest   = 31 * 24 * time.Hour
)

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
	t.Gaps, err = r.gaps(ctx, camera, t, from, to)
	return t, err
}

// gaps gives what lies between the stretches, each with what explains most of it.
func (r *Recordings) gaps(ctx context.Context, camera string, t Timeline, from, to time.Time) ([]Reason, error) {
	now := time.Now()
	if to.After(now) {
		to = now
	}
	var list []Reason
	at := from
	for _, s := range t.Recorded {
		if s.From.Sub(at) >= seam {
			list = append(list, Reason{From: at, To: s.From})
		}
		at = s.To
	}
	if rest := to.Sub(at); rest >= unwritten || (rest >= seam && to.Before(now)) {
		list = append(list, Reason{From: at, To: to})
	}
	if len(list) == 0 {
		return nil, nil
	}
	reasons, err := r.cfg.Reasons(ctx, camera, list[0].From, list[len(list)-1].To)
	if err != nil {
		return nil, err
	}
	cutoff := now.AddDate(0, 0, -t.Days)
	for i := range list {
		list[i].Why = r.explain(camera, list[i], reasons, cutoff)
	}
	return list, nil
}

// explain gives the reason that covers most of a gap.
func (r *Recordings) explain(camera string, gap Reason, reasons []Reason, cutoff time.Time) *devices.Problem {
	var why *devices.Problem
	most := time.Duration(0)
	for _, x := range reasons {
		from, to := x.From, x.To
		if from.Before(gap.From) {
			from = gap.From
		}
		if to.After(gap.To) {
			to = gap.To
		}
		if covered := to.Sub(from); covered > most {
			why, most = x.Why, covered
		}
	}
	switch {
	case why != nil:
		return why
	case !gap.To.After(cutoff):
		return &devices.Problem{Code: "recording_expired", ZH: "已超过保存天数，录像已删除", EN: "older than recordings are kept"}
	}
	if cam := r.cfg.Registry.Snapshot().Cameras[camera]; cam != nil && cam.Record == devices.RecordEvents {
		return &devices.Problem{Code: "recording_no_event", ZH: "没有事件，未录像", EN: "nothing happened, nothing was recorded"}
	}
	return &devices.Problem{Code: "recording_off", ZH: "未设置录像，或摄像机刚接通", EN: "recording was off, or the camera had just come"}
}
