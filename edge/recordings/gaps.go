package recordings

import (
	"context"
	"fmt"
	"slices"
	"time"

	"offsite/devices"
)

const (
	seam      = time.Second      // shorter ones are no gaps
	unwritten = 10 * time.Second // of the newest pictures, which are not on disk yet
	sliver    = 5 * time.Second  // of a gap: too short for a reason of its own
	noticed   = time.Minute      // within which it is noticed that a camera has gone, and it is back after it has come
)

// tooLate is why pictures are missing that the feed had forgotten before they were
// written.
var tooLate = &devices.Problem{
	Kind: devices.ErrUnavailable, Code: "recording_late",
	ZH: "磁盘写入过慢，部分画面未能保存；请检查磁盘", EN: "the disk was too slow, some pictures were not kept; check the disk",
}

// gaps gives what lies between the stretches, in pieces of one reason each.
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
	reasons, err := r.reasons(ctx, camera, t.Days, list[0].From, list[len(list)-1].To)
	if err != nil {
		return nil, err
	}
	var pieces []Reason
	for _, gap := range list {
		pieces = append(pieces, explain(gap, reasons, r.usual(camera))...)
	}
	return pieces, nil
}

// reasons gives all that is known of why a camera may be missing in a time.
func (r *Recordings) reasons(ctx context.Context, camera string, days int, from, to time.Time) ([]Reason, error) {
	list, err := r.cfg.Reasons(ctx, camera, from, to)
	if err != nil {
		return nil, err
	}
	// Wider than anything else that is known.
	early, late := from.Add(-longest), to.Add(longest)
	cutoff := time.Now().AddDate(0, 0, -days).Add(r.cfg.Segment + sweepEvery)
	if cutoff.After(from) {
		list = append(list, Reason{early, cutoff, &devices.Problem{Code: "recording_expired", ZH: "已超过保存天数，录像已删除", EN: "older than recordings are kept"}})
	}
	if r.cfg.Registry.Snapshot().Cameras[camera] != nil {
		return list, nil
	}
	retired, err := r.cfg.Registry.Retired(ctx, devices.KindCamera)
	if err != nil {
		return nil, fmt.Errorf("reasons of %s: %w", camera, err)
	}
	for _, t := range retired {
		if since := t.Life().Retired; t.Key() == camera && since != nil {
			list = append(list, Reason{*since, late, &devices.Problem{Kind: devices.ErrNotFound, Code: "camera_retired", ZH: "摄像机已停用", EN: "the camera is retired"}})
		}
	}
	return list, nil
}

// usual is why a camera is not recorded when nothing went wrong.
func (r *Recordings) usual(camera string) *devices.Problem {
	cam := r.cfg.Registry.Snapshot().Cameras[camera]
	switch {
	case cam != nil && cam.Record == devices.RecordEvents:
		return &devices.Problem{Code: "recording_no_event", ZH: "没有事件，未录像", EN: "nothing happened, nothing was recorded"}
	case cam != nil && cam.Record == "":
		return &devices.Problem{Code: "recording_off", ZH: "该摄像机未设置录像", EN: "this camera is not set to be recorded"}
	}
	return &devices.Problem{Code: "recording_off", ZH: "当时未设置录像，或摄像机刚接通", EN: "recording was off, or the camera had just come"}
}

// explain cuts a gap where its reason becomes another. Of several reasons of a
// time the narrowest counts: it knows most of it.
func explain(gap Reason, reasons []Reason, usual *devices.Problem) []Reason {
	cuts := []time.Time{gap.From, gap.To}
	for _, x := range reasons {
		for _, at := range []time.Time{x.From, x.To} {
			if at.After(gap.From) && at.Before(gap.To) {
				cuts = append(cuts, at)
			}
		}
	}
	slices.SortFunc(cuts, time.Time.Compare)
	var pieces []Reason
	for i := range cuts[1:] {
		if cuts[i+1].After(cuts[i]) {
			pieces = append(pieces, Reason{cuts[i], cuts[i+1], narrowest(reasons, cuts[i], cuts[i+1])})
		}
	}
	pieces = join(pieces)
	for i := range pieces {
		if pieces[i].Why == nil {
			pieces[i].Why = usual
		}
	}
	return pieces
}

// narrowest gives the shortest of the reasons that cover [from, to); nil for none.
func narrowest(reasons []Reason, from, to time.Time) *devices.Problem {
	var best *Reason
	for i := range reasons {
		x := &reasons[i]
		if !x.From.After(from) && !x.To.Before(to) && (best == nil || x.To.Sub(x.From) < best.To.Sub(best.From)) {
			best = x
		}
	}
	if best == nil {
		return nil
	}
	return best.Why
}

// join puts neighbours of one reason together. What is too short for a reason of
// its own, or was missing just before or after a reason was noticed, has that of
// its neighbour: the next one, at the end the one before.
func join(pieces []Reason) []Reason {
	brief := func(p Reason) bool {
		d := p.To.Sub(p.From)
		return d < sliver || p.Why == nil && d < noticed
	}
	for i := len(pieces) - 2; i >= 0; i-- {
		if next := pieces[i+1]; brief(pieces[i]) && (!brief(next) || next.Why != nil) {
			pieces[i].Why = next.Why
		}
	}
	for i := 1; i < len(pieces); i++ {
		if brief(pieces[i]) {
			pieces[i].Why = pieces[i-1].Why
		}
	}
	var out []Reason
	for _, p := range pieces {
		if n := len(out); n > 0 && sameReason(out[n-1].Why, p.Why) {
			out[n-1].To = p.To
			continue
		}
		out = append(out, p)
	}
	return out
}

func sameReason(a, b *devices.Problem) bool {
	return a == b || a != nil && b != nil && a.Code == b.Code
}
