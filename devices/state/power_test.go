package state_test

import (
	"bufio"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cuts is how often the power fails in one test.
const cuts = 4

// EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), and its way of not even flushing
// the file system's journal.
const (
	ioctlShutdown     = 0x8004587d
	shutdownNoLogging = uint32(2)
)

// cutPower stops everything that was on its way to the disk mounted at dir. A
// sync under way meanwhile may report success without having written: aborting
// the journal also ends the transaction that the sync waits for. A real power
// cut leaves nobody to be told so; whoever looks on must not count what is
// acknowledged after the call began.
func cutPower(t *testing.T, dir string) {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	how := shutdownNoLogging
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), ioctlShutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		t.Fatal(errno)
	}
}

func TestWhatWasAcknowledgedSurvivesAPowerCut(t *testing.T) {
	dir := t.TempDir()
	image, disk := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		t.Skipf("no ext4 can be made here: %v %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, disk).CombinedOutput(); err != nil {
		t.Skipf("loop mounts are not allowed here: %v %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", disk).Run() })
	stored := make(map[string]bool)
	for range cuts {
		survivePowerCut(t, image, disk, stored)
	}
	t.Logf("%d acknowledged", len(stored))
}

// survivePowerCut writes until the power fails and looks at what a machine
// finds when it comes back.
func survivePowerCut(t *testing.T, image, disk string, stored map[string]bool) {
	t.Helper()
	cmd := child(t, filepath.Join(disk, "state"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cutAfter, acknowledged, cut := 1+rand.IntN(300), 0, false
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), "stored ")
		if !ok || cut {
			continue // see cutPower
		}
		stored[text] = true
		if acknowledged++; acknowledged == cutAfter {
			cutPower(t, disk)
			cut = true
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	if !cut {
		t.Fatalf("the process ended by itself after %d", acknowledged)
	}
	for _, args := range [][]string{{"umount", disk}, {"mount", "-o", "loop", image, disk}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v %s", args, err, out)
		}
	}
	notes := notesIn(t, filepath.Join(disk, "state"))
	for text := range stored {
		if !notes[text] {
			t.Errorf("power cut after %d: %s was acknowledged and is gone", acknowledged, text)
		}
	}
}
