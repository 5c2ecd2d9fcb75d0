// Package serial opens the serial ports of this machine, each for one user at a
// time, as files whose reads and writes obey deadlines.
package serial

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"offsite/devices"
)

// device is what may be opened: ports of the board, of USB adapters and modems,
// pseudo-terminals, Bluetooth. Other files below /dev do harm when opened (a
// watchdog reboots the machine).
var device = regexp.MustCompile(`^/dev/(tty[A-Za-z]+[0-9]*|pts/[0-9]+|rfcomm[0-9]+)$`)

// Open opens the port, by its device file or a link to it below /dev such as
// those of /dev/serial/by-id. Nobody else can open it until it is closed. Errors
// are Problems.
func Open(path string, line devices.SerialLine) (*os.File, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, problem(path, err)
	}
	if !strings.HasPrefix(path, "/dev/") || !device.MatchString(real) {
		return nil, problem(path, errNoPort)
	}
	f, err := open(real, Defaults(line))
	if err != nil {
		return nil, problem(path, err)
	}
	return f, nil
}

// Defaults fills in what line leaves open: 9600 8N1, as most instruments leave
// the factory.
func Defaults(line devices.SerialLine) devices.SerialLine {
	if line.Baud == 0 {
		line.Baud = 9600
	}
	if line.Parity == "" {
		line.Parity = "none"
	}
	if line.DataBits == 0 {
		line.DataBits = 8
	}
	if line.StopBits == 0 {
		line.StopBits = 1
	}
	return line
}

var (
	errNoPort = errors.New("not a serial port")
	errBusy   = errors.New("the port is in use")
)

// problem puts why a port cannot be opened into words for people.
func problem(path string, err error) *devices.Problem {
	p := &devices.Problem{Kind: devices.ErrUnavailable, Cause: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Code = "port_missing"
		p.ZH = fmt.Sprintf("本机没有串口 %s；请检查转换器是否插好，用 ls /dev/serial/by-id 查看其名称", path)
		p.EN = fmt.Sprintf("this machine has no port %s; plug the adapter in and find its name by ls /dev/serial/by-id", path)
	case errors.Is(err, fs.ErrPermission):
		p.Code = "port_denied"
		p.ZH = fmt.Sprintf("无权打开串口 %s；请将运行网关的用户加入 dialout 组", path)
		p.EN = fmt.Sprintf("the gateway may not open %s; put its user into the group dialout", path)
	case errors.Is(err, errBusy):
		p.Code = "port_busy"
		p.ZH = fmt.Sprintf("串口 %s 正被其他程序使用，或以另一名称登记；请关闭该程序，并用同一名称登记同一串口", path)
		p.EN = fmt.Sprintf("another program holds %s, or it is registered by another name as well; close the program and use one name for one port", path)
	case errors.Is(err, errNoPort):
		p.Code = "not_a_port"
		p.ZH = fmt.Sprintf("%s 不是串口；请填写如 /dev/ttyUSB0、/dev/ttyS1 或 /dev/serial/by-id/… 的设备文件", path)
		p.EN = fmt.Sprintf("%s is not a serial port; name a device file such as /dev/ttyUSB0, /dev/ttyS1 or /dev/serial/by-id/…", path)
	default:
		p.Code = "port_failed"
		p.ZH = fmt.Sprintf("串口 %s 打不开或不支持所设参数；请核对波特率、校验与停止位", path)
		p.EN = fmt.Sprintf("%s cannot be opened or does not take its settings; check baud rate, parity and stop bits", path)
	}
	return p
}
