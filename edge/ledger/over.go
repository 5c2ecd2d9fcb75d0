package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"offsite/devices"
)

// Over gives the losses of the subjects that reach into [from, to), oldest first.
// One that goes on ends now.
func (g *Ledger) Over(ctx context.Context, subjects []string, from, to, now time.Time) ([]Loss, error) {
	list, err := json.Marshal(subjects)
	if err != nil {
		return nil, fmt.Errorf("list losses: %w", err)
	}
	rows, err := g.db.Read().QueryContext(ctx, `SELECT id, kind, subject, code, field, zh, en, from_ms, to_ms, count, open FROM losses
		WHERE subject IN (SELECT value FROM json_each(?1)) AND from_ms < ?2 AND (to_ms >= ?3 OR open = 1) ORDER BY from_ms, id LIMIT 5000`,
		string(list), to.UnixMilli(), from.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("list losses: %w", err)
	}
	defer rows.Close()
	var found []Loss
	for rows.Next() {
		l := Loss{Why: &devices.Problem{}}
		var first, last int64
		if err := rows.Scan(&l.ID, &l.Kind, &l.Subject, &l.Why.Code, &l.Why.Field, &l.Why.ZH, &l.Why.EN, &first, &last, &l.Count, &l.Open); err != nil {
			return nil, fmt.Errorf("read loss: %w", err)
		}
		l.From, l.To = time.UnixMilli(first).UTC(), time.UnixMilli(last).UTC()
		if l.Open {
			l.To = now
		}
		found = append(found, l)
	}
	return found, rows.Err()
}
