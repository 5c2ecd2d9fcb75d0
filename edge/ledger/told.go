package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// changed is what a row must be so that the platform has yet to hear of it; the
// index losses_untold has the same words.
const changed = `told <> count || ' ' || to_ms || ' ' || open`

// Untold gives at most most rows that are new to the platform or that it knows
// otherwise: those first of which it has never heard, oldest first, then those
// of which it has not heard for longest.
func (g *Ledger) Untold(ctx context.Context, most int) ([]Loss, error) {
	return g.list(ctx, `WHERE `+changed+` ORDER BY told_ms, id LIMIT ?`, most)
}

// Told notes that the platform has taken rows as they were given by Untold.
func (g *Ledger) Told(ctx context.Context, rows []Loss, at time.Time) error {
	if len(rows) == 0 {
		return nil
	}
	err := g.db.Update(ctx, func(tx *sql.Tx) error {
		for i := range rows {
			l := &rows[i]
			if _, err := tx.ExecContext(ctx, `UPDATE losses SET told = ?1 || ' ' || ?2 || ' ' || ?3, told_ms = ?4 WHERE id = ?5`,
				l.Count, l.To.UnixMilli(), l.Open, at.UnixMilli(), l.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note that losses were told: %w", err)
	}
	return nil
}
