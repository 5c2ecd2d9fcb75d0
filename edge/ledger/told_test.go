package ledger

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/edge/yardtest"
)

// TestEveryRowIsToldAndEveryChange tells two rows at a time, as heartbeats do.
func TestEveryRowIsToldAndEveryChange(t *testing.T) {
	g, now := openLedger(t), yardtest.Noon
	lose := func(subject string, count int64, to int) {
		t.Helper()
		why := &devices.Problem{Code: "gone", ZH: "没了", EN: "gone"}
		if err := g.Add(t.Context(), Loss{Kind: LossRefused, Subject: subject, Why: why, From: yardtest.Noon, To: yardtest.After(to), Count: count}); err != nil {
			t.Fatal(err)
		}
	}
	untold := func(what string, subjects ...string) []Loss {
		t.Helper()
		rows, err := g.Untold(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range rows {
			got = append(got, l.Subject)
		}
		if diff := cmp.Diff(subjects, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
		return rows
	}
	tell := func(rows []Loss) {
		t.Helper()
		now = now.Add(time.Minute)
		if err := g.Told(t.Context(), rows, now); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []string{"a", "b", "c"} {
		lose(s, 1, 1000)
	}
	untold("the oldest first", "a", "b")
	rows := untold("a heartbeat that did not arrive tells nothing", "a", "b")
	lose("b", 4, 2000) // while it is under way
	tell(rows)
	rows = untold("the never told first, then what has changed", "c", "b")
	if rows[1].Count != 5 {
		t.Errorf("b counts %d, want 5", rows[1].Count)
	}
	tell(rows)
	untold("all is told")
	lose("c", 1, 3000)
	tell(rows[:1]) // a row as it no longer is
	untold("what has changed meanwhile", "c")
	lose("a", 1, 3000)
	untold("who was not heard of for longest", "a", "c")
}
