package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"offsite/devices"
)

// Gap is a time in which a device was away, or the gateway itself.
type Gap struct {
	Subject  string // "device/pm-1" or Gateway
	From, To time.Time
	Shutdown bool // the gateway was stopped in good order
}

// Gaps gives the gaps of devices and of the gateway that reach past from. One
// that goes on ends now.
func (g *Ledger) Gaps(ctx context.Context, from, now time.Time) ([]Gap, error) {
	rows, err := g.db.Read().QueryContext(ctx, `SELECT subject, code, from_ms, to_ms, open FROM losses
		WHERE kind = '`+LossGap+`' AND (to_ms >= ? OR open = 1) AND (subject = '`+Gateway+`' OR subject >= 'device/' AND subject < 'device0')`, from.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("list gaps: %w", err)
	}
	defer rows.Close()
	var list []Gap
	for rows.Next() {
		var gap Gap
		var code string
		var first, last int64
		var open bool
		if err := rows.Scan(&gap.Subject, &code, &first, &last, &open); err != nil {
			return nil, fmt.Errorf("read gap: %w", err)
		}
		gap.From, gap.To = time.UnixMilli(first).UTC(), time.UnixMilli(last).UTC()
		if open {
			gap.To = now
		}
		gap.Shutdown = gap.Subject == Gateway && code == codeStopped
		list = append(list, gap)
	}
	return list, rows.Err()
}

// codeStopped is that of the gap of a gateway that was shut down in good order.
const codeStopped = "gateway_stopped"

// LastError is the newest trouble of a device or a point that the ledger knows.
type LastError struct {
	From, To time.Time // To is that of now while it goes on
	Open     bool
	Why      *devices.Problem
}

// LastErrors gives the newest trouble of each of the subjects that has had any.
func (g *Ledger) LastErrors(ctx context.Context, subjects []string, now time.Time) (map[string]*LastError, error) {
	list, err := json.Marshal(subjects)
	if err != nil {
		return nil, fmt.Errorf("list last errors: %w", err)
	}
	rows, err := g.db.Read().QueryContext(ctx, `SELECT subject, code, field, zh, en, from_ms, to_ms, open, max(to_ms + open * 4000000000000)
		FROM losses WHERE subject IN (SELECT value FROM json_each(?)) GROUP BY subject`, string(list))
	if err != nil {
		return nil, fmt.Errorf("list last errors: %w", err)
	}
	defer rows.Close()
	found := map[string]*LastError{}
	for rows.Next() {
		e := &LastError{Why: &devices.Problem{}}
		var subject string
		var from, to, newest int64
		if err := rows.Scan(&subject, &e.Why.Code, &e.Why.Field, &e.Why.ZH, &e.Why.EN, &from, &to, &e.Open, &newest); err != nil {
			return nil, fmt.Errorf("read last error: %w", err)
		}
		e.From, e.To = time.UnixMilli(from).UTC(), time.UnixMilli(to).UTC()
		if e.Open {
			e.To = now
		}
		found[subject] = e
	}
	return found, rows.Err()
}
