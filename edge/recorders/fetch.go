package recorders

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/recording"
	"offsite/streams/rtsp"
)

// fetch is an interval that was fetched. What is known of it does not change, but
// for until when it is held, which mu of Recorders guards.
type fetch struct {
	id, camera, host string
	from, to         time.Time // that it holds all of
	asked            time.Time // end that was asked for
	skew             Skew
	stamped          bool
	cut              *devices.Problem // nil: it came whole
	fetched          time.Time
	keep             time.Time // held until then; zero: not
}

// Clip is an interval of what a recorder keeps, as one MP4.
type Clip struct {
	*recording.Clip
	Host    string           // of the recorder
	Skew                     // of its clock when it was fetched
	Stamped bool             // it told when each picture was taken
	Cut     *devices.Problem // why the end is missing; nil: it is not

	fetch *fetch
}

const (
	cutLasts  = 10 * time.Minute // that a fetch which was cut stands for all that was asked for
	unwritten = 10 * time.Second // of the newest pictures, which a recorder may not play yet
	startTime = 30 * time.Second // beside the interval itself that a fetch may take
	closeTime = 5 * time.Second  // that writing it down takes at most
)

// errSlow ends a fetch whose recorder sends slower than it recorded.
var errSlow = errors.New("the recorder is too slow")

// Clip fetches [from, to) from the camera's recorder, where that was not done already. It
// returns ErrNotFound, code "no_recorder" or "replay_nothing", where there is nothing to fetch.
func (r *Recorders) Clip(ctx context.Context, camera string, from, to time.Time) (*Clip, error) {
	f, err := r.have(ctx, camera, from, to)
	if err != nil {
		return nil, err
	}
	return r.clip(f, from, to)
}

// Play fetches [from, to) as Clip does and gives it at its own pace; see [recording.Archive.Play].
func (r *Recorders) Play(ctx context.Context, camera string, from, to time.Time) (*recording.Player, error) {
	f, err := r.have(ctx, camera, from, to)
	if err != nil {
		return nil, err
	}
	return r.archive.Play(f.id, from, to)
}

// have gives the fetch that holds the interval, which is fetched where there is none.
func (r *Recorders) have(ctx context.Context, camera string, from, to time.Time) (*fetch, error) {
	switch {
	case !to.After(from):
		return nil, devices.Invalid("to", "before_from", "结束时间须晚于开始时间", "the end must come after the beginning")
	case to.Sub(from) > r.cfg.Longest:
		return nil, devices.Invalid("to", "too_long", fmt.Sprintf("从录像机一次最多取 %d 分钟，请分段", int(r.cfg.Longest.Minutes())), fmt.Sprintf("take at most %d minutes from a recorder at once", int(r.cfg.Longest.Minutes())))
	case from.After(time.Now()):
		return nil, devices.Invalid("from", "future", "开始时间在将来", "the beginning lies in the future")
	}
	key := fmt.Sprintf("%s %d %d", camera, from.UnixMilli(), to.UnixMilli())
	for {
		f, mine, wait := r.turn(camera, from, to, key)
		switch {
		case f != nil:
			return f, nil
		case !mine: // somebody is fetching the same
			select {
			case <-wait:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			continue
		}
		f, err := r.fetch(ctx, camera, from, to)
		r.mu.Lock()
		delete(r.under, key)
		close(wait)
		r.mu.Unlock()
		return f, err
	}
}

// turn gives the fetch that holds the interval; else mine says that the caller is
// to fetch it, or another one does, until wait is closed.
func (r *Recorders) turn(camera string, from, to time.Time, key string) (f *fetch, mine bool, wait chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, f := range r.fetches { // the oldest, so that what was exported stays the same
		whole := !f.to.Before(to) || (now.Sub(f.fetched) < cutLasts && !f.asked.Before(to))
		if f.camera == camera && !f.from.After(from) && whole {
			return f, false, nil
		}
	}
	wait = r.under[key]
	if mine = wait == nil; mine {
		wait = make(chan struct{})
		r.under[key] = wait
	}
	return nil, mine, wait
}

// clip lays an interval of a fetch out.
func (r *Recorders) clip(f *fetch, from, to time.Time) (*Clip, error) {
	clip, err := r.archive.Clip(f.id, from, to)
	if err != nil {
		return nil, err
	}
	clip.Camera = f.camera
	return &Clip{Clip: clip, Host: f.host, Skew: f.skew, Stamped: f.stamped, Cut: f.cut, fetch: f}, nil
}

// fetch has the recorder play an interval and writes it down.
func (r *Recorders) fetch(ctx context.Context, camera string, from, to time.Time) (*fetch, error) {
	if used, err := r.cfg.Used(); err != nil || used >= r.cfg.Stop {
		return nil, &devices.Problem{Kind: devices.ErrUnavailable, Code: "replay_disk_full", ZH: "磁盘空间不足，暂不能从录像机取录像", EN: "the disk is too full to fetch from the recorder", Cause: err}
	}
	at, err := r.place(ctx, camera)
	if err != nil {
		return nil, err
	}
	f := &fetch{id: newID(), camera: camera, host: hostOf(at.camera.URL), from: from, to: to, asked: to, skew: at.skew()}
	leave, err := r.lines.enter(ctx, f.host)
	if err != nil {
		return nil, err
	}
	defer leave()
	told, err := r.play(ctx, at, f)
	if err == nil {
		f.note(told, time.Now())
		err = r.keep(ctx, f)
	}
	if err != nil {
		r.drop(f.id)
		return nil, err
	}
	return f, nil
}

// play writes what the recorder plays; what came of a fetch that was cut stands.
func (r *Recorders) play(ctx context.Context, at *place, f *fetch) (rtsp.Replayed, error) {
	shift := f.skew.Shift
	cam, clock := at.source(f.from.Add(shift), f.to.Add(shift))
	source, err := rtsp.Open(cam, r.cfg.RTSP)
	if err != nil {
		return rtsp.Replayed{}, err
	}
	within := f.to.Sub(f.from) + startTime
	if end, ok := ctx.Deadline(); ok { // who asks has less time: what has come until then stands
		within = min(within, time.Until(end)-closeTime)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, within, errSlow)
	defer cancel()
	tape := r.archive.Tape(f.id)
	told, err := source.Replay(ctx, rtsp.Past{From: f.from.Add(shift), To: f.to.Add(shift), Clock: clock, Bytes: r.cfg.Bytes}, func(picture *streams.Frame) error {
		picture.At = picture.At.Add(-shift)
		return tape.Add(picture)
	})
	if errors.Is(err, errSlow) {
		slow := &devices.Problem{Kind: devices.ErrUnavailable, Code: "replay_slow", ZH: "录像机发送过慢，只取到前一部分；请缩短时段", EN: "the recorder sends too slowly and was cut; ask for less at once"}
		if err = slow; !told.Last.IsZero() {
			told.Cut, err = slow, nil
		}
	}
	if halts := source.Halts(err); halts {
		r.forget(f.camera, err) // lest trying again lock the account
	}
	if closing := tape.Close(); err == nil {
		err = closing
	}
	return told, err
}

// note says what of the interval has come.
func (f *fetch) note(told rtsp.Replayed, now time.Time) {
	f.stamped, f.fetched = told.Stamped, now.UTC()
	if first := told.First.Add(-f.skew.Shift); first.Before(f.from) {
		f.from = first
	}
	var p *devices.Problem
	if errors.As(told.Cut, &p) {
		f.cut = p
	}
	newest := now.Add(-unwritten)
	if f.skew.Offset != nil {
		newest = newest.Add(*f.skew.Offset - f.skew.Shift)
	}
	if f.cut != nil || f.to.After(newest) { // more may come
		f.to = told.Last.Add(-f.skew.Shift)
	}
}

func newID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails
	return "fetch-" + hex.EncodeToString(b)
}
