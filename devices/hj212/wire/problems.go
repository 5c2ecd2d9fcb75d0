package wire

import (
	"bytes"
	"fmt"
	"strconv"

	"offsite/devices"
)

func tooLong(declared int) *devices.Problem {
	return devices.Invalid("length", "too_long",
		fmt.Sprintf("数据段长度 %d 超过 %d 字节", declared, longestSegment),
		fmt.Sprintf("a segment of %d bytes exceeds %d", declared, longestSegment))
}

func wrongLength(declared int) *devices.Problem {
	return devices.Invalid("length", "bad_length",
		fmt.Sprintf("长度 %d 与数据段不符：数据段不在该处以 && 结束", declared),
		fmt.Sprintf("length %d does not fit: the segment does not end there with &&", declared))
}

func garbage(n int) *devices.Problem {
	return devices.Invalid("", "garbage",
		fmt.Sprintf("%d 个字节不属于任何数据包（包头须为 ##）；请检查数采仪的协议设置", n),
		fmt.Sprintf("%d bytes belong to no frame, which begins with ##; check the logger's protocol", n))
}

func noLineEnd() *devices.Problem {
	return devices.Invalid("", "no_crlf", "数据包须以 CR LF 结束", "a frame ends with CR LF")
}

// Truncated is the refusal of a frame that is cut short.
func Truncated() *devices.Problem {
	return devices.Invalid("", "truncated", "数据包不完整", "the frame is cut short")
}

func wrongCRC(segment []byte, stated, right uint16) *devices.Problem {
	zh, en := "", ""
	switch {
	case modbusCRC(segment) == stated:
		zh, en = "；该值为 CRC-16/MODBUS，请更换数采仪的校验算法", "; that is CRC-16/MODBUS, set the logger to the algorithm of Annex A"
	case !ascii(segment):
		zh, en = "；数据区可能已用 SM4 加密，请填写密钥", "; the area may be encrypted with SM4: give its key"
	}
	return devices.Invalid("crc", "bad_crc",
		fmt.Sprintf("CRC 为 %04X，按 HJ 212 附录 A 应为 %04X%s", stated, right, zh),
		fmt.Sprintf("CRC is %04X, by HJ 212 Annex A it must be %04X%s", stated, right, en))
}

// whyNot looks at the place where the frame at the start of b seems to end
// instead of where its length says, and tells of a wrong CRC or of the right
// length; where there is no such place it gives other.
func (d *Decoder) whyNot(b []byte, other *devices.Problem) *devices.Problem {
	if next := 2 + findAfter(b[2:]); next < len(b) {
		b, other = b[:next], Truncated()
	}
	open := bytes.Index(b, []byte("CP=&&"))
	if open < headSize || open > headSize+longestSegment || !digits(string(b[2:headSize]), 4) {
		return other
	}
	open += len("CP=&&")
	shut := bytes.Index(b[open:], []byte("&&"))
	if end := open + shut + 2; shut >= 0 && end+crcSize <= len(b) {
		declared, _ := strconv.Atoi(string(b[2:headSize])) // digits
		zh, en := fmt.Sprintf("长度写作 %d，实为 %d 字节", declared, end-headSize), fmt.Sprintf("the length says %d, the segment has %d bytes", declared, end-headSize)
		if s := d.check(b[headSize:end], b[end:end+crcSize]); s.problem != nil {
			if end == headSize+declared {
				return s.problem
			}
			return devices.Invalid("crc", "bad_crc", s.problem.ZH+"；且"+zh, s.problem.EN+"; and "+en)
		}
		if end == headSize+declared {
			return noLineEnd()
		}
		return devices.Invalid("length", "bad_length", zh, en)
	}
	return other
}
