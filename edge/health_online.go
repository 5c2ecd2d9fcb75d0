package edge

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// span is [From, To).
type span struct{ From, To time.Time }

type spans []span

// merged gives the same time in order and without overlaps.
func (s spans) merged() spans {
	list := slices.Clone(s)
	slices.SortFunc(list, func(a, b span) int { return a.From.Compare(b.From) })
	var out spans
	for _, x := range list {
		switch last := len(out) - 1; {
		case !x.From.Before(x.To):
		case last >= 0 && !x.From.After(out[last].To):
			out[last].To = latest(out[last].To, x.To)
		default:
			out = append(out, x)
		}
	}
	return out
}

// within gives the part of s in [from, to).
func (s spans) within(from, to time.Time) spans {
	var out spans
	for _, x := range s {
		x.From = latest(x.From, from)
		if x.To.After(to) {
			x.To = to
		}
		if x.From.Before(x.To) {
			out = append(out, x)
		}
	}
	return out
}

// without gives s, which is merged, less the time of cut.
func (s spans) without(cut spans) spans {
	cut = cut.merged()
	var out spans
	for _, x := range s {
		for _, c := range cut {
			if !c.To.After(x.From) || !c.From.Before(x.To) {
				continue
			}
			if x.From.Before(c.From) {
				out = append(out, span{x.From, c.From})
			}
			if x.From = c.To; !x.From.Before(x.To) {
				break
			}
		}
		if x.From.Before(x.To) {
			out = append(out, x)
		}
	}
	return out
}

func (s spans) total() (d time.Duration) {
	for _, x := range s {
		d += x.To.Sub(x.From)
	}
	return d
}

// OnlineDay is how long something was online 在线 on one day of Beijing time.
//
// Rate = Online / Expected. Expected is the time of the day so far in which a
// binding was in force, less maintenance and the time for which the gateway
// had been shut down in good order. Online is Expected less the gaps of the
// ledger, among them those in which the gateway was cut off. Gaps that follow
// each other closely share a row of the ledger, so that for a flapping device
// the rate is a lower bound.
type OnlineDay struct {
	Day      time.Time // its beginning
	Expected time.Duration
	Online   time.Duration
}

// Rate is in [0, 1]; ok is false where nothing was expected.
func (d OnlineDay) Rate() (rate float64, ok bool) {
	if d.Expected <= 0 {
		return 0, false
	}
	return float64(d.Online) / float64(d.Expected), true
}

var beijing = time.FixedZone("UTC+8", 8*3600)

// onlineDays is how many days the health of a device covers, today included.
const onlineDays = 7

// beginnings gives where each of the last days began, oldest first.
func beginnings(now time.Time) []time.Time {
	y, m, d := now.In(beijing).Date()
	list := make([]time.Time, onlineDays)
	for i := range list {
		list[i] = time.Date(y, m, d-(onlineDays-1-i), 0, 0, 0, 0, beijing)
	}
	return list
}

// online computes each of the last days. bound, excluded and missed may
// overlap and reach beyond.
func online(now time.Time, bound, excluded, missed spans) []OnlineDay {
	var list []OnlineDay
	for _, day := range beginnings(now) {
		end := day.AddDate(0, 0, 1)
		if end.After(now) {
			end = now
		}
		expected := bound.within(day, end).merged().without(excluded)
		list = append(list, OnlineDay{Day: day.UTC(), Expected: expected.total(), Online: expected.without(missed).total()})
	}
	return list
}

// gaps gives the gaps since from of each device, by subject, those in which
// the gateway was cut off as subjectGateway, and when it had been shut down.
func (g *Ledger) gaps(ctx context.Context, from, now time.Time) (missed map[string]spans, shut spans, err error) {
	rows, err := g.db.Read().QueryContext(ctx, `SELECT subject, code, from_ms, to_ms, open FROM losses
		WHERE kind = '`+LossGap+`' AND (to_ms >= ? OR open = 1) AND (subject = '`+subjectGateway+`' OR subject >= 'device/' AND subject < 'device0')`, from.UnixMilli())
	if err != nil {
		return nil, nil, fmt.Errorf("list gaps: %w", err)
	}
	defer rows.Close()
	missed = map[string]spans{}
	for rows.Next() {
		var subject, code string
		var first, last int64
		var open bool
		if err := rows.Scan(&subject, &code, &first, &last, &open); err != nil {
			return nil, nil, fmt.Errorf("read gap: %w", err)
		}
		x := span{time.UnixMilli(first), time.UnixMilli(last)}
		if open {
			x.To = now
		}
		if subject == subjectGateway && code == codeStopped {
			shut = append(shut, x)
			continue
		}
		missed[subject] = append(missed[subject], x)
	}
	return missed, shut, rows.Err()
}

// codeStopped is that of the gap of a gateway that was shut down in good order.
const codeStopped = "gateway_stopped"
