//go:build !linux

package serial

import (
	"errors"
	"os"

	"offsite/devices"
)

var errUnsupported = errors.New("serial ports need Linux")

func open(string, devices.SerialLine) (*os.File, error) { return nil, errUnsupported }
