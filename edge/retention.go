package edge

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/evidence"
	"offsite/edge/ledger"
	"offsite/streams/recording"
)

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
