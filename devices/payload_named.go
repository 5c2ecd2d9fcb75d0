package devices

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// named are the places of one format, found by topic and the name of the value.
type named struct {
	index
	heard []string // filters of all messages that the format needs, sorted
}

// format is the format of the messages that the binding listens to.
func (b *Binding) format() string {
	if b.Topic == nil || b.Topic.Format == "json" {
		return ""
	}
	return b.Topic.Format
}

// addNamed puts a place into the index of its format and gives the filter to
// subscribe to. Sparkplug needs the births and deaths of the whole edge node.
func (m *Mapping) addNamed(format, topic string, p place) (filter string) {
	n := m.named[format]
	if n == nil {
		n = &named{index: newIndex()}
		m.named[format] = n
	}
	n.add(topic, p)
	filter = topic
	if format == FormatSparkplug {
		filter = strings.Join(strings.Split(topic, "/")[:4], "/") + "/#"
	}
	if at, found := slices.BinarySearch(n.heard, filter); !found {
		n.heard = slices.Insert(n.heard, at, filter)
	}
	return filter
}

// formatOf gives the format that listens to topic, "" for none.
func (m *Mapping) formatOf(topic string) string {
	for format, n := range m.named {
		for _, filter := range n.heard {
			if matches(filter, topic) {
				return format
			}
		}
	}
	return ""
}

// checkFormat tells what does not go with the format of a topic.
func checkFormat(t *Topic, topic string, bad func(field, code, zh, en string)) {
	switch t.Format {
	case "", "json":
		return
	case FormatSenML, FormatSparkplug:
	default:
		bad("topic.format", "not_one_of", "报文格式请选 json、senml 或 sparkplug", "choose json, senml or sparkplug")
		return
	}
	if t.Path == "" {
		bad("topic.path", "missing", "请填写 SenML 记录（bn+n）或 Sparkplug 测点的名称", "give the name of the SenML record (bn and n together) or of the Sparkplug metric")
	}
	if t.Each != "" || t.TimePath != "" || t.TimeFormat != "" || t.Zone != "" {
		bad("topic.format", "not_used", "SenML 与 Sparkplug 自带数组与时间，数组路径、时间路径、时间格式与时区请留空", "SenML and Sparkplug have arrays and times of their own; leave array path, time path, time format and zone empty")
	}
	if t.Format == FormatSparkplug && !goodSparkplug(topic) {
		bad("topic.topic", "bad_topic", "Sparkplug 主题须形如 spBv1.0/组/+/边缘节点 或 spBv1.0/组/+/边缘节点/设备，第三级写 +", "write the Sparkplug topic like spBv1.0/group/+/edge or spBv1.0/group/+/edge/device, with + as the third level")
	}
}

func goodSparkplug(topic string) bool {
	levels := strings.Split(topic, "/")
	if len(levels) < 4 || len(levels) > 5 || levels[0] != "spBv1.0" || levels[2] != "+" {
		return false
	}
	levels[2] = "x"
	return !hasWildcard(strings.Join(levels, "/")) && !slices.Contains(levels, "")
}

// readings gives the readings of the places that listen to topic out of a sheet.
func (n *named) readings(sheet *Sheet, topic string, received time.Time) (readings []Reading, failed []string, faults Problems) {
	places := n.places(topic)
	if len(places) == 0 {
		return nil, nil, nil
	}
	byName := make(map[string][]*Sample, len(sheet.Samples))
	for i := range sheet.Samples {
		s := &sheet.Samples[i]
		byName[s.Name] = append(byName[s.Name], s)
	}
	matched := false
	for i := range places {
		p := &places[i]
		samples := byName[p.path]
		matched = matched || len(samples) > 0
		if len(samples) == 0 && sheet.Whole {
			failed, faults = append(failed, p.point), append(faults, nameMissing(p.path))
			continue
		}
		var fault *Problem
		if readings, fault = p.readSamples(samples, received, readings); fault != nil {
			failed, faults = append(failed, p.point), append(faults, fault)
		}
	}
	if sheet.Foreign && !matched && len(sheet.Samples) > 0 {
		return nil, pointsOf(places), Problems{nameMissing(places[0].path)}
	}
	return readings, failed, faults
}

func nameMissing(name string) *Problem {
	return Invalid("topic.path", "name_missing",
		fmt.Sprintf("报文中没有名为 %s 的值；请核对绑定的名称", clip(name)),
		fmt.Sprintf("the message has no value named %s; correct the name in the binding", clip(name)))
}

// readSamples puts the readings of one point, in order of time, behind those of others.
func (p *place) readSamples(samples []*Sample, received time.Time, into []Reading) ([]Reading, *Problem) {
	b := batch{place: p, received: received, before: len(into), readings: into, several: len(samples) > 1}
	for _, s := range samples {
		if s.Null {
			continue
		}
		fault, before := s.Fault, len(b.readings)
		if fault != nil {
			own := *fault // another point may be bound to the same sample
			fault = &own
		}
		b.add(s.Value, s.At, fault)
		if s.Bad && len(b.readings) > before {
			b.readings[before].Quality = BadDevice
		}
		b.index++
	}
	return b.end()
}
