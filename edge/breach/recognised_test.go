package breach

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"offsite/devices"
)

// TestWhatIsRecognisedEndsOnce ends an event of a camera on a real database, again,
// and before it began.
func TestWhatIsRecognisedEndsOnce(t *testing.T) {
	e := openEngine(t, openDB(t))
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	update := func(change func(tx *sql.Tx) error) error {
		return e.db.Update(t.Context(), change)
	}
	end := func(id string, at time.Time) (tr Transition, ended bool, err error) {
		err = update(func(tx *sql.Tx) (err error) {
			tr, ended, err = e.EndRecognised(t.Context(), tx, id, EndRecovered, at)
			return err
		})
		return tr, ended, err
	}
	tests := []struct {
		name  string
		end   time.Duration // after it began
		stood time.Duration
	}{
		{"after a minute", time.Minute, time.Minute},
		{"by a clock that was put back", -time.Minute, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ev := Event{ID: RecognisedID("eye", "smoke", tt.name), Kind: KindAlarm, Site: "yard", Outlet: "gate", Camera: "eye", Factor: "smoke", StartedAt: at, ReceivedAt: at}
			for i := range 2 {
				err := update(func(tx *sql.Tx) error {
					_, fresh, err := e.Recognise(t.Context(), tx, ev)
					if fresh != (i == 0) {
						t.Errorf("told %d times, fresh %v", i+1, fresh)
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			tr, ended, err := end(ev.ID, at.Add(tt.end))
			if err != nil || !ended || tr.Step != Closed || tr.Revision != 2 {
				t.Fatalf("ended %v: %+v, %v", ended, tr, err)
			}
			if _, ended, err := end(ev.ID, at.Add(time.Hour)); ended || err != nil {
				t.Errorf("ended again: %v, %v", ended, err)
			}
			stored, err := e.Event(t.Context(), ev.ID)
			if err != nil || stored.EndedAt == nil || stored.EndedAt.Sub(at) != tt.stood {
				t.Fatalf("stored %+v: %v", stored, err)
			}
			got := [...]string{stored.Limit, stored.Outlet, stored.Camera, stored.EndReason, stored.Signal, stored.State}
			if want := [...]string{"recognised_smoke", "gate", "eye", EndRecovered, SignalRecovered, ReturnedUnacknowledged}; got != want {
				t.Errorf("stored %q, want %q", got, want)
			}
		})
	}
	if _, _, err := end("ca-nobody", at); !errors.Is(err, devices.ErrNotFound) {
		t.Errorf("an event that nobody told ends with %v", err)
	}
	if open, err := e.OpenRecognised(t.Context()); err != nil || len(open) != 0 {
		t.Errorf("open: %v, %v", open, err)
	}
}
