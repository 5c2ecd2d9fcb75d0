package edge

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/breach"
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

// tracked is a Health that follows a registry of one device of each kind.
func tracked(t *testing.T, list ...devices.Thing) (*Health, func(now time.Time) []string) {
	t.Helper()
	r := openRegistry(t, openDB(t, t.TempDir()))
	register(t, r, yard()...)
	register(t, r, list...)
	h := newHealth()
	return h, func(now time.Time) []string { return h.follow(r.Snapshot(), now) }
}

func reading(device, point string, at time.Time) devices.Delivery {
	return devices.Delivery{Origin: devices.Origin{Device: device}, Received: at, Readings: []devices.Reading{{Site: "plant", Point: point, At: at, Value: 1}}}
}

func TestAPointIsStaleAfterThreePeriodsAndAMinute(t *testing.T) {
	slow := modbusDevice("slow")
	slow[1].(*devices.Device).Period = devices.Duration(10 * time.Minute)
	tests := []struct {
		name   string
		things []devices.Thing
		every  time.Duration // between the readings that come first
		stale  time.Duration // after the last
	}{
		{"polled each second", modbusDevice("p"), time.Second, time.Minute},
		{"polled every ten minutes", slow, 10 * time.Minute, 30 * time.Minute},
		{"learned", brokerDevice("q", "secret-pass-1"), 5 * time.Minute, 15 * time.Minute},
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
				h.delivered(&d)
			}
			again := reading(device, point, now.Add(tt.stale/2))
			again.Readings[0].Repeat = true
			h.delivered(&again)
			if turned := follow(now.Add(tt.stale)); turned != nil || h.Stale(point, now, now.Add(tt.stale)) {
				t.Errorf("stale too early: %v", turned)
			}
			late := now.Add(tt.stale + time.Second)
			if diff := cmp.Diff([]string{point}, follow(late)); diff != "" || !h.Stale(point, now, late) {
				t.Errorf("not stale: %s", diff)
			}
			d := reading(device, point, late)
			h.delivered(&d)
			if diff := cmp.Diff([]string{point}, follow(late)); diff != "" || h.Stale(point, late, late) {
				t.Errorf("not fresh again: %s", diff)
			}
		})
	}
}

func TestAPointBoundAnewHasItsMinute(t *testing.T) {
	r := openRegistry(t, openDB(t, t.TempDir()))
	register(t, r, yard()...)
	things := modbusDevice("p")
	register(t, r, things...)
	h, now := newHealth(), time.Now()
	h.follow(r.Snapshot(), now)
	retire(t, r, things[2])
	if turned := h.follow(r.Snapshot(), now.Add(time.Hour)); turned != nil {
		t.Errorf("stale although nothing is bound: %v", turned)
	}
	register(t, r, &devices.Binding{ID: "b-again", Point: "stack.p", Device: "p", Register: &devices.Register{Table: "holding", Type: "uint16"}})
	if turned := h.follow(r.Snapshot(), now.Add(2*time.Hour)); turned != nil {
		t.Errorf("stale at once: %v", turned)
	}
	if turned := h.follow(r.Snapshot(), now.Add(2*time.Hour+2*time.Minute)); len(turned) != 1 {
		t.Error("never stale")
	}
}

func TestPollsCountForTheDeviceAndItsPoints(t *testing.T) {
	h, follow := tracked(t, modbusDevice("p")...)
	now := time.Now()
	follow(now)
	for i := range 100 {
		h.Polled(devices.Poll{Device: "p", At: now, Took: time.Duration(i+1) * time.Millisecond, Answered: true})
		d := reading("p", "stack.p", now)
		h.delivered(&d)
	}
	h.Polled(devices.Poll{Device: "p", At: now, Took: 101 * time.Millisecond, Answered: true, Failed: []string{"stack.p"}})
	h.Polled(devices.Poll{Device: "p", At: now, LeftOut: true})
	h.Polled(devices.Poll{Device: "unknown", At: now})
	got := DeviceHealth{DeviceStatus: DeviceStatus{Device: "p"}}
	h.fill(&got, h.byDevice()["p"], now)
	if got.Hour != (Count{OK: 101, Bad: 1}) || !got.Quarantined || got.Answers != 101 || got.Mean != 51*time.Millisecond || got.P99 != 100*time.Millisecond {
		t.Errorf("device: %+v", got)
	}
	if p := got.Points[0]; p.Day != (Count{OK: 100, Bad: 2}) || p.Expected != time.Second {
		t.Errorf("point: %+v", p)
	}
}

func TestOnlineLeavesOutMaintenanceAndShutdown(t *testing.T) {
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, beijing)
	at := func(hour int) time.Time { return day.Add(time.Duration(hour) * time.Hour) }
	whole := spans{{at(-100), at(100)}}
	tests := []struct {
		name                    string
		bound, excluded, missed spans
		expected, online        time.Duration
	}{
		{"all day", whole, nil, nil, 20 * time.Hour, 20 * time.Hour},
		{"never bound", nil, nil, spans{{at(1), at(2)}}, 0, 0},
		{"gaps that overlap", whole, nil, spans{{at(5), at(7)}, {at(1), at(6)}, {at(-9), at(0)}}, 20 * time.Hour, 14 * time.Hour},
		{"maintenance", whole, spans{{at(2), at(4)}, {at(18), at(30)}}, nil, 16 * time.Hour, 16 * time.Hour},
		{"away under maintenance and after", whole, spans{{at(2), at(4)}}, spans{{at(3), at(5)}}, 18 * time.Hour, 17 * time.Hour},
		{"bound at noon, twice", spans{{at(12), at(30)}, {at(13), at(14)}}, nil, spans{{at(0), at(13)}}, 8 * time.Hour, 7 * time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			days := online(at(20), tt.bound, tt.excluded, tt.missed)
			today := days[len(days)-1]
			if len(days) != onlineDays || !today.Day.Equal(day) || today.Expected != tt.expected || today.Online != tt.online {
				t.Errorf("%+v", today)
			}
		})
	}
}

func TestTheLastErrorIsTheOpenOneOrElseTheNewest(t *testing.T) {
	ledger, err := OpenLedger(t.Context(), openDB(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	for i, l := range []Loss{
		{Subject: "device/p", Why: &devices.Problem{Code: "timeout", ZH: "超时", EN: "timed out"}, Open: true},
		{Subject: "device/q", Why: &devices.Problem{Code: "timeout"}},
		{Subject: "device/q", Why: &devices.Problem{Code: "refused"}},
		{Subject: "device/r", Why: &devices.Problem{Code: "timeout"}},
	} {
		l.Kind, l.From, l.Count = LossGap, now.Add(time.Duration(i-10)*time.Hour), 1
		l.To = l.From
		if err := ledger.Add(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ledger.lastErrors(t.Context(), []string{"device/p", "device/q", "point/none.x"}, now)
	if err != nil || len(got) != 2 || got["device/p"].Why.ZH != "超时" || !got["device/p"].To.Equal(now) || got["device/q"].Why.Code != "refused" {
		t.Errorf("%+v, %v", got, err)
	}
}

func openTestUpkeep(t *testing.T) (*Upkeep, *audit.Log) {
	t.Helper()
	db := openDB(t, t.TempDir())
	if _, err := OpenLedger(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	trail, err := audit.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	u, err := openUpkeep(t.Context(), db, trail)
	if err != nil {
		t.Fatal(err)
	}
	return u, trail
}

func nothingElse(context.Context, *sql.Tx) error { return nil }

func TestMaintenanceRefused(t *testing.T) {
	u, _ := openTestUpkeep(t)
	tests := []struct {
		name  string
		m     Maintenance
		codes []string
	}{
		{"nothing said", Maintenance{}, []string{"until missing", "reason missing"}},
		{"in the past", Maintenance{To: time.Now().Add(-time.Minute), Reason: "x"}, []string{"until in_the_past"}},
		{"for ever", Maintenance{To: time.Now().Add(31 * 24 * time.Hour), Reason: "x"}, []string{"until too_long"}},
		{"a reason of blanks", Maintenance{To: time.Now().Add(time.Hour), Reason: "  "}, []string{"reason missing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.m.Subject = "device/p"
			_, err := u.Begin(t.Context(), tt.m, nothingElse)
			var codes []string
			for _, p := range devices.AllProblems(err) {
				codes = append(codes, p.Field+" "+p.Code)
			}
			if diff := cmp.Diff(tt.codes, codes); diff != "" {
				t.Error(diff)
			}
		})
	}
	if p := devices.AllProblems(u.End(t.Context(), "device/p", nothingElse))[0]; p.Code != "not_maintained" {
		t.Errorf("%+v", p)
	}
}

func TestMaintenanceEndsByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, trail := openTestUpkeep(t)
		began := time.Now()
		for _, m := range []Maintenance{
			{Subject: "device/p", Reason: "first", Who: "li", To: began.Add(time.Hour)},
			{Subject: "device/p", Reason: "换传感器", Who: "wang", To: began.Add(2 * time.Hour)},
			{Subject: "point/stack.q", Reason: "校准", Who: "li", To: began.Add(time.Minute)},
		} {
			if _, err := u.Begin(t.Context(), m, nothingElse); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		for _, tt := range []struct {
			device, point, want string
			after               time.Duration
		}{
			{"p", "stack.p", "", -time.Second},
			{"p", "stack.p", "first", 0},
			{"p", "stack.p", "换传感器", time.Minute},
			{"p", "stack.p", "", 2 * time.Hour},
			{"other", "stack.q", "校准", 30 * time.Second},
			{"other", "stack.q", "", time.Minute},
		} {
			got := ""
			if m := u.of(tt.device, tt.point, began.Add(tt.after)); m != nil {
				got = m.Reason
			}
			if got != tt.want {
				t.Errorf("%s after %s: %q, want %q", tt.point, tt.after, got, tt.want)
			}
		}
		d := devices.Delivery{Origin: devices.Origin{Device: "p"}, Readings: []devices.Reading{
			{Point: "stack.p", At: began.Add(-time.Second)}, {Point: "stack.p", At: began.Add(time.Second)}, {Point: "stack.p", At: began.Add(time.Second), Mark: "D"},
		}}
		u.mark(&d)
		if marks := d.Readings[0].Mark + "," + d.Readings[1].Mark + "," + d.Readings[2].Mark; marks != ",M,D" {
			t.Errorf("marks %s", marks)
		}
		if left := u.judged("p", d.Readings); len(left) != 1 || len(d.Readings) != 3 {
			t.Errorf("judged %+v", left)
		}
		var ended []string
		for range 3 {
			subjects, err := u.lapse(t.Context(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			ended = append(ended, fmt.Sprint(subjects))
			time.Sleep(90 * time.Minute)
		}
		if diff := cmp.Diff([]string{"[]", "[point/stack.q]", "[device/p]"}, ended); diff != "" {
			t.Error(diff)
		}
		rows, err := trail.List(t.Context(), 0, 10)
		if err != nil || len(rows) != 3 || rows[0].Act != "device.maintenance.end" || rows[0].Who != "gateway" || rows[1].What != "point/stack.q" {
			t.Errorf("trail: %+v, %v", rows, err)
		}
	})
}

func TestMaintenanceKeepsReadingsAndEndsAlarms(t *testing.T) {
	b := startBox(t, t.TempDir(), nil)
	client := b.connect()
	defer client.Disconnect(0)
	b.publish(client, `120`)
	b.await("the alarm", func(u Update) bool { return u.Event != nil && u.Event.Step == breach.Opened })
	m := Maintenance{Subject: "device/gate", Reason: "换滤芯", Who: "li", To: time.Now().Add(time.Hour)}
	if _, err := b.Maintain(t.Context(), m, nothingElse); err != nil {
		t.Fatal(err)
	}
	b.publish(client, `130`)
	b.await("the marked reading", func(u Update) bool { return len(u.Readings) > 0 && u.Readings[0].Mark == "M" })
	b.await("the end of the alarm", func(u Update) bool {
		return u.Event != nil && u.Event.Step == breach.Closed && u.Event.Event.EndReason == breach.EndMaintenance && u.Event.Event.Signal == breach.SignalUnknown
	})
	if stale, held := b.PointState("stack.gate", time.Now()); stale || held == nil || held.Reason != "换滤芯" {
		t.Errorf("stale %v, maintenance %+v", stale, held)
	}
	report, err := b.HealthOf(t.Context(), func(*devices.Device) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Devices) != 1 || len(report.Outlets) != 1 {
		t.Fatalf("%+v", report)
	}
	d := report.Devices[0]
	if d.Maintenance == nil || d.Hour.OK != 2 || len(d.Points) != 1 || d.Points[0].Last.Value != 130 || d.Points[0].Heard.IsZero() {
		t.Errorf("%+v", d)
	}
	if err := b.EndMaintenance(t.Context(), "device/gate", nothingElse); err != nil {
		t.Fatal(err)
	}
	b.publish(client, `140`)
	b.await("a new alarm", func(u Update) bool {
		return u.Event != nil && u.Event.Step == breach.Opened && u.Event.Event.Value == 140
	})
}

func BenchmarkDelivered(b *testing.B) {
	h := newHealth()
	h.devices["d"] = &deviceHealth{polled: true}
	d := devices.Delivery{Origin: devices.Origin{Device: "d"}, Received: time.Now()}
	for i := range 10_000 {
		id := fmt.Sprintf("stack.p%d", i)
		h.points[id] = &pointHealth{}
		if i%200 == 0 {
			d.Readings = append(d.Readings, devices.Reading{Point: id})
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		h.delivered(&d)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(d.Readings)), "ns/reading")
}
