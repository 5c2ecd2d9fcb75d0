package state_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
			if err := os.Rename(database, database+".damaged-"+time.Now().UTC().Format("20060102T150405")); err != nil {
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
			tellRestored(t, db, dir, r)
		})
	}
}

// tellRestored checks that r is told until it has been told, and closes the database.
func tellRestored(t *testing.T, db *state.DB, dir string, r *state.Restored) {
	t.Helper()
	for _, told := range []bool{false, true} {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		db = open(t, dir)
		if diff := cmp.Diff(r, db.Restored()); diff != "" || count(t, db) != 201 {
			t.Errorf("told %v, at the next start %d notes and %s", told, count(t, db), diff)
		}
		if err := db.Update(t.Context(), func(tx *sql.Tx) error { return db.Told(t.Context(), tx) }); err != nil {
			t.Error(err)
		}
		r = nil
	}
}

// TestADatabaseThatIsGoneIsNotNew takes the database away, in whole or in part, from
// a directory that holds readings.
func TestADatabaseThatIsGoneIsNotNew(t *testing.T) {
	remove := func(names ...string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			for _, name := range names {
				if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	also := func(spoils ...func(t *testing.T, dir string)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			for _, spoil := range spoils {
				spoil(t, dir)
			}
		}
	}
	write := func(name, text string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	// An empty database, as one is whose log was lost before anything was copied from it.
	blank := func(t *testing.T, dir string) {
		other := t.TempDir()
		db, err := sql.Open("sqlite", "file:"+filepath.Join(other, "offsite.db"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.Exec("PRAGMA user_version = 1")
		if err := errors.Join(err, db.Close(), os.Rename(filepath.Join(other, "offsite.db"), filepath.Join(dir, "offsite.db"))); err != nil {
			t.Fatal(err)
		}
	}
	gone := remove("offsite.db", "offsite.db-wal", "offsite.db-shm")
	tests := []struct {
		name  string
		spoil func(t *testing.T, dir string)
		code  string // empty: the backup takes its place
		trace string
	}{
		{"database and log", gone, "", "readings"},
		{"all but the backup and the key", also(gone, remove("readings")), "", "offsite.key"},
		{"emptied", also(gone, write("offsite.db", "")), "", "readings"},
		{"without its log it is blank", also(gone, blank), "", "readings"},
		{"one was damaged long before", also(gone, write("offsite.db.damaged-20260301T040000", "")), "", "readings"},
		{"its log is left", also(gone, write("offsite.db-wal", strings.Repeat("left", 2000))), "", "readings"},
		{"no backup", also(gone, remove("offsite.db.backup")), "state_lost", "readings"},
		{"blank and no backup", also(gone, blank, remove("offsite.db.backup")), "state_lost", "readings"},
		{"only the key is left", also(gone, remove("offsite.db.backup", "readings")), "state_lost", "offsite.key"},
		{"only its log is left", also(gone, remove("offsite.db.backup", "readings", "offsite.key"), write("offsite.db-wal", "left")), "state_lost", "offsite.db-wal"},
		{"a damaged backup", also(gone, func(t *testing.T, dir string) { damage(t, filepath.Join(dir, "offsite.db.backup")) }), "state_lost", "readings"},
		{"the key is gone with it", also(gone, remove("offsite.key")), "state_key_missing", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			fill(t, dir)
			if err := errors.Join(os.Mkdir(filepath.Join(dir, "readings"), 0o700), os.WriteFile(filepath.Join(dir, "readings", "000001.log"), nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			tt.spoil(t, dir)
			cfg := state.Config{Dir: dir, Remains: []string{"evidence", "readings"}}
			if tt.code != "" {
				for _, start := range []string{"first", "second"} {
					_, err := state.Open(t.Context(), cfg)
					if p := problem(t, err); p.Code != tt.code || start == "first" && !strings.Contains(p.EN, tt.trace) {
						t.Errorf("%s start: %+v", start, p)
					}
				}
				return
			}
			db, err := state.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			r := db.Restored()
			if r == nil || r.Aside != "" || filepath.Base(r.Trace) != tt.trace || r.Of.IsZero() || count(t, db) != 200 {
				t.Errorf("restored: %+v, %d notes", r, count(t, db))
			}
			if err := db.Update(t.Context(), put("later")); err != nil {
				t.Error(err)
			}
			tellRestored(t, db, dir, r)
		})
	}
}

// TestAFirstStartThatWasCutOffIsAFirstStart begins in directories in which nothing was
// ever kept.
func TestAFirstStartThatWasCutOffIsAFirstStart(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files []string
		key   bool // it was made, but nothing sealed with it
	}{
		{name: "nothing"},
		{name: "a disk of its own for what is not yet there", files: []string{"lost+found/", "readings/", "readings/lost+found/"}},
		{name: "a configuration beside it", files: []string{"offsite.yaml", "tls/", "tls/server.crt"}},
		{name: "before the database was made", files: []string{"offsite.lock", "offsite.db"}},
		{name: "before anything was sealed", key: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range tt.files {
				make := func(path string) error { return os.WriteFile(path, nil, 0o600) }
				if strings.HasSuffix(name, "/") {
					make = func(path string) error { return os.Mkdir(path, 0o700) }
				}
				if err := make(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			if tt.key {
				db := open(t, dir)
				err := db.Update(t.Context(), func(tx *sql.Tx) error {
					_, err := tx.Exec("DELETE FROM state_meta")
					return err
				})
				if err := errors.Join(err, db.Close()); err != nil {
					t.Fatal(err)
				}
			}
			db, err := state.Open(t.Context(), state.Config{Dir: dir, Remains: []string{"readings"}})
			if err != nil || db.Restored() != nil {
				t.Fatalf("%v, restored %+v", err, db.Restored())
			}
			if err := db.Close(); err != nil {
				t.Error(err)
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
