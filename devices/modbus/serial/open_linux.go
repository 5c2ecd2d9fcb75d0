package serial

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"offsite/devices"
)

func open(path string, line devices.SerialLine) (*os.File, error) {
	// Not blocking: an open would wait for a carrier that RS-485 does not have,
	// and deadlines need it.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, errBusy
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := set(fd, line); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), path), nil
}

// set takes the port for us alone and sets its line.
func set(fd int, line devices.SerialLine) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return errNoPort
	}
	// The lock holds among ourselves even where we are root, whom TIOCEXCL
	// does not stop.
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errBusy
	}
	if err := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err != nil {
		return fmt.Errorf("take the port alone: %w", err)
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0 // bytes as they are
	// CLOCAL: no modem. Without HUPCL closing the port does not drop DTR, which
	// resets some converters.
	t.Cflag = unix.CREAD | unix.CLOCAL | unix.BOTHER
	t.Ispeed, t.Ospeed = uint32(line.Baud), uint32(line.Baud)
	t.Cflag |= map[int]uint32{7: unix.CS7, 8: unix.CS8}[line.DataBits]
	t.Cflag |= map[string]uint32{"even": unix.PARENB, "odd": unix.PARENB | unix.PARODD}[line.Parity]
	if line.Parity != "none" {
		t.Iflag |= unix.INPCK | unix.IGNPAR // what came broken is not there
	}
	if line.StopBits == 2 {
		t.Cflag |= unix.CSTOPB
	}
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS2, t); err != nil {
		return fmt.Errorf("set the line: %w", err)
	}
	if err := unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIOFLUSH); err != nil {
		return fmt.Errorf("empty the line: %w", err)
	}
	return nil
}
