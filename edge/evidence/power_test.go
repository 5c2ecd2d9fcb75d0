package evidence

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"offsite/devices/state"
	"offsite/devices/state/disktest"
)

// powerDir is set in the environment of a test binary that plays the gateway.
const powerDir = "OFFSITE_EVIDENCE_TEST_DIR"

// ward is the evidence in a directory, in which tests delete without waiting for
// years to pass. What it tells of is written where the power may be cut, too.
type ward struct {
	t     *testing.T
	vault *Vault
	c     *Collector
	sweep *sweeper
}

func openWard(t *testing.T, dir string) *ward {
	t.Helper()
	db, err := state.Open(t.Context(), state.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &ward{t: t}
	if w.vault, err = OpenVault(filepath.Join(dir, "evidence")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.vault.root.Close() })
	if w.c, err = Open(t.Context(), db, w.vault, Config{Told: func([]string) {}}); err != nil {
		t.Fatal(err)
	}
	w.sweep = &sweeper{Collector: w.c, Retention: Retention{Events: w}}
	w.exec(`CREATE TABLE IF NOT EXISTS told (why TEXT, files INTEGER)`)
	return w
}

func (w *ward) exec(statement string, args ...any) {
	w.t.Helper()
	if err := w.c.db.Update(w.t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(statement, args...); return err }); err != nil {
		w.t.Fatal(err)
	}
}

func (w *ward) number(query string, args ...any) (n int) {
	w.t.Helper()
	if err := w.c.db.Read().QueryRow(query, args...).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// Over, Unsent and Deleted are those of Events.
func (*ward) Over(context.Context, string) (time.Time, bool, error) { return time.Time{}, true, nil }
func (*ward) Unsent(context.Context) (map[string]bool, error)       { return nil, nil } //nolint:nilnil // none

func (*ward) Deleted(ctx context.Context, tx *sql.Tx, d Deletion) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO told VALUES (?, ?)`, d.Why, d.Files)
	return err
}

// keep gives an event a still: the file first, then the row that names it.
func (w *ward) keep(event string) {
	w.t.Helper()
	sha, err := w.vault.Put([]byte("\xff\xd8\xff" + strings.Repeat(event, 2000)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.exec(`INSERT INTO evidence (event, camera, kind, moment, breach_at, expected_at, state, sha256) VALUES (?, 'a', 'still', 0, 0, 0, 'attached', ?)`, event, sha)
}

// TestRetentionProcess deletes and keeps by turns, and says so on standard output. It is no
// test but the other process of the one below.
func TestRetentionProcess(t *testing.T) {
	dir := os.Getenv(powerDir)
	if dir == "" {
		t.Skip("the other process of the test below")
	}
	w := openWard(t, dir)
	run := fmt.Sprint("al-", os.Getpid(), "-")
	const old = 100
	for i := range old {
		w.keep(fmt.Sprint(run, "old-", i))
	}
	err := w.vault.older(time.Now().Add(time.Hour), func(names []string) error {
		for _, name := range names { // as if they were put yesterday: what is fresh is left alone
			if err := os.Chtimes(filepath.Join(dir, "evidence", name), time.Time{}, time.Now().Add(-24*time.Hour)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(func() {
		for i := range old {
			event := fmt.Sprint(run, "old-", i)
			if err := w.sweep.drop(t.Context(), time.Now(), []string{event}, "", Aged); err != nil {
				t.Error(err)
			}
			fmt.Println("dropped", event)
		}
		fmt.Println("all")
	})
	for i := 0; ; i++ {
		event := fmt.Sprint(run, "new-", i)
		w.keep(event)
		fmt.Println("kept", event)
	}
}

// TestRetentionSurvivesAPowerCut cuts the power while evidence is deleted and kept: no row
// is without its file, what was said to be deleted is, and the trail has every file of it.
func TestRetentionSurvivesAPowerCut(t *testing.T) {
	disk, err := disktest.New(t.TempDir(), 128<<20)
	if err != nil {
		t.Skipf("loop mounts are not allowed here: %v", err)
	}
	t.Cleanup(func() { _ = disk.Remove() })
	dir := filepath.Join(disk.Dir, "state")
	said := map[string]string{} // of each event: dropped or kept
	for range 3 {
		cutRetention(t, disk, dir, said)
		t.Run("after the cut", func(t *testing.T) { checkWard(t, dir, said) })
	}
}

// cutRetention lets the other process work until the power fails.
func cutRetention(t *testing.T, disk *disktest.Disk, dir string, said map[string]string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestRetentionProcess$", "-test.v")
	cmd.Env = append(os.Environ(), powerDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dropped, cutAfter := 0, 1+rand.IntN(90)
	for lines := bufio.NewScanner(out); dropped < cutAfter && lines.Scan(); {
		word, event, found := strings.Cut(lines.Text(), " ")
		if !found || word != "dropped" && word != "kept" {
			continue
		}
		said[event] = word
		if word == "dropped" {
			dropped++
		}
	}
	err = disk.Cut(func() {
		_ = cmd.Process.Kill() // Cut fails if it lives on
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	if err != nil {
		t.Fatal(err)
	}
	if dropped < cutAfter {
		t.Fatalf("the process ended by itself after %d", dropped)
	}
}

func checkWard(t *testing.T, dir string, said map[string]string) {
	w := openWard(t, dir)
	for event, word := range said {
		want := map[string]int{"dropped": 0, "kept": 1}[word]
		if n := w.number(`SELECT count(*) FROM evidence WHERE event = ? AND deleted_at IS NULL`, event); n != want {
			t.Errorf("%s was %s: %d pieces", event, word, n)
		}
	}
	if told, gone := w.number(`SELECT coalesce(sum(files), 0) FROM told WHERE why = ?`, Aged), w.number(`SELECT count(*) FROM evidence WHERE deleted_at IS NOT NULL`); told != gone {
		t.Errorf("the trail has %d files of %d", told, gone)
	}
	rows, err := w.c.db.Read().Query(`SELECT sha256 FROM evidence WHERE deleted_at IS NULL`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var named []string
	for rows.Next() {
		var sha string
		if err := rows.Scan(&sha); err != nil {
			t.Fatal(err)
		}
		named = append(named, sha)
		if f, err := w.vault.Open(sha); err != nil {
			t.Errorf("a row is without its file: %v", err)
		} else {
			_ = f.Close()
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	// What the cut left between row and file goes as what no event names.
	if err := w.sweep.loose(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	var left []string
	if err := w.vault.older(time.Now().Add(time.Hour), func(names []string) error { left = append(left, names...); return nil }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(named)
	slices.Sort(left)
	if !slices.Equal(named, left) {
		t.Errorf("%d files, %d are named", len(left), len(named))
	}
}
