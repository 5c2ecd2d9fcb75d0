package trial

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// disk is an ext4 file system in a file, whose power can be cut: nothing that
// was not written by fsync survives.
type disk struct {
	image, mount string
}

// ioctlShutdown is EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32); with
// shutdownNoLogFlush not even the journal is written.
const (
	ioctlShutdown      = 0x8004587d
	shutdownNoLogFlush = 2
)

// diskSize leaves room for some minutes of full speed.
const diskSize = 1 << 30

// newDisk makes and mounts a disk in dir. It needs root and loop mounts.
func newDisk(dir string) (*disk, error) {
	d := &disk{image: filepath.Join(dir, "disk.img"), mount: filepath.Join(dir, "disk")}
	if err := os.MkdirAll(d.mount, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Create(d.image)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(diskSize); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if err := command("mkfs.ext4", "-q", "-F", d.image); err != nil {
		return nil, err
	}
	return d, d.attach()
}

func (d *disk) attach() error { return command("mount", "-o", "loop", d.image, d.mount) }

// cut stops all writing at this instant, ends the process by kill and mounts
// what a machine would find after its power came back.
func (d *disk) cut(kill func()) error {
	dir, err := os.Open(d.mount)
	if err != nil {
		return err
	}
	how := uint32(shutdownNoLogFlush)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), ioctlShutdown, uintptr(unsafe.Pointer(&how)))
	_ = dir.Close()
	kill()
	if errno != 0 {
		return fmt.Errorf("cut the power of %s: %w", d.mount, errno)
	}
	if err := command("umount", d.mount); err != nil {
		return err
	}
	return d.attach()
}

func (d *disk) remove() {
	_ = command("umount", d.mount)
	_ = os.Remove(d.image)
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil { //nolint:noctx // ends at once
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// LoopMounts says whether power cuts can be made here, by making one disk.
func LoopMounts(dir string) error {
	d, err := newDisk(dir)
	if err != nil {
		return err
	}
	d.remove()
	return nil
}
