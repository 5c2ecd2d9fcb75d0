package ledger

import (
	"maps"
	"slices"
	"time"
)

// note is something that waits to be written to the ledger: a loss, or the end
// of the open gaps of its Subject at To.
type note struct {
	Loss
	ends bool
}

// waiting is what waits for the ledger. What one subject has to tell is put
// together, so that its size is bounded by what is registered and not by how
// fast a device babbles.
type waiting struct {
	gaps   map[string]*gap  // by subject
	losses map[string]*Loss // others, by kind, subject and code, and what gives each a row of its own
}

// gap is what became of one subject's gaps meanwhile, in this order.
type gap struct {
	ended  time.Time // that of before; zero if it goes on or there was none
	missed *Loss     // since then, all together, for the last reason; nil for nothing
	over   time.Time // end of missed; zero while it goes on
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func newWaiting() waiting { return waiting{gaps: map[string]*gap{}, losses: map[string]*Loss{}} }

func (w *waiting) add(n note) {
	if n.Kind != LossGap {
		key := n.Kind + " " + n.Subject + " " + n.Why.Code
		switch n.Kind {
		case LossUnbound: // it has a row for each detail
			key += " " + n.Detail
		case LossRecording: // what lies between two was never there; in the order of time
			key += n.From.UTC().Format(" 20060102150405")
		}
		if l := w.losses[key]; l != nil {
			if n.From.Before(l.From) {
				l.From = n.From
			}
			l.To, l.Count = latest(l.To, n.To), l.Count+n.Count
			return
		}
		w.losses[key] = &n.Loss
		return
	}
	g := w.gaps[n.Subject]
	if g == nil {
		g = &gap{}
		w.gaps[n.Subject] = g
	}
	switch {
	case !n.ends && g.missed == nil:
		g.missed = &n.Loss
	case !n.ends:
		g.missed.Why, g.missed.To, g.missed.Count, g.over = n.Why, n.To, g.missed.Count+n.Count, time.Time{}
	case g.missed != nil:
		g.over = n.To
	case g.ended.IsZero():
		g.ended = n.To
	}
}

// notes gives all that waits in the order in which it is to be written.
func (w *waiting) notes() []note {
	list := make([]note, 0, len(w.losses)+len(w.gaps))
	for _, key := range slices.Sorted(maps.Keys(w.losses)) {
		list = append(list, note{Loss: *w.losses[key]})
	}
	for _, subject := range slices.Sorted(maps.Keys(w.gaps)) {
		g := w.gaps[subject]
		if !g.ended.IsZero() {
			list = append(list, note{Loss: Loss{Kind: LossGap, Subject: subject, To: g.ended}, ends: true})
		}
		if g.missed != nil {
			list = append(list, note{Loss: *g.missed})
		}
		if !g.over.IsZero() {
			list = append(list, note{Loss: Loss{Kind: LossGap, Subject: subject, To: g.over}, ends: true})
		}
	}
	return list
}
