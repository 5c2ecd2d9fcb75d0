package breach

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"offsite/devices"
)

// Rules of cameras' faults: the Limit of their events.
const (
	CameraLost    = "camera_lost"
	CameraFrozen  = "camera_frozen"
	CameraBlack   = "camera_black"
	CameraCovered = "camera_covered"
	CameraMoved   = "camera_moved"
)

// Faults gives the faults that stand.
func (e *Engine) Faults(ctx context.Context) ([]Event, error) {
	list, err := e.query(ctx, e.db.Read(), sqlFaults)
	if err != nil {
		return nil, fmt.Errorf("list faults: %w", err)
	}
	return list, nil
}

// OpenFault stores a fault of a camera: ev has its Camera, what the camera stands for, its Limit and StartedAt.
func (e *Engine) OpenFault(ctx context.Context, tx *sql.Tx, ev Event) (Transition, error) {
	ev.ID = faultIDs + eventID(ev.Limit, ev.Camera, 0, ev.StartedAt.UnixMilli())[len(judgedIDs):]
	ev.Kind, ev.Averaging, ev.Level, ev.ValidRatio, ev.Evidence = KindFault, devices.AveragingInstant, "none", 1, EvidencePending
	ev.PeakAt, ev.Since, ev.ReceivedAt = ev.StartedAt, ev.StartedAt, ev.StartedAt
	ev.settle()
	t := Transition{Event: ev, Step: Opened}
	if err := e.saveTransition(ctx, tx, &t); err != nil {
		return t, fmt.Errorf("store fault %s of camera %s: %w", ev.Limit, ev.Camera, err)
	}
	return t, nil
}

// CloseFault ends a fault that stands, for a reason such as EndRecovered.
func (e *Engine) CloseFault(ctx context.Context, tx *sql.Tx, ev Event, reason string, at time.Time) (Transition, error) {
	stored, err := e.queryOne(ctx, tx, sqlMoveEvent, ev.ID, ev.Value, ev.Original, ev.Peak, ev.PeakAt.UnixMilli(), at.UnixMilli(), reason)
	if err != nil {
		return Transition{}, fmt.Errorf("close fault %s: %w", ev.ID, err)
	}
	return Transition{Event: stored, Step: Closed, Revision: stored.Revision}, nil
}
