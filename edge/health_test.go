package edge

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"offsite/devices"
	"offsite/edge/breach"
	"offsite/edge/upkeep"
)

func nothingElse(context.Context, *sql.Tx) error { return nil }

func TestMaintenanceKeepsReadingsAndEndsAlarms(t *testing.T) {
	t.Parallel()
	b := startBox(t, t.TempDir(), nil)
	client := b.connect()
	defer client.Disconnect(0)
	b.publish(client, `120`)
	b.await("the alarm", func(u Update) bool { return u.Event != nil && u.Event.Step == breach.Opened })
	m := upkeep.Maintenance{Subject: "device/gate", Reason: "换滤芯", Who: "li", To: time.Now().Add(time.Hour)}
	if _, err := b.Maintain(t.Context(), m, nothingElse); err != nil {
		t.Fatal(err)
	}
	b.publish(client, `130`)
	b.await("the marked reading", func(u Update) bool {
		return len(u.Readings) > 0 && u.Readings[0].Mark == "M" && u.Readings[0].Quality == devices.BadMaintenance
	})
	b.await("the end of the alarm", func(u Update) bool {
		return u.Event != nil && u.Event.Step == breach.Closed && u.Event.Event.EndReason == breach.EndMaintenance && u.Event.Event.Signal == breach.SignalUnknown
	})
	if stale, held := b.PointState("stack.gate", time.Now()); stale || held == nil || held.Reason != "换滤芯" {
		t.Errorf("stale %v, maintenance %+v", stale, held)
	}
	beat, _ := platformSite{b.Box}.Status()
	if len(beat.Maintenance) != 1 || beat.Maintenance[0].ID != "gate" || beat.Maintenance[0].Site != "plant" || beat.Maintenance[0].Reason != "换滤芯" || len(beat.Stale) != 0 {
		t.Errorf("the heartbeat tells %+v, stale %v", beat.Maintenance, beat.Stale)
	}
	var d DeviceHealth
	for limit := time.After(time.Minute); d.Hour.OK < 2; { // counted when the readings have gone their way
		report, err := b.HealthOf(t.Context(), func(*devices.Device) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Devices) != 1 || len(report.Outlets) != 1 {
			t.Fatalf("%+v", report)
		}
		d = report.Devices[0]
		select {
		case <-limit:
			t.Fatalf("%+v", d)
		case <-time.After(5 * time.Millisecond):
		}
	}
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
