package breach

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/timeseries"
)

func TestStateSurvivesARestart(t *testing.T) {
	db := openDB(t)
	r := rules{point: {limit("h", "H", 100, deadband(5), delays(2*time.Second, 3*time.Second))}}
	records := []timeseries.Record{
		record(1, reading(0, 101)), record(2, reading(1, 105)), record(3, reading(2, 109)), record(4, reading(3, 119)),
		record(5, reading(4, 90)), record(6, reading(5, 97)), record(7, reading(6, 90)), record(8, reading(9, 90)), record(9, reading(10, 101)),
	}
	whole := openEngine(t, openDB(t))
	var want []Transition
	for _, rec := range records {
		want = append(want, whole.Observe(rec, r)...)
	}
	var got []Transition
	for _, rec := range records { // a restart after each record
		e := openEngine(t, db)
		if e.Cursor() != rec.Seq-1 {
			t.Fatalf("cursor %d before record %d", e.Cursor(), rec.Seq)
		}
		ts := e.Observe(rec, r)
		save(t, e, rec.Seq, ts)
		got = append(got, ts...)
	}
	if diff := cmp.Diff(steps(want), steps(got)); diff != "" {
		t.Error(diff)
	}
	if len(got) != 3 || got[0].Event.ID != want[0].Event.ID {
		t.Errorf("got %v", steps(got))
	}
}

func TestACrashBeforeTheCommitRepeatsTheSameEvents(t *testing.T) {
	db := openDB(t)
	r := rules{point: {limit("h", "H", 100)}}
	first := openEngine(t, db).Observe(record(1, reading(0, 150)), r)
	e := openEngine(t, db) // the first died between Observe and Save
	again := e.Observe(record(1, reading(0, 150)), r)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Error(diff)
	}
	save(t, e, 1, again)
	e = openEngine(t, db)
	if ts := e.Observe(record(1, reading(0, 150)), r); len(ts) != 0 {
		t.Errorf("judged twice: %v", steps(ts))
	}
}

func TestAFailedCommitIsForgottenByReload(t *testing.T) {
	e := openEngine(t, openDB(t))
	r := rules{point: {limit("h", "H", 100)}}
	ts := e.Observe(record(1, reading(0, 150)), r)
	broken := errors.New("the outbox could not take the message")
	err := e.db.Update(t.Context(), func(tx *sql.Tx) error {
		return errors.Join(e.Save(t.Context(), tx, 1, ts), broken)
	})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if err := e.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := e.Observe(record(1, reading(0, 150)), r)
	if len(again) != 1 || again[0].Event.ID != ts[0].Event.ID || e.Cursor() != 0 {
		t.Errorf("after reload cursor %d, %v", e.Cursor(), steps(again))
	}
}

func TestATransitionIsStoredWithoutTheCursor(t *testing.T) {
	db := openDB(t)
	other := "stack-1.nox"
	r := rules{
		point: {limit("h", "H", 100)},
		other: {limit("n", "H", 100, delays(2*time.Second, 0), func(l *devices.Limit) { l.Point = other })},
	}
	nox := func(second int, value float64) devices.Reading {
		return reading(second, value, func(r *devices.Reading) { r.Point = other })
	}
	e := openEngine(t, db)
	if ts := e.Observe(record(1, nox(0, 150)), r); len(ts) != 0 {
		t.Fatal(steps(ts))
	}
	save(t, e, 0, e.Observe(record(2, reading(0, 150)), r)) // crash behind this
	e = openEngine(t, db)
	if e.Cursor() != 0 {
		t.Errorf("cursor %d, want 0", e.Cursor())
	}
	var got []Transition
	for _, rec := range []timeseries.Record{record(1, nox(0, 150)), record(2, reading(0, 150)), record(3, nox(2, 150), reading(1, 90))} {
		got = append(got, e.Observe(rec, r)...)
	}
	want := []step{{Opened, "n", 2, 150, ""}, {Closed, "h", 1, 150, EndRecovered}}
	if diff := cmp.Diff(want, steps(got)); diff != "" {
		t.Error(diff)
	}
}

func TestSaveMayRunAgain(t *testing.T) {
	e := openEngine(t, openDB(t))
	r := rules{point: {limit("h", "H", 100)}}
	ts := e.Observe(record(1, reading(0, 150), reading(1, 90)), r)
	for range 2 { // the first run's work is undone
		_ = e.db.Update(t.Context(), func(tx *sql.Tx) error {
			if err := e.Save(t.Context(), tx, 1, ts); err != nil {
				t.Fatal(err)
			}
			return errors.New("once more")
		})
	}
	save(t, e, 1, ts)
	if ts[0].Revision != 1 || ts[1].Revision != 2 || ts[1].Event.Revision != 2 {
		t.Errorf("revisions %d, %d", ts[0].Revision, ts[1].Revision)
	}
}

func acknowledge(t *testing.T, e *Engine, id, note string) (ev Event, err error) {
	t.Helper()
	err = e.db.Update(t.Context(), func(tx *sql.Tx) error {
		var err error
		ev, err = e.Acknowledge(t.Context(), tx, id, "li-lei", note, t0.Add(time.Minute))
		return err
	})
	return ev, err
}

func alarmState(t *testing.T, e *Engine) string {
	t.Helper()
	var s string
	if err := e.db.Read().QueryRowContext(t.Context(), `SELECT state FROM alarm_states`).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAlarmStates(t *testing.T) {
	r := rules{point: {limit("h", "H", 100)}}
	tests := []struct {
		name string
		acts string // B breached, I inside, A acknowledge
		want []string
	}{
		{"acknowledged while it stands", "IBAI", []string{Normal, Unacknowledged, Acknowledged, Normal}},
		{"acknowledged after it has gone", "BIA", []string{Unacknowledged, ReturnedUnacknowledged, Normal}},
		{"back before anyone looked", "BIB", []string{Unacknowledged, ReturnedUnacknowledged, Unacknowledged}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := openEngine(t, openDB(t))
			var got []string
			var id string
			for i, act := range tt.acts {
				switch act {
				case 'A':
					ev, err := acknowledge(t, e, id, "seen")
					if err != nil {
						t.Fatal(err)
					}
					if ev.Acknowledgment.By != "li-lei" || ev.Acknowledgment.Note != "seen" {
						t.Errorf("got %+v", ev.Acknowledgment)
					}
				default:
					ts := e.Observe(record(uint64(i+1), reading(i, map[rune]float64{'B': 150, 'I': 50}[act])), r)
					save(t, e, uint64(i+1), ts)
					if len(ts) > 0 {
						id = ts[0].Event.ID
					}
				}
				got = append(got, alarmState(t, e))
				if len(id) > 0 {
					if ev, err := e.Event(t.Context(), id); err != nil || ev.State != got[i] {
						t.Errorf("event says %q, alarm says %q, %v", ev.State, got[i], err)
					}
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRevisionsAreGivenInTheOrderOfCommits(t *testing.T) {
	e := openEngine(t, openDB(t))
	r := rules{point: {limit("h", "H", 100)}}
	save(t, e, 1, e.Observe(record(1, reading(0, 150)), r))
	closing := e.Observe(record(2, reading(1, 90)), r) // judged, not yet stored
	acknowledged, err := acknowledge(t, e, closing[0].Event.ID, "on my way")
	if err != nil {
		t.Fatal(err)
	}
	save(t, e, 2, closing)
	if acknowledged.Revision != 2 || closing[0].Revision != 3 {
		t.Errorf("revisions %d and %d, want 2 and 3", acknowledged.Revision, closing[0].Revision)
	}
	if ack := closing[0].Event.Acknowledgment; ack == nil || ack.Note != "on my way" {
		t.Errorf("the closing event lost its acknowledgement: %+v", ack)
	}
	_, err = acknowledge(t, e, closing[0].Event.ID, "again")
	if !errors.Is(err, devices.ErrConflict) {
		t.Errorf("second acknowledgement: %v", err)
	}
	_, err = acknowledge(t, e, "al-none", "")
	if !errors.Is(err, devices.ErrNotFound) {
		t.Errorf("unknown event: %v", err)
	}
	if _, err = acknowledge(t, e, closing[0].Event.ID, "\xff"); !errors.Is(err, devices.ErrInvalid) {
		t.Errorf("bad note: %v", err)
	}
}

func TestPeakAndEvidenceAreStored(t *testing.T) {
	db := openDB(t)
	e := openEngine(t, db)
	r := rules{point: {limit("h", "H", 100)}}
	ts := e.Observe(record(1, reading(0, 150)), r)
	save(t, e, 1, ts)
	e.Observe(record(2, reading(1, 155)), r)
	save(t, e, 2, nil)
	err := db.Update(t.Context(), func(tx *sql.Tx) error {
		return e.SetEvidence(t.Context(), tx, ts[0].Event.ID, EvidenceAttached)
	})
	if err != nil {
		t.Fatal(err)
	}
	e = openEngine(t, db)
	closing := e.Observe(record(3, reading(2, 90)), r)
	save(t, e, 3, closing)
	ev := closing[0].Event
	if ev.Peak != 155 || !ev.PeakAt.Equal(t0.Add(time.Second)) || ev.Evidence != EvidenceAttached {
		t.Errorf("got %+v", ev)
	}
}

func TestEventsListing(t *testing.T) {
	e := openEngine(t, openDB(t))
	dir, r := directory{}, rules{}
	for i := range 3 {
		p := fmt.Sprintf("out-%d.x", i)
		dir[p] = Place{Site: fmt.Sprintf("site-%d", i%2), Outlet: fmt.Sprintf("out-%d", i), Measured: true}
		r[p] = []*devices.Limit{limit(fmt.Sprintf("h-%d", i), "H", 100, func(l *devices.Limit) { l.Point = p })}
	}
	e.cfg.Directory = dir
	ids := map[string]int{} // by order of opening
	var seq uint64
	observe := func(second, p int, value float64) {
		seq++
		ts := e.Observe(record(seq, reading(second, value, func(r *devices.Reading) { r.Point = fmt.Sprintf("out-%d.x", p) })), r)
		save(t, e, seq, ts)
		for _, tr := range ts {
			if tr.Step == Opened {
				ids[tr.Event.ID] = len(ids)
			}
		}
	}
	observe(10, 0, 150) // event 0
	observe(20, 1, 150) // event 1
	observe(30, 2, 150) // event 2
	observe(40, 0, 50)
	observe(50, 0, 150) // event 3
	observe(5, 1, 50)   // late: ignored
	events, err := e.Events(t.Context(), Filter{State: "closed"})
	if err != nil || len(events) != 1 {
		t.Fatal(events, err)
	}
	if _, err := acknowledge(t, e, events[0].ID, ""); err != nil {
		t.Fatal(err)
	}
	at := func(second int) time.Time { return t0.Add(time.Duration(second) * time.Second) }
	tests := []struct {
		name   string
		filter Filter
		want   []int
	}{
		{"all", Filter{}, []int{3, 2, 1, 0}},
		{"one site", Filter{Sites: []string{"site-0"}}, []int{3, 2, 0}},
		{"two sites", Filter{Sites: []string{"site-0", "site-1"}}, []int{3, 2, 1, 0}},
		{"no site", Filter{Sites: []string{}}, nil},
		{"point", Filter{Point: "out-0.x"}, []int{3, 0}},
		{"open", Filter{State: "open"}, []int{3, 2, 1}},
		{"closed", Filter{State: "closed"}, []int{0}},
		{"unacknowledged", Filter{State: "unacknowledged"}, []int{3, 2, 1}},
		{"span", Filter{From: at(20), To: at(50)}, []int{2, 1}},
		{"page", Filter{Max: 2}, []int{3, 2}},
		{"all together", Filter{Sites: []string{"site-0"}, Point: "out-2.x", State: "open", From: at(0), To: at(60)}, []int{2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			events, err := e.Events(t.Context(), tt.filter)
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			for _, ev := range events {
				got = append(got, ids[ev.ID])
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("page by page", func(t *testing.T) {
		var got []int
		for f := (Filter{Max: 1}); ; {
			events, err := e.Events(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			if len(events) == 0 {
				break
			}
			got = append(got, ids[events[0].ID])
			f.Before = events[0].Cursor()
		}
		if diff := cmp.Diff([]int{3, 2, 1, 0}, got); diff != "" {
			t.Error(diff)
		}
	})
	for _, f := range []Filter{{State: "ajar"}, {Before: "yesterday"}, {Before: "x.y"}} {
		if _, err := e.Events(t.Context(), f); !errors.Is(err, devices.ErrInvalid) {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

// TestEventsOfCamerasAndDevices chooses among events of points and of cameras, one of
// whose limits people have given the name of a rule.
func TestEventsOfCamerasAndDevices(t *testing.T) {
	e := openEngine(t, openDB(t))
	dir, r := directory{}, rules{}
	for i, limitID := range []string{"h", "camera_lost"} {
		p := fmt.Sprintf("out-%d.x", i)
		dir[p] = Place{Site: "yard", Outlet: fmt.Sprintf("out-%d", i), Measured: true}
		r[p] = []*devices.Limit{limit(limitID, "H", 100, func(l *devices.Limit) { l.Point = p })}
	}
	e.cfg.Directory = dir
	for i := range 2 {
		seq := uint64(i + 1)
		save(t, e, seq, e.Observe(record(seq, reading(10*i, 150, func(r *devices.Reading) { r.Point = fmt.Sprintf("out-%d.x", i) })), r))
	}
	at := func(second int) time.Time { return t0.Add(time.Duration(second) * time.Second) }
	err := e.db.Update(t.Context(), func(tx *sql.Tx) error {
		_, lost := e.OpenFault(t.Context(), tx, Event{Site: "yard", Camera: "eye", Outlet: "out-1", Limit: CameraLost, StartedAt: at(20)})
		_, black := e.OpenFault(t.Context(), tx, Event{Site: "yard", Camera: "lid", Limit: CameraBlack, StartedAt: at(30)})
		_, _, smoke := e.Recognise(t.Context(), tx, Event{ID: RecognisedID("eye", "smoke", "1"), Kind: KindAlarm, Site: "yard", Camera: "eye", Factor: "smoke", StartedAt: at(40)})
		return errors.Join(lost, black, smoke)
	})
	if err != nil {
		t.Fatal(err)
	}
	const first, second, lost, black, smoke = "out-0.x", "out-1.x", "eye camera_lost", "lid camera_black", "eye recognised_smoke"
	tests := []struct {
		name   string
		filter Filter
		want   []string
	}{
		{"of points", Filter{What: "breach"}, []string{second, first}},
		{"of pictures", Filter{What: "camera"}, []string{black, lost}},
		{"recognised", Filter{What: "recognised"}, []string{smoke}},
		{"one rule", Filter{What: "camera_lost"}, []string{lost}},
		{"one recognised", Filter{What: "recognised_smoke"}, []string{smoke}},
		{"part of a rule", Filter{What: "camera_l"}, nil},
		{"a camera", Filter{Camera: &Seen{Camera: "eye", Outlets: []string{}}}, []string{smoke, lost}},
		{"a camera and its outlet", Filter{Camera: &Seen{Camera: "lid", Outlets: []string{"out-1"}}}, []string{black, second}},
		{"a device", Filter{Device: []Span{{Point: "out-0.x", From: at(0)}, {Point: "out-1.x", From: at(10), To: at(11)}}}, []string{second, first}},
		{"a device at another time", Filter{Device: []Span{{Point: "out-0.x", From: at(1)}, {Point: "out-1.x", From: at(0), To: at(10)}}}, nil},
		{"a device without points", Filter{Device: []Span{}}, nil},
		{"all together", Filter{What: "camera", Camera: &Seen{Camera: "eye", Outlets: []string{"out-1"}}, State: "open", From: at(20), To: at(21)}, []string{lost}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			events, err := e.Events(t.Context(), tt.filter)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, ev := range events {
				name := ev.Point
				if ev.Camera != "" {
					name = ev.Camera + " " + ev.Limit
				}
				got = append(got, name)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzBefore(f *testing.F) {
	f.Add("1772352000000.al-abc")
	f.Add("9223372036854775808.x")
	f.Add(".")
	e := openEngine(f, openDB(f))
	f.Fuzz(func(t *testing.T, before string) {
		if _, err := e.Events(t.Context(), Filter{Before: before}); err != nil && !errors.Is(err, devices.ErrInvalid) {
			t.Fatal(err)
		}
	})
}

// TestFaultsAndWhatIsRecognisedAreListedApart has events of cameras beside those of
// limits that people have given the very names of the rules.
func TestFaultsAndWhatIsRecognisedAreListedApart(t *testing.T) {
	e := openEngine(t, openDB(t))
	r := rules{point: {limit("camera_black", "H", 100), limit("recognised_smoke", "H", 100), limit("recognised-fire", "H", 100)}}
	save(t, e, 1, e.Observe(record(1, reading(0, 150)), r))
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	err := e.db.Update(t.Context(), func(tx *sql.Tx) error {
		_, err := e.OpenFault(t.Context(), tx, Event{Site: "yard", Camera: "eye", Limit: CameraBlack, StartedAt: at})
		for _, what := range []string{"smoke", "tamper"} {
			_, _, also := e.Recognise(t.Context(), tx, Event{
				ID: RecognisedID("eye", what, "1"), Kind: KindFault, Site: "yard", Camera: "eye", Factor: what, StartedAt: at,
			})
			err = errors.Join(err, also)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		list func(context.Context) ([]Event, error)
		want []string
	}{
		{"faults", e.Faults, []string{"eye camera_black"}},
		{"recognised", e.OpenRecognised, []string{"eye recognised_smoke", "eye recognised_tamper"}},
	}
	for _, tt := range tests {
		list, err := tt.list(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, ev := range list {
			got = append(got, ev.Camera+" "+ev.Limit)
		}
		slices.Sort(got)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}
