package devices

import (
	"fmt"
	"math"
	"time"
)

// Drivers that this gateway has.
const (
	DriverModbus = "modbus" // Modbus TCP, or RTU frames over TCP
	DriverMQTT   = "mqtt"   // a session with an external broker
	DriverBroker = "broker" // the device is a client of the embedded broker
)

// Device is what has a connection: instrument, PLC, data logger, gateway.
type Device struct {
	ID       string          `json:"id"`
	Site     string          `json:"site"`
	Name     string          `json:"name"`
	Driver   string          `json:"driver"`             // modbus, mqtt, broker
	Endpoint string          `json:"endpoint,omitempty"` // modbus://host:502, modbus+rtu://host:4001 (RTU over TCP), mqtt://host:1883, mqtts://host:8883; empty for broker
	Username string          `json:"username,omitempty"` // external broker; a client of the embedded broker signs in with its device id
	Password Secret          `json:"password,omitempty"`
	Period   Duration        `json:"period,omitempty"`  // between two polls; zero means 1 s
	Timeout  Duration        `json:"timeout,omitempty"` // for one answer; zero means 1 s
	Modbus   *ModbusSettings `json:"modbus,omitempty"`
	MQTT     *MQTTSettings   `json:"mqtt,omitempty"`
	Meta
}

// ModbusSettings are a Modbus device's own.
type ModbusSettings struct {
	Unit uint8 `json:"unit"`          // unit id, 1 to 247; 0 and 255 address a TCP device itself
	Gap  int   `json:"gap,omitempty"` // unused registers that one request may read over; zero means 8
}

// widestGap leaves room for one register at each end of a request, which reads
// at most 125 (Modbus Application Protocol V1.1b3, section 6.3).
const widestGap = 125 - 2

func (m *ModbusSettings) check(ps *Problems) {
	if m.Unit > 247 && m.Unit < 255 {
		ps.Add(Invalid("modbus.unit", "out_of_range", "单元号须为 1 至 247；0 或 255 表示 TCP 设备自身", "a unit id is 1 to 247; 0 or 255 means the TCP device itself"))
	}
	if m.Gap < 0 || m.Gap > widestGap {
		ps.Add(Invalid("modbus.gap", "register_span",
			fmt.Sprintf("一次请求最多读 125 个寄存器，允许跨过的空寄存器须为 0 至 %d 个", widestGap),
			fmt.Sprintf("one request reads at most 125 registers; let it read over 0 to %d unused ones", widestGap)))
	}
}

// MQTTSettings are those of a session with an external broker.
type MQTTSettings struct {
	ClientID string `json:"client_id,omitempty"` // stable; empty means "offsite-" and the device's id
	Share    string `json:"share,omitempty"`     // group of a shared subscription; empty means none
	QoS      *byte  `json:"qos,omitempty"`       // 0 or 1; nil means 1
}

// Kind is KindDevice.
func (*Device) Kind() Kind { return KindDevice }

// Key is the id.
func (d *Device) Key() string { return d.ID }

// Check tells every fault of the device's own fields.
func (d *Device) Check() error {
	var ps Problems
	ps.Add(CheckID("id", d.ID))
	ps.Add(CheckID("site", d.Site))
	ps.Add(checkName(d.Name))
	switch d.Driver {
	case DriverModbus:
		ps.Add(checkURL("endpoint", d.Endpoint, "modbus", "modbus+rtu"))
		if d.Modbus == nil {
			ps.Add(Invalid("modbus", "missing", "请填写 Modbus 单元号", "give the Modbus unit id"))
		} else {
			d.Modbus.check(&ps)
		}
	case DriverMQTT:
		ps.Add(checkURL("endpoint", d.Endpoint, "mqtt", "mqtts"))
		if d.MQTT != nil && d.MQTT.QoS != nil && *d.MQTT.QoS > 1 {
			ps.Add(Invalid("mqtt.qos", "out_of_range", "订阅 QoS 须为 0 或 1", "subscribe with QoS 0 or 1"))
		}
	case DriverBroker:
		if d.Endpoint != "" {
			ps.Add(Invalid("endpoint", "not_used", "接入内置代理的设备没有地址，请留空", "a client of the embedded broker has no address; leave it empty"))
		}
	default:
		ps.Add(checkOneOf("driver", d.Driver, DriverModbus, DriverMQTT, DriverBroker))
	}
	if p := d.Period.D(); p != 0 && (p < 50*time.Millisecond || p > 24*time.Hour) {
		ps.Add(Invalid("period", "out_of_range", "采集周期须在 50ms 与 24h 之间", "poll every 50ms to 24h"))
	}
	if t := d.Timeout.D(); t != 0 && (t < 10*time.Millisecond || t > time.Minute) {
		ps.Add(Invalid("timeout", "out_of_range", "超时须在 10ms 与 1m 之间", "wait 10ms to 1m for an answer"))
	}
	return ps.Err()
}

// Binding ties a point to a device and an address in it for a span of time. A
// point has at most one binding at any instant.
type Binding struct {
	ID       string     `json:"id"`
	Point    string     `json:"point"`  // point id
	Device   string     `json:"device"` // device id
	From     time.Time  `json:"from"`   // zero at creation means now
	To       *time.Time `json:"to,omitempty"`
	Register *Register  `json:"register,omitempty"` // for modbus
	Topic    *Topic     `json:"topic,omitempty"`    // for mqtt and broker; nil means the default topic
	Scale    float64    `json:"scale,omitempty"`    // value = raw × scale + offset; zero means 1
	Offset   float64    `json:"offset,omitempty"`
	Meta
}

// Register is a place in a Modbus device.
type Register struct {
	Table   string `json:"table"`           // holding or input
	Address uint16 `json:"address"`         // as in the request, counted from 0
	Type    string `json:"type"`            // int16 uint16 int32 uint32 float32 float64 bit
	Order   string `json:"order,omitempty"` // ABCD (the default), CDAB, BADC, DCBA: the bytes of a 32-bit value as they arrive
	Bit     uint8  `json:"bit,omitempty"`   // 0 (least significant) to 15, for type bit
}

// Words is the number of 16-bit registers that the type takes, 0 if unknown.
func (r *Register) Words() int {
	switch r.Type {
	case "int16", "uint16", "bit":
		return 1
	case "int32", "uint32", "float32":
		return 2
	case "float64":
		return 4
	default:
		return 0
	}
}

// Topic is a place in a stream of MQTT messages.
type Topic struct {
	Topic      string `json:"topic,omitempty"`       // empty: offsite/{device} if Path is set, else offsite/{device}/{point local to its outlet}
	Path       string `json:"path,omitempty"`        // gjson path of the value; empty: the payload is the number, or an object with "value" or "v"
	TimePath   string `json:"time_path,omitempty"`   // gjson path of the time; empty: "time", "ts" or "t" beside a value object, else receipt
	TimeFormat string `json:"time_format,omitempty"` // rfc3339, unix, unix_ms; empty: by its looks
}

// Kind is KindBinding.
func (*Binding) Kind() Kind { return KindBinding }

// Key is the id.
func (b *Binding) Key() string { return b.ID }

// Check tells every fault of the binding's own fields.
func (b *Binding) Check() error {
	var ps Problems
	ps.Add(CheckID("id", b.ID))
	ps.Add(CheckPointID("point", b.Point))
	ps.Add(CheckID("device", b.Device))
	if b.To != nil && !b.To.After(b.From) {
		ps.Add(Invalid("to", "empty_span", "结束时间须晚于开始时间", "the end must come after the start"))
	}
	for _, f := range []struct {
		field string
		v     float64
	}{{"scale", b.Scale}, {"offset", b.Offset}} {
		if math.IsNaN(f.v) || math.IsInf(f.v, 0) {
			ps.Add(Invalid(f.field, "not_finite", "须为有限数", "give a finite number"))
		}
	}
	if b.Register != nil {
		b.Register.check(&ps)
	}
	return ps.Err()
}

func (r *Register) check(ps *Problems) {
	ps.Add(checkOneOf("register.table", r.Table, "holding", "input"))
	ps.Add(checkOneOf("register.type", r.Type, "int16", "uint16", "int32", "uint32", "float32", "float64", "bit"))
	if r.Order != "" {
		ps.Add(checkOneOf("register.order", r.Order, "ABCD", "CDAB", "BADC", "DCBA"))
	}
	if r.Bit > 15 {
		ps.Add(Invalid("register.bit", "out_of_range", "位号须为 0 至 15", "a register has bits 0 to 15"))
	}
	if last := int(r.Address) + r.Words() - 1; last > 65535 {
		ps.Add(Invalid("register.address", "out_of_range", fmt.Sprintf("寄存器超出 65535（末地址 %d）", last), fmt.Sprintf("the value would end at register %d; the last one is 65535", last)))
	}
}
