package video

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOpeningsOfStills(t *testing.T) {
	began := time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)
	asked := []struct {
		after  time.Duration
		who    string
		opened bool
	}{
		{0, "li cam-a", true},
		{5 * time.Second, "li cam-a", false},
		{5 * time.Second, "li cam-b", true},
		{5 * time.Second, "wu cam-a", true},
		{34 * time.Second, "li cam-a", false}, // 29 s after the last
		{63 * time.Second, "li cam-a", false},
		{63 * time.Second, "wu cam-a", true},
		{93 * time.Second, "li cam-a", true}, // 30 s after the last
	}
	o := newOpenings()
	for _, a := range asked {
		if got := o.begins(a.who, began.Add(a.after)); got != a.opened {
			t.Errorf("%s after %v opens: %v", a.who, a.after, got)
		}
	}
	if len(o.last) != 1 {
		t.Errorf("remembers %v", o.last)
	}
	o.forget("li cam-a")
	if !o.begins("li cam-a", began.Add(94*time.Second)) {
		t.Error("a row that could not be written is not tried again")
	}
}
