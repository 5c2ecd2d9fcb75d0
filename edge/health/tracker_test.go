package health

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/edge/yardtest"
)

func TestATallyCoversAnHourAndADay(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Unix()
	tests := []struct {
		name      string
		after     int64 // seconds since the first count
		hour, day Count
	}{
		{"at once", 0, Count{OK: 1, Bad: 1}, Count{OK: 1, Bad: 1}},
		{"half an hour later", 1800, Count{OK: 1, Bad: 1}, Count{OK: 1, Bad: 1}},
		{"two hours later", 7200, Count{OK: 1}, Count{OK: 1, Bad: 1}},
		{"two days later", 2 * 86400, Count{OK: 1}, Count{OK: 1}},
		{"with the clock set back", -86400, Count{OK: 1, Bad: 1}, Count{OK: 1, Bad: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var y tally
			y.add(noon, Count{Bad: 1})
			y.add(noon+tt.after, Count{OK: 1})
			hour, day := y.sums(noon + tt.after)
			if hour != tt.hour || day != tt.day {
				t.Errorf("hour %+v day %+v, want %+v %+v", hour, day, tt.hour, tt.day)
			}
		})
	}
}

// tracked is a Tracker that follows a registry of one device of each kind.
func tracked(t *testing.T, list ...devices.Thing) (*Tracker, func(now time.Time) []string) {
	t.Helper()
	r := yardtest.OpenRegistry(t, yardtest.OpenDB(t, t.TempDir()))
	yardtest.Register(t, r, yardtest.Yard()...)
	yardtest.Register(t, r, list...)
	h := newTracker()
	return h, func(now time.Time) []string { return h.Follow(r.Snapshot(), now) }
}

func reading(device, point string, at time.Time) devices.Delivery {
	return devices.Delivery{Origin: devices.Origin{Device: device}, Received: at, Readings: []devices.Reading{{Site: "plant", Point: point, At: at, Value: 1}}}
}

func TestAPointIsStaleAfterThreePeriodsAndAMinute(t *testing.T) {
	slow := yardtest.ModbusDevice("slow")
	slow[1].(*devices.Device).Period = devices.Duration(10 * time.Minute)
	tests := []struct {
		name   string
		things []devices.Thing
		every  time.Duration // between the readings that come first
		stale  time.Duration // after the last
	}{
		{"polled each second", yardtest.ModbusDevice("p"), time.Second, time.Minute},
		{"polled every ten minutes", slow, 10 * time.Minute, 30 * time.Minute},
		{"learned", yardtest.BrokerDevice("q", "secret-pass-1"), 5 * time.Minute, 15 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			device, point := tt.things[1].Key(), tt.things[0].Key()
			h, follow := tracked(t, tt.things...)
			now := time.Now()
			if turned := follow(now); turned != nil {
				t.Fatalf("stale at once: %v", turned)
			}
			for range 4 {
				now = now.Add(tt.every)
				d := reading(device, point, now)
				h.Delivered(&d)
			}
			again := reading(device, point, now.Add(tt.stale/2))
			again.Readings[0].Repeat = true
			h.Delivered(&again)
			if turned := follow(now.Add(tt.stale)); turned != nil || h.Stale(point, now, now.Add(tt.stale)) {
				t.Errorf("stale too early: %v", turned)
			}
			late := now.Add(tt.stale + time.Second)
			if diff := cmp.Diff([]string{point}, follow(late)); diff != "" || !h.Stale(point, now, late) {
				t.Errorf("not stale: %s", diff)
			}
			d := reading(device, point, late)
			h.Delivered(&d)
			if diff := cmp.Diff([]string{point}, follow(late)); diff != "" || h.Stale(point, late, late) {
				t.Errorf("not fresh again: %s", diff)
			}
		})
	}
}

func TestAPointBoundAnewHasItsMinute(t *testing.T) {
	r := yardtest.OpenRegistry(t, yardtest.OpenDB(t, t.TempDir()))
	yardtest.Register(t, r, yardtest.Yard()...)
	things := yardtest.ModbusDevice("p")
	yardtest.Register(t, r, things...)
	h, now := newTracker(), time.Now()
	h.Follow(r.Snapshot(), now)
	yardtest.Retire(t, r, things[2])
	if turned := h.Follow(r.Snapshot(), now.Add(time.Hour)); turned != nil {
		t.Errorf("stale although nothing is bound: %v", turned)
	}
	yardtest.Register(t, r, &devices.Binding{ID: "b-again", Point: "stack.p", Device: "p", Register: &devices.Register{Table: "holding", Type: "uint16"}})
	if turned := h.Follow(r.Snapshot(), now.Add(2*time.Hour)); turned != nil {
		t.Errorf("stale at once: %v", turned)
	}
	if turned := h.Follow(r.Snapshot(), now.Add(2*time.Hour+2*time.Minute)); len(turned) != 1 {
		t.Error("never stale")
	}
}

func TestPollsCountForTheDeviceAndItsPoints(t *testing.T) {
	h, follow := tracked(t, yardtest.ModbusDevice("p")...)
	now := time.Now()
	follow(now)
	for i := range 100 {
		h.Polled(devices.Poll{Device: "p", At: now, Took: time.Duration(i+1) * time.Millisecond, Answered: true})
		d := reading("p", "stack.p", now)
		h.Delivered(&d)
	}
	h.Polled(devices.Poll{Device: "p", At: now, Took: 101 * time.Millisecond, Answered: true, Failed: []string{"stack.p"}})
	h.Polled(devices.Poll{Device: "p", At: now, LeftOut: true})
	h.Polled(devices.Poll{Device: "unknown", At: now})
	got, points := h.Of("p", h.Points()["p"], now)
	if got.Hour != (Count{OK: 101, Bad: 1}) || !got.Quarantined || got.Answers != 101 || got.Mean != 51*time.Millisecond || got.P99 != 100*time.Millisecond {
		t.Errorf("device: %+v", got)
	}
	if p := points[0]; p.Day != (Count{OK: 100, Bad: 2}) || p.Expected != time.Second {
		t.Errorf("point: %+v", p)
	}
}

func TestAnswersDoNotMakeADevicePolled(t *testing.T) {
	h, follow := tracked(t, yardtest.ModbusDevice("p")...)
	now := time.Now()
	follow(now)
	h.Answered("p", 20*time.Millisecond)
	h.Answered("p", 40*time.Millisecond)
	h.Answered("unknown", time.Second)
	d := reading("p", "stack.p", now)
	h.Delivered(&d)
	got, _ := h.Of("p", nil, now)
	if got.Hour != (Count{OK: 1}) || got.Answers != 2 || got.Mean != 30*time.Millisecond || got.P99 != 40*time.Millisecond {
		t.Errorf("device: %+v", got)
	}
}

func TestOnlineLeavesOutMaintenanceAndShutdown(t *testing.T) {
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, devices.Beijing)
	at := func(hour int) time.Time { return day.Add(time.Duration(hour) * time.Hour) }
	whole := Spans{{at(-100), at(100)}}
	tests := []struct {
		name                    string
		bound, excluded, missed Spans
		expected, online        time.Duration
	}{
		{"all day", whole, nil, nil, 20 * time.Hour, 20 * time.Hour},
		{"never bound", nil, nil, Spans{{at(1), at(2)}}, 0, 0},
		{"gaps that overlap", whole, nil, Spans{{at(5), at(7)}, {at(1), at(6)}, {at(-9), at(0)}}, 20 * time.Hour, 14 * time.Hour},
		{"maintenance", whole, Spans{{at(2), at(4)}, {at(18), at(30)}}, nil, 16 * time.Hour, 16 * time.Hour},
		{"away under maintenance and after", whole, Spans{{at(2), at(4)}}, Spans{{at(3), at(5)}}, 18 * time.Hour, 17 * time.Hour},
		{"bound at yardtest.Noon, twice", Spans{{at(12), at(30)}, {at(13), at(14)}}, nil, Spans{{at(0), at(13)}}, 8 * time.Hour, 7 * time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			days := Online(at(20), tt.bound, tt.excluded, tt.missed)
			today := days[len(days)-1]
			if len(days) != onlineDays || !today.Day.Equal(day) || today.Expected != tt.expected || today.Online != tt.online {
				t.Errorf("%+v", today)
			}
		})
	}
}

func BenchmarkDelivered(b *testing.B) {
	h := newTracker()
	h.byDevice["d"] = &deviceHealth{polled: true}
	d := devices.Delivery{Origin: devices.Origin{Device: "d"}, Received: time.Now()}
	for i := range 10_000 {
		id := fmt.Sprintf("stack.p%d", i)
		h.byPoint[id] = &pointHealth{}
		if i%200 == 0 {
			d.Readings = append(d.Readings, devices.Reading{Point: id})
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		h.Delivered(&d)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(d.Readings)), "ns/reading")
}
