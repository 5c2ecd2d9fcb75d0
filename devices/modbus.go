package devices

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"
)

// Most of what one request reads (Modbus Application Protocol V1.1b3, 6.1 and
// 6.3), and of a text that spells a number.
const (
	MostRegisters  = 125
	MostCoils      = 2000
	longestString  = 64
	widestGap      = MostRegisters - 2 // one register at each end
	longestPause   = 10 * time.Second
	longestSettle  = time.Minute
	slowestSerial  = 300
	fastestSerial  = 4_000_000
	serialExamples = "modbus://192.168.1.64:502、modbus+rtu://192.168.1.64:4001、modbus+rtu:///dev/ttyUSB0"
)

// ModbusSettings are a Modbus device's own.
type ModbusSettings struct {
	Unit   uint8       `json:"unit"`             // unit id, 1 to 247; 0 and 255 address a TCP device itself
	Gap    int         `json:"gap,omitempty"`    // unused registers that one request may read over; zero means 8, -1 none
	Size   int         `json:"size,omitempty"`   // most registers that one request may ask for; zero means 125
	Pause  Duration    `json:"pause,omitempty"`  // that the bus rests between an answer and the next request, whoever's
	Settle Duration    `json:"settle,omitempty"` // that the bus rests after connecting
	Serial *SerialLine `json:"serial,omitempty"` // of a serial port; nil means 9600 8N1
}

// SerialLine is how a serial port speaks. All devices of one port have the same.
type SerialLine struct {
	Baud     int    `json:"baud,omitempty"`      // bits a second; zero means 9600
	Parity   string `json:"parity,omitempty"`    // none (the default), even, odd
	DataBits int    `json:"data_bits,omitempty"` // 7 (ASCII only) or 8; zero means 8
	StopBits int    `json:"stop_bits,omitempty"` // 1 or 2; zero means 1
}

// Register is a place in a Modbus device.
type Register struct {
	Table   string `json:"table"`            // holding, input, coil, discrete
	Address uint16 `json:"address"`          // as in the request, counted from 0
	Type    string `json:"type"`             // int16 uint16 int32 uint32 int64 uint64 float32 float64 bcd16 bcd32 string bit bits; bit for coil and discrete
	Order   string `json:"order,omitempty"`  // ABCD (the default), CDAB, BADC, DCBA: the bytes of a 32-bit value as they arrive; for string ABCD or BADC
	Bit     uint8  `json:"bit,omitempty"`    // 0 (least significant) to 15, for types bit and bits, whose lowest it is
	Width   uint8  `json:"width,omitempty"`  // number of bits, for type bits
	Length  uint8  `json:"length,omitempty"` // registers that the text of type string takes, two characters each
}

// Bits says whether the table holds single bits, not registers.
func (r *Register) Bits() bool { return r.Table == "coil" || r.Table == "discrete" }

// Words is the number of places in its table that the type takes, registers of
// 16 bits or single bits, 0 if unknown.
func (r *Register) Words() int {
	switch r.Type {
	case "int16", "uint16", "bcd16", "bit", "bits":
		return 1
	case "int32", "uint32", "bcd32", "float32":
		return 2
	case "int64", "uint64", "float64":
		return 4
	case "string":
		return int(r.Length)
	default:
		return 0
	}
}

// Contradicts says that two registers of one device overlap and cannot both be
// right. Several points may take the same value, and some its bits.
func (r *Register) Contradicts(o *Register) bool {
	if r.Table != o.Table || r.end() <= int(o.Address) || o.end() <= int(r.Address) {
		return false
	}
	if r.Address != o.Address || r.Words() != o.Words() {
		return true
	}
	if r.Words() == 1 && (r.partial() || o.partial()) {
		return false
	}
	return r.Type != o.Type || cmp.Or(r.Order, "ABCD") != cmp.Or(o.Order, "ABCD")
}

func (r *Register) end() int { return int(r.Address) + r.Words() }

// partial says that the type takes some bits of its register only.
func (r *Register) partial() bool { return r.Type == "bit" || r.Type == "bits" }

func (r *Register) check(ps *Problems) {
	ps.Add(checkOneOf("register.table", r.Table, "holding", "input", "coil", "discrete"))
	if r.Bits() {
		if r.Type != "bit" {
			ps.Add(Invalid("register.type", "not_one_of", "线圈与离散输入只有一位，类型请选 bit", "a coil or discrete input is one bit; choose type bit"))
		}
		if r.Bit != 0 || (r.Order != "" && r.Order != "ABCD") {
			ps.Add(Invalid("register.bit", "not_used", "线圈与离散输入按地址取，没有位号与字节序，请留空", "a coil or discrete input is found by its address alone; leave bit and order empty"))
		}
	} else {
		ps.Add(checkOneOf("register.type", r.Type, "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bcd16", "bcd32", "string", "bit", "bits"))
	}
	switch {
	case r.Order == "":
	case r.Type == "string":
		ps.Add(checkOneOf("register.order", r.Order, "ABCD", "BADC"))
	default:
		ps.Add(checkOneOf("register.order", r.Order, "ABCD", "CDAB", "BADC", "DCBA"))
	}
	if r.Bit > 15 {
		ps.Add(Invalid("register.bit", "out_of_range", "位号须为 0 至 15", "a register has bits 0 to 15"))
	}
	r.checkExtent(ps)
}

// checkExtent looks at what only some types have.
func (r *Register) checkExtent(ps *Problems) {
	switch {
	case r.Type == "bits" && (r.Width == 0 || int(r.Bit)+int(r.Width) > 16):
		ps.Add(Invalid("register.width", "out_of_range", "位宽至少为 1，且起始位与位宽之和不超过 16", "take at least one bit, and none beyond bit 15"))
	case r.Type != "bits" && r.Width != 0:
		ps.Add(Invalid("register.width", "not_used", "仅位段（bits）有位宽，请留空", "only type bits has a width; leave it empty"))
	}
	switch {
	case r.Type == "string" && (r.Length == 0 || r.Length > longestString):
		ps.Add(Invalid("register.length", "out_of_range",
			fmt.Sprintf("请填写字符串占用的寄存器数，1 至 %d", longestString), fmt.Sprintf("give the registers that the text takes, 1 to %d", longestString)))
	case r.Type != "string" && r.Length != 0:
		ps.Add(Invalid("register.length", "not_used", "仅字符串（string）有长度，请留空", "only type string has a length; leave it empty"))
	}
	if last := int(r.Address) + r.Words() - 1; last > 65535 {
		ps.Add(Invalid("register.address", "out_of_range", fmt.Sprintf("寄存器超出 65535（末地址 %d）", last), fmt.Sprintf("the value would end at register %d; the last one is 65535", last)))
	}
}

func (d *Device) checkModbus(ps *Problems) {
	ps.Add(CheckModbusEndpoint("endpoint", d.Endpoint))
	if d.Modbus == nil {
		ps.Add(Invalid("modbus", "missing", "请填写 Modbus 单元号", "give the Modbus unit id"))
		return
	}
	d.Modbus.check(ps)
	if s := d.Modbus.Serial; s != nil {
		s.check(ps)
		if !SerialPort(d.Endpoint) {
			ps.Add(Invalid("modbus.serial", "not_used", "仅串口（如 modbus+rtu:///dev/ttyUSB0）有串口参数，请留空", "only a serial port such as modbus+rtu:///dev/ttyUSB0 has line settings; leave them empty"))
		}
		if s.DataBits == 7 && !strings.HasPrefix(d.Endpoint, "modbus+ascii:") {
			ps.Add(Invalid("modbus.serial.data_bits", "out_of_range", "RTU 须为 8 个数据位", "RTU needs 8 data bits"))
		}
	}
}

func (m *ModbusSettings) check(ps *Problems) {
	if m.Unit > 247 && m.Unit < 255 {
		ps.Add(Invalid("modbus.unit", "out_of_range", "单元号须为 1 至 247；0 或 255 表示 TCP 设备自身", "a unit id is 1 to 247; 0 or 255 means the TCP device itself"))
	}
	if m.Gap < -1 || m.Gap > widestGap {
		ps.Add(Invalid("modbus.gap", "register_span",
			fmt.Sprintf("一次请求最多读 125 个寄存器，允许跨过的空寄存器须为 0 至 %d 个，-1 表示不跨", widestGap),
			fmt.Sprintf("one request reads at most 125 registers; let it read over 0 to %d unused ones, or -1 for none", widestGap)))
	}
	if m.Size < 0 || m.Size > MostRegisters {
		ps.Add(Invalid("modbus.size", "out_of_range", "一次请求的寄存器数须为 1 至 125，留空为 125", "one request asks for 1 to 125 registers; empty means 125"))
	}
	if p := m.Pause.D(); p < 0 || p > longestPause {
		ps.Add(Invalid("modbus.pause", "out_of_range", "请求间隔须在 0 与 10s 之间", "rest 0 to 10s between requests"))
	}
	if s := m.Settle.D(); s < 0 || s > longestSettle {
		ps.Add(Invalid("modbus.settle", "out_of_range", "连接后的等待须在 0 与 1m 之间", "rest 0 to 1m after connecting"))
	}
}

func (s *SerialLine) check(ps *Problems) {
	if s.Baud != 0 && (s.Baud < slowestSerial || s.Baud > fastestSerial) {
		ps.Add(Invalid("modbus.serial.baud", "out_of_range", "波特率须为 300 至 4000000，常用 9600、19200、115200", "a line has 300 to 4000000 baud, often 9600, 19200 or 115200"))
	}
	if s.Parity != "" {
		ps.Add(checkOneOf("modbus.serial.parity", s.Parity, "none", "even", "odd"))
	}
	if s.DataBits != 0 && s.DataBits != 7 && s.DataBits != 8 {
		ps.Add(Invalid("modbus.serial.data_bits", "out_of_range", "数据位须为 7 或 8", "a character has 7 or 8 data bits"))
	}
	if s.StopBits < 0 || s.StopBits > 2 {
		ps.Add(Invalid("modbus.serial.stop_bits", "out_of_range", "停止位须为 1 或 2", "a character has 1 or 2 stop bits"))
	}
}

// SerialPort says whether a Modbus endpoint is a serial port of this machine:
// it has no host, and its path is the port's device file.
func SerialPort(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && u.Host == "" && (u.Scheme == "modbus+rtu" || u.Scheme == "modbus+ascii") && strings.HasPrefix(u.Path, "/dev/")
}

// CheckModbusEndpoint says what is wrong with the address of a Modbus device:
// the scheme names the framing; a host and port is a network, a path below /dev
// a serial port.
func CheckModbusEndpoint(field, raw string) *Problem {
	u, err := url.Parse(raw)
	switch {
	case err != nil || (u.Scheme != "modbus" && u.Scheme != "modbus+rtu" && u.Scheme != "modbus+ascii"):
	case u.User != nil:
		return Invalid(field, "password_in_url", "地址中不得含用户名和密码", "a Modbus address has no user name and password")
	case u.Host == "dev" || (u.Host == "" && u.Scheme == "modbus" && strings.HasPrefix(u.Path, "/dev/")):
		return Invalid(field, "bad_address", "串口须写作 modbus+rtu:///dev/ttyUSB0（三条斜线）", "write a serial port like modbus+rtu:///dev/ttyUSB0, with three slashes")
	case SerialPort(raw):
		if path.Clean(u.Path) != u.Path || u.RawQuery != "" || u.Fragment != "" {
			return Invalid(field, "bad_address", "串口须为 /dev 下的设备文件，波特率等填入串口参数", "name a device file below /dev; baud rate and the like have fields of their own")
		}
		return nil
	case u.Hostname() != "" && (u.Path == "" || u.Path == "/"):
		return nil
	}
	return Invalid(field, "bad_address", "请按如下形式填写："+serialExamples, "write the address like "+strings.ReplaceAll(serialExamples, "、", ", "))
}
