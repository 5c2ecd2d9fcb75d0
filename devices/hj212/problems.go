package hj212

import (
	"offsite/devices"
	"offsite/devices/hj212/wire"
)

// codeUnknownMN is the code of a packet whose MN no device has.
const codeUnknownMN = "unknown_mn"

func unknownMN(mn string) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrNotFound, Code: codeUnknownMN, Field: "mn",
		ZH: "没有登记 MN 为 " + wire.Quote(mn) + " 的数采仪；请登记设备或更正数采仪的 MN",
		EN: "no data logger with MN " + wire.Quote(mn) + " is registered; register it or correct the MN in the logger",
	}
}

// NoListener says that the gateway has no host for data loggers.
func NoListener() *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "no_listener", Field: "hj212.listen",
		ZH: "网关没有监听数采仪；请在 offsite.yaml 中填写 hj212.listen 并重启网关", EN: "the gateway does not listen for data loggers; set hj212.listen in offsite.yaml and start it again",
	}
}

func foreignMN(mn string) *devices.Problem {
	return devices.Invalid("mn", "foreign_mn",
		"该连接属于另一台数采仪，不接受 MN 为 "+wire.Quote(mn)+" 的数据包；每台数采仪须用自己的连接", "this connection belongs to another logger and takes no packet of MN "+wire.Quote(mn)+"; each logger uses a connection of its own")
}

func foreignST(st string) *devices.Problem {
	return devices.Invalid("st", "foreign_st",
		"系统编码 ST="+wire.Quote(st)+" 不在设备允许之列；请更正数采仪或设备的 ST", "the device may not send as ST="+wire.Quote(st)+"; correct the logger or the device's ST")
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
