// Package payload turns MQTT messages into readings, wherever they come from: an
// external broker, the embedded one, or the letters that were kept because
// nobody could read them. The [Inbox] of a device does it, by the
// [devices.Topic] of each of its bindings.
//
// A payload is one of:
//
//	23.5                                     a number (or true, false: 1, 0)
//	{"value": 23.5, "time": "2026-…+08:00"}  an object with "value" or "v", and "time", "ts" or "t" if it likes
//	any JSON                                 with a gjson path for the value and, if wanted, one for the time
//	[{"v": 23.5, "t": 1767225600}, …]        a batch: an array of any of these, each with its own time
//	{"at": [1767225600, …], "pm10": [81, …]} a batch in columns: the paths of value and time lead to arrays of one length
//
// or a message of a [Format], whose values have names of their own.
//
// A number in quotes counts as a number. Times are RFC 3339 with a zone, Unix
// seconds or Unix milliseconds. Where the binding names a zone they may also be
// 2026-01-02T15:04:05, the same with a space or slashes, or 20260102150405.
// The readings of a batch come in order of time.
//
// A topic may hold the wildcards of MQTT: + is any one level, # any number of
// levels at the end. {device} in it is the instrument's name, so that
// plant/{device}/+/data picks one instrument of many by the second level.
//
// Read backwards, the same tells what a message that was heard could be bound
// to: [Offers] and [GuessQuantity].
package payload

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/cespare/xxhash/v2"
	"github.com/tidwall/gjson"

	"offsite/devices"
)

// Fingerprint is the hash of a message for its [devices.Origin]: XXH64, seed 0, of
// topic, a zero byte and payload. It is kept in the log, so it never changes.
func Fingerprint(topic string, payload []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(topic) // a Digest's writes give no error
	_, _ = d.WriteString("\x00")
	_, _ = d.Write(payload)
	return d.Sum64()
}

// mapping turns messages into readings by the bindings of their topics. It is
// immutable and may be used by several goroutines. Bindings with a
// [devices.Topic.Format] are only found by it: what reads their messages has a
// memory, which is the [Inbox]'s.
type mapping struct {
	index                     // of JSON and bare values
	named   map[string]*named // by format
	filters []string
}

// newMapping gives the mapping of bounds whose places are good, and the faults of
// all others at once as Problems. Several bindings may share a topic.
func newMapping(bounds []devices.Bound) (*mapping, error) {
	m := &mapping{index: newIndex(), named: make(map[string]*named)}
	var ps devices.Problems
	for i := range bounds {
		if faults := bounds[i].Binding.CheckTopic(); len(faults) > 0 {
			ps = append(ps, faults...)
			continue
		}
		topic := bounds[i].Binding.Listens().Topic
		if format := formatOf(&bounds[i].Binding); format != "" {
			m.filters = append(m.filters, m.addNamed(format, topic, newPlace(&bounds[i])))
			continue
		}
		m.add(topic, newPlace(&bounds[i]))
		m.filters = append(m.filters, topic)
	}
	m.sort()
	for _, n := range m.named {
		n.sort()
	}
	sort.Strings(m.filters)
	m.filters = devices.WithoutCovered(slices.Compact(m.filters))
	return m, ps.Err()
}

// Filters gives the topic filters to subscribe to, sorted. What another one
// takes in is left out.
func (m *mapping) Filters() []string { return append([]string(nil), m.filters...) }

// Bound says whether any point is bound to topic, or a format needs it.
func (m *mapping) Bound(topic string) bool {
	return m.has(topic) || (len(m.named) > 0 && m.formatOf(topic) != "")
}

// names says whether a binding has just this topic or filter.
func (m *mapping) names(filter string) bool {
	if m.index.names(filter) {
		return true
	}
	for _, n := range m.named {
		if n.names(filter) {
			return true
		}
	}
	return false
}

// points gives the ids of the points whose topics filter takes in, sorted.
func (m *mapping) points(filter string) []string {
	points := m.index.points(filter)
	for _, n := range m.named {
		points = append(points, n.points(filter)...)
	}
	sort.Strings(points)
	return points
}

// pointsAt gives the ids of the points that listen to topic.
func (m *mapping) pointsAt(topic string) []string {
	points := pointsOf(m.places(topic))
	for _, n := range m.named {
		points = append(points, pointsOf(n.places(topic))...)
	}
	return points
}

// decode reads the values of all points bound to topic; failed are the points
// that could not be read. What could not comes as a letter, which holds a copy of
// payload; when some points could be read and others could not there are both.
// Nothing is kept of payload.
func (m *mapping) decode(topic string, payload []byte, received time.Time) (readings []devices.Reading, failed []string, letter *devices.DeadLetter) {
	places := m.places(topic)
	if len(places) == 0 {
		return nil, nil, newLetter(topic, payload, devices.Problems{devices.Invalid("topic", "unknown_topic",
			fmt.Sprintf("没有测点绑定到主题 %s，请添加绑定或更正设备的主题", topic),
			fmt.Sprintf("no point is bound to topic %s; add a binding or correct the topic in the device", topic))})
	}
	doc, p := openDocument(topic, payload)
	if p != nil {
		return nil, pointsOf(places), newLetter(topic, payload, devices.Problems{p})
	}
	received = received.UTC().Truncate(time.Millisecond)
	readings = make([]devices.Reading, 0, len(places))
	var faults devices.Problems
	for i := range places {
		var p *devices.Problem
		if readings, p = places[i].read(doc, received, readings); p != nil {
			faults = append(faults, at(topic, p))
			failed = append(failed, places[i].point)
		}
	}
	if len(faults) > 0 {
		return readings, failed, newLetter(topic, payload, faults)
	}
	return readings, nil, nil
}

// newLetter keeps payload and tells all faults in one Problem.
func newLetter(topic string, payload []byte, faults devices.Problems) *devices.DeadLetter {
	p := faults[0]
	const most = 8 // a message with a hundred bad paths needs no hundred sentences
	for i, f := range faults[1:min(len(faults), most)] {
		if i == 0 {
			one := *p
			p = &one
		}
		p.ZH += "；" + f.ZH
		p.EN += "; " + f.EN
	}
	return &devices.DeadLetter{Topic: topic, Payload: bytes.Clone(payload[:min(len(payload), devices.MaxPayload)]), Problem: p}
}

// document is a payload that has been checked: either JSON or a bare word. Its
// text shares the payload's memory and must not outlive it.
type document struct {
	text string
	json bool
}

func openDocument(topic string, payload []byte) (document, *devices.Problem) {
	if len(payload) > devices.MaxPayload {
		return document{}, devices.Invalid("payload", "too_large",
			fmt.Sprintf("主题 %s 的报文为 %d 字节，超过 64 KiB；请减小报文", topic, len(payload)),
			fmt.Sprintf("the message on topic %s has %d bytes; send at most 64 KiB", topic, len(payload)))
	}
	if !utf8.Valid(payload) {
		return document{}, devices.Invalid("payload", "bad_utf8",
			fmt.Sprintf("主题 %s 的报文不是 UTF-8 文本；请改发 UTF-8 的数字或 JSON", topic),
			fmt.Sprintf("the message on topic %s is not UTF-8; send a number or JSON in UTF-8", topic))
	}
	payload = bytes.TrimSpace(payload)
	text := unsafe.String(unsafe.SliceData(payload), len(payload))
	if text == "" || (text[0] != '{' && text[0] != '[') {
		return document{text: text}, nil
	}
	if gjson.Valid(text) {
		return document{text: text, json: true}, nil
	}
	if word := notFiniteToken(text); word != "" {
		return document{}, at(topic, notFinite(strings.Clone(word)))
	}
	return document{}, devices.Invalid("payload", "bad_json",
		fmt.Sprintf("主题 %s 的报文不是合法 JSON；请核对设备的报文格式", topic),
		fmt.Sprintf("the message on topic %s is not valid JSON; check the device's message format", topic))
}

// notFiniteToken finds the words by which programs write values that JSON
// cannot hold, so that the fault can be named better than "not JSON".
func notFiniteToken(text string) string {
	for _, word := range [...]string{"NaN", "nan", "Infinity", "inf", "Inf"} {
		for at := 0; ; {
			i := strings.Index(text[at:], word)
			if i < 0 {
				break
			}
			at += i + len(word)
			before := strings.TrimRight(text[:at-len(word)], " \t\r\n+-")
			if strings.HasSuffix(before, ":") || strings.HasSuffix(before, "[") || strings.HasSuffix(before, ",") {
				return word
			}
		}
	}
	return ""
}

// at names the topic in front of both sentences of p.
func at(topic string, p *devices.Problem) *devices.Problem {
	p.ZH = fmt.Sprintf("主题 %s：%s", topic, p.ZH)
	p.EN = fmt.Sprintf("topic %s: %s", topic, p.EN)
	return p
}
