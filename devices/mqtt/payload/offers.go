package payload

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"offsite/devices"
)

// Offer is a value of a message that a point can be bound to, with the place
// that its binding then has.
type Offer struct {
	Name  string        `json:"name"` // for people: the path, or what the sender calls it
	Topic devices.Topic `json:"topic"`
	Value float64       `json:"value"` // that it had
	Unit  string        `json:"unit,omitempty"`
}

// Bounds of what is told of a message.
const (
	mostOffers = 64
	mostDepth  = 8
)

// Offers tells what a message holds that a point can be bound to. Each offer has
// been tried: a binding with its Topic reads that value from that message.
func Offers(topic string, payload []byte, formats Formats) []Offer {
	if len(payload) > devices.MaxPayload && !strings.HasPrefix(topic, "spBv1.0/") {
		return nil
	}
	if format, read := formatByLooks(topic, payload, formats); format != "" {
		return namedOffers(format, read, topic, payload)
	}
	if !utf8.Valid(payload) {
		return nil
	}
	if !gjson.ValidBytes(payload) || (gjson.ParseBytes(payload).Type != gjson.JSON) {
		return tried(topic, payload, []Offer{{Name: topic, Topic: devices.Topic{Topic: topic}}})
	}
	w := walk{topic: topic}
	doc := gjson.ParseBytes(payload)
	if r := doc.Get("value"); r.Exists() && isLeaf(r) {
		w.offers = append(w.offers, Offer{Name: "value", Topic: devices.Topic{Topic: topic}})
	} else if r := doc.Get("v"); r.Exists() && isLeaf(r) {
		w.offers = append(w.offers, Offer{Name: "v", Topic: devices.Topic{Topic: topic}})
	}
	w.into(doc, "", "", 0)
	return tried(topic, payload, w.offers)
}

// formatByLooks tells the format of a message that is not JSON by paths.
func formatByLooks(topic string, payload []byte, formats Formats) (string, Format) {
	if open := formats[devices.FormatSparkplug]; open != nil && strings.HasPrefix(topic, "spBv1.0/") {
		return devices.FormatSparkplug, open()
	}
	if open := formats[devices.FormatSenML]; open != nil {
		first := gjson.GetBytes(payload, "0")
		if first.IsObject() && (first.Get("bn").Exists() || first.Get("n").Exists()) {
			return devices.FormatSenML, open()
		}
	}
	return "", nil
}

func namedOffers(format string, f Format, topic string, payload []byte) []Offer {
	sheet, _ := f.Read(topic, payload, time.Now())
	bound := topic
	if levels := strings.Split(topic, "/"); format == devices.FormatSparkplug && len(levels) > 3 {
		levels[2] = "+"
		bound = strings.Join(levels, "/")
	}
	var offers []Offer
	seen := map[string]bool{}
	for _, s := range sheet.Samples {
		if s.Fault == nil && !s.Null && !seen[s.Name] && len(offers) < mostOffers {
			seen[s.Name] = true
			offers = append(offers, Offer{Name: s.Name, Topic: devices.Topic{Topic: bound, Format: format, Path: s.Name}, Value: s.Value, Unit: s.Unit})
		}
	}
	return offers
}

// walk gathers the numbers of a JSON document.
type walk struct {
	topic  string
	offers []Offer
}

func isLeaf(r gjson.Result) bool {
	switch r.Type {
	case gjson.Number, gjson.True, gjson.False:
		return true
	case gjson.String:
		_, fault := number("", r.Str)
		return fault == nil
	}
	return false
}

// into looks at the members of an object, or of the first element of an array
// of objects.
func (w *walk) into(r gjson.Result, each, prefix string, depth int) {
	if depth > mostDepth || len(w.offers) >= mostOffers {
		return
	}
	if r.IsArray() {
		if first := r.Get("0"); each == "" && first.IsObject() {
			if prefix == "" {
				prefix = "@this"
			}
			w.into(first, prefix, "", depth+1)
		}
		return
	}
	timePath := timeMember(r, prefix)
	r.ForEach(func(key, v gjson.Result) bool {
		path := join(prefix, key.Str)
		switch {
		case path == timePath || path == "":
		case isLeaf(v):
			name := path
			if each != "" && each != "@this" {
				name = each + "." + path
			}
			w.offers = append(w.offers, Offer{Name: name, Topic: devices.Topic{Topic: w.topic, Each: each, Path: path, TimePath: timePath}})
		case v.Type == gjson.JSON:
			w.into(v, each, path, depth+1)
		}
		return len(w.offers) < mostOffers
	})
}

// timeMember gives the path of the time that stands beside values, "" for none.
func timeMember(r gjson.Result, prefix string) string {
	for _, name := range [...]string{"time", "timestamp", "ts", "Time", "datetime", "t"} {
		if v := r.Get(name); v.Exists() {
			if _, ok := readTime(v, ""); ok {
				return join(prefix, name)
			}
		}
	}
	return ""
}

// join puts a member's name behind a path, with a backslash before what gjson
// would take for more than a name.
func join(prefix, name string) string {
	var b strings.Builder
	if prefix != "" {
		b.WriteString(prefix)
		b.WriteByte('.')
	}
	for i := range len(name) {
		if c := name[i]; c < 0x80 && strings.IndexByte(`.*?|#@!{}[]()=<>%~\":`, c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

// PathTo gives the path of a member of that name.
func PathTo(name string) string { return join("", name) }

// tried keeps the offers that a binding can read, with the value it reads.
func tried(topic string, payload []byte, offers []Offer) []Offer {
	var good []Offer
	for _, o := range offers {
		place := o.Topic
		m, err := newMapping([]devices.Bound{{Point: devices.Point{ID: "o.p"}, Binding: devices.Binding{ID: "b", Device: "d", Point: "o.p", Topic: &place}}})
		if err != nil {
			continue
		}
		if readings, _, _ := m.decode(topic, payload, time.Now()); len(readings) > 0 {
			o.Value = readings[len(readings)-1].Value
			good = append(good, o)
		}
	}
	return good
}
