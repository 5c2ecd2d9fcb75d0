package devices

import (
	"bytes"
	"fmt"
	"math"
	"sort"
	"strconv"
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

// Forms of [Topic.TimeFormat].
const (
	timeRFC3339 = "rfc3339"
	timeUnix    = "unix"
	timeUnixMS  = "unix_ms"
)

// Times that a number without a stated format may mean: 2000 to 2100.
const (
	firstYear = 946684800  // 2000-01-01T00:00:00Z, Unix seconds
	lastYear  = 4102444800 // 2100-01-01T00:00:00Z
)

// endOfTime is the year 10000 in Unix milliseconds. What lies beyond is no wrong
// clock but a wrong format: milliseconds read as seconds.
const endOfTime = 253402300800000

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

// place is where one point's value stands in the messages of a topic.
type place struct {
	site, point   string
	path          string
	timePath      string
	timeFormat    string
	scale, offset float64
	low, high     float64 // the point's range
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

func newPlace(b *Bound) place {
	p := place{
		site: b.Site, point: b.Point.ID, scale: b.Binding.Scale, offset: b.Binding.Offset,
		low: math.Inf(-1), high: math.Inf(1),
	}
	if p.point == "" {
		p.point = b.Binding.Point
	}
	if p.scale == 0 {
		p.scale = 1
	}
	if b.Point.Min != nil {
		p.low = *b.Point.Min
	}
	if b.Point.Max != nil {
		p.high = *b.Point.Max
	}
	if t := b.Binding.Topic; t != nil {
		p.path, p.timePath, p.timeFormat = t.Path, t.TimePath, t.TimeFormat
	}
	return p
}

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

func (p *place) read(doc document, received time.Time) (Reading, *Problem) {
	raw, fault := p.value(doc)
	if fault != nil {
		return Reading{}, fault
	}
	v := raw*p.scale + p.offset
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Reading{}, notFinite(strconv.FormatFloat(v, 'g', -1, 64))
	}
	r := Reading{Site: p.site, Point: p.point, Value: v, At: received, Stamped: true}
	if v < p.low || v > p.high {
		r.Quality = UncertainRange
	}
	at, fault := p.time(doc)
	if fault != nil {
		return Reading{}, fault
	}
	if !at.IsZero() {
		r.At, r.Stamped = at, false
	}
	return r, nil
}

// value finds the number, before scale and offset.
func (p *place) value(doc document) (float64, *Problem) {
	if !doc.json {
		if p.path != "" {
			return 0, Invalid(p.path, "not_json",
				fmt.Sprintf("报文不是 JSON，无法按路径 %s 取值；请删去绑定的路径或让设备发送 JSON", p.path),
				fmt.Sprintf("the message is not JSON, so path %s leads nowhere; clear the binding's path or have the device send JSON", p.path))
		}
		return number("payload", doc.text)
	}
	if p.path != "" {
		return p.found(p.path, gjson.Get(doc.text, p.path))
	}
	for _, name := range [...]string{"value", "v"} {
		if r := gjson.Get(doc.text, name); r.Exists() {
			return p.found(name, r)
		}
	}
	return 0, Invalid("value", "path_missing",
		"JSON 中没有 value 或 v；请在绑定中填写取值路径",
		`the JSON holds neither "value" nor "v"; give the binding the path of the value`)
}

func (p *place) found(path string, r gjson.Result) (float64, *Problem) {
	switch r.Type {
	case gjson.Number:
		return number(path, r.Raw)
	case gjson.True:
		return 1, nil
	case gjson.False:
		return 0, nil
	case gjson.String:
		return number(path, r.Str)
	}
	if !r.Exists() {
		return 0, Invalid(path, "path_missing",
			fmt.Sprintf("JSON 中没有路径 %s；请核对绑定的取值路径", path),
			fmt.Sprintf("the JSON has no path %s; correct the binding's path", path))
	}
	return 0, notNumber(path, r.Raw)
}

// number reads a decimal number, true or false.
func number(path, text string) (float64, *Problem) {
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return word(path, text)
		}
	}
	v, err := strconv.ParseFloat(text, 64)
	if err == nil {
		return v, nil
	}
	if math.IsInf(v, 0) {
		return 0, notFinite(clip(text))
	}
	return 0, notNumber(path, text)
}

// word reads what is not made of the characters of a decimal number.
func word(path, text string) (float64, *Problem) {
	switch text {
	case "true":
		return 1, nil
	case "false":
		return 0, nil
	}
	switch strings.ToLower(strings.TrimLeft(text, "+-")) {
	case "nan", "inf", "infinity":
		return 0, notFinite(clip(text))
	}
	if trimmed := strings.TrimSpace(text); len(trimmed) < len(text) {
		return number(path, trimmed)
	}
	return 0, notNumber(path, text)
}

func notNumber(path, text string) *Problem {
	return Invalid(path, "not_a_number",
		fmt.Sprintf("%s 处应为数字，收到的是 %s；请核对绑定的路径或设备的报文", path, clip(text)),
		fmt.Sprintf("want a number at %s, got %s; correct the binding's path or the device's message", path, clip(text)))
}

func notFinite(text string) *Problem {
	return Invalid("value", "not_finite",
		fmt.Sprintf("数值 %s 不是有限数；请检查仪器与换算系数", text),
		fmt.Sprintf("the value %s is not a finite number; check the instrument, scale and offset", text))
}

// clip gives a quoted copy of text, which may be raw JSON, that is short enough
// for a sentence.
func clip(text string) string {
	const most = 64
	text = strings.Trim(text, `"`)
	if len(text) <= most {
		return strconv.Quote(text)
	}
	return strconv.Quote(strings.ToValidUTF8(text[:most], "")) + "…"
}

// time finds when the value was true; zero means that the message does not say.
func (p *place) time(doc document) (time.Time, *Problem) {
	if p.timePath != "" {
		return p.statedTime(doc)
	}
	if p.path != "" || !doc.json {
		return time.Time{}, nil
	}
	for _, name := range [...]string{"time", "ts", "t"} {
		r := gjson.Get(doc.text, name)
		if !r.Exists() || r.Type == gjson.Null {
			continue
		}
		at, ok := readTime(r, p.timeFormat)
		if !ok && name == "t" {
			return time.Time{}, nil // many a device calls its temperature t
		}
		if !ok {
			return time.Time{}, badTime(name, r.Raw)
		}
		return at, nil
	}
	return time.Time{}, nil
}

func (p *place) statedTime(doc document) (time.Time, *Problem) {
	var r gjson.Result
	if doc.json {
		r = gjson.Get(doc.text, p.timePath)
	}
	if !r.Exists() {
		return time.Time{}, Invalid(p.timePath, "time_missing",
			fmt.Sprintf("报文中没有时间路径 %s；请核对绑定的时间路径，或留空以接收时刻为准", p.timePath),
			fmt.Sprintf("the message has no time at %s; correct the binding's time path, or clear it to use the time of receipt", p.timePath))
	}
	at, ok := readTime(r, p.timeFormat)
	if !ok {
		return time.Time{}, badTime(p.timePath, r.Raw)
	}
	return at, nil
}

func badTime(path, text string) *Problem {
	return Invalid(path, "bad_time",
		fmt.Sprintf("%s 处的时间 %s 无法识别；须为带时区的 RFC 3339（2026-01-02T15:04:05+08:00）、Unix 秒或毫秒，请核对绑定的时间格式", path, clip(text)),
		fmt.Sprintf("cannot read the time %s at %s; want RFC 3339 with a zone (2026-01-02T15:04:05+08:00), Unix seconds or milliseconds; check the binding's time format", clip(text), path))
}

// readTime reads a time in the given format, or by its looks.
func readTime(r gjson.Result, format string) (time.Time, bool) {
	text := r.Raw
	if r.Type == gjson.String {
		text = r.Str
	} else if r.Type != gjson.Number {
		return time.Time{}, false
	}
	if r.Type == gjson.String && (format == timeRFC3339 || (format == "" && strings.IndexByte(text, '-') == 4)) {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil || at.Year() < 1 {
			return time.Time{}, false
		}
		return at.UTC().Truncate(time.Millisecond), true
	}
	if format == timeRFC3339 {
		return time.Time{}, false
	}
	return numericTime(text, format)
}

func numericTime(text, format string) (time.Time, bool) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return time.Time{}, false
	}
	if format == "" {
		switch {
		case v >= firstYear && v < lastYear:
			format = timeUnix
		case v >= firstYear*1000 && v < lastYear*1000:
			format = timeUnixMS
		default:
			return time.Time{}, false
		}
	}
	if format == timeUnix {
		v *= 1000
	}
	if !(v >= 0 && v < endOfTime) {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(math.Round(v))).UTC(), true
}
