package modbus

import (
	"bufio"
	"context"
	"encoding/hex"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/goburrow/modbus"

	"offsite/devices"
	"offsite/devices/modbus/serial"
	"offsite/devices/modbus/wire"
)

// Link is what frames travel on: a connection or an open serial port.
type Link interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// framing is how requests and answers are wrapped.
type framing string

const (
	framingTCP   framing = "TCP"
	framingRTU   framing = "RTU"
	framingASCII framing = "ASCII"
)

// untagged says that a frame does not tell which request it answers.
func (f framing) untagged() bool { return f != framingTCP }

func (f framing) scheme() string {
	if f == framingTCP {
		return "modbus"
	}
	return "modbus+" + strings.ToLower(string(f))
}

// length is how many characters n bytes of unit and PDU take on an untagged line.
func (f framing) length(n int) int {
	if f == framingASCII {
		return 2*n + 5
	}
	return n + 2
}

// next gives the next frame of an untagged line, and its unit and PDU.
func (f framing) next(r *bufio.Reader) (frame, body []byte, err error) {
	if f == framingASCII {
		return wire.ReadASCII(r)
	}
	frame, err = wire.ReadRTU(r)
	return frame, frame, err
}

// head gives unit and function of a request on an untagged line.
func (f framing) head(request []byte) []byte {
	if f != framingASCII {
		return request[:2]
	}
	head := make([]byte, 2)
	_, _ = hex.Decode(head, request[1:5]) // goburrow wrote it
	return head
}

// packager gives goburrow's, and how to tell it the unit. Nothing is opened.
func (f framing) packager() (modbus.Packager, func(uint8)) {
	switch f {
	case framingRTU:
		h := modbus.NewRTUClientHandler("")
		return h, func(u uint8) { h.SlaveId = u }
	case framingASCII:
		h := modbus.NewASCIIClientHandler("")
		return h, func(u uint8) { h.SlaveId = u }
	default:
		h := modbus.NewTCPClientHandler("")
		return h, func(u uint8) { h.SlaveId = u }
	}
}

// endpoint is where a bus is and how it speaks.
type endpoint struct {
	addr    string // host:port, or the path of a serial port
	framing framing
	serial  bool
	line    devices.SerialLine // of a serial port, whole
}

// endpointOf reads the address of a device that has been checked.
func endpointOf(dev *devices.Device) (endpoint, error) {
	u, err := url.Parse(dev.Endpoint)
	if err != nil {
		return endpoint{}, err
	}
	e := endpoint{framing: map[string]framing{"modbus+rtu": framingRTU, "modbus+ascii": framingASCII}[u.Scheme]}
	if e.framing == "" {
		e.framing = framingTCP
	}
	if devices.SerialPort(dev.Endpoint) {
		e.addr, e.serial = u.Path, true
		if dev.Modbus.Serial != nil {
			e.line = *dev.Modbus.Serial
		}
		e.line = serial.Defaults(e.line)
		return e, nil
	}
	port := u.Port()
	if port == "" {
		port = "502"
	}
	e.addr = net.JoinHostPort(strings.ToLower(u.Hostname()), port)
	return e, nil
}

// url is the address as a device has it.
func (e endpoint) url() string {
	return e.framing.scheme() + "://" + e.addr // a path begins with the third slash
}

// Times of an untagged line.
const (
	networkSilence = 2 * time.Millisecond    // 3.5 characters at 19200 baud and above
	leastSilence   = 1750 * time.Microsecond // V1.02, 2.5.1.1: above 19200 baud
	networkByte    = 1100 * time.Microsecond // a device server's line, as if at 9600 baud
)

// character is how long one takes on the line.
func (e endpoint) character() time.Duration {
	if !e.serial {
		return networkByte
	}
	bits := 1 + e.line.DataBits + e.line.StopBits
	if e.line.Parity != "none" {
		bits++
	}
	return time.Duration(bits) * time.Second / time.Duration(e.line.Baud)
}

// silence is what parts two frames.
func (e endpoint) silence() time.Duration {
	if !e.serial {
		return networkSilence
	}
	return max(leastSilence, 7*e.character()/2)
}

// under is how long a query and its answer are under way on the line.
func (e endpoint) under(q query) time.Duration {
	return time.Duration(e.framing.length(6+len(q.values))+e.framing.length(3+q.size())) * e.character()
}

// open dials or opens the port.
func (e endpoint) open(ctx context.Context, cfg *Config) (Link, error) {
	if e.serial {
		return cfg.Port(e.addr, e.line)
	}
	return cfg.Dial(ctx, "tcp", e.addr)
}
