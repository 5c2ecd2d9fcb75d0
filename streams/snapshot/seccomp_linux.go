package snapshot

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data of seccomp(2), and its machine names, of
// linux/audit.h.
const (
	atNumber, atMachine  = 0, 4
	atArgument           = 16 // of the first argument's low half; 8 bytes each
	machineX86, machineA = 0xc000003e, 0xc00000b7
	x32Bit               = 0x40000000
)

// denied are system calls that no decoder needs. They fail with EPERM.
var denied = []uint32{
	unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, // without these there is none of the others of the network
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP,
	unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_UNSHARE, unix.SYS_SETNS,
	unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_SHMGET, unix.SYS_MSGGET, unix.SYS_SEMGET, unix.SYS_MQ_OPEN, unix.SYS_MEMFD_CREATE,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT,
	unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_SYSLOG, unix.SYS_PERSONALITY,
	unix.SYS_CLOCK_SETTIME, unix.SYS_SETTIMEOFDAY, unix.SYS_SETHOSTNAME,
}

// newest is the last call of Linux 5.1, from which on all machines number alike.
// Younger ones (io_uring, pidfd_getfd, clone3 ...) do not exist for the child, as
// on an older system, but for these, which loaders use.
const newest = 424

var young = []uint32{unix.SYS_CLOSE_RANGE, unix.SYS_FACCESSAT2, unix.SYS_FUTEX_WAITV}

// filter is the program of classic BPF that judges each call.
func filter(machine uint32) []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	end := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	// when runs the next steps only when op holds for k.
	when := func(op uint16, k uint32, steps ...unix.SockFilter) []unix.SockFilter {
		return append([]unix.SockFilter{{Code: unix.BPF_JMP | op | unix.BPF_K, Jf: uint8(len(steps)), K: k}}, steps...) //nolint:gosec // a few
	}
	forbid, absent, pass := end(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)), end(unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)), end(unix.SECCOMP_RET_ALLOW)

	p := []unix.SockFilter{load(atMachine), {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: machine, Jt: 1}, end(unix.SECCOMP_RET_KILL_PROCESS), load(atNumber)}
	if machine == machineX86 {
		p = append(p, when(unix.BPF_JGE, x32Bit, end(unix.SECCOMP_RET_KILL_PROCESS))...)
	}
	for _, call := range denied {
		p = append(p, when(unix.BPF_JEQ, call, forbid)...)
	}
	for _, call := range young {
		p = append(p, when(unix.BPF_JEQ, call, pass)...)
	}
	p = append(p, when(unix.BPF_JGT, newest, absent)...)
	// New user namespaces open doors; the others need a privilege that is gone.
	p = append(p, when(unix.BPF_JEQ, unix.SYS_CLONE, append(append([]unix.SockFilter{load(atArgument)}, when(unix.BPF_JSET, unix.CLONE_NEWUSER, forbid)...), pass)...)...)
	// Limits of another process are none of the child's business.
	p = append(p, when(unix.BPF_JEQ, unix.SYS_PRLIMIT64, append(append([]unix.SockFilter{load(atArgument)}, when(unix.BPF_JEQ, 0, pass)...), forbid)...)...)
	// The gateway's runtime, which the filter binds as well until the child is
	// started, nudges its threads with SIGURG.
	p = append(p, when(unix.BPF_JEQ, unix.SYS_TGKILL, append(append([]unix.SockFilter{load(atArgument + 16)}, when(unix.BPF_JEQ, uint32(unix.SIGURG), pass)...), forbid)...)...)
	return append(p, pass)
}

// seccomp puts the filter on the calling thread.
func seccomp() error {
	machine, known := map[string]uint32{"amd64": machineX86, "arm64": machineA}[runtime.GOARCH]
	if !known {
		return errors.New("no filter for " + runtime.GOARCH)
	}
	steps := filter(machine)
	program := unix.SockFprog{Len: uint16(len(steps)), Filter: &steps[0]}                                                      //nolint:gosec // some hundred
	_, _, no := unix.Syscall(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program))) //nolint:gosec // as prctl(2) wants it
	if no != 0 {
		return no
	}
	return nil
}
