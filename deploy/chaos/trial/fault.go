package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// faults are what a failing or slow disk does, as strace injects it into the
// running gateway. Neither LD_PRELOAD nor a library between would reach a Go
// program.
var faults = []string{
	"fsync,fdatasync:error=EIO:when=3+5",
	"fsync,fdatasync:error=ENOSPC:when=2+9",
	"fsync,fdatasync:delay_enter=150000", // microseconds
	"fsync,fdatasync:error=EIO",          // all of them
}

// Tracing says whether faults can be injected here.
func Tracing(ctx context.Context) error {
	self, stop := context.WithCancel(ctx)
	defer stop()
	child := exec.CommandContext(self, "sleep", "30")
	if err := child.Start(); err != nil {
		return err
	}
	defer func() { stop(); _ = child.Wait() }() // it was ended
	return inject(ctx, child.Process.Pid, faults[0], 50*time.Millisecond)
}

// inject lets a fault happen to a process for a while.
func inject(ctx context.Context, pid int, fault string, long time.Duration) error {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "strace", "-f", "-qq", "-o", os.DevNull, "-p", strconv.Itoa(pid), "-e", "trace=fsync,fdatasync", "-e", "inject="+fault) //nolint:gosec // of our own
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return err
	}
	var how error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		how = cmd.Wait()
	}()
	select {
	case <-time.After(long):
		if err := cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		<-ended
		return nil
	case <-ended: // the process ended, or may not be traced
		if bytes.Contains(said.Bytes(), []byte("ptrace")) {
			return fmt.Errorf("strace: %w: %s", how, said.Bytes())
		}
		return nil
	}
}

// disturb lets the i-th fault happen to the gateway and starts it again where
// that ended it, as a service manager does.
func (t *trial) disturb(ctx context.Context, i int) (how string, err error) {
	fault := faults[i%len(faults)]
	if err := inject(ctx, t.box.PID(), fault, t.Run/4+rand.N(t.Run)); err != nil {
		return "", err
	}
	select {
	case <-t.box.Done():
		return fault + ", which ended it,", t.box.Start(ctx)
	default:
		return fault, nil
	}
}
