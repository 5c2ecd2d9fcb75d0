package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"offsite/devices"
	"offsite/devices/modbus"
	"offsite/devices/networks"
)

// errProbe is a probe that found something wrong; the steps have said what.
var errProbe = errors.New("the device did not pass / 设备未通过测试")

// probeCommand tries a Modbus device, an MQTT broker or a camera from this
// process. A gateway that polls the same address on this machine does not know
// of it: there the console's own probe shares the connection. Only the console
// can tell of clients of the embedded broker and of data loggers.
type probeCommand struct {
	Address     string        `arg:"" help:"modbus://HOST:502, modbus+rtu://HOST:4001, modbus+ascii://HOST:4001, modbus+rtu:///dev/ttyUSB0, mqtt://HOST, mqtts://HOST, rtsp://HOST/PATH. 设备地址"`
	Place       []string      `arg:"" optional:"" help:"Modbus: TABLE:ADDRESS:TYPE[:ORDER], such as holding:40:float32:CDAB, coil:3:bit, input:7:bit.3, input:7:bits.4.2 (lowest bit, width), holding:20:string.4 (registers). MQTT: 'TOPIC' or 'TOPIC PATH', such as 'plant/dust pm10'. 寄存器或主题"`
	Unit        uint8         `help:"Unit id. 单元号" default:"1"`
	Timeout     time.Duration `help:"For one answer. 应答超时" default:"1s"`
	Baud        int           `help:"Of a serial port. 波特率" default:"9600"`
	Parity      string        `help:"Of a serial port: none, even, odd. 校验" default:"none" enum:"none,even,odd"`
	Stop        int           `help:"Stop bits of a serial port. 停止位" default:"1"`
	Scan        string        `help:"Look for units in this range instead, such as 1-32, that answer for holding register 0 or the first register given. 扫描单元号" placeholder:"FIRST-LAST"`
	Every       time.Duration `help:"Between two units of a scan. 扫描间隔" default:"200ms"`
	User        string        `help:"Of a broker or a camera. 用户名"`
	Password    string        `help:"Of a broker or a camera. 密码" env:"OFFSITE_DEVICE_PASSWORD"`
	CA          string        `help:"PEM file of who signs for an mqtts broker. 服务器 CA 证书" name:"ca" type:"existingfile" placeholder:"FILE"`
	Certificate string        `help:"PEM file with which to sign in to an mqtts broker. 客户端证书" type:"existingfile" placeholder:"FILE"`
	Key         string        `help:"PEM file of its key. 客户端私钥" type:"existingfile" placeholder:"FILE"`
	UDP         bool          `help:"Pull a camera by UDP. 以 UDP 取流" name:"udp"`
	StillURL    string        `help:"A camera's own still address. 抓拍地址" name:"still-url" placeholder:"URL"`
	Picture     string        `help:"Write the camera's picture here, as JPEG. 保存图片" type:"path" placeholder:"FILE"`

	JSON bool `help:"Print JSON. 输出 JSON" name:"json"`
}

// Run tries the device and says what each step saw.
func (c *probeCommand) Run(ctx context.Context, s streamsOut) error {
	guard, err := reach()
	if err != nil {
		return err
	}
	scheme, _, _ := strings.Cut(c.Address, "://")
	switch {
	case scheme == "mqtt" || scheme == "mqtts":
		return c.broker(ctx, s, guard)
	case scheme == "rtsp" || scheme == "rtsps":
		return c.camera(ctx, s, guard)
	case strings.HasPrefix(scheme, "modbus"):
		return c.modbus(ctx, s, guard)
	}
	const forms = "modbus://192.168.1.64:502, modbus+rtu:///dev/ttyUSB0, mqtt://192.168.1.30:1883, rtsp://192.168.1.40/stream"
	return devices.Invalid("address", "bad_address", "地址须写明方式，例如 "+forms, "say in the address how to speak to it, such as "+forms)
}

func (c *probeCommand) modbus(ctx context.Context, s streamsOut, guard *networks.Guard) error {
	dev := devices.Device{
		Driver: devices.DriverModbus, Endpoint: c.Address, Timeout: devices.Duration(c.Timeout),
		Modbus: &devices.ModbusSettings{Unit: c.Unit},
	}
	if devices.SerialPort(c.Address) {
		dev.Modbus.Serial = &devices.SerialLine{Baud: c.Baud, Parity: c.Parity, StopBits: c.Stop}
	}
	buses := modbus.New(modbus.Config{Log: s.logger(0), Dial: guard.Dial, Resolve: guard.Resolve, Allow: guard.Allow})
	if c.Scan != "" {
		return c.scan(ctx, s.out, buses, dev)
	}
	bounds := make([]devices.Bound, len(c.Place))
	for i, text := range c.Place {
		reg, err := registerOf(text)
		if err != nil {
			return err
		}
		bounds[i] = devices.Bound{Binding: devices.Binding{Register: reg}}
	}
	steps, err := buses.Probe(ctx, dev, bounds)
	if err != nil {
		return err
	}
	return c.print(s.out, steps, nil)
}

// print writes the steps, with what else was seen in JSON, and says whether all
// went well.
func (c *probeCommand) print(out io.Writer, steps []devices.Step, video any) error {
	passed := true
	for _, step := range steps {
		passed = passed && (step.OK || step.Skipped)
		if !c.JSON {
			printStep(out, &step, c.Place)
		}
	}
	if c.JSON {
		all := map[string]any{"steps": steps}
		if video != nil {
			all["video"] = video
		}
		if err := json.NewEncoder(out).Encode(all); err != nil {
			return err
		}
	}
	if !passed {
		return errProbe
	}
	return nil
}

// printStep writes a step for people, its values below.
func printStep(out io.Writer, s *devices.Step, places []string) {
	mark := map[bool]string{true: "✓", false: "✗"}[s.OK]
	if s.Skipped {
		mark = "–"
	}
	fmt.Fprintf(out, "%s %-8s %s / %s (%s)\n", mark, s.Name, s.ZH, s.EN, s.Took.D().Round(100*time.Microsecond))
	if s.CureZH != "" {
		fmt.Fprintf(out, "    → %s / %s\n", s.CureZH, s.CureEN)
	}
	for i, v := range s.Values {
		fmt.Fprintf(out, "    %s  [%s]", places[i], v.Raw)
		if v.Value != nil {
			fmt.Fprintf(out, "  = %.9g", *v.Value)
		}
		for _, o := range v.Orders {
			if o.Value != nil {
				fmt.Fprintf(out, "  %s %.9g", o.Order, *o.Value)
			}
		}
		if v.ZH != "" {
			fmt.Fprintf(out, "\n      %s / %s", v.ZH, v.EN)
		}
		fmt.Fprintln(out)
	}
}

func (c *probeCommand) scan(ctx context.Context, out io.Writer, buses *modbus.Pool, dev devices.Device) error {
	first, last, ok := strings.Cut(c.Scan, "-")
	from, err1 := strconv.ParseUint(first, 10, 8)
	to, err2 := strconv.ParseUint(last, 10, 8)
	if !ok || err1 != nil || err2 != nil {
		return devices.Invalid("--scan", "bad_range", "范围须形如 1-32", "write a range like 1-32")
	}
	found := 0
	what := modbus.Scan{Device: dev, First: uint8(from), Last: uint8(to), Every: c.Every}
	if len(c.Place) > 0 {
		reg, err := registerOf(c.Place[0])
		if err != nil {
			return err
		}
		what.Table, what.Address = reg.Table, reg.Address
	}
	_, err := buses.Scan(ctx, what, func(u modbus.Unit) {
		found++
		if c.JSON {
			_ = json.NewEncoder(out).Encode(u) // a closed terminal is noticed at the end
			return
		}
		fmt.Fprintf(out, "%d: %s / %s (%s)\n", u.ID, u.ZH, u.EN, u.Took.D().Round(100*time.Microsecond))
	})
	if err == nil && !c.JSON {
		_, err = fmt.Fprintf(out, "找到 %d 个单元 / %d units found\n", found, found)
	}
	return err
}

// registerOf reads TABLE:ADDRESS:TYPE[:ORDER].
func registerOf(text string) (*devices.Register, error) {
	fault := devices.Invalid("register", "bad_register", "寄存器须形如 holding:40:float32:CDAB", "write a register like holding:40:float32:CDAB, not "+strconv.Quote(text))
	parts := strings.Split(text, ":")
	if len(parts) < 3 || len(parts) > 4 {
		return nil, fault
	}
	address, err := strconv.ParseUint(parts[1], 10, 16)
	if err != nil {
		return nil, fault
	}
	kind := strings.Split(parts[2], ".")
	reg := &devices.Register{Table: parts[0], Address: uint16(address), Type: kind[0]}
	if len(parts) == 4 {
		reg.Order = parts[3]
	}
	places := map[string][]*uint8{"bit": {&reg.Bit}, "bits": {&reg.Bit, &reg.Width}, "string": {&reg.Length}}[reg.Type]
	if len(kind)-1 > len(places) {
		return nil, fault
	}
	for i, number := range kind[1:] {
		n, err := strconv.ParseUint(number, 10, 8)
		if err != nil {
			return nil, fault
		}
		*places[i] = uint8(n)
	}
	return reg, nil
}

// reach is where the person at the keyboard may knock: everywhere but at the
// link's own addresses, where clouds keep their metadata, and at nobody's.
func reach() (*networks.Guard, error) {
	return networks.New(networks.Config{Allowed: "private, loopback, public"})
}
