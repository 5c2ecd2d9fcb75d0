package breach

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"offsite/devices"
)

// KindFault 故障 says that a camera does not see what it ought to, or that somebody
// has tampered with it.
const KindFault = "fault"

// recognisedRule begins the rule that stands as the limit of what a camera has
// recognised; the type follows.
const recognisedRule = "recognised_"

// RecognisedID names an event by what a camera, or a box beside it, told under an
// id of its own.
func RecognisedID(camera, what, id string) string {
	sum := sha256.Sum256([]byte(camera + "\x00" + what + "\x00" + id))
	return recognisedIDs + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:15]))
}

// Recognise stores the event of something that a camera has recognised. It has a
// Camera and no point; Factor says what it is. fresh is false,
// and nothing changes, where the event is there already.
func (e *Engine) Recognise(ctx context.Context, tx *sql.Tx, ev Event) (t Transition, fresh bool, err error) {
	switch stored, err := e.queryOne(ctx, tx, sqlEvent, ev.ID); {
	case err == nil:
		return Transition{Event: stored, Step: Opened, Revision: stored.Revision}, false, nil
	case !errors.Is(err, sql.ErrNoRows):
		return t, false, fmt.Errorf("event %s: %w", ev.ID, err)
	}
	ev.Averaging, ev.Level, ev.ValidRatio, ev.Evidence, ev.Limit = devices.AveragingInstant, "none", 1, EvidencePending, recognisedRule+ev.Factor
	ev.Value, ev.Peak, ev.PeakAt, ev.Since = 1, 1, ev.StartedAt, ev.StartedAt
	ev.settle()
	t = Transition{Event: ev, Step: Opened}
	if err := e.saveTransition(ctx, tx, &t); err != nil {
		return t, false, fmt.Errorf("store event %s: %w", ev.ID, err)
	}
	return t, true, nil
}

// EndRecognised ends such an event for a reason such as EndRecovered; ended is false where
// it was over already.
func (e *Engine) EndRecognised(ctx context.Context, tx *sql.Tx, id, reason string, at time.Time) (t Transition, ended bool, err error) {
	ev, err := e.queryOne(ctx, tx, sqlEvent, id)
	if err != nil {
		return t, false, found(id, err)
	}
	if ev.EndedAt != nil {
		return t, false, nil
	}
	if at.Before(ev.StartedAt) {
		at = ev.StartedAt
	}
	ev.EndedAt, ev.EndReason = &at, reason
	t = Transition{Event: ev, Step: Closed}
	if err := e.saveTransition(ctx, tx, &t); err != nil {
		return t, false, fmt.Errorf("store event %s: %w", id, err)
	}
	return t, true, nil
}

// OpenRecognised lists such events as they stand open.
func (e *Engine) OpenRecognised(ctx context.Context) ([]Event, error) {
	open, err := e.query(ctx, e.db.Read(), sqlRecognised)
	if err != nil {
		return nil, fmt.Errorf("load open events of cameras: %w", err)
	}
	return open, nil
}
