package health

import (
	"testing"
	"time"

	"offsite/devices"
	"offsite/edge/yardtest"
)

// every gives n gaps of d.
func every(d time.Duration, n int) []time.Duration {
	list := make([]time.Duration, n)
	for i := range list {
		list[i] = d
	}
	return list
}

func TestHistoryIsStaleByTheSameRule(t *testing.T) {
	stated := func(list []devices.Thing, period time.Duration) []devices.Thing {
		list[1].(*devices.Device).Period = devices.Duration(period)
		return list
	}
	sender := func() []devices.Thing { return yardtest.BrokerDevice("q", "secret-pass-1") }
	tests := []struct {
		name   string
		things []devices.Thing // of stack.q, or of stack.p
		point  string
		live   time.Duration // between what comes now; zero: nothing does
		gaps   []time.Duration
		want   time.Duration
	}{
		{"polled each second", yardtest.ModbusDevice("p"), "stack.p", time.Second, every(time.Second, 9), time.Minute},
		{"polled each second, which failed for hours", yardtest.ModbusDevice("p"), "stack.p", time.Second, every(5*time.Hour, 9), time.Minute},
		{"polled every ten minutes", stated(yardtest.ModbusDevice("p"), 10*time.Minute), "stack.p", 10 * time.Minute, nil, 30 * time.Minute},
		{"sends what changed, and states how often at the least", stated(sender(), time.Hour), "stack.q", time.Second, every(time.Second, 9), 3 * time.Hour},
		{"sends by itself", sender(), "stack.q", 5 * time.Minute, every(5*time.Minute, 9), 15 * time.Minute},
		{"sends by itself, not heard since the start", sender(), "stack.q", 0, every(5*time.Minute, 9), 15 * time.Minute},
		{"sent rarely then, often now", sender(), "stack.q", time.Second, every(5*time.Minute, 9), 15 * time.Minute},
		{"sent often then, rarely now", sender(), "stack.q", 5 * time.Minute, every(time.Second, 9), 15 * time.Minute},
		{"the first gap was an outage", sender(), "stack.q", 0, append([]time.Duration{5 * time.Hour}, every(time.Second, 9)...), time.Minute},
		{"no longer registered", nil, "stack.q", 0, every(time.Hour, 3), 3 * time.Hour},
		{"never heard", sender(), "stack.q", 0, nil, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := yardtest.OpenRegistry(t, yardtest.OpenDB(t, t.TempDir()))
			yardtest.Register(t, r, yardtest.Yard()...)
			yardtest.Register(t, r, tt.things...)
			h, now := newTracker(), time.Now().Add(time.Hour)
			h.Follow(r.Snapshot(), now)
			for range 4 {
				if tt.live == 0 {
					break
				}
				now = now.Add(tt.live)
				d := reading(tt.things[1].Key(), tt.point, now)
				h.Delivered(&d)
			}
			if got := h.StaleAfter(r.Snapshot(), tt.point, now.Add(-time.Hour), now, tt.gaps); got != tt.want {
				t.Errorf("stale after %v, want %v", got, tt.want)
			}
			if len(tt.gaps) > 0 || tt.live == 0 {
				return
			}
			if at := now.Add(tt.want); h.Stale(tt.point, now, at) || !h.Stale(tt.point, now, at.Add(time.Second)) {
				t.Error("the newest value has another rule")
			}
		})
	}
}

func TestASwappedLoggerHasItsOwnTime(t *testing.T) {
	r := yardtest.OpenRegistry(t, yardtest.OpenDB(t, t.TempDir()))
	yardtest.Register(t, r, yardtest.Yard()...)
	slow := yardtest.ModbusDevice("p")
	slow[1].(*devices.Device).Period = devices.Duration(time.Hour)
	now := time.Now()
	swapped := now.Add(-24 * time.Hour)
	old := slow[2].(*devices.Binding)
	old.From, old.To = now.Add(-48*time.Hour), &swapped
	yardtest.Register(t, r, slow...)
	quick := yardtest.ModbusDevice("quick")
	again := quick[2].(*devices.Binding)
	again.Point, again.From = "stack.p", swapped
	yardtest.Register(t, r, quick[1:]...)
	h := newTracker()
	h.Follow(r.Snapshot(), now)
	for name, tt := range map[string]struct {
		from, to time.Duration // before now
		want     time.Duration
	}{
		"before":     {40 * time.Hour, 30 * time.Hour, 3 * time.Hour},
		"across":     {40 * time.Hour, 0, 3 * time.Hour},
		"afterwards": {24 * time.Hour, 0, time.Minute},
	} {
		if got := h.StaleAfter(r.Snapshot(), "stack.p", now.Add(-tt.from), now.Add(-tt.to), nil); got != tt.want {
			t.Errorf("%s: stale after %v, want %v", name, got, tt.want)
		}
	}
}
