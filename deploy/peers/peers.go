// Package peers starts the programs that the gateway meets in the end-to-end
// tests and under chaos: the gateway's own binary and Mosquitto, each
// as a process of its own on loopback. Nothing here is part of the product.
package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// FreeAddr gives a loopback address that nothing listens on just now. Programs
// that cannot say which port they chose, or must keep it over a restart, use it.
// It lies below the ports that the kernel gives to outgoing connections, so
// that none of them takes it meanwhile.
func FreeAddr() (string, error) {
	var last error
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))) //nolint:noctx // ends at once
		if err == nil {
			return l.Addr().String(), l.Close()
		}
		last = err
	}
	return "", last
}

// Await asks ready every few milliseconds until it is nil or ctx ends.
func Await(ctx context.Context, ready func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), err)
		}
	}
}

// Listening asks whether something accepts at addr.
func Listening(addr string) func() error {
	return func() error {
		c, err := net.DialTimeout("tcp", addr, time.Second) //nolint:noctx // bounded by its second
		if err != nil {
			return err
		}
		return c.Close()
	}
}

// Process is a child that is ended by its id and leaves nothing behind.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// start runs name with args; its output goes to out.
func start(out io.Writer, env []string, name string, args ...string) (*Process, error) {
	cmd := exec.Command(name, args...) //nolint:noctx // ended by Kill or Stop
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Kill ends the process at once (SIGKILL) and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Stop asks the process to end, waits up to ten seconds, then kills it.
func (p *Process) Stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(time.Minute):
		p.Kill()
		return errors.New("did not end within 10 s of SIGTERM")
	}
}

// Output keeps the last part of what a process printed.
type Output struct {
	mu   sync.Mutex
	text []byte
}

const keepOutput = 256 << 10

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	if extra := len(o.text) - keepOutput; extra > 0 {
		o.text = o.text[extra:]
	}
	return len(p), nil
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}
