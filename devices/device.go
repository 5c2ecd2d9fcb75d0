package devices

import (
	"math"
	"strings"
	"time"
)

// Drivers that this gateway has.
const (
	DriverModbus = "modbus" // Modbus TCP; RTU and ASCII over TCP or a serial port
	DriverMQTT   = "mqtt"   // a session with an external broker
	DriverBroker = "broker" // the device is a client of the embedded broker
	DriverHJ212  = "hj212"  // a data logger that connects to the gateway
)

// Device is what has a connection: instrument, PLC, data logger, gateway.
type Device struct {
	ID       string          `json:"id"`
	Site     string          `json:"site"`
	Name     string          `json:"name"`
	Driver   string          `json:"driver"`             // modbus, mqtt, broker, hj212
	Endpoint string          `json:"endpoint,omitempty"` // modbus://host:502, modbus+rtu://host:4001 and modbus+ascii://host:4001 (over TCP), modbus+rtu:///dev/ttyUSB0 and modbus+ascii:///dev/ttyUSB0 (serial ports), mqtt://host:1883, mqtts://host:8883; empty for broker and hj212
	Username string          `json:"username,omitempty"` // external broker; a client of the embedded broker signs in with its device id
	Password Secret          `json:"password,omitempty"`
	Period   Duration        `json:"period,omitempty"`  // between two polls, zero means 1 s; of a device that sends by itself how often it does at the least, zero means as learned
	Timeout  Duration        `json:"timeout,omitempty"` // for one answer; zero means 1 s
	Modbus   *ModbusSettings `json:"modbus,omitempty"`
	MQTT     *MQTTSettings   `json:"mqtt,omitempty"`
	HJ212    *HJ212Settings  `json:"hj212,omitempty"`
	Meta
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
		d.checkModbus(&ps)
	case DriverMQTT:
		ps.Add(checkURL("endpoint", d.Endpoint, "mqtt", "mqtts"))
		d.checkCertificates(&ps)
		if d.MQTT != nil && d.MQTT.QoS != nil && *d.MQTT.QoS > 1 {
			ps.Add(Invalid("mqtt.qos", "out_of_range", "订阅 QoS 须为 0 或 1", "subscribe with QoS 0 or 1"))
		}
		d.checkStatus(&ps)
		if d.MQTT != nil && strings.ContainsAny(d.MQTT.Share, "/+#") {
			ps.Add(Invalid("mqtt.share", "bad_share", "共享组名不得含 /、+ 或 #", "the name of a shared group holds no /, + or #"))
		}
	case DriverBroker:
		if d.Endpoint != "" {
			ps.Add(Invalid("endpoint", "not_used", "接入内置代理的设备没有地址，请留空", "a client of the embedded broker has no address; leave it empty"))
		}
		d.checkClient(&ps)
		d.checkStatus(&ps)
	case DriverHJ212:
		d.checkHJ212(&ps)
	default:
		ps.Add(checkOneOf("driver", d.Driver, DriverModbus, DriverMQTT, DriverBroker, DriverHJ212))
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
	ID       string       `json:"id"`
	Point    string       `json:"point"`  // point id
	Device   string       `json:"device"` // device id
	From     time.Time    `json:"from"`   // zero at creation means now
	To       *time.Time   `json:"to,omitempty"`
	Register *Register    `json:"register,omitempty"` // for modbus
	Topic    *Topic       `json:"topic,omitempty"`    // for mqtt and broker; nil means the default topic
	Factor   *FactorPlace `json:"factor,omitempty"`   // for hj212
	Scale    float64      `json:"scale,omitempty"`    // value = raw × scale + offset; zero means 1
	Offset   float64      `json:"offset,omitempty"`
	Write    *SetRange    `json:"write,omitempty"` // set points that may be written; nil: none
	Meta
}

// SetRange bounds the set points of a binding, both ends included, in the
// point's unit.
type SetRange struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Holds says whether v may be written.
func (r *SetRange) Holds(v float64) bool { return v >= r.Low && v <= r.High }

func (b *Binding) checkWrite(ps *Problems) {
	if b.Write == nil {
		return
	}
	if b.Register == nil || (b.Register.Table != "holding" && b.Register.Table != "coil") {
		ps.Add(Invalid("write", "read_only", "只有 Modbus 保持寄存器和线圈可以写入；请留空可写范围", "only holding registers and coils of Modbus can be written; leave the range of set points empty"))
	}
	if !(b.Write.Low < b.Write.High) || math.IsInf(b.Write.Low, 0) || math.IsInf(b.Write.High, 0) {
		ps.Add(Invalid("write.high", "empty_range", "可写上限须大于下限，且都为有限数", "the highest set point must lie above the lowest, and both must be finite"))
	}
}

// Written is what became of a set point, in the point's unit.
type Written struct {
	Before float64 // 0 also if no number stood there
	After  float64 // as it was read back
	Raw    string  // what was sent for it, bytes in hexadecimal
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
	if b.Factor != nil {
		b.Factor.check(&ps)
	}
	b.checkWrite(&ps)
	return ps.Err()
}
