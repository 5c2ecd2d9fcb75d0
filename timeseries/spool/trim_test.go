package spool

import (
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

// fill puts n records into the log, one a group, step apart.
func fill(t *testing.T, r *running, n int, step time.Duration) {
	t.Helper()
	for i := range n {
		d := delivery(i)
		d.Received = base.Add(time.Duration(i) * step)
		if err := r.put(d); err != nil {
			t.Fatal(err)
		}
	}
}

func advance(t *testing.T, l *Log, follower string, seq uint64) {
	t.Helper()
	if err := l.Advance(follower, seq); err != nil {
		t.Fatal(err)
	}
}

func TestTrimFollowsTheLeastCursor(t *testing.T) {
	fs := vfs.NewMem()
	cfg := Config{Followers: []string{"history", "judge"}}
	r := start(t, fs, cfg)
	fill(t, r, 100, time.Second)
	size := r.Bytes()
	advance(t, r.Log, "history", 90)
	if err := r.trim(true); err != nil {
		t.Fatal(err)
	}
	if r.First() != 1 || r.Bytes() != size {
		t.Errorf("trimmed to %d although the judge has seen nothing", r.First())
	}
	advance(t, r.Log, "judge", 40)
	if err := r.trim(true); err != nil {
		t.Fatal(err)
	}
	if r.First() != 41 {
		t.Errorf("First = %d, want 41", r.First())
	}
	if recs := stored(t, r.Log); len(recs) != 60 || recs[0].Seq != 41 {
		t.Errorf("%d records from %d", len(recs), recs[0].Seq)
	}
	advance(t, r.Log, "history", 100)
	advance(t, r.Log, "judge", 100)
	if err := r.trim(true); err != nil {
		t.Fatal(err)
	}
	if want := uint64(95); r.First() != want {
		t.Errorf("First = %d, want %d: the last 5 s stay for repeats", r.First(), want)
	}
	bytes := r.Bytes()
	r.close()
	r = start(t, fs, cfg)
	defer r.close()
	if r.Bytes() != bytes || r.First() != 95 || r.Cursor("judge") != 100 {
		t.Errorf("after restart: %d bytes (want %d), first %d, cursor %d", r.Bytes(), bytes, r.First(), r.Cursor("judge"))
	}
}

func TestCursorsAreKeptAndNeverPassed(t *testing.T) {
	fs := vfs.NewMem()
	r := start(t, fs, Config{Followers: []string{"history"}})
	fill(t, r, 10, time.Second)
	advance(t, r.Log, "history", 7)
	advance(t, r.Log, "history", 3)
	if c := r.Cursor("history"); c != 7 {
		t.Errorf("cursor went back to %d", c)
	}
	for name, err := range map[string]error{"unknown": r.Advance("nobody", 1), "beyond": r.Advance("history", 11)} {
		if !errors.Is(err, devices.ErrInvalid) {
			t.Errorf("%s follower: %v, want ErrInvalid", name, err)
		}
	}
	r.close()

	r = start(t, fs, Config{Followers: []string{"history", "new"}, Above: 500})
	defer r.close()
	if r.Cursor("history") != 7 || r.Cursor("new") != 0 {
		t.Errorf("cursors %d and %d", r.Cursor("history"), r.Cursor("new"))
	}
	if err := r.put(delivery(1)); err != nil {
		t.Fatal(err)
	}
	recs := stored(t, r.Log)
	if last := recs[len(recs)-1].Seq; last != 501 {
		t.Errorf("the next record is %d, want 501: above what others remember", last)
	}
}

func TestBacklogCutsOnlyTheRemoteFollower(t *testing.T) {
	var losses []Loss
	fail := errors.New("no room for the row")
	var lostErr error
	cfg := Config{
		Followers: []string{"history", "judge"}, Remote: "history", Backlog: 4000,
		Lost: func(l Loss) error {
			if lostErr == nil {
				losses = append(losses, l)
			}
			return lostErr
		},
	}
	r := start(t, vfs.NewMem(), cfg)
	defer r.close()
	fill(t, r, 100, time.Second)
	shed := func() {
		t.Helper()
		if err := r.shed(); err != nil {
			t.Fatal(err)
		}
	}
	shed()
	if len(losses) != 0 || r.First() != 1 {
		t.Fatalf("records went that the judge still needs: %+v", losses)
	}
	advance(t, r.Log, "judge", 100)
	advance(t, r.Log, "history", 5)
	lostErr = fail
	shed()
	if r.First() != 1 {
		t.Fatal("records were deleted although their loss could not be recorded")
	}
	lostErr = nil
	shed()
	if r.Bytes() > cfg.Backlog {
		t.Errorf("%d bytes remain", r.Bytes())
	}
	first := r.First()
	want := []Loss{{
		Follower: "history", From: 6, To: first - 1,
		Since: base.Add(5 * time.Second), Until: base.Add(time.Duration(first-2) * time.Second).Truncate(time.Millisecond),
		Deliveries: first - 6, Readings: 2 * (first - 6),
	}}
	if diff := cmp.Diff(want, losses); diff != "" {
		t.Error(diff)
	}
	if c := r.Cursor("history"); c != first-1 {
		t.Errorf("the follower goes on at %d, the log at %d", c+1, first)
	}
	shed()
	if len(losses) != 1 {
		t.Error("shed again without need")
	}
}
