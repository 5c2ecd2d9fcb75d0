package devices

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
//	[{"v": 23.5, "t": 1767225600}, …]        a batch: an array of any of these, each with its own time
//	{"at": [1767225600, …], "pm10": [81, …]} a batch in columns: the paths of value and time lead to arrays of one length
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
// Bindings with a [Topic.Format] are not read here but by an [Inbox], which has
// the memory that they need.
type Mapping struct {
	index                     // of JSON and bare values
	named   map[string]*named // by format
	filters []string
}

// NewMapping checks the topics and paths of bounds and gives their mapping.
// Topics that a binding leaves empty are filled in; several bindings may share
// a topic. All faults are told at once as Problems.
func NewMapping(bounds []Bound) (*Mapping, error) {
	m := &Mapping{index: newIndex(), named: make(map[string]*named)}
	var ps Problems
	for i := range bounds {
		topic := bounds[i].Binding.fullTopic()
		before := len(ps)
		checkTopic(&ps, &bounds[i].Binding, topic)
		if len(ps) > before {
			continue
		}
		if format := bounds[i].Binding.format(); format != "" {
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
	m.filters = WithoutCovered(slices.Compact(m.filters))
	return m, ps.Err()
}

// fullTopic is the topic, or filter, that the binding listens to.
func (b *Binding) fullTopic() string {
	t := b.Topic
	if t == nil {
		t = &Topic{}
	}
	_, local := SplitPoint(b.Point)
	switch {
	case t.Topic != "" && t.Instance != "":
		return strings.ReplaceAll(t.Topic, devicePlace, t.Instance)
	case t.Topic != "":
		return strings.ReplaceAll(t.Topic, devicePlace, b.Device)
	case t.Path != "" || t.Each != "":
		return "offsite/" + b.Device
	}
	return "offsite/" + b.Device + "/" + local
}

func checkTopic(ps *Problems, b *Binding, topic string) {
	bad := func(field, code, zh, en string) {
		ps.Add(Invalid(field, code, fmt.Sprintf("绑定 %s：%s", b.ID, zh), fmt.Sprintf("binding %s: %s", b.ID, en)))
	}
	switch {
	case b.Topic != nil && len(b.Topic.Instance) > 0 && !goodInstance(b.Topic):
		bad("topic.instance", "bad_instance", "仪器在主题中的名称不得含 /、+、#，且主题须含 {device}", "the instrument's name in the topic holds no /, + or #, and the topic holds {device}")
	case !goodFilter(topic):
		bad("topic.topic", "wildcard", "通配符 + 须单独占一级，# 须单独占最后一级，例如 plant/+/data 或 plant/#", "a wildcard + stands for one whole level and # for the last ones, as in plant/+/data or plant/#")
	case strings.HasPrefix(topic, "$share/"):
		bad("topic.topic", "shared_topic", "请在设备的 mqtt.share 中填写共享组，主题中不写 $share", "put the group of a shared subscription into the device's mqtt.share, not into the topic")
	case len(topic) > 1024 || !utf8.ValidString(topic) || strings.ContainsRune(topic, 0):
		bad("topic.topic", "bad_topic", "主题须为不含空字符的 UTF-8，最长 1024 字节", "write a topic of at most 1024 bytes of UTF-8 without the null character")
	}
	if b.Topic != nil {
		checkPaths(b.Topic, topic, bad)
	}
}

func checkPaths(t *Topic, topic string, bad func(field, code, zh, en string)) {
	for _, f := range [...]struct{ field, path, zh, en string }{
		{"topic.path", t.Path, "取值路径", "a path"},
		{"topic.time_path", t.TimePath, "时间路径", "a path"},
		{"topic.each", t.Each, "数组路径", "a path"},
	} {
		if !goodPath(f.path) {
			bad(f.field, "bad_path", f.zh+"须为 UTF-8 文本，最长 256 字节", f.en+" is UTF-8 text of at most 256 bytes")
		}
	}
	switch t.TimeFormat {
	case "", timeRFC3339, timeUnix, timeUnixMS:
	default:
		bad("topic.time_format", "not_one_of", "时间格式请选 rfc3339、unix 或 unix_ms，或留空由程序识别", "choose rfc3339, unix or unix_ms, or leave it empty to go by its looks")
	}
	if _, ok := zoneOf(t.Zone); !ok {
		bad("topic.zone", "unknown_zone", "没有时区 "+clip(t.Zone)+"；请填 IANA 时区名，如 Asia/Shanghai 或 UTC", "there is no zone "+clip(t.Zone)+"; give its IANA name, such as Asia/Shanghai or UTC")
	}
	checkFormat(t, topic, bad)
}

func goodInstance(t *Topic) bool {
	return strings.Contains(t.Topic, devicePlace) && !strings.ContainsAny(t.Instance, "/+#")
}

func goodPath(path string) bool { return len(path) <= 256 && utf8.ValidString(path) }

// Filters gives the topic filters to subscribe to, sorted. What another one
// takes in is left out.
func (m *Mapping) Filters() []string { return append([]string(nil), m.filters...) }

// Bound says whether any point is bound to topic, or a format needs it.
func (m *Mapping) Bound(topic string) bool {
	return m.has(topic) || (len(m.named) > 0 && m.formatOf(topic) != "")
}

// names says whether a binding has just this topic or filter.
func (m *Mapping) names(filter string) bool {
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
func (m *Mapping) points(filter string) []string {
	points := m.index.points(filter)
	for _, n := range m.named {
		points = append(points, n.points(filter)...)
	}
	sort.Strings(points)
	return points
}

// pointsAt gives the ids of the points that listen to topic.
func (m *Mapping) pointsAt(topic string) []string {
	points := pointsOf(m.places(topic))
	for _, n := range m.named {
		points = append(points, pointsOf(n.places(topic))...)
	}
	return points
}

// Decode reads the values of all points bound to topic. What could not be read
// comes as a letter, which holds a copy of payload; when some points could be
// read and others could not there are both. Decode keeps nothing of payload.
func (m *Mapping) Decode(topic string, payload []byte, received time.Time) ([]Reading, *DeadLetter) {
	readings, _, letter := m.decode(topic, payload, received)
	return readings, letter
}

// decode also gives the points that could not be read.
func (m *Mapping) decode(topic string, payload []byte, received time.Time) ([]Reading, []string, *DeadLetter) {
	places := m.places(topic)
	if len(places) == 0 {
		return nil, nil, newLetter(topic, payload, Problems{Invalid("topic", "unknown_topic",
			fmt.Sprintf("没有测点绑定到主题 %s，请添加绑定或更正设备的主题", topic),
			fmt.Sprintf("no point is bound to topic %s; add a binding or correct the topic in the device", topic))})
	}
	doc, p := openDocument(topic, payload)
	if p != nil {
		return nil, pointsOf(places), newLetter(topic, payload, Problems{p})
	}
	received = received.UTC().Truncate(time.Millisecond)
	readings := make([]Reading, 0, len(places))
	var faults Problems
	var failed []string
	for i := range places {
		var p *Problem
		if readings, p = places[i].read(doc, received, readings); p != nil {
			faults = append(faults, p.at(topic))
			failed = append(failed, places[i].point)
		}
	}
	if len(faults) > 0 {
		return readings, failed, newLetter(topic, payload, faults)
	}
	return readings, nil, nil
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
