package payload

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"offsite/devices"
)

// named are the places of one format, found by topic and the name of the value.
type named struct {
	index
	heard []string // filters of all messages that the format needs, sorted
}

// formatOf is the format of the messages that a binding listens to.
func formatOf(b *devices.Binding) string {
	if b.Topic == nil || b.Topic.Format == "json" {
		return ""
	}
	return b.Topic.Format
}

// addNamed puts a place into the index of its format and gives the filter to
// subscribe to. Sparkplug needs the births and deaths of the whole edge node.
func (m *mapping) addNamed(format, topic string, p place) (filter string) {
	n := m.named[format]
	if n == nil {
		n = &named{index: newIndex()}
		m.named[format] = n
	}
	n.add(topic, p)
	filter = topic
	if format == devices.FormatSparkplug {
		filter = strings.Join(strings.Split(topic, "/")[:4], "/") + "/#"
	}
	if at, found := slices.BinarySearch(n.heard, filter); !found {
		n.heard = slices.Insert(n.heard, at, filter)
	}
	return filter
}

// formatOf gives the format that listens to topic, "" for none.
func (m *mapping) formatOf(topic string) string {
	for format, n := range m.named {
		for _, filter := range n.heard {
			if devices.Matches(filter, topic) {
				return format
			}
		}
	}
	return ""
}

// readings gives the readings of the places that listen to topic out of a sheet.
func (n *named) readings(sheet *Sheet, topic string, received time.Time) (readings []devices.Reading, failed []string, faults devices.Problems) {
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
		var fault *devices.Problem
		if readings, fault = p.readSamples(samples, received, readings); fault != nil {
			failed, faults = append(failed, p.point), append(faults, fault)
		}
	}
	if sheet.Foreign && !matched && len(sheet.Samples) > 0 {
		return nil, pointsOf(places), devices.Problems{nameMissing(places[0].path)}
	}
	return readings, failed, faults
}

func nameMissing(name string) *devices.Problem {
	return devices.Invalid("topic.path", "name_missing",
		fmt.Sprintf("报文中没有名为 %s 的值；请核对绑定的名称", devices.Quoted(name)),
		fmt.Sprintf("the message has no value named %s; correct the name in the binding", devices.Quoted(name)))
}

// readSamples puts the readings of one point, in order of time, behind those of others.
func (p *place) readSamples(samples []*Sample, received time.Time, into []devices.Reading) ([]devices.Reading, *devices.Problem) {
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
			b.readings[before].Quality = devices.BadDevice
		}
		b.index++
	}
	return b.end()
}
