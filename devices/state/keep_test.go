package state

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

// TestBackupsAreMadeInTime backs up at a first start, and again when one is old.
func TestBackupsAreMadeInTime(t *testing.T) {
	db, err := Open(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, old := range []time.Duration{0, 2 * backupEvery} {
		if old > 0 {
			if err := os.Chtimes(db.backupPath(), time.Time{}, time.Now().Add(-old)); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- db.KeepBackup(ctx) }()
		for limit := time.After(time.Minute); time.Since(db.BackedUp()) > backupEvery; {
			select {
			case <-time.After(5 * time.Millisecond):
			case <-limit:
				t.Fatal("no backup")
			}
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func TestABackupIsNeverDueLaterThanOnePeriod(t *testing.T) {
	noon := time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		age  time.Duration
		want time.Duration
	}{
		{"there is none", noon.Sub(time.Time{}), 0},
		{"an old one", backupEvery, 0},
		{"a fresh one", time.Hour, backupEvery - time.Hour},
		{"of the future, as the clock was set back", -1000 * time.Hour, backupEvery},
	} {
		if got := backupDue(noon.Add(-tt.age), noon); got != tt.want {
			t.Errorf("%s: due in %v, want %v", tt.name, got, tt.want)
		}
	}
}
