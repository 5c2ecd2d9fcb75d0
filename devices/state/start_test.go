package state_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"offsite/devices"
	"offsite/devices/state"
)

func TestASecondProcessIsToldWhoHoldsTheDirectory(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	_, err := state.Open(t.Context(), state.Config{Dir: dir})
	p := problem(t, err)
	pid := fmt.Sprint(os.Getpid())
	if p.Code != "state_locked" || !strings.Contains(p.ZH, pid) || !strings.Contains(p.EN, pid) || !errors.Is(err, devices.ErrConflict) {
		t.Errorf("got %+v", p)
	}
}

func TestADamagedDatabaseIsMovedAsideAndNotReplaced(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	for range 200 {
		if err := db.Update(t.Context(), put(strings.Repeat("x", 500))); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "offsite.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		damage func(b []byte) []byte
	}{
		{"page overwritten", func(b []byte) []byte { copy(b[5*4096:], strings.Repeat("\xff", 3*4096)); return b }},
		{"no database", func(b []byte) []byte { return []byte(strings.Repeat("no database ", 1000)) }},
		{"cut off", func(b []byte) []byte { return b[:len(b)/2] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(path, tt.damage(append([]byte(nil), whole...)), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, start := range []string{"first", "second"} {
				_, err := state.Open(t.Context(), state.Config{Dir: dir})
				if p := problem(t, err); p.Code != "state_damaged" || !strings.Contains(p.EN, "damaged-") {
					t.Errorf("%s start: %+v", start, p)
				}
			}
			aside, _ := filepath.Glob(path + ".damaged-*")
			if len(aside) == 0 {
				t.Fatal("nothing moved aside")
			}
			if err := os.WriteFile(path, whole, 0o600); err != nil { // the backup is put in place
				t.Fatal(err)
			}
			db, err := state.Open(t.Context(), state.Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if got := count(t, db); got != 200 {
				t.Errorf("%d rows after the backup came back", got)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			for _, f := range aside {
				_ = os.Remove(f)
			}
		})
	}
}

func TestMigrationsOfOwnersAreApart(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	other := fstest.MapFS{
		"00001_a.sql": {Data: []byte("-- +goose Up\nCREATE TABLE a (id INTEGER);\n")},
		"00002_b.sql": {Data: []byte("-- +goose Up\nCREATE TABLE b (id INTEGER);\n")},
	}
	for range 2 { // again is nothing
		if err := db.Migrate(t.Context(), "other", other); err != nil {
			t.Fatal(err)
		}
	}
	delete(other, "00002_b.sql")
	if p := problem(t, db.Migrate(t.Context(), "other", other)); p.Code != "state_newer" {
		t.Errorf("an older program: %+v", p)
	}
	if err := db.Migrate(t.Context(), "Bad name", other); err == nil {
		t.Error("a bad owner was taken")
	}
	broken := fstest.MapFS{"00001_x.sql": {Data: []byte("-- +goose Up\nCREATE TABL x;\n")}}
	if err := db.Migrate(t.Context(), "broken", broken); err == nil {
		t.Error("a broken migration was taken")
	}
	if err := db.Update(t.Context(), put("x")); err != nil {
		t.Error(err)
	}
}

func TestSecretsOpenOnlyInTheirRow(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	sealed, err := db.Seal("camera/a", "canary-6f1d")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(sealed), "canary") {
		t.Error("sealed in the clear")
	}
	again, _ := db.Seal("camera/a", "canary-6f1d")
	if string(again) == string(sealed) {
		t.Error("the nonce repeats")
	}
	got, err := db.Unseal("camera/a", sealed)
	if err != nil || got.Reveal() != "canary-6f1d" {
		t.Errorf("got %q, %v", got.Reveal(), err)
	}
	flipped := append([]byte(nil), sealed...)
	flipped[len(flipped)-1] ^= 1
	for name, try := range map[string]func() (devices.Secret, error){
		"other row": func() (devices.Secret, error) { return db.Unseal("camera/b", sealed) },
		"flipped":   func() (devices.Secret, error) { return db.Unseal("camera/a", flipped) },
		"short":     func() (devices.Secret, error) { return db.Unseal("camera/a", sealed[:20]) },
		"format":    func() (devices.Secret, error) { return db.Unseal("camera/a", append([]byte{9}, sealed[1:]...)) },
	} {
		if _, err := try(); err == nil || problem(t, err).Code != "secret_unreadable" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if sealed, err := db.Seal("x", ""); err != nil || sealed != nil {
		t.Errorf("empty secret: %v, %v", sealed, err)
	}
	if s, err := db.Unseal("x", nil); err != nil || s != "" {
		t.Errorf("no bytes: %v, %v", s, err)
	}
}

func TestAWrongOrMissingKeyIsNoticed(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	sealed, err := db.Seal("r", "secret")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "offsite.key")
	key, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v", info.Mode())
	}
	if info, _ := os.Stat(filepath.Join(dir, "offsite.db")); info.Mode().Perm() != 0o600 {
		t.Errorf("the database has mode %v", info.Mode())
	}
	for _, tt := range []struct {
		name, text, want string
	}{
		{"wrong", strings.Repeat("00", 32), "state_key_wrong"},
		{"short", "00ff", "bad_key"},
		{"missing", "", "state_key_missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if tt.text != "" {
				if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := state.Open(t.Context(), state.Config{Dir: dir})
			if p := problem(t, err); p.Code != tt.want {
				t.Errorf("got %+v", p)
			}
		})
	}
	if err := os.WriteFile(path, key, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := open(t, dir).Unseal("r", sealed); err != nil || got.Reveal() != "secret" {
		t.Errorf("after restart %q, %v", got.Reveal(), err)
	}
}
