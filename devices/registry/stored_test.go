package registry_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/devices/state"
)

func TestWhatWasStoredIsReadBack(t *testing.T) {
	dir := t.TempDir()
	db := openState(t, dir)
	r, err := registry.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	yard(t, r)
	qos := byte(0)
	high := 7.5
	to := time.Now().Add(time.Hour)
	rich := []devices.Thing{
		&devices.Device{ID: "out", Site: "south", Name: "外部代理", Driver: "mqtt", Endpoint: "mqtts://h:8883", Username: "u", Password: "canary-mqtt-pw", Period: devices.Duration(time.Second), MQTT: &devices.MQTTSettings{ClientID: "c", QoS: &qos}},
		&devices.Binding{ID: "rich", Point: "far.pm10", Device: "out", From: time.Now().Add(-time.Hour), To: &to, Topic: &devices.Topic{Topic: "t", Path: "a.b"}, Scale: 0.1, Offset: -3},
		&devices.Point{ID: "far.ph", Name: "pH", Factor: "w01001", Max: &high, Digits: 2},
		&devices.Limit{ID: "rich", Point: "far.ph", Level: "LL", Value: 6, Averaging: "instant", OnDelay: devices.Duration(90 * time.Second), ExcludeMarks: []string{"M"}, ValidFrom: &to},
	}
	create(t, r, rich...)
	again, err := registry.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range registry.Kinds() {
		if diff := cmp.Diff(r.Snapshot().List(kind), again.Snapshot().List(kind)); diff != "" {
			t.Errorf("%s:\n%s", kind, diff)
		}
	}
	if got := again.Snapshot().Devices["out"].Password.Reveal(); got != "canary-mqtt-pw" {
		t.Errorf("password %q", got)
	}
	if again.Snapshot().Revision != r.Snapshot().Revision {
		t.Error("revisions differ")
	}
}

func TestNoFileHoldsAPassword(t *testing.T) {
	dir := t.TempDir()
	db := openState(t, dir)
	r, err := registry.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	yard(t, r)
	search := func(when string) {
		files := 0
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			files++
			content, err := os.ReadFile(path)
			if bytes.Contains(content, []byte("canary-")) {
				t.Errorf("%s holds a password %s", path, when)
			}
			return err
		})
		if err != nil || files < 3 {
			t.Errorf("%d files, %v", files, err)
		}
	}
	search("while open")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	search("after closing")
}

// doubtful is a database whose commit is not confirmed, though it may be there.
type doubtful struct {
	*state.DB
	stored bool
}

func (d doubtful) Update(ctx context.Context, fn func(tx *sql.Tx) error) error {
	err := d.DB.Update(ctx, func(tx *sql.Tx) error {
		if err := fn(tx); err != nil || d.stored {
			return err
		}
		return errors.New("undone")
	})
	return errors.Join(&devices.Problem{Kind: devices.ErrUnavailable, Code: "state_not_committed", ZH: "未确认", EN: "not confirmed"}, err)
}

func TestAfterADoubtfulCommitTheSnapshotShowsWhatIs(t *testing.T) {
	for _, stored := range []bool{true, false} {
		t.Run(fmt.Sprintf("stored %v", stored), func(t *testing.T) {
			db := openState(t, t.TempDir())
			r, err := registry.Open(t.Context(), doubtful{db, stored})
			if err != nil {
				t.Fatal(err)
			}
			wake, stop := r.Watch()
			defer stop()
			err = r.Update(t.Context(), func(e *registry.Edit) error { return e.Create(site("a")) })
			if !errors.Is(err, devices.ErrUnavailable) {
				t.Errorf("got %v", err)
			}
			if got := r.Snapshot().Sites["a"] != nil; got != stored {
				t.Errorf("in the snapshot: %v", got)
			}
			if len(wake) == 1 != stored {
				t.Errorf("%d wakes", len(wake))
			}
		})
	}
}

func TestATamperedSecretIsToldAtOpening(t *testing.T) {
	db := openState(t, t.TempDir())
	r, err := registry.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	yard(t, r)
	create(t, r, camera("other", "north"))
	if err := db.Update(t.Context(), func(tx *sql.Tx) error { // the password of one camera given to the other
		_, err := tx.Exec(`UPDATE things SET secrets = (SELECT secrets FROM things WHERE kind = 'camera' AND id = 'other') WHERE kind = 'camera' AND id = 'cam'`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	_, err = registry.Open(t.Context(), db)
	if got := codes(t, err); !cmp.Equal(got, []string{"secret_unreadable"}) || !strings.Contains(err.Error(), "camera/cam") {
		t.Errorf("got %v, %v", got, err)
	}
}
