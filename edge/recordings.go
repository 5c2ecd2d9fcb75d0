package edge

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"offsite/devices"
	"offsite/edge/breach"
	"offsite/edge/footage"
	"offsite/edge/ledger"
	"offsite/edge/notice"
	"offsite/edge/recorders"
	"offsite/edge/recordings"
	"offsite/streams/onvif"
	"offsite/streams/recording"
	"offsite/streams/rtsp"
)

// RecordingConfig sets up the recordings of cameras; which are recorded is
// registered with them.
type RecordingConfig struct {
	Dir       string           `yaml:"dir"`        // default recordings in the state directory
	Segment   devices.Duration `yaml:"segment"`    // length of a file; default 1m
	PerCamera Bytes            `yaml:"per_camera"` // most of one camera; default 0, no bound but the disk's
	Total     Bytes            `yaml:"total"`      // most of all cameras; default 0, no bound but the disk's
	Fetched   Bytes            `yaml:"fetched"`    // most of what was fetched from recorders; default 4GiB
}

func recordingDefaults() RecordingConfig {
	return RecordingConfig{Segment: devices.Duration(time.Minute), Fetched: 4 << 30}
}

func (c *RecordingConfig) validate(ps *devices.Problems) {
	if d := c.Segment.D(); d < 2*time.Second || d > time.Hour {
		ps.Add(devices.Invalid("recording.segment", "out_of_range", "录像分段须在 2s 与 1h 之间", "cut recordings every 2s to 1h"))
	}
	if c.Fetched < 64<<20 {
		ps.Add(devices.Invalid("recording.fetched", "out_of_range", "从录像机取来的录像的容量上限至少 64MiB", "allow at least 64MiB of what is fetched from recorders"))
	}
	for field, n := range map[string]Bytes{"recording.per_camera": c.PerCamera, "recording.total": c.Total} {
		if n != 0 && n < 64<<20 {
			ps.Add(devices.Invalid(field, "out_of_range", "录像容量上限至少 64MiB；0 不限", "allow at least 64MiB; 0 sets no bound"))
		}
	}
}

// openRecorders opens what was fetched from recorders.
func (b *Box) openRecorders(ctx context.Context) (err error) {
	b.Recorders, err = recorders.Open(ctx, b.DB, recorders.Config{
		Dir: filepath.Join(b.cfg.State, "fetched"), Total: int64(b.cfg.Recording.Fetched),
		Camera: func(id string) *devices.Camera { return b.Registry.Snapshot().Cameras[id] },
		ONVIF:  onvif.Config{Dial: b.guard.Dial}, RTSP: rtsp.Config{Log: b.logger, Dial: b.guard.Dial}, Log: b.logger,
	})
	return err
}

// openRecordings opens what cameras have shown.
func (b *Box) openRecordings(ctx context.Context) (err error) {
	c := b.cfg.Recording
	dir := c.Dir
	if dir == "" {
		dir = filepath.Join(b.cfg.State, "recordings")
	}
	b.Recordings, err = recordings.Open(ctx, b.DB, recordings.Config{
		Dir: dir, Segment: c.Segment.D(), PerCamera: int64(c.PerCamera), Total: int64(c.Total),
		Registry: b.Registry, Feeds: b.Cameras, Notes: b.clerk, Happened: b.happened, Reasons: b.cameraReasons, Deleted: b.recordingDeleted,
		Notice:    func(p *devices.Problem) { b.notices.Set(notice.Recording, p) },
		Supervise: b.supervisor(time.Second, 30*time.Second), Log: b.logger,
	})
	return err
}

// openFootage opens what answers for both.
func (b *Box) openFootage(ctx context.Context) (err error) {
	b.Footage, err = footage.Open(ctx, b.DB, footage.Config{
		Own: ownFootage{b.Recordings}, Recorders: recordersFootage{b.Recorders}, Version: b.version,
		Name: func(camera string) string {
			if c := b.Registry.Snapshot().Cameras[camera]; c != nil {
				return c.Name
			}
			return ""
		},
		Platform: b.platformAhead,
	})
	return err
}

// platformAhead is how far the platform's clock is ahead of the gateway's; nil: not known.
func (b *Box) platformAhead() *time.Duration {
	if enrolled, _ := b.platform.Enrolled(); enrolled == "" {
		return nil
	}
	ahead := time.Duration(b.platform.Clock().OffsetMS) * time.Millisecond
	return &ahead
}

// ownFootage are the gateway's recordings as footage wants them.
type ownFootage struct{ *recordings.Recordings }

func (o ownFootage) Kept(ctx context.Context, camera string, from, to time.Time) (footage.Kept, error) {
	line, err := o.Timeline(ctx, camera, from, to)
	if err != nil {
		return footage.Kept{}, err
	}
	return keptOf(line), nil
}

// keptOf is what a timeline of the gateway's own says for footage.
func keptOf(line recordings.Timeline) footage.Kept {
	kept := footage.Kept{Bytes: line.Bytes, Oldest: line.Oldest, Days: line.Days}
	for _, s := range line.Recorded {
		kept.Recorded = append(kept.Recorded, footage.Stored{Span: footage.Span{From: s.From, To: s.To}, Bytes: s.Bytes})
	}
	for _, g := range line.Gaps {
		kept.Gaps = append(kept.Gaps, footage.Reason{Span: footage.Span{From: g.From, To: g.To}, Why: g.Why})
	}
	for _, m := range line.Marks {
		kept.Marks = append(kept.Marks, footage.Mark{Event: m.Event, At: m.From})
	}
	return kept
}

func (o ownFootage) Take(ctx context.Context, camera string, from, to time.Time) (*recording.Clip, footage.Taken, error) {
	t, err := o.Recordings.Take(ctx, camera, from, to)
	if err != nil {
		return nil, footage.Taken{}, err
	}
	return t.Clip, footage.Taken{SHA256: t.SHA256, Hold: t.Hold, Held: t.Held}, nil
}

// recordersFootage are the recorders as footage wants them.
type recordersFootage struct{ *recorders.Recorders }

func (r recordersFootage) Holding(ctx context.Context, camera string, from, to time.Time) (footage.Holding, error) {
	h, err := r.Recorders.Holding(ctx, camera, from, to)
	if err != nil {
		return footage.Holding{}, err
	}
	held := footage.Holding{Host: h.Host, Known: h.Known, Skew: footage.Skew(h.Skew)}
	for _, s := range h.Stretches {
		held.Held = append(held.Held, footage.Span(s))
	}
	return held, nil
}

func (r recordersFootage) Clip(ctx context.Context, camera string, from, to time.Time) (footage.Fetched, error) {
	c, err := r.Recorders.Clip(ctx, camera, from, to)
	if err != nil {
		return footage.Fetched{}, err
	}
	return fetchedOf(c), nil
}

func fetchedOf(c *recorders.Clip) footage.Fetched {
	return footage.Fetched{Clip: c.Clip, Host: c.Host, Skew: footage.Skew(c.Skew), Stamped: c.Stamped, Cut: c.Cut}
}

func (r recordersFootage) Take(ctx context.Context, camera string, from, to time.Time) (footage.Fetched, footage.Taken, error) {
	t, err := r.Recorders.Take(ctx, camera, from, to)
	if err != nil {
		return footage.Fetched{}, footage.Taken{}, err
	}
	return fetchedOf(t.Clip), footage.Taken{SHA256: t.SHA256, Hold: t.Hold, Held: t.Held}, nil
}

func (r recordersFootage) Exported(ctx context.Context, sha256 string) (*recording.Clip, error) {
	c, err := r.Recorders.Exported(ctx, sha256)
	if err != nil {
		return nil, err
	}
	return c.Clip, nil
}

// happened gives the events begun since, and those of the ids, for recordings.
func (b *Box) happened(ctx context.Context, since time.Time, going []string) ([]recordings.Happening, error) {
	list, err := b.Events.Events(ctx, breach.Filter{From: since, Max: 1000})
	if err != nil {
		return nil, err
	}
	for _, id := range going {
		ev, err := b.Events.Event(ctx, id)
		if errors.Is(err, devices.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, ev)
	}
	out := make([]recordings.Happening, 0, len(list))
	for i := range list {
		h := recordings.Happening{Event: list[i].ID, Outlet: list[i].Outlet, Camera: list[i].Camera, From: list[i].StartedAt, Often: oftenSeen(&list[i])}
		if end := list[i].EndedAt; end != nil {
			h.To = *end
		}
		out = append(out, h)
	}
	return out, nil
}

// oftenSeen says whether an event is of what a camera sees many times a day: if its
// recording were held, the disk would be full of what nothing may delete.
func oftenSeen(ev *breach.Event) bool {
	return ev.Camera != "" && (ev.Factor == string(onvif.Motion) || ev.Factor == string(onvif.LineCrossing))
}

// cameraReasons tells from the ledger why a camera's pictures may be missing.
func (b *Box) cameraReasons(ctx context.Context, camera string, from, to time.Time) ([]recordings.Reason, error) {
	losses, err := b.Ledger.Over(ctx, []string{"camera/" + camera, "recording/" + camera, ledger.Gateway}, from, to, time.Now())
	if err != nil {
		return nil, err
	}
	var list []recordings.Reason
	for _, l := range losses {
		if l.Kind == ledger.LossGap || l.Kind == ledger.LossRecording {
			list = append(list, recordings.Reason{From: l.From, To: l.To, Why: l.Why})
		}
	}
	return list, nil
}

// recordingDeleted tells of recordings that went before their days were over.
func (b *Box) recordingDeleted(d recordings.Deletion) {
	b.clerk.Tell(ledger.Loss{
		Kind: ledger.LossRecording, Subject: "recording/" + d.Camera, Why: d.Why, From: d.From, To: d.To, Count: d.Segments,
	})
}
