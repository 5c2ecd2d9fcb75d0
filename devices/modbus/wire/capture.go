package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"offsite/devices"
)

// Framings.
const (
	TCP   = "tcp"
	RTU   = "rtu"
	ASCII = "ascii"
)

// Directions.
const (
	Request  = "request"
	Response = "response"
	Either   = "either"  // a write of one place is answered by its own words
	Unknown  = "unknown" // the function does not tell
)

// Reader reads frames that somebody has captured, one after the other, so that
// an answer is understood by the request before it. The zero Reader is strict
// and finds out by itself what each frame is.
//
// A frame is a line: bytes in hexadecimal, with or without blanks, commas or
// 0x between them, or the text of an ASCII frame from its colon on. A label that
// ends with Tx: or Rx: may stand in front, as master simulators print it.
type Reader struct {
	Framing   string // TCP, RTU or ASCII; empty: each frame tells
	Direction string // Request or Response; empty: both are tried
	Tolerant  bool   // accept the dialects of the field; each frame names its own

	asked map[uint16]*asked // of TCP by transaction; of the others at 0
}

// asked is what a request has asked for; the zero value is none.
type asked struct {
	unit, function    uint8
	address, quantity uint16
}

// before gives what the last request of a transaction has asked for.
func (r *Reader) before(transaction uint16) *asked {
	if r.asked == nil {
		r.asked = make(map[uint16]*asked)
	}
	if r.asked[transaction] == nil {
		r.asked[transaction] = new(asked)
	}
	return r.asked[transaction]
}

// Frame is what one frame says. Fields that it does not have are absent.
type Frame struct {
	Framing     string     `json:"framing"`
	Direction   string     `json:"direction"`
	Transaction *uint16    `json:"transaction,omitempty"` // of TCP alone
	Unit        uint8      `json:"unit"`
	Function    uint8      `json:"function"` // without the bit that marks an exception
	Name        Words      `json:"name"`
	Address     *uint16    `json:"address,omitempty"`       // from 0; of an answer: that of its request, if it was seen
	Quantity    *uint16    `json:"quantity,omitempty"`      // of registers or bits
	AddressTo   *uint16    `json:"write_address,omitempty"` // of function 23
	Registers   []string   `json:"registers,omitempty"`     // four hexadecimal digits each, as they came
	Values      []uint16   `json:"values,omitempty"`        // the same as whole numbers
	Pairs       []Pair     `json:"pairs,omitempty"`         // of two neighbours each, from the first register on
	Bits        []int      `json:"bits,omitempty"`          // of coils and discrete inputs; an answer alone does not tell how many of the last byte count
	AndMask     string     `json:"and_mask,omitempty"`      // of function 22
	OrMask      string     `json:"or_mask,omitempty"`
	Data        string     `json:"data,omitempty"` // of other functions, in hexadecimal
	Exception   *Exception `json:"exception,omitempty"`
	Ambiguous   bool       `json:"ambiguous,omitempty"` // it would be whole in the other direction too
	Dialects    []string   `json:"dialects,omitempty"`  // how it departs from the standard, in tolerant mode
}

// Words are a name in Chinese and in English.
type Words struct {
	ZH string `json:"zh"`
	EN string `json:"en"`
}

// Exception is why a device refused.
type Exception struct {
	Code byte   `json:"code"`
	ZH   string `json:"zh"`
	EN   string `json:"en"`
}

// longest is the most bytes of any frame, and much more than that.
const longest = 4096

var (
	label      = regexp.MustCompile(`(?i)^[^:]{0,64}\b[TR]x:\s*`)
	separators = strings.NewReplacer(" ", "", "\t", "", ",", "", "0x", "", "0X", "", ":", "", "-", "")
)

// Read reads one line.
func (r *Reader) Read(line string) (*Frame, *devices.Problem) {
	line = strings.TrimSpace(line)
	line = line[len(label.FindString(line)):]
	if len(line) > longest {
		return nil, devices.Invalid("frame", "too_long", "一帧不会这么长；每行一帧", "no frame is as long as that; write one a line")
	}
	if strings.HasPrefix(line, ":") {
		return r.ascii(line)
	}
	if r.Framing == ASCII {
		return nil, devices.Invalid("frame", "no_colon", "ASCII 帧以冒号开头", "an ASCII frame begins with a colon")
	}
	raw, err := hex.DecodeString(separators.Replace(line))
	if err != nil || len(raw) == 0 {
		return nil, devices.Invalid("frame", "not_hexadecimal", "每行须为十六进制的一帧，或以冒号开头的 ASCII 帧", "each line is a frame in hexadecimal, or an ASCII frame from its colon on")
	}
	if r.Framing == RTU || (r.Framing == "" && !likeTCP(raw, r.Tolerant)) {
		return r.rtu(raw)
	}
	return r.tcp(raw)
}

// likeTCP says whether raw is to be read by the header of TCP. A right checksum
// of RTU weighs more: reading two registers from 0 on looks like a header, too.
func likeTCP(raw []byte, tolerant bool) bool {
	if _, _, sound := checked(raw, tolerant); sound || len(raw) < 8 || raw[2] != 0 || raw[3] != 0 {
		return false
	}
	return tolerant || len(raw) > 8 || bare(raw[7])
}

// bare says whether a function has a request without data.
func bare(function uint8) bool {
	return function == 7 || function == 11 || function == 12 || function == 17
}

func (r *Reader) tcp(raw []byte) (*Frame, *devices.Problem) {
	if len(raw) < 8 {
		return nil, short(len(raw), 8)
	}
	f := &Frame{Framing: TCP}
	if protocol := binary.BigEndian.Uint16(raw[2:]); protocol != 0 {
		return nil, devices.Invalid("protocol", "not_modbus", fmt.Sprintf("协议标识为 %d，Modbus TCP 须为 0", protocol), fmt.Sprintf("the protocol identifier is %d, that of Modbus TCP is 0", protocol))
	}
	if stated := int(binary.BigEndian.Uint16(raw[4:])); stated != len(raw)-6 {
		if !r.Tolerant {
			return nil, devices.Invalid("length", "bad_length",
				fmt.Sprintf("长度写作 %d，其后实有 %d 字节", stated, len(raw)-6), fmt.Sprintf("the length says %d, %d bytes follow it", stated, len(raw)-6))
		}
		f.Dialects = append(f.Dialects, "length")
	}
	transaction := binary.BigEndian.Uint16(raw)
	f.Transaction = &transaction
	return r.finish(f, raw[6:], r.before(transaction))
}

func (r *Reader) rtu(raw []byte) (*Frame, *devices.Problem) {
	if len(raw) < 4 {
		return nil, short(len(raw), 4)
	}
	f := &Frame{Framing: RTU}
	body, dialect, sound := checked(raw, r.Tolerant)
	if !sound {
		got, want := binary.LittleEndian.Uint16(raw[len(body):]), CRC16(body)
		return nil, devices.Invalid("crc", "bad_crc",
			fmt.Sprintf("CRC 为 %04X，应为 %04X（低字节在前）；也不是 Modbus TCP 帧", got, want),
			fmt.Sprintf("CRC is %04X, it must be %04X, low byte first; nor is it a frame of Modbus TCP", got, want))
	}
	if dialect != "" {
		f.Dialects = append(f.Dialects, dialect)
	}
	return r.finish(f, body, r.before(0))
}

// checked cuts the checksum off an RTU frame and says whether it is right.
func checked(raw []byte, tolerant bool) (body []byte, dialect string, sound bool) {
	if len(raw) < 4 {
		return nil, "", false
	}
	body = raw[:len(raw)-2]
	crc := CRC16(body)
	switch {
	case binary.LittleEndian.Uint16(raw[len(body):]) == crc:
		return body, "", true
	case tolerant && binary.BigEndian.Uint16(raw[len(body):]) == crc:
		return body, "crc_high_byte_first", true
	}
	return body, "", false
}

func (r *Reader) ascii(line string) (*Frame, *devices.Problem) {
	f := &Frame{Framing: ASCII}
	digits := []byte(line[1:])
	if r.Framing != "" && r.Framing != ASCII {
		return nil, devices.Invalid("frame", "ascii_frame", "以冒号开头的是 ASCII 帧", "what begins with a colon is an ASCII frame")
	}
	if upper := bytes.ToUpper(digits); !bytes.Equal(upper, digits) {
		if !r.Tolerant {
			return nil, devices.Invalid("frame", "lower_case", "ASCII 帧须用大写十六进制", "an ASCII frame is written in capital digits")
		}
		f.Dialects = append(f.Dialects, "lower_case")
	}
	raw, err := hex.DecodeString(string(digits))
	if err != nil {
		return nil, devices.Invalid("frame", "not_hexadecimal", "冒号之后须为成对的十六进制数字", "pairs of hexadecimal digits follow the colon")
	}
	if len(raw) < 3 {
		return nil, short(len(raw), 3)
	}
	body := raw[:len(raw)-1]
	if got, want := raw[len(body)], LRC(body); got != want {
		return nil, devices.Invalid("lrc", "bad_lrc", fmt.Sprintf("LRC 为 %02X，应为 %02X", got, want), fmt.Sprintf("LRC is %02X, it must be %02X", got, want))
	}
	return r.finish(f, body, r.before(0))
}

// finish reads unit and PDU.
func (r *Reader) finish(f *Frame, body []byte, before *asked) (*Frame, *devices.Problem) {
	f.Unit, f.Function = body[0], body[1]&^exceptionBit
	if f.Function == 0 {
		return nil, devices.Invalid("function", "out_of_range", "没有功能码 0", "there is no function 0")
	}
	f.Name = functionWords(f.Function)
	read := r.pdu
	if body[1]&exceptionBit != 0 {
		read = r.exception
	}
	if problem := read(f, body[2:], before); problem != nil {
		return nil, problem
	}
	return f, nil
}

func short(is, least int) *devices.Problem {
	return devices.Invalid("frame", "truncated", fmt.Sprintf("只有 %d 字节，一帧至少 %d 字节", is, least), fmt.Sprintf("%d bytes; a frame has at least %d", is, least))
}
