package snapshot

import (
	"errors"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes puts the child into its own process group and, apart, into its
// own empty network and IPC namespaces. Without root a user namespace comes
// first, in which the child is nobody else than the gateway's own user.
func attributes(apart bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if !apart {
		return a
	}
	a.Cloneflags = syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	}
	return a
}

// refused says that err may come of asking for namespaces.
func refused(err error) bool {
	return errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EUSERS) || errors.Is(err, syscall.EACCES)
}

// confine sets the resource limits of a child by prlimit(2): memory, CPU time,
// no files written, no core, few descriptors. They hold for what it starts too.
func confine(pid int, l Limits) error {
	seconds := uint64(math.Ceil(l.CPU.Seconds()))
	for _, r := range []struct {
		resource int
		limit    uint64
	}{
		{unix.RLIMIT_AS, uint64(l.Memory)}, //nolint:gosec // positive by default
		{unix.RLIMIT_CPU, seconds},
		{unix.RLIMIT_FSIZE, 0},
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_NOFILE, 32},
	} {
		if err := unix.Prlimit(pid, r.resource, &unix.Rlimit{Cur: r.limit, Max: r.limit}, nil); err != nil {
			return err
		}
	}
	return nil
}
