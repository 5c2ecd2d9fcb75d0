package bus

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
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

// Framing is how requests and answers are wrapped.
type Framing string

// The framings.
const (
	TCP   Framing = "TCP"
	RTU   Framing = "RTU"
	ASCII Framing = "ASCII"
)

// Untagged says that a frame does not tell which request it answers.
func (f Framing) Untagged() bool { return f != TCP }

// scheme is what addresses of that framing begin with, before the colon.
func (f Framing) scheme() string {
	if f == TCP {
		return "modbus"
	}
	return "modbus+" + strings.ToLower(string(f))
}

// length is how many characters n bytes of unit and PDU take on an untagged line.
func (f Framing) length(n int) int {
	if f == ASCII {
		return 2*n + 5
	}
	return n + 2
}

// next gives the next frame of an untagged line, and its unit and PDU.
func (f Framing) next(r *bufio.Reader) (frame, body []byte, err error) {
	if f == ASCII {
		return wire.ReadASCII(r)
	}
	frame, err = wire.ReadRTU(r)
	return frame, frame, err
}

// head gives unit and function of a request on an untagged line.
func (f Framing) head(request []byte) []byte {
	if f != ASCII {
		return request[:2]
	}
	head := make([]byte, 2)
	_, _ = hex.Decode(head, request[1:5]) // goburrow wrote it
	return head
}

// packager gives goburrow's, and how to tell it the unit. Nothing is opened.
func (f Framing) packager() (modbus.Packager, func(uint8)) {
	switch f {
	case RTU:
		h := modbus.NewRTUClientHandler("")
		return h, func(u uint8) { h.SlaveId = u }
	case ASCII:
		h := modbus.NewASCIIClientHandler("")
		return h, func(u uint8) { h.SlaveId = u }
	default:
		h := modbus.NewTCPClientHandler("")
		return h, func(u uint8) { h.SlaveId = u }
	}
}

// Endpoint is where a bus is and how it speaks.
type Endpoint struct {
	Addr    string // host:port, or the path of a serial port
	Framing Framing
	Serial  bool
	Line    devices.SerialLine // of a serial port, whole
}

// EndpointOf reads the address of a device that has been checked.
func EndpointOf(dev *devices.Device) (Endpoint, error) {
	u, err := url.Parse(dev.Endpoint)
	if err != nil {
		return Endpoint{}, err
	}
	e := Endpoint{Framing: map[string]Framing{"modbus+rtu": RTU, "modbus+ascii": ASCII}[u.Scheme]}
	if e.Framing == "" {
		e.Framing = TCP
	}
	if devices.SerialPort(dev.Endpoint) {
		e.Addr, e.Serial = u.Path, true
		if dev.Modbus.Serial != nil {
			e.Line = *dev.Modbus.Serial
		}
		e.Line = serial.Defaults(e.Line)
		return e, nil
	}
	port := u.Port()
	if port == "" {
		port = "502"
	}
	e.Addr = net.JoinHostPort(strings.ToLower(u.Hostname()), port)
	return e, nil
}

// URL is the address as a device has it.
func (e Endpoint) URL() string {
	return e.Framing.scheme() + "://" + e.Addr // a path begins with the third slash
}

// Times of an untagged line.
const (
	networkSilence = 2 * time.Millisecond    // 3.5 characters at 19200 baud and above
	leastSilence   = 1750 * time.Microsecond // V1.02, 2.5.1.1: above 19200 baud
	networkByte    = 1100 * time.Microsecond // a device server's line, as if at 9600 baud
)

// character is how long one takes on the line.
func (e Endpoint) character() time.Duration {
	if !e.Serial {
		return networkByte
	}
	bits := 1 + e.Line.DataBits + e.Line.StopBits
	if e.Line.Parity != "none" {
		bits++
	}
	return time.Duration(bits) * time.Second / time.Duration(e.Line.Baud)
}

// silence is what parts two frames.
func (e Endpoint) silence() time.Duration {
	if !e.Serial {
		return networkSilence
	}
	return max(leastSilence, 7*e.character()/2)
}

// under is how long a query and its answer are under way on the line.
func (e Endpoint) under(q Query) time.Duration {
	return time.Duration(e.Framing.length(6+len(q.Values))+e.Framing.length(3+q.size())) * e.character()
}

// open dials or opens the port.
func (e Endpoint) open(ctx context.Context, cfg *Config) (Link, error) {
	if e.Serial {
		return cfg.Port(e.Addr, e.Line)
	}
	return cfg.Dial(ctx, "tcp", e.Addr)
}

// LineWords writes the line of a serial port as engineers do: 9600 8N1.
func (e Endpoint) LineWords() string {
	l := e.Line
	return fmt.Sprintf("%d %d%c%d", l.Baud, l.DataBits, map[string]rune{"none": 'N', "even": 'E', "odd": 'O'}[l.Parity], l.StopBits)
}
