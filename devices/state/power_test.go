package state_test

import (
	"bufio"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"offsite/devices/state/disktest"
)

// cuts is how often the power fails in one test.
const cuts = 4

func TestWhatWasAcknowledgedSurvivesAPowerCut(t *testing.T) {
	disk, err := disktest.New(t.TempDir(), 64<<20)
	if err != nil {
		t.Skipf("loop mounts are not allowed here: %v", err)
	}
	t.Cleanup(func() { _ = disk.Remove() })
	stored := make(map[string]bool)
	for range cuts {
		survivePowerCut(t, disk, stored)
	}
	t.Logf("%d acknowledged", len(stored))
}

// survivePowerCut writes until the power fails and looks at what a machine
// finds when it comes back.
func survivePowerCut(t *testing.T, disk *disktest.Disk, stored map[string]bool) {
	t.Helper()
	cmd := child(t, filepath.Join(disk.Dir, "state"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cutAfter, acknowledged := 1+rand.IntN(300), 0
	for lines := bufio.NewScanner(out); acknowledged < cutAfter && lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "stored "); ok {
			stored[text] = true
			acknowledged++
		}
	}
	if acknowledged < cutAfter {
		t.Fatalf("the process ended by itself after %d", acknowledged)
	}
	err = disk.Cut(func() {
		_ = cmd.Process.Kill() // Cut fails if it lives on
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	if err != nil {
		t.Fatal(err)
	}
	notes := notesIn(t, filepath.Join(disk.Dir, "state"))
	for text := range stored {
		if !notes[text] {
			t.Errorf("power cut after %d: %s was acknowledged and is gone", acknowledged, text)
		}
	}
}
