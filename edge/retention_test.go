package edge

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"offsite/devices"
	"offsite/edge/breach"
	"offsite/edge/dispatch/wire"
	"offsite/edge/evidence"
	"offsite/edge/ledger"
	"offsite/edge/notice"
	"offsite/edge/yardtest"
)

// TestWhatOfEventsMayBeDeleted asks of an event that goes on, that is over and of which a
// person has taken notice, and writes what was deleted.
func TestWhatOfEventsMayBeDeleted(t *testing.T) {
	s := idleLookout(t)
	box := s.Box
	if err := s.tell(t.Context(), "eye", breach.CameraBlack, true, nil); err != nil {
		t.Fatal(err)
	}
	standing, err := box.Events.Faults(t.Context())
	if err != nil || len(standing) != 1 {
		t.Fatal(standing, err)
	}
	id, e := standing[0].ID, evidenceEvents{box}
	is := func(name string, over, noticed bool) {
		t.Helper()
		at, seen, err := e.Over(t.Context(), id)
		if err != nil || at.IsZero() == over || seen != noticed {
			t.Errorf("%s: ended %v, noticed %v: %v", name, at, seen, err)
		}
	}
	is("it goes on", false, false)
	if err := s.tell(t.Context(), "eye", "", true, standing); err != nil {
		t.Fatal(err)
	}
	is("it is over", true, false)
	if _, err := box.Acknowledge(t.Context(), id, "li", "看过", time.Now(), func(context.Context, *sql.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	is("somebody has seen it", true, true)
	if _, _, err := e.Over(t.Context(), "ca-none"); !errors.Is(err, devices.ErrNotFound) {
		t.Error(err)
	}
	if unsent, err := e.Unsent(t.Context()); err != nil || len(unsent) != 0 {
		t.Errorf("a gateway of no platform waits for it: %v, %v", unsent, err)
	}
	if unsent, err := box.Outbox.Unsent(t.Context()); err != nil || !unsent[id] {
		t.Errorf("unsent %v, %v", unsent, err)
	}

	err = box.DB.Update(t.Context(), func(tx *sql.Tx) error {
		return e.Deleted(t.Context(), tx, evidence.Deletion{Why: evidence.Disk, Events: 2, Files: 7, Bytes: 1 << 20, From: yardtest.Noon, To: yardtest.After(1000)})
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := box.Audit.List(t.Context(), 0, 1)
	if err != nil || len(rows) != 1 || rows[0].Act != "evidence.deleted" || !strings.Contains(rows[0].Detail, "disk: 7 files of 2 events") {
		t.Errorf("the trail: %+v, %v", rows, err)
	}
	losses, err := box.Ledger.Losses(t.Context(), 1)
	if err != nil || len(losses) != 1 || losses[0].Subject != "evidence" || losses[0].Count != 7 {
		t.Errorf("losses: %+v, %v", losses, err)
	}
	if n := box.Ledger.LossCounts()[ledger.LossRecording]; n != 7 {
		t.Errorf("/metrics counts %d of 7 files", n)
	}
	box.notices.Set(notice.Storage, yardtest.Trouble("disk_full"))
	beat, taken := platformSite{box}.Status()
	if len(beat.Notices) != 1 || beat.Notices[0].Code != "disk_full" || beat.State != wire.HeartbeatStateFault {
		t.Errorf("the platform hears %v %+v", beat.State, beat.Notices)
	}
	if len(beat.Losses) != 1 || beat.Losses[0].What != "recording evidence" || beat.Losses[0].Count != 7 || beat.Losses[0].ID != losses[0].ID {
		t.Errorf("the platform hears of losses %+v", beat.Losses)
	}
	if err := taken(t.Context()); err != nil {
		t.Fatal(err)
	}
	if beat, _ := (platformSite{box}).Status(); len(beat.Losses) != 0 {
		t.Errorf("and again %+v", beat.Losses)
	}
}
