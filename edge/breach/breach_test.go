package breach

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/timeseries"
)

var t0 = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

const point = "stack-1.so2"

// rules are limits by point.
type rules map[string][]*devices.Limit

func (r rules) LimitsOf(point string) []*devices.Limit { return r[point] }

// directory is what the registry says of points.
type directory map[string]Place

func (d directory) Describe(point string, _ time.Time) (Place, bool) {
	p, ok := d[point]
	return p, ok
}

var registered = directory{point: {
	USCC: "91320500MA1WXYZ00X", Region: "320500", Site: "plant-1", Outlet: "stack-1", Factor: "a21026", Unit: "mg/m3", Measured: true,
}}

func limit(id, level string, value float64, change ...func(*devices.Limit)) *devices.Limit {
	l := &devices.Limit{ID: id, Point: point, Level: level, Value: value, Averaging: devices.AveragingInstant, Meta: devices.Meta{Version: 1}}
	for _, c := range change {
		c(l)
	}
	return l
}

func reading(second int, value float64, change ...func(*devices.Reading)) devices.Reading {
	r := devices.Reading{Site: "plant-1", Point: point, Value: value, At: t0.Add(time.Duration(second) * time.Second)}
	for _, c := range change {
		c(&r)
	}
	return r
}

func record(seq uint64, readings ...devices.Reading) timeseries.Record {
	return timeseries.Record{Seq: seq, Delivery: devices.Delivery{Received: t0.Add(time.Hour), Readings: readings}}
}

func openDB(t testing.TB) *state.DB {
	t.Helper()
	db, err := state.Open(context.Background(), state.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func openEngine(t testing.TB, db *state.DB) *Engine {
	t.Helper()
	e, err := Open(t.Context(), db, Config{Directory: registered})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func save(t testing.TB, e *Engine, cursor uint64, ts []Transition) {
	t.Helper()
	err := e.db.Update(t.Context(), func(tx *sql.Tx) error { return e.Save(t.Context(), tx, cursor, ts) })
	if err != nil {
		t.Fatal(err)
	}
	e.Saved()
}

// step is what a test sees of a transition.
type step struct {
	Step   string
	Limit  string
	Second int // of the time that belongs to the step
	Value  float64
	Reason string
}

func steps(ts []Transition) []step {
	var out []step
	for _, t := range ts {
		s := step{Step: t.Step, Limit: t.Event.Limit, Reason: t.Event.EndReason}
		at := t.Event.StartedAt
		switch t.Step {
		case Closed:
			at, s.Value = *t.Event.EndedAt, t.Event.Peak
		case Updated:
			at, s.Value = t.Event.PeakAt, t.Event.Peak
		default:
			s.Value = t.Event.Value
		}
		s.Second = int(at.Sub(t0) / time.Second)
		out = append(out, s)
	}
	return out
}

func deadband(v float64) func(*devices.Limit) { return func(l *devices.Limit) { l.Deadband = v } }

func delays(on, off time.Duration) func(*devices.Limit) {
	return func(l *devices.Limit) { l.OnDelay, l.OffDelay = devices.Duration(on), devices.Duration(off) }
}

func TestObserve(t *testing.T) {
	from, to := t0.Add(10*time.Second), t0.Add(20*time.Second)
	valid := func(l *devices.Limit) { l.ValidFrom, l.ValidTo = &from, &to }
	bad := func(r *devices.Reading) { r.Quality = devices.BadDevice }
	tests := []struct {
		name     string
		limits   []*devices.Limit
		readings []devices.Reading
		want     []step
	}{
		{
			"a value at the limit keeps it",
			[]*devices.Limit{limit("h", "H", 100)},
			[]devices.Reading{reading(0, 100)},
			nil,
		},
		{
			"above and back",
			[]*devices.Limit{limit("h", "H", 100)},
			[]devices.Reading{reading(0, 99), reading(1, 101), reading(2, 105), reading(3, 100)},
			[]step{{Opened, "h", 1, 101, ""}, {Closed, "h", 3, 105, EndRecovered}},
		},
		{
			"below and back",
			[]*devices.Limit{limit("l", "LL", 10)},
			[]devices.Reading{reading(0, 9.5), reading(1, 9), reading(2, 10)},
			[]step{{Opened, "l", 0, 9.5, ""}, {Closed, "l", 2, 9, EndRecovered}},
		},
		{
			"upper and lower are directions too",
			[]*devices.Limit{limit("a-low", "lower", 10), limit("b-up", "upper", 20)},
			[]devices.Reading{reading(0, 5), reading(1, 15), reading(2, 21)},
			[]step{{Opened, "a-low", 0, 5, ""}, {Closed, "a-low", 1, 5, EndRecovered}, {Opened, "b-up", 2, 21, ""}},
		},
		{
			"the deadband holds an alarm",
			[]*devices.Limit{limit("h", "H", 100, deadband(5))},
			[]devices.Reading{reading(0, 101), reading(1, 96), reading(2, 101), reading(3, 95)},
			[]step{{Opened, "h", 0, 101, ""}, {Closed, "h", 3, 101, EndRecovered}},
		},
		{
			"a breach shorter than the on-delay is none",
			[]*devices.Limit{limit("h", "H", 100, delays(10*time.Second, 0))},
			[]devices.Reading{reading(0, 101), reading(9, 101), reading(10, 100), reading(11, 101), reading(20, 101)},
			nil,
		},
		{
			"the on-delay passes by the readings' times",
			[]*devices.Limit{limit("h", "H", 100, delays(10*time.Second, 0))},
			[]devices.Reading{reading(0, 101), reading(9, 102), reading(10, 103)},
			[]step{{Opened, "h", 10, 103, ""}},
		},
		{
			"a recovery shorter than the off-delay is none",
			[]*devices.Limit{limit("h", "H", 100, delays(0, 10*time.Second))},
			[]devices.Reading{reading(0, 101), reading(1, 90), reading(10, 101), reading(11, 90), reading(20, 90), reading(21, 90)},
			[]step{{Opened, "h", 0, 101, ""}, {Closed, "h", 21, 101, EndRecovered}},
		},
		{
			"HH and H of one point are two alarms",
			[]*devices.Limit{limit("h", "H", 100), limit("hh", "HH", 200)},
			[]devices.Reading{reading(0, 150), reading(1, 250), reading(2, 150), reading(3, 50)},
			[]step{
				{Opened, "h", 0, 150, ""},
				{Updated, "h", 1, 250, ""},
				{Opened, "hh", 1, 250, ""},
				{Closed, "hh", 2, 250, EndRecovered},
				{Closed, "h", 3, 250, EndRecovered},
			},
		},
		{
			"not newer does not move",
			[]*devices.Limit{limit("h", "H", 100)},
			[]devices.Reading{reading(5, 99), reading(4, 101), reading(5, 101), reading(5, 99), reading(6, 101), reading(5, 50)},
			[]step{{Opened, "h", 6, 101, ""}},
		},
		{
			"unusable readings and excluded marks are not judged",
			[]*devices.Limit{limit("h", "H", 100, func(l *devices.Limit) { l.ExcludeMarks = []string{"M", "C"} })},
			[]devices.Reading{
				reading(0, 101, bad),
				reading(1, 101, func(r *devices.Reading) { r.Mark = "M" }),
				reading(2, 101, func(r *devices.Reading) { r.Quality = devices.BadClock }),
				reading(3, 102, func(r *devices.Reading) { r.Mark, r.Quality = "N", devices.UncertainRange }),
				reading(4, 50, bad),
			},
			[]step{{Opened, "h", 3, 102, ""}},
		},
		{
			"an unusable reading does not break a delay",
			[]*devices.Limit{limit("h", "H", 100, delays(4*time.Second, 0))},
			[]devices.Reading{reading(0, 101), reading(2, 5, bad), reading(4, 102)},
			[]step{{Opened, "h", 4, 102, ""}},
		},
		{
			"repeats are judged only with a newer time of their own",
			[]*devices.Limit{limit("h", "H", 100)},
			[]devices.Reading{
				reading(0, 50),
				reading(0, 101, func(r *devices.Reading) { r.Repeat = true }),
				reading(1, 102, func(r *devices.Reading) { r.Repeat, r.Stamped = true, true }),
				reading(2, 103, func(r *devices.Reading) { r.Repeat = true }),
			},
			[]step{{Opened, "h", 2, 103, ""}},
		},
		{
			"judged within the validity, ended with it",
			[]*devices.Limit{limit("h", "H", 100, valid)},
			[]devices.Reading{reading(9, 101), reading(10, 102), reading(19, 103), reading(20, 104), reading(21, 105)},
			[]step{{Opened, "h", 10, 102, ""}, {Closed, "h", 20, 103, EndLimitExpired}},
		},
		{
			"other averaging is not judged here",
			[]*devices.Limit{limit("h", "H", 100, func(l *devices.Limit) { l.Averaging = "hour" })},
			[]devices.Reading{reading(0, 101)},
			nil,
		},
		{
			"the peak is told when its distance has doubled",
			[]*devices.Limit{limit("h", "H", 100)},
			[]devices.Reading{reading(0, 101), reading(1, 109), reading(2, 112), reading(3, 123), reading(4, 124), reading(5, 120)},
			[]step{{Opened, "h", 0, 101, ""}, {Updated, "h", 2, 112, ""}, {Updated, "h", 4, 124, ""}},
		},
		{
			"a correction of the opening reading is told once",
			[]*devices.Limit{limit("h", "H", 100)},
			[]devices.Reading{reading(1, 101), reading(2, 102), reading(1, 104), reading(1, 104), reading(2, 50)},
			[]step{{Opened, "h", 1, 101, ""}, {Corrected, "h", 1, 104, ""}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := &Engine{cfg: Config{Directory: registered}, alarms: map[alarmKey]*alarm{}}
			var got []Transition
			for i, r := range tt.readings {
				got = append(got, e.Observe(record(uint64(i+1), r), rules{point: tt.limits})...)
			}
			if diff := cmp.Diff(tt.want, steps(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnEventSaysAllThatIsKnown(t *testing.T) {
	e := openEngine(t, openDB(t))
	l := limit("h", "H", 100, delays(time.Second, 0), func(l *devices.Limit) {
		l.Standard, l.Clause, l.RegItem, l.Version = "GB 13271-2014", "4.2", "0123", 7
	})
	e.Observe(record(1, reading(0, 120)), rules{point: {l}})
	ts := e.Observe(record(2, reading(1, 130, func(r *devices.Reading) { r.Mark = "N" })), rules{point: {l}})
	save(t, e, 2, ts)
	want := Event{
		ID: ts[0].Event.ID, Revision: 1, Kind: "alarm", USCC: "91320500MA1WXYZ00X", Region: "320500", Site: "plant-1", Outlet: "stack-1",
		Point: point, Factor: "a21026", Value: 130, Peak: 130, PeakAt: t0.Add(time.Second), Unit: "mg/m3", Averaging: "instant",
		Limit: "h", LimitValue: 100, Level: "H", Standard: "GB 13271-2014", Clause: "4.2", RuleVersion: 7, RegItem: "0123", Mark: "N", ValidRatio: 1,
		Since: t0, StartedAt: t0.Add(time.Second), ReceivedAt: t0.Add(time.Hour), Signal: SignalBreached, State: Unacknowledged, Evidence: EvidencePending, Seq: 2,
	}
	got, err := e.Event(t.Context(), want.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stored: %s", diff)
	}
	if diff := cmp.Diff(want, ts[0].Event); diff != "" {
		t.Errorf("told: %s", diff)
	}
	if err := checkID(want.ID); err != nil {
		t.Error(err)
	}
}

func checkID(id string) error {
	if p := devices.CheckID("id", id); p != nil {
		return p
	}
	return nil
}

func TestTwoAlarmsOfOneRecordHaveTwoIDs(t *testing.T) {
	e := openEngine(t, openDB(t))
	ts := e.Observe(record(1, reading(0, 150), reading(1, 50), reading(2, 150)), rules{point: {limit("h", "H", 100)}})
	if len(ts) != 3 || ts[0].Event.ID == ts[2].Event.ID || ts[0].Event.ID != ts[1].Event.ID {
		t.Fatalf("got %v", steps(ts))
	}
	save(t, e, 1, ts)
	open, err := e.Events(t.Context(), Filter{State: "open"})
	if err != nil || len(open) != 1 || open[0].ID != ts[2].Event.ID {
		t.Errorf("open events %v, %v", open, err)
	}
}

func TestALimitReplacedWhileItsAlarmStands(t *testing.T) {
	later := t0.Add(5 * time.Second)
	changed := func(level string, value float64, change ...func(*devices.Limit)) *devices.Limit {
		return limit("h", level, value, append(change, func(l *devices.Limit) { l.Version = 2 })...)
	}
	tests := []struct {
		name   string
		before *devices.Limit
		after  *devices.Limit
		want   []step
	}{
		{"still breached", limit("h", "H", 100), changed("H", 110), []step{{Opened, "h", 0, 150, ""}}},
		{"no longer breached", limit("h", "H", 100), changed("H", 200), []step{{Opened, "h", 0, 150, ""}, {Closed, "h", 1, 150, EndRecovered}}},
		{"the off-delay begins anew", limit("h", "H", 100), changed("H", 200, delays(0, 5*time.Second)), []step{{Opened, "h", 0, 150, ""}, {Closed, "h", 6, 150, EndRecovered}}},
		{"the on-delay begins anew", limit("h", "H", 100, delays(time.Second, 0)), changed("H", 90, delays(4*time.Second, 0)), []step{{Opened, "h", 5, 150, ""}}},
		{"another level", limit("h", "H", 100), changed("HH", 140), []step{{Opened, "h", 0, 150, ""}, {Closed, "h", 1, 150, EndLimitChanged}, {Opened, "h", 1, 150, ""}}},
		{"in force only later", limit("h", "H", 100), changed("H", 100, func(l *devices.Limit) { l.ValidFrom = &later }), []step{{Opened, "h", 0, 150, ""}, {Closed, "h", 1, 150, EndLimitChanged}, {Opened, "h", 5, 150, ""}}},
		{"another direction", limit("h", "H", 100), changed("L", 140), []step{{Opened, "h", 0, 150, ""}, {Closed, "h", 1, 150, EndLimitChanged}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := openEngine(t, openDB(t))
			got := e.Observe(record(1, reading(0, 150)), rules{point: {tt.before}})
			for i := 1; i <= 6; i++ {
				got = append(got, e.Observe(record(uint64(i+1), reading(i, 150)), rules{point: {tt.after}})...)
			}
			if diff := cmp.Diff(tt.want, steps(got)); diff != "" {
				t.Error(diff)
			}
			first := got[0].Event
			if first.RuleVersion != tt.before.Version && tt.before.OnDelay == 0 || got[len(got)-1].Step == Closed && got[len(got)-1].Event.RuleVersion != first.RuleVersion {
				t.Error("the event lost the rule's version that opened it")
			}
		})
	}
}

func TestAPendingBreachBeginsAnewAfterMaintenance(t *testing.T) {
	h := limit("h", "H", 100, func(l *devices.Limit) { l.OnDelay = devices.Duration(time.Minute) })
	maintained := registered[point]
	maintained.Maintained = true
	e := openEngine(t, openDB(t))
	save(t, e, 1, e.Observe(record(1, reading(0, 150)), rules{point: {h}}))
	e.cfg.Directory = directory{point: maintained}
	save(t, e, 0, e.Reconcile(rules{point: {h}}, t0.Add(time.Second)))
	e.cfg.Directory = registered
	if ts := e.Observe(record(2, reading(3600, 150)), rules{point: {h}}); len(ts) != 0 {
		t.Errorf("opened by what was pending before: %v", steps(ts))
	}
	if ts := e.Observe(record(3, reading(3660, 150)), rules{point: {h}}); len(ts) != 1 {
		t.Errorf("not opened: %v", steps(ts))
	}
}

func TestReconcile(t *testing.T) {
	to := t0.Add(time.Minute)
	h := limit("h", "H", 100)
	unmeasured := registered[point]
	unmeasured.Measured = false
	maintained := registered[point]
	maintained.Maintained = true
	tests := []struct {
		name   string
		rules  rules
		dir    directory
		reason string
		forget bool
	}{
		{"nothing changed", rules{point: {h}}, registered, "", false},
		{"limit retired", rules{}, registered, EndLimitRetired, true},
		{"limit now of another point", rules{"other.x": {h}}, registered, EndLimitRetired, true},
		{"point retired", rules{point: {h}}, directory{}, EndPointRetired, true},
		{"device retired", rules{point: {h}}, directory{point: unmeasured}, EndNotMeasured, false},
		{"under maintenance", rules{point: {h}}, directory{point: maintained}, EndMaintenance, false},
		{"limit expired", rules{point: {limit("h", "H", 100, func(l *devices.Limit) { l.ValidTo = &to })}}, registered, EndLimitExpired, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := openEngine(t, openDB(t))
			save(t, e, 1, e.Observe(record(1, reading(0, 150)), rules{point: {h}}))
			e.cfg.Directory = tt.dir
			ts := e.Reconcile(tt.rules, t0.Add(time.Hour))
			var want []step
			if tt.reason != "" {
				want = []step{{Closed, "h", 3600, 150, tt.reason}}
			}
			if diff := cmp.Diff(want, steps(ts)); diff != "" {
				t.Fatal(diff)
			}
			save(t, e, 0, ts)
			if again := e.Reconcile(tt.rules, t0.Add(2*time.Hour)); len(again) != 0 {
				t.Errorf("ended twice: %v", steps(again))
			}
			if err := e.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			if forgotten := len(e.alarms) == 0; forgotten != tt.forget {
				t.Errorf("state forgotten: %v, want %v", forgotten, tt.forget)
			}
			events, err := e.Events(t.Context(), Filter{})
			if err != nil || len(events) != 1 || events[0].EndReason != tt.reason {
				t.Fatalf("stored %+v, %v", events, err)
			}
			if signal := events[0].Signal; tt.reason != "" && signal != SignalUnknown {
				t.Errorf("signal %q of a value that never recovered", signal)
			}
		})
	}
}

func TestAnEndNeverComesBeforeItsStart(t *testing.T) {
	e := openEngine(t, openDB(t))
	e.Observe(record(1, reading(10, 150)), rules{point: {limit("h", "H", 100)}})
	ts := e.Reconcile(rules{}, t0)
	if len(ts) != 1 || !ts[0].Event.EndedAt.Equal(ts[0].Event.StartedAt) {
		t.Errorf("got %+v", ts)
	}
}
