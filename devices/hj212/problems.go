package hj212

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

func truncated() *devices.Problem {
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

func unknownMN(mn string) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrNotFound, Code: "unknown_mn", Field: "mn",
		ZH: "没有登记 MN 为 " + quote(mn) + " 的数采仪；请登记设备或更正数采仪的 MN",
		EN: "no data logger with MN " + quote(mn) + " is registered; register it or correct the MN in the logger",
	}
}

func foreignMN(mn string) *devices.Problem {
	return devices.Invalid("mn", "foreign_mn",
		"该连接属于另一台数采仪，不接受 MN 为 "+quote(mn)+" 的数据包；每台数采仪须用自己的连接", "this connection belongs to another logger and takes no packet of MN "+quote(mn)+"; each logger uses a connection of its own")
}

func foreignST(st string) *devices.Problem {
	return devices.Invalid("st", "foreign_st",
		"系统编码 ST="+quote(st)+" 不在设备允许之列；请更正数采仪或设备的 ST", "the device may not send as ST="+quote(st)+"; correct the logger or the device's ST")
}

func wrongPassword() *devices.Problem {
	return devices.Invalid("password", "bad_password",
		"数采仪的密码 PW 不对；请核对数采仪与登记的密码", "the logger's password PW is wrong; compare it with the registered one")
}

func noPassword() *devices.Problem {
	return devices.Invalid("password", "no_password",
		"设备未设置密码 PW，数采仪不能接入；请为设备设置与数采仪相同的密码", "the device has no password PW and its logger is not admitted; give it the same as in the logger")
}

func offline() *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "device_offline",
		ZH: "数采仪未连接，命令未执行；请检查数采仪的电源与网络", EN: "the data logger is not connected and the command was not carried out; check its power and network",
	}
}

func storageProblem(err error) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "storage_failed", Cause: err,
		ZH: "网关无法存盘，数据包未应答，数采仪会重发；请检查网关的磁盘",
		EN: "the gateway cannot store, the packet was not answered and the logger will send it again; check the gateway's disk",
	}
}

// whyNot looks at the place where the frame at the start of b seems to end
// instead of where its length says, and tells of a wrong CRC or of the right
// length; where there is no such place it gives other.
func (d *Decoder) whyNot(b []byte, other *devices.Problem) *devices.Problem {
	if next := 2 + findAfter(b[2:]); next < len(b) {
		b, other = b[:next], truncated()
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
