package template

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"offsite/devices"
)

var parameterTypes = []string{"text", "host", "modbus", "integer", "number", "boolean", "choice", "duration", "secret"}

// longestText is the most that a text parameter may hold, in characters.
const longestText = 512

func (p *Parameter) validate(ps *devices.Problems, path string) {
	if !slices.Contains(parameterTypes, p.Type) {
		list := strings.Join(parameterTypes, ", ")
		ps.Add(devices.Invalid(path+".type", "not_one_of", "参数类型请选："+list, "choose a type: "+list))
		return
	}
	checkText(ps, path+".label", p.Label)
	if (p.Type == "choice") != (len(p.Choices) > 0) {
		ps.Add(devices.Invalid(path+".choices", "missing", "choice 类型须列出选项，其他类型不用", "type choice lists its choices, no other does"))
	}
	if p.Type == "secret" && (p.Default != nil || p.Example != nil) {
		ps.Add(devices.Invalid(path+".default", "not_used", "口令不得有默认值", "a secret has no default"))
	}
	if p.Default == nil && !p.Optional && p.Example == nil && p.Type != "secret" {
		ps.Add(devices.Invalid(path+".example", "missing", "没有默认值的参数请给出示例", "give an example where there is no default"))
	}
	for name, v := range map[string]any{"default": p.Default, "example": p.Example} {
		if v == nil {
			continue
		}
		if _, fault := p.read(v); fault != nil {
			ps.Add(devices.Invalid(path+"."+name, fault.Code, fault.ZH, fault.EN))
		}
	}
}

// fault is a Problem of the parameter as the form has it.
func (p *Parameter) fault(code, zh, en string) *devices.Problem {
	return devices.Invalid("parameters."+p.Name, code, fmt.Sprintf("参数“%s”：%s", p.Label.ZH, zh), fmt.Sprintf("parameter %q: %s", p.Label.EN, en))
}

// value gives what stands for the parameter: what was given, else the default,
// else nil where it may be left empty.
func (p *Parameter) value(given any) (any, *devices.Problem) {
	if text, ok := given.(string); given == nil || (ok && strings.TrimSpace(text) == "") {
		given = p.Default
	}
	switch {
	case given != nil:
		return p.read(given)
	case p.Optional:
		return nil, nil
	default:
		return nil, p.fault("missing", "请填写", "give it")
	}
}

// read turns what a form or JSON holds into the parameter's type: string, bool
// or float64.
func (p *Parameter) read(given any) (any, *devices.Problem) {
	switch p.Type {
	case "integer", "number":
		return p.number(given)
	case "boolean":
		switch given {
		case true, "true", "1":
			return true, nil
		case false, "false", "0":
			return false, nil
		}
		return nil, p.fault("bad_type", "须为 true 或 false", "give true or false")
	}
	text, ok := given.(string)
	if !ok && p.Type != "secret" { // a model number, or a choice among numbers
		if v, good := toNumber(given); good {
			text, ok = strconv.FormatFloat(v, 'f', -1, 64), true
		}
	}
	if !ok {
		return nil, p.fault("bad_type", "须为文本", "give a text")
	}
	return p.text(text)
}

func (p *Parameter) number(given any) (any, *devices.Problem) {
	v, ok := toNumber(given)
	switch {
	case !ok:
		return nil, p.fault("bad_type", "须为数字", "give a number")
	case p.Type == "integer" && v != math.Trunc(v):
		return nil, p.fault("bad_type", "须为整数", "give a whole number")
	case (p.Min != nil && v < *p.Min) || (p.Max != nil && v > *p.Max):
		zh, en := p.span()
		return nil, p.fault("out_of_range", "须"+zh, "give "+en)
	}
	return v, nil
}

// span says what numbers p takes; it has a least or a most.
func (p *Parameter) span() (zh, en string) {
	switch {
	case p.Min != nil && p.Max != nil:
		return fmt.Sprintf("为 %g 至 %g", *p.Min, *p.Max), fmt.Sprintf("%g to %g", *p.Min, *p.Max)
	case p.Min != nil:
		return fmt.Sprintf("不小于 %g", *p.Min), fmt.Sprintf("at least %g", *p.Min)
	default:
		return fmt.Sprintf("不大于 %g", *p.Max), fmt.Sprintf("at most %g", *p.Max)
	}
}

// toNumber reads the numbers of YAML, of JSON and of forms; never NaN or infinite.
func toNumber(given any) (float64, bool) {
	var v float64
	switch n := given.(type) {
	case float64:
		v = n
	case int:
		v = float64(n)
	case int64:
		v = float64(n)
	case uint64:
		v = float64(n)
	case json.Number:
		return toNumber(n.String())
	case string:
		var err error
		if v, err = strconv.ParseFloat(strings.TrimSpace(n), 64); err != nil {
			return 0, false
		}
	default:
		return 0, false
	}
	return v, !math.IsNaN(v) && !math.IsInf(v, 0)
}

// hostName is a name of DNS.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`)

func (p *Parameter) text(text string) (any, *devices.Problem) {
	if !utf8.ValidString(text) || utf8.RuneCountInString(text) > longestText || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, p.fault("bad_text", "须为不含控制字符的文本，最长 512 个字", "give at most 512 characters without control characters")
	}
	if p.Type != "secret" {
		text = strings.TrimSpace(text)
	}
	switch p.Type {
	case "host":
		return p.host(text)
	case "modbus":
		return p.modbus(text)
	case "choice":
		values := make([]string, len(p.Choices))
		for i, c := range p.Choices {
			values[i] = c.Value
		}
		if !slices.Contains(values, text) {
			list := strings.Join(values, ", ")
			return nil, p.fault("not_one_of", "请选择："+list, "choose one of "+list)
		}
	case "duration":
		var d devices.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d < 0 {
			return nil, p.fault("bad_duration", "时长须写作 10s、5m、1h30m", `write a duration as "10s", "5m" or "1h30m"`)
		}
	}
	return text, nil
}

// host takes an address of IP version 4 or 6 or a name, and brackets version 6
// as a URL wants it.
func (p *Parameter) host(text string) (any, *devices.Problem) {
	if ip := net.ParseIP(strings.Trim(text, "[]")); ip != nil {
		if ip.To4() == nil {
			return "[" + ip.String() + "]", nil
		}
		return text, nil
	}
	if len(text) > 253 || !hostName.MatchString(text) {
		return nil, p.fault("bad_address", "须为 IP 地址或主机名，不含 http:// 和端口，例如 192.168.1.20", "give an IP address or host name without http:// and port, such as 192.168.1.20")
	}
	return text, nil
}

// modbus takes an endpoint as a device has it, or only its host, with a port
// or without, of Modbus TCP, or only the serial port, of RTU.
func (p *Parameter) modbus(text string) (any, *devices.Problem) {
	endpoint := text
	switch {
	case strings.Contains(text, "://"):
	case strings.HasPrefix(text, "/dev/"):
		endpoint = "modbus+rtu://" + text
	default:
		host, port, err := net.SplitHostPort(text)
		if err != nil {
			host, port = text, "502"
		}
		name, fault := p.host(host)
		if fault != nil {
			return nil, p.fault(fault.Code, modbusForms[0], modbusForms[1])
		}
		endpoint = fmt.Sprintf("modbus://%s:%s", name, port)
	}
	if fault := devices.CheckModbusEndpoint("", endpoint); fault != nil {
		return nil, p.fault(fault.Code, modbusForms[0], modbusForms[1])
	}
	return endpoint, nil
}

// modbusForms are the forms of an address in both languages.
var modbusForms = [...]string{
	"须为 IP 地址或主机名（Modbus TCP，端口 502），或 modbus+rtu://192.168.1.20:4001（串口服务器），或 /dev/ttyUSB0（本机串口）",
	"give an IP address or host name (Modbus TCP, port 502), modbus+rtu://192.168.1.20:4001 (serial server) or /dev/ttyUSB0 (serial port)",
}
