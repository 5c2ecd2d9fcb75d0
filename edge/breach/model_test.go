package breach

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"offsite/devices"
	"offsite/timeseries"
)

// oracle says by the words of the package comment, without a state machine,
// which readings open and which end an alarm: an alarm opens with the first
// reading i for which some j <= i exists such that all of j..i breach and i is
// the on-delay newer than j; and ends likewise.
func oracle(l *devices.Limit, readings []devices.Reading) []string {
	var judged []devices.Reading
	for _, r := range readings {
		newer := len(judged) == 0 || r.At.After(judged[len(judged)-1].At)
		if r.Quality.Usable() && r.Mark != "M" && newer {
			judged = append(judged, r)
		}
	}
	var out []string
	from, open := 0, false // a run may not reach back beyond the last step
	for i := range judged {
		holds, delay := breaches, l.OnDelay
		if open {
			holds, delay = returned, l.OffDelay
		}
		for j := i; j >= from && holds(l, judged[j].Value); j-- {
			if judged[i].At.Sub(judged[j].At) < delay.D() {
				continue
			}
			open, from = !open, i+1
			out = append(out, fmt.Sprintf("%v %d", open, judged[i].At.Sub(t0)/time.Second))
			break
		}
	}
	return out
}

func breaches(l *devices.Limit, v float64) bool {
	if l.Level == "LL" {
		return v < l.Value
	}
	return v > l.Value
}

func returned(l *devices.Limit, v float64) bool {
	if l.Level == "LL" {
		return v >= l.Value+l.Deadband
	}
	return v <= l.Value-l.Deadband
}

// TestAgainstTheOracle judges random readings, with restarts and replays at
// random places, and compares what was committed with the oracle.
func TestAgainstTheOracle(t *testing.T) {
	db := openDB(t)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		p := fmt.Sprintf("out-%d.x", round)
		l := limit(fmt.Sprintf("limit-%d", round), rapid.SampledFrom([]string{"H", "LL"}).Draw(rt, "level"), 5)
		l.Point = p
		l.Deadband = float64(rapid.IntRange(0, 2).Draw(rt, "deadband"))
		l.OnDelay = devices.Duration(rapid.IntRange(0, 4).Draw(rt, "on")) * devices.Duration(time.Second)
		l.OffDelay = devices.Duration(rapid.IntRange(0, 4).Draw(rt, "off")) * devices.Duration(time.Second)
		l.ExcludeMarks = []string{"M"}
		r := rules{p: {l}}

		e := openEngine(t, db)
		base := e.Cursor()
		records := drawRecords(rt, p, base)
		var all []devices.Reading
		for _, rec := range records {
			all = append(all, rec.Readings...)
		}
		got := play(rt, t, e, r, records, base)
		if diff := cmp.Diff(oracle(l, all), got); diff != "" {
			rt.Fatalf("%s\nlimit %+v\nreadings %+v", diff, l, all)
		}
	})
}

func drawRecords(rt *rapid.T, p string, base uint64) []timeseries.Record {
	var records []timeseries.Record
	second := 0
	for i := range rapid.IntRange(1, 12).Draw(rt, "records") {
		rec := record(base + uint64(i) + 1)
		for range rapid.IntRange(1, 3).Draw(rt, "readings") {
			second += rapid.IntRange(-2, 3).Draw(rt, "later")
			q := rapid.SampledFrom([]devices.Quality{devices.Good, devices.Good, devices.Good, devices.UncertainRange, devices.BadDevice}).Draw(rt, "quality")
			rec.Readings = append(rec.Readings, devices.Reading{
				Point: p, At: t0.Add(time.Duration(second) * time.Second), Quality: q,
				Value: float64(rapid.IntRange(2, 8).Draw(rt, "value")), Mark: rapid.SampledFrom([]string{"N", "N", "N", "M"}).Draw(rt, "mark"),
			})
		}
		records = append(records, rec)
	}
	return records
}

// play feeds the records to an engine that commits, dies and begins again at
// random, and gives the committed steps. It fails on a step committed twice.
func play(rt *rapid.T, t *testing.T, e *Engine, r rules, records []timeseries.Record, base uint64) []string {
	var got []string
	seen := map[string]bool{}
	commit := func(cursor uint64, ts []Transition) {
		save(t, e, cursor, ts)
		for _, tr := range ts {
			if tr.Step != Opened && tr.Step != Closed {
				continue
			}
			key := fmt.Sprintf("%s:%d", tr.Event.ID, tr.Revision)
			if seen[key] {
				rt.Fatalf("%s committed twice", key)
			}
			seen[key] = true
			at := tr.Event.StartedAt
			if tr.Step == Closed {
				at = *tr.Event.EndedAt
			}
			got = append(got, fmt.Sprintf("%v %d", tr.Step == Opened, at.Sub(t0)/time.Second))
		}
	}
	last := base + uint64(len(records))
	for next := base + 1; next <= last; next++ {
		rec := records[next-base-1]
		ts := e.Observe(rec, r)
		switch act := rapid.IntRange(0, 5).Draw(rt, "act"); {
		case act == 0: // dies before the commit
			e = openEngine(t, e.db)
			next = e.Cursor()
		case act == 1 || len(ts) > 0 && act < 4:
			commit(rec.Seq, ts)
		case len(ts) > 0:
			commit(0, ts)
		}
	}
	save(t, e, last, nil)
	return got
}
