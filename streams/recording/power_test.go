package recording_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/recording"
)

// EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), and its way of not even flushing
// the file system's journal.
const (
	ioctlShutdown     = 0x8004587d
	shutdownNoLogging = uint32(2)
)

// childDir names the directory in which the child process of the test records.
const childDir = "OFFSITE_RECORD"

// TestChild records until it is killed and tells what it has shown; it is a
// process of the test below.
func TestChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("it is run by the test of power cuts")
	}
	a := archive(t, dir, recording.Config{Segment: time.Second, Fragment: 100 * time.Millisecond, Sync: 200 * time.Millisecond})
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	go func() { _ = a.Record(t.Context(), "cam-1", feed, time.Now()) }()
	clip := pictures(t)
	for i := range 10000 {
		f := *clip[i%len(clip)]
		f.PTS, f.DTS, f.At = time.Duration(i)*every, time.Duration(i)*every, time.Now()
		feed.Publish(&f)
		fmt.Printf("shown %d\n", i)
		time.Sleep(every)
	}
}

// mount makes a file system of this size and mounts it; the test is skipped
// where that is not allowed.
func mount(t *testing.T, bytes int64) (image, disk string) {
	t.Helper()
	dir := t.TempDir()
	image, disk = filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, bytes), os.Mkdir(disk, 0o700)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		t.Skipf("no ext4 can be made here: %v %s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "mount", "-o", "loop", image, disk).CombinedOutput(); err != nil {
		t.Skipf("loop mounts are not allowed here: %v %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", disk).Run() })
	return image, disk
}

func TestAPowerCutCostsTheTailAlone(t *testing.T) {
	needProbe(t)
	image, disk := mount(t, 64<<20)
	for range 2 {
		shown := recordUntilThePowerFails(t, disk)
		for _, args := range [][]string{{"umount", disk}, {"mount", "-o", "loop", image, disk}} {
			if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v %s", args, err, out)
			}
		}
		dir := filepath.Join(disk, "recordings")
		a := archive(t, dir, recording.Config{})
		kept := 0
		for _, path := range files(t, dir) {
			kept += len(probe(t, path))
		}
		t.Logf("%d pictures shown, %d kept in %d files", shown, kept, len(all(t, a)))
		// A fragment, a sync and what waits for its follower, and one more of
		// each for a machine that is busy.
		if lost := shown - kept; lost > 20 {
			t.Errorf("%d pictures of %d are lost", lost, shown)
		}
		if err := errors.Join(a.Close(), os.RemoveAll(dir)); err != nil {
			t.Fatal(err)
		}
	}
}

func recordUntilThePowerFails(t *testing.T, disk string) (shown int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$") //nolint:gosec // this test
	cmd.Env = append(os.Environ(), childDir+"="+filepath.Join(disk, "recordings"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && shown < 50 {
		if _, err := fmt.Sscanf(lines.Text(), "shown %d", &shown); err != nil {
			continue
		}
	}
	d, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	how := shutdownNoLogging
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), ioctlShutdown, uintptr(unsafe.Pointer(&how)))
	_ = d.Close()
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait() // it was killed
	if errno != 0 || shown == 0 {
		t.Fatalf("cut after %d pictures: %v", shown, errno)
	}
	return shown
}

// fill makes a file of all that its disk has left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 1024))
	}
}

func TestAFullDiskEndsTheRecordingAndLeavesWhatIsWhole(t *testing.T) {
	needProbe(t)
	_, disk := mount(t, 2<<20)
	filler := filepath.Join(disk, "filler")
	dir := filepath.Join(disk, "recordings")
	a := archive(t, dir, recording.Config{Fragment: 20 * time.Millisecond})
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- a.Record(ctx, "cam-1", feed, time.Now()) }()
	clip := pictures(t)
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		f := *clip[i%len(clip)]
		f.PTS, f.DTS, f.At = time.Duration(i)*every, time.Duration(i)*every, time.Now()
		feed.Publish(&f)
		if i == 50 { // all that is left goes to somebody else
			fill(t, filler)
		}
		select {
		case err = <-ended:
		case <-time.After(5 * time.Millisecond):
		}
	}
	if p := devices.AllProblems(err)[0]; p.Code != "recording_disk_full" {
		t.Fatal(err)
	}
	list := all(t, a)
	if len(list) != 1 || list[0].Open {
		t.Fatalf("%+v", list)
	}
	for _, path := range files(t, dir) {
		if !strings.HasSuffix(path, ".mp4") || len(probe(t, path)) < 25 {
			t.Error(path)
		}
	}
}
