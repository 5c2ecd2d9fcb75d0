package recordings

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"offsite/devices"
	"offsite/streams/recording"
)

// sweep watches the disk and deletes what is over until ctx ends.
func (r *Recordings) sweep(ctx context.Context) error {
	tick := time.NewTicker(reviewEvery)
	defer tick.Stop()
	swept := time.Time{}
	for {
		now := time.Now()
		due := now.Sub(swept) >= sweepEvery
		if due {
			swept = now
		}
		// What goes wrong here must not end the recordings.
		if err := r.inspect(ctx, now, due); err != nil && ctx.Err() == nil {
			r.cfg.Log.ErrorContext(ctx, "recordings not tidied", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// inspect looks at the disk, deletes what is over where that is due, and draws
// its conclusions.
func (r *Recordings) inspect(ctx context.Context, now time.Time, due bool) error {
	used, err := r.cfg.Used()
	if err != nil {
		return err
	}
	if due || used >= r.cfg.Tidy {
		err = r.tidy(ctx, now, used)
		if after, failed := r.cfg.Used(); failed == nil {
			used = after
		}
	}
	r.judge(now, used)
	return err
}

// judge stops recording on a disk that is too full, lets it go on, and says what
// people must know.
func (r *Recordings) judge(now time.Time, used float64) {
	stopped := r.stopped.Load()
	switch {
	case used >= r.cfg.Stop && !stopped:
		r.stopped.Store(true)
		r.cfg.Log.Warn("recording stopped: the disk is too full", "used", used)
	case used < r.cfg.Resume && stopped:
		r.stopped.Store(false)
		r.cfg.Log.Info("recording goes on", "used", used)
	}
	r.pause(now, used)
	r.cfg.Notice(r.worst(now, used))
}

// pause tells of which cameras nothing can be recorded while recording is stopped,
// also of those that are to be recorded only since, and of none for longer than that.
func (r *Recordings) pause(now time.Time, used float64) {
	wants := map[string]bool{}
	if r.stopped.Load() {
		for id, cam := range r.cfg.Registry.Snapshot().Cameras {
			wants[id] = cam.Record != ""
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.paused {
		if !wants[id] {
			r.cfg.Notes.End(subject(id), now)
			delete(r.paused, id)
		}
	}
	for id, wanted := range wants {
		if wanted && !r.paused[id] {
			r.cfg.Notes.Miss(subject(id), now, tooFull(used))
			r.paused[id] = true
		}
	}
}

// worst gives what people must know most of all, nil if there is nothing.
func (r *Recordings) worst(now time.Time, used float64) *devices.Problem {
	if r.stopped.Load() {
		return tooFull(used)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range []concern{r.fails, r.early} {
		if now.Before(c.until) {
			return c.why
		}
	}
	return nil
}

func tooFull(used float64) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "recording_stopped",
		ZH: fmt.Sprintf("磁盘已用 %.0f%%，录像已暂停，读数与证据不受影响；请清理磁盘或缩短录像保存天数", 100*used),
		EN: fmt.Sprintf("the disk is filled to %.0f%%: recording has stopped, so that readings and evidence do not suffer; free some space or keep recordings for fewer days", 100*used),
	}
}

// tidy deletes what has expired, and then the oldest until all bounds hold.
func (r *Recordings) tidy(ctx context.Context, now time.Time, used float64) error {
	if err := r.release(ctx, now); err != nil {
		return err
	}
	for camera, u := range r.archive.Usage() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		cutoff := now.AddDate(0, 0, -r.Days(camera))
		if u.Oldest.Before(cutoff) {
			if err := r.expire(camera, u.Oldest, cutoff); err != nil {
				return err
			}
		}
	}
	usage := r.archive.Usage()
	total := int64(0)
	for camera, u := range usage {
		total += u.Bytes
		if over := u.Bytes - r.cfg.PerCamera; r.cfg.PerCamera > 0 && over > 0 {
			freed, err := r.free(ctx, map[string]recording.Usage{camera: u}, now, over, cameraFull)
			if err != nil {
				return err
			}
			total -= freed
		}
	}
	if over := total - r.cfg.Total; r.cfg.Total > 0 && over > 0 {
		if _, err := r.free(ctx, r.archive.Usage(), now, over, totalFull); err != nil {
			return err
		}
	}
	if used < r.cfg.Tidy {
		return nil
	}
	before := now
	if used < r.cfg.Stop {
		before = now.Add(-youngest)
	}
	// A twentieth of all at a time: then the disk is looked at again.
	_, err := r.free(ctx, r.archive.Usage(), before, total/20+1, diskFull)
	return err
}

const (
	youngest    = 24 * time.Hour // what is left alone until recording has stopped: it may be others who fill the disk
	oneDeletion = time.Hour      // segments further apart are deleted one by one, as it is told: what lies between was never there
)

// Why recordings are deleted before their days are over.
var (
	cameraFull = deleted("recording_deleted_camera", "该摄像机的录像达到容量上限，最旧的录像已提前删除", "the recordings of this camera have reached their bound; the oldest were deleted before their days were over")
	totalFull  = deleted("recording_deleted_total", "录像达到总容量上限，最旧的录像已提前删除", "all recordings together have reached their bound; the oldest were deleted before their days were over")
	diskFull   = deleted("recording_deleted_disk", "磁盘空间不足，最旧的录像已提前删除", "the disk is short of space; the oldest recordings were deleted before their days were over")
)

func deleted(code, zh, en string) *devices.Problem {
	return &devices.Problem{Kind: devices.ErrUnavailable, Code: code, ZH: zh, EN: en}
}

// expire deletes what ended before cutoff and is not held.
func (r *Recordings) expire(camera string, oldest, cutoff time.Time) error {
	list, err := r.archive.Segments(camera, oldest, cutoff)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.To.After(cutoff) || r.kept(camera, s.From, s.To) {
			continue
		}
		if err := r.archive.Remove(s); err != nil {
			return err
		}
	}
	return nil
}

// free deletes the oldest segments of these cameras that end before before and
// that nothing holds until so many bytes are free, and tells what it has deleted.
func (r *Recordings) free(ctx context.Context, usage map[string]recording.Usage, before time.Time, bytes int64, why *devices.Problem) (freed int64, err error) {
	var told []*Deletion
	newest := map[string]*Deletion{} // of each camera
	defer func() {
		if freed > 0 {
			r.mu.Lock()
			r.early = concern{why, time.Now().Add(24 * time.Hour)}
			r.mu.Unlock()
		}
		for _, d := range told {
			r.cfg.Deleted(*d)
		}
	}()
	oldest := before
	for _, u := range usage {
		if u.Oldest.Before(oldest) {
			oldest = u.Oldest
		}
	}
	for day := oldest; day.Before(before) && freed < bytes; day = day.AddDate(0, 0, 1) {
		list, err := r.loose(usage, day)
		if err != nil {
			return freed, err
		}
		for _, s := range list {
			if freed >= bytes || s.To.After(before) || ctx.Err() != nil {
				break
			}
			if err := r.archive.Remove(s); err != nil {
				return freed, err
			}
			freed += s.Bytes
			d := newest[s.Camera]
			if d == nil || s.From.Sub(d.To) > oneDeletion {
				d = &Deletion{Camera: s.Camera, From: s.From, Why: why}
				newest[s.Camera] = d
				told = append(told, d)
			}
			d.To = s.To
			d.Segments++
		}
	}
	return freed, ctx.Err()
}

// loose gives the finished segments that begin on a UTC day and that nothing
// holds, oldest first.
func (r *Recordings) loose(usage map[string]recording.Usage, day time.Time) ([]recording.Segment, error) {
	var all []recording.Segment
	for camera := range usage {
		list, err := r.archive.Segments(camera, day, day.AddDate(0, 0, 1))
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			if !s.Open && !s.From.Before(day) && !r.kept(camera, s.From, s.To) {
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(x, y recording.Segment) int {
		return cmp.Or(x.From.Compare(y.From), cmp.Compare(x.Camera, y.Camera))
	})
	return all, nil
}
