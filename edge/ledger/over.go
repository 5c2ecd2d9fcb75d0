package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Over gives the losses of the subjects that reach into [from, to), oldest first.
// One that goes on ends now.
func (g *Ledger) Over(ctx context.Context, subjects []string, from, to, now time.Time) ([]Loss, error) {
	list, err := json.Marshal(subjects)
	if err != nil {
		return nil, fmt.Errorf("list losses: %w", err)
	}
	found, err := g.list(ctx, `WHERE subject IN (SELECT value FROM json_each(?1)) AND from_ms < ?2 AND (to_ms >= ?3 OR open = 1) ORDER BY from_ms, id LIMIT 5000`,
		string(list), to.UnixMilli(), from.UnixMilli())
	for i := range found {
		if found[i].Open {
			found[i].To = now
		}
	}
	return found, err
}
