// Package disktest gives tests a disk whose power can be cut: an ext4 file
// system in a file, mounted by a loop device. It needs root.
package disktest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Disk is a mounted file system. Nothing in it that was not written by fsync
// survives a Cut.
type Disk struct {
	Dir   string // where it is mounted
	image string
}

// ioctlShutdown is EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32); with
// shutdownNoLogFlush not even the journal is written.
const (
	ioctlShutdown      = 0x8004587d
	shutdownNoLogFlush = 2
)

// New makes a disk of size bytes in dir, which takes only the room that is
// written to, and mounts it. An error says that this is not allowed here.
func New(dir string, size int64) (*Disk, error) {
	d := &Disk{image: filepath.Join(dir, "disk.img"), Dir: filepath.Join(dir, "disk")}
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(d.image, size); err != nil {
		return nil, err
	}
	if err := command("mkfs.ext4", "-q", "-F", d.image); err != nil {
		return nil, err
	}
	return d, d.mount()
}

func (d *Disk) mount() error { return command("mount", "-o", "loop", d.image, d.Dir) }

// Cut stops all writing at this instant, ends by kill whoever has files open on
// the disk, and mounts what a machine would find after its power came back.
//
// A sync that is under way meanwhile may report success without having written,
// because aborting the journal also ends the transaction that it waits for. A
// power cut leaves nobody to be told so: whoever looks on must not count what is
// acknowledged after the call began.
func (d *Disk) Cut(kill func()) error {
	dir, err := os.Open(d.Dir)
	if err != nil {
		return err
	}
	how := uint32(shutdownNoLogFlush)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), ioctlShutdown, uintptr(unsafe.Pointer(&how)))
	_ = dir.Close() // it was only looked at
	kill()
	if errno != 0 {
		return fmt.Errorf("cut the power of %s: %w", d.Dir, errno)
	}
	if err := command("umount", d.Dir); err != nil {
		return err
	}
	return d.mount()
}

// Remove unmounts the disk and deletes it.
func (d *Disk) Remove() error {
	if err := command("umount", d.Dir); err != nil {
		return err
	}
	return os.Remove(d.image)
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil { //nolint:noctx // ends at once
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}
