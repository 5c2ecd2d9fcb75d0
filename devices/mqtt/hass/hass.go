// Package hass reads the MQTT discovery of Home Assistant: retained messages by
// which Tasmota, Zigbee2MQTT, ESPHome and others say which values they publish
// and where,
//
//	homeassistant/{component}/[{node}/]{object}/config
//
// with a JSON object such as {"name":"Temperature","state_topic":"tele/x/SENSOR",
// "value_template":"{{ value_json.AM2301.Temperature }}","unit_of_measurement":"°C",
// "availability_topic":"tele/x/LWT"}. Names may be abbreviated (stat_t, val_tpl,
// unit_of_meas, avty_t, dev_cla), and ~ in a topic stands for the base topic.
// The component "device" tells several at once, under components or cmps.
//
// Of templates those are understood that name a place: value, value_json.a.b,
// value_json['a'][0], each with the filters float, int, round, default and
// is_defined behind it, which change nothing of a measurement. Whatever
// calculates or decides is refused by name, for it would be read wrongly.
package hass

import (
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

// Source is a value that a device publishes by its own account.
type Source struct {
	Name    string               `json:"name"`
	Unit    string               `json:"unit,omitempty"`
	Class   string               `json:"class,omitempty"`  // device class of Home Assistant: temperature, pm25, power
	Device  string               `json:"device,omitempty"` // name of the device, by its own account
	Topic   devices.Topic        `json:"topic"`            // of a binding
	Status  *devices.StatusTopic `json:"status,omitempty"` // where it says that it is there
	Problem *devices.Problem     `json:"-"`                // why it cannot be bound; nil when it can
}

// mostSources bounds what one message can tell.
const mostSources = 256

// measuring are the components that publish values.
var measuring = map[string]bool{"sensor": true, "binary_sensor": true, "number": true, "switch": true}

// Announces says whether topic is one of discovery.
func Announces(topic string) bool {
	return strings.HasPrefix(topic, "homeassistant/") && strings.HasSuffix(topic, "/config") && strings.Count(topic, "/") >= 3
}

// Read gives the sources that a discovery message tells of, none for a component
// that measures nothing or for an empty message, by which one is withdrawn.
func Read(topic string, payload []byte) ([]Source, *devices.Problem) {
	if !Announces(topic) {
		return nil, devices.Invalid("topic", "bad_topic", "主题 "+topic+" 不是 Home Assistant 发现主题", "topic "+topic+" is none of Home Assistant's discovery")
	}
	if len(payload) == 0 {
		return nil, nil
	}
	if len(payload) > devices.MaxPayload || !gjson.ValidBytes(payload) || !gjson.ParseBytes(payload).IsObject() {
		return nil, devices.Invalid("payload", "bad_json", "Home Assistant 发现报文须为 64 KiB 以内的 JSON 对象", "a discovery message of Home Assistant is a JSON object of at most 64 KiB")
	}
	component := strings.Split(topic, "/")[1]
	c := config{gjson.ParseBytes(payload), gjson.Result{}}
	if component != "device" {
		if !measuring[component] {
			return nil, nil
		}
		return []Source{c.source()}, nil
	}
	var list []Source
	c.member("components", "cmps").ForEach(func(_, part gjson.Result) bool {
		if p := (config{part, c.own}); part.IsObject() && measuring[p.text("platform", "p")] {
			list = append(list, p.source())
		}
		return len(list) < mostSources
	})
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

// config is a discovery message, or one component of it with the whole behind.
type config struct{ own, shared gjson.Result }

func (c config) member(names ...string) gjson.Result {
	for _, from := range [...]gjson.Result{c.own, c.shared} {
		for _, name := range names {
			if r := from.Get(name); r.Exists() {
				return r
			}
		}
	}
	return gjson.Result{}
}

func (c config) text(names ...string) string {
	if r := c.member(names...); r.Type == gjson.String {
		return strings.Clone(r.Str)
	}
	return ""
}

// topic gives a topic with its base filled in.
func (c config) topic(names ...string) string {
	text, base := c.text(names...), c.text("~")
	if rest, ok := strings.CutPrefix(text, "~"); ok {
		return base + rest
	}
	if rest, ok := strings.CutSuffix(text, "~"); ok {
		return rest + base
	}
	return text
}

func (c config) source() Source {
	s := Source{
		Name: c.text("name"), Unit: c.text("unit_of_measurement", "unit_of_meas"), Class: c.text("device_class", "dev_cla"),
		Topic: devices.Topic{Topic: c.topic("state_topic", "stat_t")},
	}
	about := config{c.member("device", "dev"), gjson.Result{}}
	s.Device = about.text("name")
	if s.Name == "" {
		s.Name = c.text("object_id", "obj_id", "unique_id", "uniq_id")
	}
	if s.Topic.Topic == "" {
		s.Problem = devices.Invalid("state_topic", "missing", "发现报文没有 state_topic，无法绑定", "the discovery message has no state_topic, so nothing can be bound to it")
		return s
	}
	var p *devices.Problem
	if s.Topic.Path, p = path(c.text("value_template", "val_tpl")); p != nil {
		s.Problem = p
	}
	s.Status = c.status()
	return s
}

// status is where the device says that it is there.
func (c config) status() *devices.StatusTopic {
	st := &devices.StatusTopic{
		Topic: c.topic("availability_topic", "avty_t"), Offline: c.text("payload_not_available", "pl_not_avail"), Online: c.text("payload_available", "pl_avail"),
	}
	template := c.text("availability_template", "avty_tpl")
	if st.Topic == "" { // a list; its first entry tells the most of the device itself
		entry := config{c.member("availability", "avty").Get("@reverse.0"), c.own}
		st.Topic = entry.topic("topic", "t")
		template = entry.text("value_template", "val_tpl")
	}
	if st.Topic == "" {
		return nil
	}
	var p *devices.Problem
	if st.Path, p = path(template); p != nil {
		return nil
	}
	return st
}

var (
	expression = regexp.MustCompile(`^\{\{-?\s*(value(?:_json(?:\.[A-Za-z_][A-Za-z0-9_]*|\[\s*(?:'[^'\\]*'|"[^"\\]*"|[0-9]+)\s*\])+)?)\s*((?:\|\s*(?:float|int|round|default|is_defined)\s*(?:\([^(){}|]*\))?\s*)*)-?\}\}$`)
	step       = regexp.MustCompile(`\.([A-Za-z_][A-Za-z0-9_]*)|\[\s*(?:'([^'\\]*)'|"([^"\\]*)"|([0-9]+))\s*\]`)
)

// path gives the gjson path that a template names, "" for the payload itself.
func path(template string) (string, *devices.Problem) {
	template = strings.TrimSpace(template)
	if template == "" {
		return "", nil
	}
	m := expression.FindStringSubmatch(template)
	if m == nil {
		shown := template[:min(len(template), 120)]
		return "", devices.Invalid("value_template", "template_not_understood",
			fmt.Sprintf("模板 %s 含有计算或判断，不能自动绑定；请手工填写取值路径", strconv.Quote(strings.ToValidUTF8(shown, "?"))),
			fmt.Sprintf("the template %s calculates or decides, so it cannot be bound by itself; give the path by hand", strconv.Quote(strings.ToValidUTF8(shown, "?"))))
	}
	var steps []string
	for _, s := range step.FindAllStringSubmatch(m[1], -1) {
		steps = append(steps, payload.PathTo(s[1]+s[2]+s[3]+s[4]))
	}
	return strings.Join(steps, "."), nil
}
