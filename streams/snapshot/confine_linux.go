package snapshot

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A child is confined by several walls, so that one that a system lacks does not
// leave it free:
//
//	always         limits of memory, CPU time, descriptors; no file is written
//	seccomp        no socket, no signal to others, no tracing, no new system calls
//	Landlock       reads and runs the system's programs and libraries, no other file
//	root's alone   the user nobody, an empty network and IPC namespace
//
// Seccomp and Landlock bind a thread and what it starts. So the child is started
// from a thread that binds itself and then ends.

// walls are those of root; a child that cannot be started behind them is started
// behind the next.
type walls int32

const (
	allWalls walls = iota // nobody, in namespaces of its own
	nobody                // as in containers, which grant no namespaces
	ownUser               // the gateway's own user, as everywhere without root
)

const nobodyID = 65534 // user and group of Linux's overflow ids, which own nothing

func (w walls) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() != 0 {
		return a
	}
	if w == allWalls {
		a.Cloneflags = syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC
	}
	if w != ownUser {
		a.Credential = &syscall.Credential{Uid: nobodyID, Gid: nobodyID}
	}
	return a
}

// refused says that err may come of asking for too much.
func refused(err error) bool {
	return errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EUSERS) || errors.Is(err, syscall.EACCES)
}

// start starts cmd behind its walls. missing names those that this system lacks.
func start(cmd *exec.Cmd) (missing []string, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the bound thread ends with this goroutine
		if missing, err = bind(cmd.Path); err == nil {
			err = cmd.Start()
		}
	}()
	<-done
	return missing, err
}

// bind binds the calling thread.
func bind(program string) (missing []string, err error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("no new privileges: %w", err)
	}
	if err := landlock(readable(program)); err != nil {
		missing = append(missing, "Landlock: "+err.Error())
	}
	if err := seccomp(); err != nil {
		missing = append(missing, "seccomp: "+err.Error())
	}
	return missing, nil
}

// readable is what a program needs to be loaded: itself, a lib beside its
// directory, and the system's own.
func readable(program string) []string {
	if real, err := filepath.EvalSymlinks(program); err == nil {
		program = real
	}
	return []string{
		program, filepath.Join(filepath.Dir(program), "..", "lib"),
		"/usr", "/lib", "/lib32", "/lib64", "/bin", "/etc/ld.so.cache", "/nix/store", "/gnu/store",
	}
}

// landlock lets the thread read and run the paths, and do nothing else with files.
func landlock(paths []string) error {
	abi, _, no := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if no != 0 {
		return no
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: handled(int(abi))}
	size := uintptr(8)
	if abi >= 4 {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size = 16
	}
	fd, _, no := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0) //nolint:gosec // as landlock(7) wants it
	if no != 0 {
		return no
	}
	defer unix.Close(int(fd)) //nolint:errcheck // nothing was written
	for _, path := range paths {
		if err := allow(int(fd), path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if _, _, no := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); no != 0 {
		return no
	}
	return nil
}

// handled is every use of files that this version of Landlock knows.
func handled(abi int) uint64 {
	uses := uint64(1)<<13 - 1 // of version 1
	if abi >= 2 {
		uses |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		uses |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 5 {
		uses |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	return uses
}

// allow lets path be read and run. One that does not exist needs nothing.
func allow(ruleset int, path string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	rule := unix.LandlockPathBeneathAttr{Parent_fd: int32(fd), Allowed_access: unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE} //nolint:gosec // a descriptor
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		rule.Allowed_access |= unix.LANDLOCK_ACCESS_FS_READ_DIR
	}
	_, _, no := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0) //nolint:gosec // as landlock(7) wants it
	if no != 0 {
		return no
	}
	return nil
}

// confine sets the resource limits of a child by prlimit(2): memory, CPU time,
// no files written, no core, few descriptors. They hold for what it starts too.
func confine(pid int, l Limits) error {
	err := limit(pid, l)
	if !errors.Is(err, unix.EPERM) || os.Geteuid() != 0 {
		return err
	}
	// Root without CAP_SYS_RESOURCE may not, but the child's own user may.
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: users belong to threads, and this one ends here
		if _, _, no := unix.RawSyscall(unix.SYS_SETRESGID, nobodyID, nobodyID, nobodyID); no != 0 {
			return
		}
		if _, _, no := unix.RawSyscall(unix.SYS_SETRESUID, nobodyID, nobodyID, nobodyID); no != 0 {
			return
		}
		err = limit(pid, l)
	}()
	<-done
	return err
}

func limit(pid int, l Limits) error {
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
