package state_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"offsite/devices/state"
)

// damage overwrites pages in the middle of a file.
func damage(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[5*4096:], strings.Repeat("\xff", 3*4096))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTheLastBackupTakesTheDamagedOnesPlace(t *testing.T) {
	tests := []struct {
		name     string
		spoil    func(t *testing.T, database string)
		restored bool
	}{
		{"pages overwritten", damage, true},
		{"no database", func(t *testing.T, database string) {
			if err := os.WriteFile(database, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"cut off after it was moved aside", func(t *testing.T, database string) {
			if err := os.Rename(database, database+".damaged-20260301T040000"); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"the backup is damaged too", func(t *testing.T, database string) { damage(t, database); damage(t, database+".backup") }, false},
		{"there is no backup", func(t *testing.T, database string) {
			damage(t, database)
			if err := os.Remove(database + ".backup"); err != nil {
				t.Fatal(err)
			}
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			fill(t, dir)
			tt.spoil(t, filepath.Join(dir, "offsite.db"))
			db, err := state.Open(t.Context(), state.Config{Dir: dir})
			if !tt.restored {
				if p := problem(t, err); p.Code != "state_damaged" {
					t.Errorf("got %+v", p)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r := db.Restored()
			if r == nil || !strings.Contains(r.Aside, ".damaged-") || time.Since(r.Of) > time.Minute {
				t.Errorf("restored: %+v", r)
			}
			if got := count(t, db); got != 200 {
				t.Errorf("%d notes, the backup holds 200", got)
			}
			if err := db.Update(t.Context(), put("later")); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			again := open(t, dir)
			if again.Restored() != nil || count(t, again) != 201 {
				t.Errorf("the next start: %+v, %d notes", again.Restored(), count(t, again))
			}
		})
	}
}

// fill makes a database of 300 notes in dir, with a backup of the first 200.
func fill(t *testing.T, dir string) {
	t.Helper()
	db, err := state.Open(t.Context(), state.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context(), "notes", notes); err != nil {
		t.Fatal(err)
	}
	if !db.BackedUp().IsZero() {
		t.Error("a backup before there is one")
	}
	for i := range 300 {
		if i == 100 || i == 200 { // the second takes the first one's place
			if err := db.Backup(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Update(t.Context(), put(strings.Repeat("x", 500))); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "offsite.db.backup")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup: %v, %v", info, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestABackupHoldsUpNoWriter writes while backups are made, and looks at the last.
func TestABackupHoldsUpNoWriter(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for range 100 {
				if err := db.Update(t.Context(), put("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		if err := db.Backup(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	writers.Wait()
	least := count(t, db)
	if err := db.Backup(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	for from, to := range map[string]string{"offsite.db.backup": "offsite.db", "offsite.key": "offsite.key"} {
		content, err := os.ReadFile(filepath.Join(dir, from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(other, to), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := count(t, open(t, other)); least != 400 || got != 400 {
		t.Errorf("%d notes written, the backup has %d", least, got)
	}
}
