package edge

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestAStartInAnOutageKeepsWhatWaits checks that what the log holds already does
// not make the backlog of the next start smaller.
func TestAStartInAnOutageKeepsWhatWaits(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=400m"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	before := backlog(Config{}, dir)
	if before != 200<<20 {
		t.Errorf("%d bytes of an empty disk of 400 MiB", before)
	}
	if err := os.WriteFile(filepath.Join(dir, "000001.log"), make([]byte, 100<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := backlog(Config{}, dir); got != before {
		t.Errorf("%d MiB where 100 wait, %d before", got>>20, before>>20)
	}
	if got := backlog(Config{Log: LogConfig{Backlog: 16 << 20}}, dir); got != 16<<20 {
		t.Errorf("%d, not as configured", got)
	}
}
