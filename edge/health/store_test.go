package health

import (
	"bytes"
	"database/sql"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/edge/yardtest"
)

func TestCountsSurviveARestart(t *testing.T) {
	db := yardtest.OpenDB(t, t.TempDir())
	r := yardtest.OpenRegistry(t, db)
	yardtest.Register(t, r, yardtest.Yard()...)
	yardtest.Register(t, r, yardtest.ModbusDevice("p")...)
	gone := yardtest.ModbusDevice("gone")
	yardtest.Register(t, r, gone...)
	open := func() *Tracker {
		t.Helper()
		h, err := Open(t.Context(), db, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	h, now := open(), time.Now()
	h.Follow(r.Snapshot(), now)
	for i := range keptAnswers + 10 {
		h.Polled(devices.Poll{Device: "p", At: now, Took: time.Duration(i+1) * time.Millisecond, Answered: true})
		d := reading("p", "stack.p", now)
		h.Delivered(&d)
	}
	h.Polled(devices.Poll{Device: "p", At: now})
	counted, points := h.Of("p", h.Points()["p"], now)
	if err := h.save(t.Context()); err != nil {
		t.Fatal(err)
	}

	yardtest.Retire(t, r, gone[2], gone[1])
	again := open()
	again.Follow(r.Snapshot(), now)
	recounted, repoints := again.Of("p", again.Points()["p"], now)
	if diff := cmp.Diff(counted, recounted); diff != "" || recounted.Hour.OK != keptAnswers+10 || recounted.P99 == 0 {
		t.Errorf("device: %s", diff)
	}
	if len(repoints) != 1 || repoints[0].Day != points[0].Day || repoints[0].Stale {
		t.Errorf("points: %+v, were %+v", repoints, points)
	}
	again.Polled(devices.Poll{Device: "p", At: now, Took: time.Millisecond, Answered: true})
	if err := again.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rows int
	if err := db.Read().QueryRow(`SELECT count(*) FROM health`).Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d rows, %v; want that of the device that is left", rows, err)
	}
	if err := db.Update(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(`UPDATE health SET counts = x'00'`); return err }); err != nil {
		t.Fatal(err)
	}
	if d, _ := open().Of("p", nil, now); d.Hour != (Count{}) {
		t.Errorf("counted %+v of a row that cannot be read", d)
	}
}

func FuzzUnpack(f *testing.F) {
	row := &keptDevice{Took: []uint32{5}, Next: 1, Points: map[string]tally{"stack.p": {shortAt: 7}}}
	data, err := pack(row)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		row, err := unpack(data)
		if err != nil {
			return
		}
		d := &deviceHealth{tally: row.Device, took: row.Took, next: row.Next}
		h := newTracker()
		h.byDevice["p"] = d
		h.Polled(devices.Poll{Device: "p", At: yardtest.Noon, Answered: true})
		h.Of("p", nil, yardtest.Noon)
		if again, err := pack(row); err != nil || bytes.Equal(again, nil) {
			t.Errorf("not written again: %v", err)
		}
	})
}
