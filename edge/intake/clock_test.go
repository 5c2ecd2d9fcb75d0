package intake

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

func TestClockTellsStepsAndLeadsReceiptsBack(t *testing.T) {
	var wall time.Time
	var ran time.Duration
	c := NewClock(func() (time.Time, time.Duration) { return wall, ran })
	for _, tt := range []struct {
		name       string
		passed     time.Duration
		set        time.Duration
		step, lead time.Duration
	}{
		{"it runs evenly", time.Second, 0, 0, 0},
		{"set forward", time.Second, time.Hour, time.Hour, 0},
		{"set back", time.Second, -time.Minute, -time.Minute, time.Minute - time.Second/2},
		{"led back at half speed", time.Minute, 0, 0, 30*time.Second - time.Second/2},
		{"set back once more", 0, -time.Second, -time.Second, 31*time.Second - time.Second/2},
		{"and forward again", 0, 10 * time.Second, 10 * time.Second, 21*time.Second - time.Second/2},
		{"together again", time.Minute, 0, 0, 0},
		{"it drifts", time.Second, -time.Millisecond, -time.Millisecond, 0},
	} {
		ran += tt.passed
		wall = wall.Add(tt.passed + tt.set)
		if step, lead := c.Look(); step != tt.step || lead != tt.lead {
			t.Errorf("%s: step %v, lead %v; want %v, %v", tt.name, step, lead, tt.step, tt.lead)
		}
	}
}

// TestOnlyTimesOfReceiptAreLed checks that a device's own times stay as they are.
func TestOnlyTimesOfReceiptAreLed(t *testing.T) {
	r := newRoad()
	r.lead.Store(int64(time.Minute))
	r.Accept(devices.Delivery{Received: noon, Readings: []devices.Reading{
		{Point: "stamped", At: noon, Stamped: true}, {Point: "own", At: ms(-5)},
	}}, func(error) {})
	var got []time.Time
	for _, rd := range r.log.got[0].Readings {
		got = append(got, rd.At)
	}
	if diff := cmp.Diff([]time.Time{noon.Add(time.Minute), ms(-5)}, got); diff != "" {
		t.Error(diff)
	}
}
