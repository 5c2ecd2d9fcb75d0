package breach

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Reload forgets what was judged since the last commit and reads states and
// cursor again. It is to be called after a commit that failed, and the log is
// then to be read again from [Engine.Cursor].
func (e *Engine) Reload(ctx context.Context) error {
	open, err := e.query(ctx, e.db.Read(), sqlOpenEvents)
	if err != nil {
		return fmt.Errorf("load open events: %w", err)
	}
	events := make(map[string]*Event, len(open))
	for i := range open {
		events[open[i].ID] = &open[i]
	}
	alarms, err := e.loadAlarms(ctx, events)
	if err != nil {
		return fmt.Errorf("load alarm states: %w", err)
	}
	var cursor int64
	if err := e.db.Read().QueryRowContext(ctx, sqlLoadCursor).Scan(&cursor); err != nil {
		return fmt.Errorf("load judging cursor: %w", err)
	}
	e.alarms, e.dirty, e.gone, e.saving = alarms, nil, nil, saving{}
	e.cursor.Store(uint64(cursor))
	return nil
}

func (e *Engine) loadAlarms(ctx context.Context, open map[string]*Event) (map[alarmKey]*alarm, error) {
	rows, err := e.db.Read().QueryContext(ctx, sqlLoadAlarms)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	alarms := make(map[alarmKey]*alarm)
	for rows.Next() {
		var a alarm
		var since sql.NullInt64
		var event sql.NullString
		if err := rows.Scan(&a.limit, &a.point, &a.version, &a.at, &a.seq, &since, &a.told, &event); err != nil {
			return nil, err
		}
		a.since, a.floor, a.last = never, a.seq, event.String
		if since.Valid {
			a.since = since.Int64
		}
		a.event = open[a.last]
		alarms[alarmKey{a.limit, a.point}] = &a
	}
	return alarms, rows.Err()
}

// Save stores ts and the states that have changed. With cursor it stores all
// states and that everything up to cursor is judged; with cursor 0 it stores
// only the states that ts moved, which keeps a transition's commit small:
// records above the old cursor may then be judged again, and those states know
// that they are further. Save completes each transition with its revision,
// acknowledgement and evidence state, so messages are made after it, in the
// same transaction. It may be run again.
func (e *Engine) Save(ctx context.Context, tx *sql.Tx, cursor uint64, ts []Transition) error {
	for i := range ts {
		if err := e.saveTransition(ctx, tx, &ts[i]); err != nil {
			return fmt.Errorf("store event %s: %w", ts[i].Event.ID, err)
		}
	}
	for _, key := range e.gone {
		if _, err := tx.ExecContext(ctx, sqlForgetAlarm, key.limit, key.point); err != nil {
			return fmt.Errorf("forget alarm: %w", err)
		}
	}
	s := saving{full: cursor != 0, cursor: cursor, alarms: e.dirty}
	if !s.full {
		s.alarms = e.moved(ts)
	}
	if err := saveAlarms(ctx, tx, s.alarms); err != nil {
		return fmt.Errorf("store alarm states: %w", err)
	}
	if s.full {
		if _, err := tx.ExecContext(ctx, sqlSaveCursor, int64(cursor), int64(cursor)); err != nil {
			return fmt.Errorf("store judging cursor: %w", err)
		}
	}
	e.saving = s
	return nil
}

// moved gives the alarms of ts, each once.
func (e *Engine) moved(ts []Transition) []*alarm {
	var out []*alarm
	for i := range ts {
		a := e.alarms[alarmKey{ts[i].Event.Limit, ts[i].Event.Point}]
		if a != nil && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

func (e *Engine) saveTransition(ctx context.Context, tx *sql.Tx, t *Transition) error {
	ev := &t.Event
	if t.Step == Opened {
		text, err := json.Marshal(ev.freeze())
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, sqlOpenEvent, ev.ID, ev.Site, ev.Point, ev.Limit, ev.StartedAt.UnixMilli(),
			ev.Value, ev.Peak, ev.PeakAt.UnixMilli(), ev.Evidence, string(text))
		ev.Revision, t.Revision = 1, 1
		return err
	}
	stored, err := e.queryOne(ctx, tx, sqlMoveEvent, ev.ID, ev.Value, ev.Original, ev.Peak, ev.PeakAt.UnixMilli(), millis(ev.EndedAt), ev.EndReason)
	if err != nil {
		return err
	}
	t.Event, t.Revision = stored, stored.Revision
	return nil
}

func saveAlarms(ctx context.Context, tx *sql.Tx, alarms []*alarm) error {
	if len(alarms) == 0 {
		return nil
	}
	save, err := tx.PrepareContext(ctx, sqlSaveAlarm)
	if err != nil {
		return err
	}
	defer save.Close()
	for _, a := range alarms {
		since := sql.NullInt64{Int64: a.since, Valid: a.since != never}
		event := sql.NullString{String: a.last, Valid: a.last != ""}
		if _, err := save.ExecContext(ctx, a.limit, a.point, a.version, a.at, int64(a.seq), since, a.told, event); err != nil {
			return err
		}
		if a.event == nil || !a.peaked {
			continue
		}
		if _, err := tx.ExecContext(ctx, sqlPeak, a.event.ID, a.event.Peak, a.event.PeakAt.UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

// Saved tells that the transaction of the last Save is committed.
func (e *Engine) Saved() {
	for _, a := range e.saving.alarms {
		a.dirty, a.peaked, a.floor = false, false, a.seq
	}
	e.dirty = slices.DeleteFunc(e.dirty, func(a *alarm) bool { return !a.dirty })
	e.gone = nil
	if e.saving.full {
		e.cursor.Store(max(e.cursor.Load(), e.saving.cursor))
	}
	e.saving = saving{}
}

// Acknowledge notes that who has seen the event, with a note of at most 1,000
// characters, and gives the event with its new revision, to be told as
// updated. It returns ErrNotFound for an unknown event and ErrConflict of code
// already_acknowledged.
func (e *Engine) Acknowledge(ctx context.Context, tx *sql.Tx, id, who, note string, at time.Time) (Event, error) {
	if p := checkNote(note); p != nil {
		return Event{}, p
	}
	ev, err := e.queryOne(ctx, tx, sqlAcknowledge, id, at.UnixMilli(), who, note)
	if errors.Is(err, sql.ErrNoRows) {
		if ev, err = e.queryOne(ctx, tx, sqlEvent, id); err == nil {
			return Event{}, alreadyAcknowledged(ev)
		}
	}
	if err != nil {
		return Event{}, found(id, err)
	}
	if _, err := tx.ExecContext(ctx, sqlAlarmState, id); err != nil {
		return Event{}, fmt.Errorf("acknowledge event %s: %w", id, err)
	}
	return ev, nil
}

// SetEvidence notes how the event's pictures fared: attached or none. It gives
// the event no new revision: evidence travels as a message of its own.
func (e *Engine) SetEvidence(ctx context.Context, tx *sql.Tx, id, evidence string) error {
	if _, err := tx.ExecContext(ctx, sqlEvidence, id, evidence); err != nil {
		return fmt.Errorf("evidence of event %s: %w", id, err)
	}
	return nil
}

func millis(t *time.Time) sql.NullInt64 {
	if t == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: true}
}
