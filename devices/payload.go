package devices

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/cespare/xxhash/v2"
	"github.com/tidwall/gjson"
)

// MaxPayload is the most that one message may hold, and the most of it that a
// dead letter keeps, in bytes.
const MaxPayload = 64 << 10

// Fingerprint is the [Origin] hash of a message: XXH64, seed 0, of topic, a zero
// byte and payload. It is kept in the log, so it never changes.
func Fingerprint(topic string, payload []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(topic) // a Digest's writes give no error
	_, _ = d.WriteString("\x00")
	_, _ = d.Write(payload)
	return d.Sum64()
}

// Mapping turns MQTT messages into readings by the bindings of their topics.
// It is immutable and may be used by several goroutines.
//
// A payload is one of:
//
//	23.5                                     a number (or true, false: 1, 0)
//	{"value": 23.5, "time": "2026-…+08:00"}  an object with "value" or "v", and "time", "ts" or "t" if it likes
//	any JSON                                 with a gjson path for the value and, if wanted, one for the time
//
// A number in quotes counts as a number. Times are RFC 3339 with a zone, Unix
// seconds or Unix milliseconds.
type Mapping struct {
	topics  map[string][]place
	filters []string
}

// NewMapping checks the topics and paths of bounds and gives their mapping.
// Topics that a binding leaves empty are filled in; several bindings may share
// a topic. All faults are told at once as Problems.
func NewMapping(bounds []Bound) (*Mapping, error) {
	m := &Mapping{topics: make(map[string][]place)}
	var ps Problems
	for i := range bounds {
		topic := bounds[i].Binding.fullTopic()
		before := len(ps)
		checkTopic(&ps, &bounds[i].Binding, topic)
		if len(ps) == before {
			m.topics[topic] = append(m.topics[topic], newPlace(&bounds[i]))
		}
	}
	for topic := range m.topics {
		m.filters = append(m.filters, topic)
	}
	sort.Strings(m.filters)
	return m, ps.Err()
}

// fullTopic is the topic that the binding listens to.
func (b *Binding) fullTopic() string {
	if b.Topic != nil && b.Topic.Topic != "" {
		return b.Topic.Topic
	}
	if b.Topic != nil && b.Topic.Path != "" {
		return "offsite/" + b.Device
	}
	_, local := SplitPoint(b.Point)
	return "offsite/" + b.Device + "/" + local
}

func checkTopic(ps *Problems, b *Binding, topic string) {
	bad := func(field, code, zh, en string) {
		ps.Add(Invalid(field, code, fmt.Sprintf("绑定 %s：%s", b.ID, zh), fmt.Sprintf("binding %s: %s", b.ID, en)))
	}
	switch {
	case strings.ContainsAny(topic, "+#"):
		bad("topic.topic", "wildcard", "主题不得含通配符 + 或 #，请为每个测点填写完整主题", "a topic holds no wildcard (+ or #); write out the topic of each point")
	case strings.HasPrefix(topic, "$share/"):
		bad("topic.topic", "shared_topic", "请在设备的 mqtt.share 中填写共享组，主题中不写 $share", "put the group of a shared subscription into the device's mqtt.share, not into the topic")
	case len(topic) > 1024 || !utf8.ValidString(topic) || strings.ContainsRune(topic, 0):
		bad("topic.topic", "bad_topic", "主题须为不含空字符的 UTF-8，最长 1024 字节", "write a topic of at most 1024 bytes of UTF-8 without the null character")
	}
	if b.Topic == nil {
		return
	}
	if !goodPath(b.Topic.Path) {
		bad("topic.path", "bad_path", "取值路径须为 UTF-8 文本，最长 256 字节", "a path is UTF-8 text of at most 256 bytes")
	}
	if !goodPath(b.Topic.TimePath) {
		bad("topic.time_path", "bad_path", "时间路径须为 UTF-8 文本，最长 256 字节", "a path is UTF-8 text of at most 256 bytes")
	}
	switch b.Topic.TimeFormat {
	case "", timeRFC3339, timeUnix, timeUnixMS:
	default:
		bad("topic.time_format", "not_one_of", "时间格式请选 rfc3339、unix 或 unix_ms，或留空由程序识别", "choose rfc3339, unix or unix_ms, or leave it empty to go by its looks")
	}
}

func goodPath(path string) bool { return len(path) <= 256 && utf8.ValidString(path) }

// Filters gives the topics to subscribe to, sorted.
func (m *Mapping) Filters() []string { return append([]string(nil), m.filters...) }

// Bound says whether any point is bound to topic.
func (m *Mapping) Bound(topic string) bool {
	_, ok := m.topics[topic]
	return ok
}

// Decode reads the values of all points bound to topic. What could not be read
// comes as a letter, which holds a copy of payload; when some points could be
// read and others could not there are both. Decode keeps nothing of payload.
func (m *Mapping) Decode(topic string, payload []byte, received time.Time) ([]Reading, *DeadLetter) {
	places, ok := m.topics[topic]
	if !ok {
		return nil, newLetter(topic, payload, Problems{Invalid("topic", "unknown_topic",
			fmt.Sprintf("没有测点绑定到主题 %s，请添加绑定或更正设备的主题", topic),
			fmt.Sprintf("no point is bound to topic %s; add a binding or correct the topic in the device", topic))})
	}
	doc, p := openDocument(topic, payload)
	if p != nil {
		return nil, newLetter(topic, payload, Problems{p})
	}
	received = received.UTC().Truncate(time.Millisecond)
	readings := make([]Reading, 0, len(places))
	var faults Problems
	for i := range places {
		r, p := places[i].read(doc, received)
		if p != nil {
			faults = append(faults, p.at(topic))
			continue
		}
		readings = append(readings, r)
	}
	if len(faults) > 0 {
		return readings, newLetter(topic, payload, faults)
	}
	return readings, nil
}

// newLetter keeps payload and tells all faults in one Problem.
func newLetter(topic string, payload []byte, faults Problems) *DeadLetter {
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
	return &DeadLetter{Topic: topic, Payload: bytes.Clone(payload[:min(len(payload), MaxPayload)]), Problem: p}
}

// document is a payload that has been checked: either JSON or a bare word. Its
// text shares the payload's memory and must not outlive it.
type document struct {
	text string
	json bool
}

func openDocument(topic string, payload []byte) (document, *Problem) {
	if len(payload) > MaxPayload {
		return document{}, Invalid("payload", "too_large",
			fmt.Sprintf("主题 %s 的报文为 %d 字节，超过 64 KiB；请减小报文", topic, len(payload)),
			fmt.Sprintf("the message on topic %s has %d bytes; send at most 64 KiB", topic, len(payload)))
	}
	if !utf8.Valid(payload) {
		return document{}, Invalid("payload", "bad_utf8",
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
		return document{}, notFinite(strings.Clone(word)).at(topic)
	}
	return document{}, Invalid("payload", "bad_json",
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

// at names the topic in front of both sentences.
func (p *Problem) at(topic string) *Problem {
	p.ZH = fmt.Sprintf("主题 %s：%s", topic, p.ZH)
	p.EN = fmt.Sprintf("topic %s: %s", topic, p.EN)
	return p
}
