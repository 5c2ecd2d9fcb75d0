package bus

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/goburrow/modbus"

	"offsite/devices"
	"offsite/devices/modbus/wire"
)

// Kind is what went wrong between us and a unit, Modbus exceptions apart.
type Kind int

// The kinds of faults.
const (
	Unreachable Kind = iota // no connection
	Silent                  // no answer in time
	Closed                  // the peer closed the connection
	Wrong                   // an answer that does not fit the request, or no frame at all
)

// Fault is an error of the exchange: no value came of it.
type Fault struct {
	Kind  Kind
	err   error
	after time.Duration // since the request, or zero
}

func (f *Fault) Error() string { return f.err.Error() }
func (f *Fault) Unwrap() error { return f.err }

// faultOf sorts an error of an exchange by its kind.
func faultOf(err error) *Fault {
	var f *Fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Fault{Kind: Silent, err: err}
	case errors.Is(err, wire.ErrGarbage):
		return &Fault{Kind: Wrong, err: err}
	case isConnError(err):
		return &Fault{Kind: Closed, err: err}
	default: // goburrow's own checks
		return &Fault{Kind: Wrong, err: err}
	}
}

func isConnError(err error) bool {
	var sys *os.SyscallError
	var port *fs.PathError // of a serial port that was pulled out
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) || errors.As(err, &sys) || errors.As(err, &port)
}

// Problem puts a fault of a unit at addr into words for people.
func (f *Fault) Problem(addr string, unit uint8, timeout time.Duration) *devices.Problem {
	var port *devices.Problem
	if errors.As(f.err, &port) { // a serial port says it better
		return port
	}
	p := &devices.Problem{Kind: devices.ErrUnavailable, Cause: f.err}
	waited := min(f.after, timeout).Round(10 * time.Millisecond)
	switch f.Kind {
	case Unreachable:
		p.Code = "unreachable"
		p.ZH, p.EN = unreachableWords(addr, f.err)
	case Silent:
		p.Code = "no_answer"
		p.ZH = fmt.Sprintf("单元 %d 在 %s 内未应答；请检查单元号、接线与仪表电源", unit, waited)
		p.EN = fmt.Sprintf("unit %d did not answer within %s; check unit id, wiring and the instrument's power", unit, waited)
	case Closed:
		p.Code = "connection_closed"
		p.ZH = fmt.Sprintf("%s 断开了连接；请检查其允许的连接数与运行状态", addr)
		p.EN = fmt.Sprintf("%s closed the connection; check how many connections it allows and whether it runs", addr)
	case Wrong:
		p.Code = "bad_answer"
		p.ZH = fmt.Sprintf("单元 %d 的应答与请求不符，已丢弃；请检查协议（Modbus TCP 或 RTU）、单元号是否重复及线路干扰", unit)
		p.EN = fmt.Sprintf("the answer of unit %d does not fit the request and was dropped; check the protocol (Modbus TCP or RTU), doubled unit ids and noise on the line", unit)
	}
	return p
}

// unreachableWords tell a port without a listener from a host that is not there.
func unreachableWords(addr string, err error) (zh, en string) {
	var slow net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("%s 拒绝连接，主机在但该端口无服务；请检查端口号与设备的 Modbus TCP（或串口服务器）是否启用", addr),
			fmt.Sprintf("%s refuses connections: the host is there but nothing listens at this port; check the port and whether the device's Modbus TCP is switched on", addr)
	case errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH):
		return fmt.Sprintf("到 %s 没有路由或主机不在线；请检查地址、网段、网线与设备电源", addr),
			fmt.Sprintf("there is no way to %s; check address, subnet, cable and power", addr)
	case errors.As(err, &slow) && slow.Timeout():
		return fmt.Sprintf("%s 没有任何回应；请检查地址、防火墙、网线与设备电源", addr),
			fmt.Sprintf("nothing answers at %s; check address, firewall, cable and power", addr)
	default:
		return fmt.Sprintf("连接不上 %s；请检查地址、端口、网线与设备电源", addr), fmt.Sprintf("cannot connect to %s; check address, port, cable and power", addr)
	}
}

// Exception is the code by which a unit, or a gateway for it, refuses a request
// (Modbus Application Protocol V1.1b3, section 7).
type Exception byte

// Exceptions that tell more than that this request was refused.
const (
	IllegalFunction = Exception(modbus.ExceptionCodeIllegalFunction)
	IllegalAddress  = Exception(modbus.ExceptionCodeIllegalDataAddress)
)

func (e Exception) Error() string { return fmt.Sprintf("modbus exception %d", byte(e)) }

// Unreached says that a gateway answered for a unit that did not.
func (e Exception) Unreached() bool {
	return e == modbus.ExceptionCodeGatewayPathUnavailable || e == modbus.ExceptionCodeGatewayTargetDeviceFailedToRespond
}

// Problem puts the refusal of a query into words for people.
func (e Exception) Problem(q Query) *devices.Problem {
	zh, en := wire.ExceptionWords(byte(e))
	places := map[byte][2]string{
		wire.ReadCoils: {"线圈", "coil"}, wire.WriteCoil: {"线圈", "coil"}, wire.WriteCoils: {"线圈", "coil"}, wire.ReadDiscrete: {"离散输入", "discrete input"},
	}[q.Function]
	if places[0] == "" {
		places = [2]string{"寄存器", "register"}
	}
	whereZH, whereEN := fmt.Sprintf("%s %d", places[0], q.Start), fmt.Sprintf("%s %d", places[1], q.Start)
	if last := int(q.Start) + int(q.Quantity) - 1; last > int(q.Start) {
		whereZH, whereEN = fmt.Sprintf("%s %d–%d", places[0], q.Start, last), fmt.Sprintf("%ss %d to %d", places[1], q.Start, last)
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: fmt.Sprintf("exception_%d", byte(e)), Cause: e,
		ZH: fmt.Sprintf("%s：Modbus 异常 %d，%s", whereZH, byte(e), zh),
		EN: fmt.Sprintf("%s: Modbus exception %d, %s", whereEN, byte(e), en),
	}
}
