package edge

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"offsite/devices"
	"offsite/edge/breach"
	"offsite/edge/ledger"
	"offsite/edge/notice"
	"offsite/edge/recorders"
	"offsite/edge/recordings"
	"offsite/streams/onvif"
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
