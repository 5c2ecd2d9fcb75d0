package evidence

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"offsite/devices"
)

// outcome is a piece in the vault, or why there is none.
type outcome struct {
	sha      string
	captured time.Time
	picture  []byte           // a still into which a watermark is to be burnt
	lacks    *devices.Problem // what the piece lacks
	why      *devices.Problem
	details
}

// settle commits the outcome for every piece of the list, and tells of each
// event of which something was waited for.
func (c *Collector) settle(ctx context.Context, list []wanted, out outcome, tell Tell) error {
	ctx = context.WithoutCancel(ctx) // what is taken is kept, also when Run is ending
	for part := range slices.Chunk(list, settleAtOne) {
		marked := c.burn(ctx, part, out)
		var done []string
		err := c.db.Update(ctx, func(tx *sql.Tx) (err error) {
			done, err = settlePart(ctx, tx, part, out, marked, tell)
			return err
		})
		if err != nil {
			return err
		}
		for _, event := range done {
			if err := c.seal(ctx, event, tell); err != nil {
				return err
			}
		}
		c.cfg.Told(eventsOf(part))
	}
	return nil
}

func eventsOf(list []wanted) []string {
	var events []string
	for _, w := range list {
		if !slices.Contains(events, w.event) {
			events = append(events, w.event)
		}
	}
	return events
}

// settlePart gives the events of which nothing is wanted any more.
func settlePart(ctx context.Context, tx *sql.Tx, part []wanted, out outcome, marked map[string]string, tell Tell) (done []string, err error) {
	about, err := json.Marshal(out.details)
	if err != nil {
		return nil, err
	}
	first := map[string]bool{} // events of which an early piece was settled
	for _, w := range part {
		var lacks any
		if out.lacks != nil {
			lacks = out.lacks.Stored()
		}
		var res sql.Result
		if out.why != nil {
			res, err = tx.ExecContext(ctx, sqlNone, w.id, out.why.Stored())
		} else {
			res, err = tx.ExecContext(ctx, sqlAttach, w.id, out.sha, marked[w.event], out.captured.UnixMilli(), string(about), lacks)
		}
		if err != nil {
			return nil, fmt.Errorf("evidence of event %s: %w", w.event, err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return nil, err
		}
		first[w.event] = first[w.event] || (n > 0 && isEarly(w.kind, w.moment))
	}
	for _, event := range eventsOf(part) {
		rows, err := queryItems(ctx, tx, sqlOfEvent, event)
		if err != nil {
			return nil, fmt.Errorf("evidence of event %s: %w", event, err)
		}
		switch r := resultOf(event, rows); {
		case r.Complete:
			done = append(done, event)
		case first[event] && early(rows) && r.State == Attached:
			if err := tell(ctx, tx, r); err != nil {
				return nil, fmt.Errorf("evidence of event %s: %w", event, err)
			}
		}
	}
	return done, nil
}

// sealLeft makes the manifests that a power cut prevented.
func (c *Collector) sealLeft(ctx context.Context, tell Tell) error {
	events, err := c.unsealed(ctx)
	if err != nil {
		return fmt.Errorf("read unsealed evidence: %w", err)
	}
	for _, event := range events {
		if err := c.seal(ctx, event, tell); err != nil {
			return err
		}
	}
	if len(events) > 0 {
		c.cfg.Told(events)
	}
	return nil
}

func (c *Collector) unsealed(ctx context.Context) ([]string, error) {
	rows, err := c.db.Read().QueryContext(ctx, sqlUnsealed)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var events []string
	for rows.Next() {
		var event string
		if err := rows.Scan(&event); err != nil {
			return nil, err
		}
		events = append(events, event)
	}
	return events, rows.Err()
}

// seal makes the manifest of an event of which nothing is wanted any more, and
// tells that its evidence is complete. The file is on disk before the row.
func (c *Collector) seal(ctx context.Context, event string, tell Tell) error {
	r, err := c.Of(ctx, event)
	if err != nil {
		return err
	}
	if r.State == Attached {
		text, err := c.manifest(ctx, r)
		if err != nil {
			return err
		}
		if r.Manifest, err = c.vault.Put(text); err != nil {
			return fmt.Errorf("manifest of event %s: %w", event, err)
		}
		r.Size = int64(len(text))
	}
	return c.db.Update(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, sqlSeal, event, r.Manifest, r.Size, time.Now().UnixMilli())
		if err != nil {
			return fmt.Errorf("manifest of event %s: %w", event, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err // it was sealed before
		}
		return tell(ctx, tx, r)
	})
}
