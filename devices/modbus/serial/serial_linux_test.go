package serial_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"offsite/devices"
	"offsite/devices/modbus/serial"
)

// terminal gives a pseudo-terminal: the near end as a file, the far end by name.
func terminal(t *testing.T) (*os.File, string) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	near := os.NewFile(uintptr(fd), "pty")
	t.Cleanup(func() { _ = near.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	return near, fmt.Sprintf("/dev/pts/%d", number)
}

func TestBytesPassAsTheyAre(t *testing.T) {
	near, path := terminal(t)
	port, err := serial.Open(path, devices.SerialLine{Baud: 19200, Parity: "even", StopBits: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = port.Close() }()
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i) // what a terminal would take for line ends, erase, flow control among them
	}
	for _, way := range []struct{ from, to *os.File }{{near, port}, {port, near}} {
		if _, err := way.from.Write(all); err != nil {
			t.Fatal(err)
		}
		if err := way.to.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for len(got) < len(all) {
			some := make([]byte, 256)
			n, err := way.to.Read(some)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, some[:n]...)
		}
		if string(got) != string(all) {
			t.Errorf("sent % x, came % x", all, got)
		}
	}
	if err := port.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := port.Read(all); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a silent line gave %v", err)
	}
}

func TestWhyAPortDoesNotOpen(t *testing.T) {
	_, path := terminal(t)
	held, err := serial.Open(path, devices.SerialLine{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	outside := filepath.Join(t.TempDir(), "port")
	if err := os.Symlink(path, outside); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, path, code string }{
		{"missing", "/dev/ttyUSB987", "port_missing"},
		{"in use", path, "port_busy"},
		{"no terminal", "/dev/null", "not_a_port"},
		{"a link from outside /dev", outside, "not_a_port"},
		{"the console", "/dev/tty", "not_a_port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := serial.Open(tt.path, devices.SerialLine{})
			if err == nil {
				t.Fatalf("opened %s", f.Name())
			}
			if p := devices.AllProblems(err); len(p) != 1 || p[0].Code != tt.code {
				t.Errorf("%v, want %s", err, tt.code)
			}
		})
	}
}
