package devices

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Topic is a place in a stream of MQTT messages.
type Topic struct {
	Topic      string `json:"topic,omitempty"`       // with wildcards if need be, {device} stands for Instance; empty: offsite/{device} if Path or Each is set, else offsite/{device}/{point local to its outlet}
	Instance   string `json:"instance,omitempty"`    // what the instrument is called in the topic; empty: the device's id
	Format     string `json:"format,omitempty"`      // json (the default), senml, sparkplug
	Each       string `json:"each,omitempty"`        // gjson path of an array whose elements are measurements, each with its own time; "@this" is the whole payload
	Path       string `json:"path,omitempty"`        // gjson path of the value, in an element where there is Each; empty: the payload is the number, or an object with "value" or "v". With senml and sparkplug the name of the value
	TimePath   string `json:"time_path,omitempty"`   // gjson path of the time; empty: "time", "ts" or "t" beside a value object, else receipt
	TimeFormat string `json:"time_format,omitempty"` // rfc3339, unix, unix_ms; empty: by its looks
	Zone       string `json:"zone,omitempty"`        // IANA name of the zone of times that state none, such as Asia/Shanghai; empty: such times are refused
}

// Forms of [Topic.Format] besides "", which is JSON by paths.
const (
	FormatSenML     = "senml"     // RFC 8428, JSON; Topic.Path is the resolved name of the record
	FormatSparkplug = "sparkplug" // Sparkplug B; Topic.Path is the name of the metric
)

// Forms of [Topic.TimeFormat].
const (
	TimeRFC3339 = "rfc3339"
	TimeUnix    = "unix"
	TimeUnixMS  = "unix_ms"
)

// devicePlace stands in [Topic.Topic] for the level, or the part of one, by
// which the messages of several instruments are told apart.
const devicePlace = "{device}"

// What a topic (MQTT 3.1.1, 4.7.3, has no closer bound) and a path may have, in bytes.
const (
	longestTopic = 1024
	longestPath  = 256
)

// Listens gives the place that the binding of an MQTT device listens to, its
// topic, or filter, filled in.
func (b *Binding) Listens() Topic {
	t := Topic{}
	if b.Topic != nil {
		t = *b.Topic
	}
	_, local := SplitPoint(b.Point)
	switch {
	case t.Topic != "" && t.Instance != "":
		t.Topic = strings.ReplaceAll(t.Topic, devicePlace, t.Instance)
	case t.Topic != "":
		t.Topic = strings.ReplaceAll(t.Topic, devicePlace, b.Device)
	case t.Path != "" || t.Each != "":
		t.Topic = "offsite/" + b.Device
	default:
		t.Topic = "offsite/" + b.Device + "/" + local
	}
	t.Instance = ""
	return t
}

// CheckTopic tells what is wrong with where the binding of an MQTT device
// listens, which [Binding.Check] leaves to whoever knows that it is one.
func (b *Binding) CheckTopic() Problems {
	var ps Problems
	bad := func(field, code, zh, en string) {
		ps.Add(Invalid(field, code, fmt.Sprintf("绑定 %s：%s", b.ID, zh), fmt.Sprintf("binding %s: %s", b.ID, en)))
	}
	topic := b.Listens().Topic
	switch {
	case b.Topic != nil && len(b.Topic.Instance) > 0 && !goodInstance(b.Topic):
		bad("topic.instance", "bad_instance", "仪器在主题中的名称不得含 /、+、#，且主题须含 {device}", "the instrument's name in the topic holds no /, + or #, and the topic holds {device}")
	case !goodFilter(topic):
		bad("topic.topic", "wildcard", "通配符 + 须单独占一级，# 须单独占最后一级，例如 plant/+/data 或 plant/#", "a wildcard + stands for one whole level and # for the last ones, as in plant/+/data or plant/#")
	case strings.HasPrefix(topic, "$share/"):
		bad("topic.topic", "shared_topic", "请在设备的 mqtt.share 中填写共享组，主题中不写 $share", "put the group of a shared subscription into the device's mqtt.share, not into the topic")
	case len(topic) > longestTopic || !utf8.ValidString(topic) || strings.ContainsRune(topic, 0):
		bad("topic.topic", "bad_topic", "主题须为不含空字符的 UTF-8，最长 1024 字节", "write a topic of at most 1024 bytes of UTF-8 without the null character")
	}
	if b.Topic != nil {
		b.Topic.check(topic, bad)
	}
	return ps
}

// check tells what is wrong with the place besides its topic.
func (t *Topic) check(topic string, bad func(field, code, zh, en string)) {
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
	case "", TimeRFC3339, TimeUnix, TimeUnixMS:
	default:
		bad("topic.time_format", "not_one_of", "时间格式请选 rfc3339、unix 或 unix_ms，或留空由程序识别", "choose rfc3339, unix or unix_ms, or leave it empty to go by its looks")
	}
	if _, ok := t.Location(); !ok {
		bad("topic.zone", "unknown_zone", "没有时区 "+Quoted(t.Zone)+"；请填 IANA 时区名，如 Asia/Shanghai 或 UTC", "there is no zone "+Quoted(t.Zone)+"; give its IANA name, such as Asia/Shanghai or UTC")
	}
	t.checkFormat(topic, bad)
}

// checkFormat tells what does not go with the format of a topic.
func (t *Topic) checkFormat(topic string, bad func(field, code, zh, en string)) {
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
	return !HasWildcard(strings.Join(levels, "/")) && !slices.Contains(levels, "")
}

func goodInstance(t *Topic) bool {
	return strings.Contains(t.Topic, devicePlace) && !strings.ContainsAny(t.Instance, "/+#")
}

func goodPath(path string) bool { return len(path) <= longestPath && utf8.ValidString(path) }

// Location gives the zone of times that state none, nil where there is none.
// known is false where the IANA time zone database does not have it.
func (t *Topic) Location() (zone *time.Location, known bool) {
	if t.Zone == "" {
		return nil, true
	}
	zone, err := time.LoadLocation(t.Zone)
	return zone, err == nil && t.Zone != "Local" // that would be the gateway's own
}

// Matches says whether an MQTT topic filter takes in topic (MQTT 3.1.1, 4.7).
func Matches(filter, topic string) bool {
	if topic != "" && topic[0] == '$' && filter != "" && (filter[0] == '+' || filter[0] == '#') {
		return false // 4.7.2: wildcards at the beginning leave the broker's own topics alone
	}
	for {
		level, rest, more := strings.Cut(filter, "/")
		if level == "#" {
			return true
		}
		part, left, deeper := strings.Cut(topic, "/")
		switch {
		case level != "+" && level != part:
			return false
		case more && !deeper:
			return rest == "#" // a/# takes in a
		case !more || !deeper:
			return more == deeper
		}
		filter, topic = rest, left
	}
}

// Covers says whether every topic that the filter inner takes in is taken in by
// outer too.
func Covers(outer, inner string) bool {
	if inner != "" && (inner[0] == '$') != (outer != "" && outer[0] == '$') {
		return false
	}
	for {
		level, rest, more := strings.Cut(outer, "/")
		if level == "#" {
			return true
		}
		part, left, deeper := strings.Cut(inner, "/")
		switch {
		case part == "#", level != "+" && level != part:
			return false
		case more && !deeper:
			return rest == "#"
		case !more || !deeper:
			return more == deeper
		}
		outer, inner = rest, left
	}
}

// WithoutCovered takes out the filters that others cover: a broker may send a
// message once for each subscription that takes it in.
func WithoutCovered(filters []string) []string {
	var wide []string
	for _, f := range filters {
		if HasWildcard(f) {
			wide = append(wide, f)
		}
	}
	return slices.DeleteFunc(filters, func(f string) bool {
		return slices.ContainsFunc(wide, func(w string) bool { return w != f && Covers(w, f) })
	})
}

// HasWildcard says whether a topic filter takes in more than one topic.
func HasWildcard(filter string) bool { return strings.ContainsAny(filter, "+#") }

// goodFilter says whether the wildcards of a topic filter stand where they may.
func goodFilter(filter string) bool {
	for {
		level, rest, more := strings.Cut(filter, "/")
		if level == "#" {
			return !more
		}
		if level != "+" && strings.ContainsAny(level, "+#") {
			return false
		}
		if !more {
			return true
		}
		filter = rest
	}
}
