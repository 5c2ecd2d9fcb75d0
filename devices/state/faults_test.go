package state_test

import (
	"bufio"
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"offsite/devices"
	"offsite/devices/state"
)

// childDir is set in the environment of a test binary that plays the gateway,
// childNotes when each side of it shall end after so many notes.
const (
	childDir   = "OFFSITE_STATE_TEST_DIR"
	childNotes = "OFFSITE_STATE_TEST_NOTES"
)

// TestChildProcess writes notes from four sides, which so share commits, and
// says of each, on standard output, how it fared. It is no test but the other
// process of the tests below.
func TestChildProcess(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("the other process of the tests below")
	}
	most, err := strconv.Atoi(os.Getenv(childNotes))
	if err != nil {
		most = math.MaxInt
	}
	db := open(t, dir)
	var wg sync.WaitGroup
	for side := range 4 {
		wg.Go(func() {
			for i := 0; i < most; i++ {
				text := fmt.Sprintf("%d-%d-%d", os.Getpid(), side, i) // never the same from two processes
				err := db.Update(t.Context(), put(text))
				switch {
				case err == nil:
					fmt.Println("stored", text)
				case errors.Is(err, devices.ErrUnavailable):
					fmt.Println("refused", text, devices.AllProblems(err)[0].Code)
				default:
					fmt.Println("broken", text, err)
				}
			}
		})
	}
	wg.Wait()
}

// child runs TestChildProcess on dir, behind the words of wrap.
func child(t *testing.T, dir string, wrap ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := slices.Concat(wrap, []string{self, "-test.run=^TestChildProcess$", "-test.v"})
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	return cmd
}

// notesIn opens the database anew and gives all notes.
func notesIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	db, err := state.Open(t.Context(), state.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Read().Query("SELECT text FROM notes")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	notes := make(map[string]bool)
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		notes[text] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return notes
}

// A kill proves nothing about power loss; it proves the recovery of the log,
// of the lock and of the key.
func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	for _, after := range []int{1, 20, 200} {
		cmd := child(t, dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var stored []string
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), "stored "); ok {
				if stored = append(stored, text); len(stored) == after {
					if err := cmd.Process.Kill(); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		_ = cmd.Wait() // it was killed
		if len(stored) < after {
			t.Fatalf("only %d stored", len(stored))
		}
		notes := notesIn(t, dir)
		for _, text := range stored {
			if !notes[text] {
				t.Errorf("killed after %d: %s was acknowledged and is gone", after, text)
			}
		}
	}
}

func TestAFailedSyncIsToldAndHealed(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	dir := t.TempDir()
	cmd := child(t, dir, strace, "-f", "-qq", "-o", filepath.Join(t.TempDir(), "trace"),
		"-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO:when=25+25")
	cmd.Env = append(cmd.Env, childNotes+"=150")
	out, err := cmd.CombinedOutput()
	if err != nil {
		if bytes.Contains(out, []byte("ptrace")) {
			t.Skipf("tracing is not allowed here: %s", out)
		}
		t.Fatalf("%v\n%s", err, out)
	}
	notes := notesIn(t, dir)
	stored, refused, after := 0, 0, 0
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 2 && words[0] == "stored":
			stored++
			if refused > 0 {
				after++
			}
			if !notes[words[1]] {
				t.Errorf("%s was acknowledged and is gone", words[1])
			}
		case len(words) == 3 && words[0] == "refused":
			refused++
			if words[2] != "disk_error" {
				t.Errorf("refused with %s", words[2])
			}
		case len(words) > 1 && words[0] == "broken":
			t.Errorf("no Problem: %s", line)
		}
	}
	if refused == 0 || after < 50 {
		t.Errorf("%d stored, %d refused, %d stored after that\n%s", stored, refused, after, out)
	}
	t.Logf("%d stored, %d refused, %d notes", stored, refused, len(notes))
}

func TestAFullDiskIsToldAndLosesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mounting is not allowed here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	db, err := state.Open(t.Context(), state.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context(), "notes", notes); err != nil {
		t.Fatal(err)
	}
	stored := 0
	for {
		err = db.Update(t.Context(), put(strings.Repeat("x", 4000)))
		if err != nil {
			break
		}
		stored++
	}
	if p := problem(t, err); p.Code != "disk_full" || !errors.Is(err, devices.ErrUnavailable) {
		t.Errorf("got %+v", p)
	}
	if got := count(t, db); got != stored {
		t.Errorf("%d notes, %d acknowledged", got, stored)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	for range 50 { // goes on by itself when space returns
		if err := db.Update(t.Context(), put(strings.Repeat("y", 4000))); err != nil {
			t.Fatal(err)
		}
	}
	if got := count(t, db); got != stored+50 {
		t.Errorf("%d notes, want %d", got, stored+50)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if got := len(notesIn(t, dir)); got != 2 {
		t.Errorf("%d different notes", got)
	}
}

// SQLite gives up the whole transaction when the disk is full in its middle:
// nobody's work may be acknowledged without being there.
func TestAFullDiskInTheMiddleOfAGroup(t *testing.T) {
	db := open(t, t.TempDir())
	limit := func(pages int) {
		t.Helper()
		if err := db.Update(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.Exec(fmt.Sprintf("PRAGMA max_page_count=%d", pages))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	limit(40)
	results := make(chan error, 200)
	for range 200 {
		go func() { results <- db.Update(t.Context(), put(strings.Repeat("x", 1500))) }()
	}
	stored := 0
	for range 200 {
		if err := <-results; err == nil {
			stored++
		} else if p := problem(t, err); p.Code != "disk_full" && p.Code != "state_busy" {
			t.Errorf("got %+v", p)
		}
	}
	if got := count(t, db); got != stored {
		t.Errorf("%d notes, %d acknowledged", got, stored)
	}
}
