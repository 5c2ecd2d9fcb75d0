package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Functions whose data is understood (Modbus Application Protocol V1.1b3, 6).
const (
	ReadCoils      = 1
	ReadDiscrete   = 2
	ReadHolding    = 3
	ReadInput      = 4
	WriteCoil      = 5
	WriteRegister  = 6
	WriteCoils     = 15
	WriteRegisters = 16
	maskWrite      = 22
	readWrite      = 23

	exceptionBit = 0x80
)

// functions are those of the standard, section 6, by name.
var functions = map[uint8]Words{
	ReadCoils:      {"读线圈", "read coils"},
	ReadDiscrete:   {"读离散输入", "read discrete inputs"},
	ReadHolding:    {"读保持寄存器", "read holding registers"},
	ReadInput:      {"读输入寄存器", "read input registers"},
	WriteCoil:      {"写单个线圈", "write single coil"},
	WriteRegister:  {"写单个寄存器", "write single register"},
	7:              {"读异常状态", "read exception status"},
	8:              {"诊断", "diagnostics"},
	11:             {"取通信事件计数器", "get comm event counter"},
	12:             {"取通信事件记录", "get comm event log"},
	WriteCoils:     {"写多个线圈", "write multiple coils"},
	WriteRegisters: {"写多个寄存器", "write multiple registers"},
	17:             {"报告从站标识", "report server id"},
	20:             {"读文件记录", "read file record"},
	21:             {"写文件记录", "write file record"},
	maskWrite:      {"屏蔽写寄存器", "mask write register"},
	readWrite:      {"读写多个寄存器", "read/write multiple registers"},
	24:             {"读先进先出队列", "read FIFO queue"},
	43:             {"封装接口传输", "encapsulated interface transport"},
}

func functionWords(function uint8) Words {
	if w, ok := functions[function]; ok {
		return w
	}
	return Words{fmt.Sprintf("功能码 %d", function), fmt.Sprintf("function %d", function)}
}

// ExceptionWords are the exception codes of the Modbus Application Protocol
// V1.1b3, section 7, with a cure.
func ExceptionWords(code byte) (zh, en string) {
	switch code {
	case 1:
		return "不支持该功能码；请核对寄存器表（保持、输入、线圈或离散输入）", "illegal function; check the table (holding, input, coil or discrete)"
	case 2:
		return "寄存器地址不存在；请核对地址是否从 0 计数", "illegal data address; check whether the manual counts from 0 or 1"
	case 3:
		return "数据值或数量不被接受；请核对类型", "illegal data value; check type and quantity"
	case 4:
		return "设备故障；请检查仪表", "server device failure; check the instrument"
	case 5:
		return "已受理，仍在处理；请延长采集周期", "acknowledged, still at work; poll less often"
	case 6:
		return "设备忙；请延长采集周期", "server device busy; poll less often"
	case 8:
		return "存储器校验错；请检查仪表", "memory parity error; check the instrument"
	case 10:
		return "网关路径不可用；请检查网关的串口配置", "gateway path unavailable; check the gateway's serial settings"
	case 11:
		return "网关后的从站未应答；请检查单元号、接线与仪表电源", "the device behind the gateway did not respond; check unit id, wiring and power"
	default:
		return "未知异常；请查阅设备手册", "unknown exception; see the device's manual"
	}
}

// Pair is what two neighbouring registers say in each of the four word orders,
// as the package comment of modbus names them.
type Pair struct {
	From int   `json:"from"` // the first register, counted from 0 in this frame
	ABCD Value `json:"ABCD"`
	CDAB Value `json:"CDAB"`
	BADC Value `json:"BADC"`
	DCBA Value `json:"DCBA"`
}

// Value is 32 bits as numbers.
type Value struct {
	Float *float32 `json:"float32"` // null for what is no number or infinite
	Int   int32    `json:"int32"`
	Uint  uint32   `json:"uint32"`
}

// pairs reads registers two by two; an odd last one has no partner.
func pairs(b []byte) []Pair {
	var list []Pair
	for at := 0; at+4 <= len(b); at += 4 {
		w := b[at : at+4]
		list = append(list, Pair{at / 2, value(w[0], w[1], w[2], w[3]), value(w[2], w[3], w[0], w[1]), value(w[1], w[0], w[3], w[2]), value(w[3], w[2], w[1], w[0])})
	}
	return list
}

// value reads four bytes, the most significant first.
func value(four ...byte) Value {
	bits := binary.BigEndian.Uint32(four)
	v := Value{Int: int32(bits), Uint: bits}
	if f := math.Float32frombits(bits); !math.IsNaN(float64(f)) && !math.IsInf(float64(f), 0) {
		v.Float = &f
	}
	return v
}
