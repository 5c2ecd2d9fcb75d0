package edge

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/dispatch"
	"offsite/edge/dispatch/wire"
	"offsite/edge/evidence"
	"offsite/edge/ledger"
	"offsite/edge/outbox"
	"offsite/streams/recording"
)

// EvidenceConfig says what is kept of an event's pictures.
type EvidenceConfig struct {
	Moments   []devices.Duration `yaml:"moments"`   // of stills, from the breach; default -5s, 0s, 5s
	Before    devices.Duration   `yaml:"before"`    // that a clip begins before the breach; default 10s
	After     devices.Duration   `yaml:"after"`     // that it ends after it; default 10s, 0s: no clips
	Watermark string             `yaml:"watermark"` // subtitle, burn or none; default subtitle
	Keep      devices.Duration   `yaml:"keep"`      // files after their event's end; default 1095d, 0s: for ever
	Loose     devices.Duration   `yaml:"loose"`     // files of no event, such as pictures that the platform asked for; default 24h
}

func evidenceDefaults() EvidenceConfig {
	seconds := func(n int) devices.Duration { return devices.Duration(time.Duration(n) * time.Second) }
	return EvidenceConfig{
		Moments: []devices.Duration{seconds(-5), 0, seconds(5)}, Before: seconds(10), After: seconds(10), Watermark: evidence.MarkSubtitle,
		Keep: devices.Duration(1095 * 24 * time.Hour), Loose: devices.Duration(24 * time.Hour),
	}
}

func (c *EvidenceConfig) validate(ps *devices.Problems, ring time.Duration) {
	if n := len(c.Moments); n < 1 || n > 9 {
		ps.Add(devices.Invalid("video.evidence.moments", "out_of_range", "请给出 1 至 9 个时刻", "give 1 to 9 moments"))
	}
	for _, m := range c.Moments {
		if m.D() < -ring || m.D() > time.Minute {
			ps.Add(devices.Invalid("video.evidence.moments", "out_of_range", "时刻须在 video.ring 之前与 1m 之后之间", "moments may be video.ring before the breach to 1m after it"))
			break
		}
	}
	if b := c.Before.D(); b < 0 || b > ring {
		ps.Add(devices.Invalid("video.evidence.before", "out_of_range", "录像提前量须在 0s 与 video.ring 之间；请加大 video.ring", "0s to video.ring before the breach; raise video.ring"))
	}
	if a := c.After.D(); a < 0 || a > 5*time.Minute {
		ps.Add(devices.Invalid("video.evidence.after", "out_of_range", "录像延后量须在 0s 与 5m 之间", "0s to 5m after the breach"))
	}
	if k := c.Keep.D(); k != 0 && k < leastKeep {
		ps.Add(devices.Invalid("video.evidence.keep", "out_of_range", "证据至少保存 184d；0s 为永久", "keep evidence for 184d at least; 0s keeps it for ever"))
	}
	if l := c.Loose.D(); l < time.Hour || l > 30*24*time.Hour {
		ps.Add(devices.Invalid("video.evidence.loose", "out_of_range", "不属于事件的图片须保存 1h 至 30d", "keep pictures of no event for 1h to 30d"))
	}
	switch c.Watermark {
	case evidence.MarkSubtitle, evidence.MarkBurn, evidence.MarkNone:
	default:
		ps.Add(devices.Invalid("video.evidence.watermark", "not_one_of", "水印须为 subtitle、burn 或 none", "choose subtitle, burn or none"))
	}
}

// leastKeep is as long as the trail that tells of the evidence: half a year.
const leastKeep = 184 * 24 * time.Hour

// collection is the configuration of the room of evidence.
func (b *Box) collection() evidence.Config {
	c := b.cfg.Video.Evidence
	cfg := evidence.Config{
		Before: max(c.Before.D(), time.Millisecond), After: c.After.D(), Watermark: c.Watermark, Version: b.version,
		About: b.aboutEvent, Told: b.pictured, Log: b.logger,
	}
	if cfg.After == 0 {
		cfg.After = -1
	}
	for _, m := range c.Moments {
		cfg.Moments = append(cfg.Moments, m.D())
	}
	return cfg
}

// aboutEvent tells what a manifest and a watermark say of an event.
func (b *Box) aboutEvent(ctx context.Context, id string) (evidence.Subject, error) {
	ev, err := b.Events.Event(ctx, id)
	if err != nil {
		return evidence.Subject{}, err
	}
	s := evidence.Subject{
		ID: ev.ID, Kind: ev.Kind, Site: ev.Site, Outlet: ev.Outlet, Point: ev.Point, Factor: ev.Factor,
		Value: ev.Value, Unit: ev.Unit, Limit: ev.LimitValue, LimitID: ev.Limit, Level: ev.Level,
		StartedAt: ev.StartedAt, ReceivedAt: ev.ReceivedAt, Cameras: map[string]string{},
	}
	if enrolled, _ := b.platform.Enrolled(); enrolled != "" {
		offset := b.platform.Clock().OffsetMS
		s.Offset = &offset
	}
	registered := b.Registry.Snapshot()
	if site := registered.Sites[ev.Site]; site != nil {
		s.SiteName = site.Name
	}
	for _, camera := range registered.CamerasOf(ev.Outlet) {
		s.Cameras[camera.ID] = camera.Name
	}
	return s, nil
}

// evidenceTooLarge is why a piece of evidence is not at the platform.
var evidenceTooLarge = &devices.Problem{
	Kind: devices.ErrInvalid, Code: "evidence_too_large",
	ZH: "文件超过监管平台接收的大小，未报送；网关仍按保存期保存", EN: "the platform takes no file of this size, so it was left out; the gateway keeps it as long as all evidence",
}

// postWithout delivers a message of evidence of which the platform will not have
// some files, because they are too large for it, without them; that is told as a loss.
func (b *Box) postWithout(ctx context.Context, m outbox.Message, large []string) dispatch.Answer {
	var body wire.Event
	if err := json.Unmarshal(m.Body, &body); err != nil {
		b.logger.ErrorContext(ctx, "message of evidence cannot be read", "event", m.Event, "err", err)
		return dispatch.Answer{Class: dispatch.Refused, Problem: evidenceTooLarge}
	}
	leaveOut(&body.Evidence, large)
	text, err := json.Marshal(body)
	if err != nil {
		return dispatch.Answer{Problem: devices.AllProblems(err)[0]}
	}
	a := b.platform.PostEvent(ctx, m.Key, text)
	if a.Class == dispatch.Done {
		now := time.Now()
		b.clerk.Tell(ledger.Loss{
			Kind: ledger.LossRefused, Subject: "platform", Why: evidenceTooLarge, From: m.Created, To: now, Count: int64(len(large)), Detail: m.Key,
		})
	}
	return a
}

// leaveOut takes files out of what a message says of evidence, with the reason.
func leaveOut(e *wire.Evidence, files []string) {
	left := false
	for i := range e.Items {
		it := &e.Items[i]
		if slices.Contains(files, it.MarkedSHA256) {
			it.MarkedSHA256 = ""
		}
		if slices.Contains(files, it.SHA256) {
			*it = wire.EvidenceItem{
				Camera: it.Camera, Kind: it.Kind, MomentMS: it.MomentMS, Step: it.Step, MarkedSHA256: it.MarkedSHA256,
				Reason: evidenceTooLarge.EN, ReasonZh: evidenceTooLarge.ZH,
			}
		}
		left = left || it.SHA256 != "" || it.MarkedSHA256 != ""
	}
	if slices.Contains(files, e.Manifest) {
		e.Manifest = ""
	}
	if !left {
		e.State, e.Reason, e.ReasonZh = wire.EvidenceStateNone, evidenceTooLarge.EN, evidenceTooLarge.ZH
	}
}

// retainEvidence deletes what is over of the vault until ctx ends.
func (b *Box) retainEvidence(ctx context.Context) error {
	c := b.cfg.Video.Evidence
	return b.Evidence.Retain(ctx, evidence.Retention{
		Keep: c.Keep.D(), Loose: c.Loose.D(), Events: evidenceEvents{b},
		Used: func() (float64, error) { return recording.DiskUsed(b.cfg.State) },
	})
}

// evidenceEvents tells what evidence may be deleted.
type evidenceEvents struct{ *Box }

var _ evidence.Events = evidenceEvents{}

// Over tells when an event ended.
func (e evidenceEvents) Over(ctx context.Context, event string) (ended time.Time, noticed bool, err error) {
	ev, err := e.Events.Event(ctx, event)
	if err != nil || ev.EndedAt == nil {
		return time.Time{}, false, err
	}
	return *ev.EndedAt, ev.Acknowledgment != nil, nil
}

// Unsent gives the events that the platform has not wholly acknowledged; none where the
// gateway belongs to no platform.
func (e evidenceEvents) Unsent(ctx context.Context) (map[string]bool, error) {
	if enrolled, _ := e.platform.Enrolled(); enrolled == "" {
		return nil, nil //nolint:nilnil // a nil map is an empty one
	}
	return e.Outbox.Unsent(ctx)
}

// evidenceShort is why evidence was deleted before its time.
var evidenceShort = &devices.Problem{
	Kind: devices.ErrUnavailable, Code: "evidence_deleted_disk",
	ZH: "磁盘空间不足，最旧事件的证据文件已提前删除（未结束、未确认、未送达平台或已保全的除外）；请清理磁盘",
	EN: "the disk was nearly full: files of the oldest events were deleted before their time, but for those that go on, are unacknowledged, unsent or held; free some space",
}

// Deleted writes a sum of deletions into the trail, and what went before its time among the
// losses.
func (e evidenceEvents) Deleted(ctx context.Context, tx *sql.Tx, d evidence.Deletion) error {
	detail := fmt.Sprintf("%s: %d files", d.Why, d.Files)
	if d.Why != evidence.Loose {
		detail += fmt.Sprintf(" of %d events from %s to %s, %d bytes", d.Events, d.From.Format(time.RFC3339), d.To.Format(time.RFC3339), d.Bytes)
	}
	if d.Why == evidence.Disk {
		loss := ledger.Loss{Kind: ledger.LossRecording, Subject: "evidence", Why: evidenceShort, From: d.From, To: d.To, Count: int64(d.Files)}
		if err := ledger.Put(ctx, tx, loss); err != nil {
			return err
		}
		e.DB.AfterCommit(tx, func() { e.Ledger.Count(loss.Kind, loss.Count) })
	}
	return e.Audit.Append(ctx, tx, audit.Entry{At: time.Now().UTC(), Who: audit.Gateway, Act: "evidence.deleted", What: "evidence", Result: "ok", Detail: detail})
}
