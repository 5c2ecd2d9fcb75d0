package wire

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"offsite/devices"
)

// shape is the layout of the data of a group of functions in one direction.
type shape struct {
	direction string
	// fits says whether data has that layout; limits are looked at apart.
	fits func(data []byte) bool
	read func(f *Frame, data []byte)
}

// shapes gives the layouts of a function, the likelier first.
func shapes(function uint8) []shape {
	switch function {
	case ReadCoils, ReadDiscrete:
		return []shape{{Request, isSpan, readSpan}, {Response, isCounted, readBits}}
	case ReadHolding, ReadInput:
		return []shape{{Request, isSpan, readSpan}, {Response, areRegisters, readRegisters}}
	case WriteCoil, WriteRegister:
		return []shape{{Either, isSpan, readSingle}}
	case WriteCoils, WriteRegisters:
		return []shape{{Request, isCountedSpan, readCountedSpan}, {Response, isSpan, readSpan}}
	case maskWrite:
		return []shape{{Either, func(b []byte) bool { return len(b) == 6 }, readMasks}}
	case readWrite:
		return []shape{{Request, isDouble, readDouble}, {Response, areRegisters, readRegisters}}
	default:
		return []shape{{Unknown, func([]byte) bool { return true }, func(f *Frame, b []byte) { f.Data = hex.EncodeToString(b) }}}
	}
}

// pdu reads the data of a function that is no exception.
func (r *Reader) pdu(f *Frame, data []byte, before *asked) *devices.Problem {
	var fitting []shape
	for _, s := range shapes(f.Function) {
		if s.fits(data) && (r.Direction == "" || r.Direction == s.direction || s.direction == Either || s.direction == Unknown) {
			fitting = append(fitting, s)
		}
	}
	if len(fitting) == 0 {
		return misshapen(f, data, r.Direction)
	}
	s := fitting[0]
	if len(fitting) > 1 { // a request and an answer
		asks := binary.BigEndian.Uint16(data[2:])
		switch {
		case asks == 0 || asks > most(f.Function), // no request has that
			before.answeredBy(f, Response) && int(data[0]) == before.bytes():
			s = fitting[1]
		default:
			f.Ambiguous = true
		}
	}
	f.Direction = s.direction
	if r.Direction != "" && (s.direction == Either || s.direction == Unknown) {
		f.Direction = r.Direction
	}
	s.read(f, data)
	if f.Direction == Response {
		before.complete(f)
	}
	if problem := r.limits(f); problem != nil {
		return problem
	}
	if f.Direction == Request {
		*before = asked{unit: f.Unit, function: f.Function}
		if f.Address != nil {
			before.address, before.quantity = *f.Address, *f.Quantity
		}
	}
	return nil
}

// exception reads why a device refused.
func (r *Reader) exception(f *Frame, data []byte, before *asked) *devices.Problem {
	if len(data) != 1 || r.Direction == Request {
		return misshapen(f, data, r.Direction)
	}
	f.Direction = Response
	zh, en := ExceptionWords(data[0])
	f.Exception = &Exception{data[0], zh, en}
	before.complete(f)
	return nil
}

// answeredBy says whether f, of that direction, may answer the request.
func (a *asked) answeredBy(f *Frame, direction string) bool {
	return direction == Response && a.function == f.Function && a.unit == f.Unit && a.function != 0
}

// bytes is how many bytes of values the answer has.
func (a *asked) bytes() int {
	if a.function == ReadCoils || a.function == ReadDiscrete {
		return (int(a.quantity) + 7) / 8
	}
	return 2 * int(a.quantity)
}

// complete adds to an answer what its request has said.
func (a *asked) complete(f *Frame) {
	if !a.answeredBy(f, Response) || f.Address != nil {
		return
	}
	switch {
	case f.Exception != nil:
	case f.Bits != nil:
		if a.bytes() != len(f.Bits)/8 {
			return
		}
		f.Bits = f.Bits[:a.quantity]
	case int(a.quantity) != len(f.Values):
		return
	}
	address, quantity := a.address, a.quantity
	f.Address, f.Quantity = &address, &quantity
}

// most is how many places a request of a function may name, 0 if it names one.
func most(function uint8) uint16 {
	switch function {
	case ReadCoils, ReadDiscrete:
		return 2000
	case ReadHolding, ReadInput, readWrite:
		return 125
	case WriteCoils:
		return 1968
	case WriteRegisters:
		return 123
	}
	return 0
}

// limits refuses quantities beyond the standard's.
func (r *Reader) limits(f *Frame) *devices.Problem {
	limit := most(f.Function)
	if f.Quantity == nil || limit == 0 || (*f.Quantity >= 1 && *f.Quantity <= limit) {
		return nil
	}
	if r.Tolerant {
		f.Dialects = append(f.Dialects, "quantity")
		return nil
	}
	return devices.Invalid("quantity", "out_of_range",
		fmt.Sprintf("数量为 %d，该功能码允许 1 至 %d", *f.Quantity, limit), fmt.Sprintf("the quantity is %d; this function takes 1 to %d", *f.Quantity, limit))
}

func misshapen(f *Frame, data []byte, direction string) *devices.Problem {
	zh, en := "请求或应答", "request or answer"
	switch direction {
	case Request:
		zh, en = "请求", "request"
	case Response:
		zh, en = "应答", "answer"
	}
	return devices.Invalid("data", "bad_shape",
		fmt.Sprintf("功能码 %d（%s）之后的 %d 字节不是完整的%s", f.Function, f.Name.ZH, len(data), zh),
		fmt.Sprintf("the %d bytes behind function %d (%s) are no whole %s", len(data), f.Function, f.Name.EN, en))
}

func isSpan(b []byte) bool { return len(b) == 4 }

// isCounted is a count of bytes and as many.
func isCounted(b []byte) bool { return len(b) >= 2 && len(b) == 1+int(b[0]) }

func areRegisters(b []byte) bool { return isCounted(b) && b[0]%2 == 0 }

// isCountedSpan is a span and what is to be written there.
func isCountedSpan(b []byte) bool { return len(b) >= 6 && len(b) == 5+int(b[4]) }

// isDouble is function 23: a span to read and one to write.
func isDouble(b []byte) bool {
	return len(b) >= 11 && len(b) == 9+int(b[8]) && int(b[8]) == 2*int(binary.BigEndian.Uint16(b[6:]))
}

func (f *Frame) span(b []byte) {
	address, quantity := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	f.Address, f.Quantity = &address, &quantity
}

func (f *Frame) words(b []byte) {
	for ; len(b) >= 2; b = b[2:] {
		f.Registers = append(f.Registers, fmt.Sprintf("%04X", b[:2]))
		f.Values = append(f.Values, binary.BigEndian.Uint16(b))
	}
}

func readSpan(f *Frame, b []byte) { f.span(b) }

func readRegisters(f *Frame, b []byte) {
	f.words(b[1:])
	f.Pairs = pairs(b[1:])
}

func readBits(f *Frame, b []byte) { f.Bits = bitsOf(b[1:], 8*len(b[1:])) }

// readSingle is a write of one place: address and value.
func readSingle(f *Frame, b []byte) {
	f.span(b)
	*f.Quantity = 1
	if f.Function == WriteRegister {
		f.words(b[2:])
		return
	}
	switch value := binary.BigEndian.Uint16(b[2:]); value {
	case 0:
		f.Bits = []int{0}
	case 0xff00:
		f.Bits = []int{1}
	default: // refused by every device
		f.Data = hex.EncodeToString(b[2:])
	}
}

func readCountedSpan(f *Frame, b []byte) {
	f.span(b)
	if f.Function == WriteCoils {
		f.Bits = bitsOf(b[5:], min(int(*f.Quantity), 8*len(b[5:])))
		return
	}
	f.words(b[5:])
	f.Pairs = pairs(b[5:])
}

func readMasks(f *Frame, b []byte) {
	address := binary.BigEndian.Uint16(b)
	quantity := uint16(1)
	f.Address, f.Quantity = &address, &quantity
	f.AndMask, f.OrMask = fmt.Sprintf("%04X", b[2:4]), fmt.Sprintf("%04X", b[4:6])
}

func readDouble(f *Frame, b []byte) {
	f.span(b)
	to := binary.BigEndian.Uint16(b[4:])
	f.AddressTo = &to
	f.words(b[9:])
	f.Pairs = pairs(b[9:])
}

// bitsOf gives the first n bits, the lowest of each byte first.
func bitsOf(b []byte, n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = int(b[i/8] >> (i % 8) & 1)
	}
	return list
}
