package devices

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// Words by which firmware says whether a device is there.
var (
	wordsOffline = []string{"offline", "false", "0", "dead", "disconnected", "lost"}
	wordsOnline  = []string{"online", "true", "1", "alive", "connected"}
)

// checkStatus tells what is wrong with the status topic.
func (d *Device) checkStatus(ps *Problems) {
	if d.MQTT == nil || d.MQTT.Status == nil {
		return
	}
	s := d.MQTT.Status
	if topic := s.fullTopic(d.ID); topic == "" || hasWildcard(topic) || strings.HasPrefix(topic, "$share/") || len(topic) > 1024 || strings.ContainsRune(topic, 0) {
		ps.Add(Invalid("mqtt.status.topic", "bad_topic", "状态主题须为不含通配符的完整主题，最长 1024 字节", "write the whole status topic, without wildcards, in at most 1024 bytes"))
	}
	if !goodPath(s.Path) {
		ps.Add(Invalid("mqtt.status.path", "bad_path", "路径须为 UTF-8 文本，最长 256 字节", "a path is UTF-8 text of at most 256 bytes"))
	}
	if s.Offline != "" && strings.EqualFold(s.Offline, s.Online) {
		ps.Add(Invalid("mqtt.status.online", "ambiguous", "在线与离线须用不同的词", "the words for there and gone must differ"))
	}
}

func (s *StatusTopic) fullTopic(device string) string {
	return strings.ReplaceAll(s.Topic, devicePlace, device)
}

// read gives whether the message says that the device has gone.
func (s *StatusTopic) read(payload []byte) (gone bool, p *Problem) {
	text := strings.TrimSpace(string(payload[:min(len(payload), MaxPayload)]))
	if s.Path != "" {
		text = gjson.Get(text, s.Path).String()
	} else if len(text) > 1 && text[0] == '"' {
		text = strings.Trim(text, `"`)
	}
	says := func(word string, words []string) bool {
		if word != "" {
			return strings.EqualFold(text, word)
		}
		return slices.Contains(words, strings.ToLower(text))
	}
	switch {
	case says(s.Offline, wordsOffline):
		return true, nil
	case says(s.Online, wordsOnline):
		return false, nil
	}
	return false, Invalid("mqtt.status", "unknown_status",
		fmt.Sprintf("状态主题上的 %s 既不表示在线也不表示离线；请在设备的 mqtt.status 中填写表示在线与离线的词", clip(strings.ToValidUTF8(text, "?"))),
		fmt.Sprintf("%s on the status topic says neither there nor gone; put the device's words into its mqtt.status", clip(strings.ToValidUTF8(text, "?"))))
}

func offlineProblem() *Problem {
	return &Problem{
		Kind: ErrUnavailable, Code: "device_offline",
		ZH: "设备（或其遗嘱）在状态主题上报告离线；请检查设备的电源与网络",
		EN: "the device, or its last will, says on its status topic that it has gone; check its power and network",
	}
}

// openStatus reads a message of the status topic.
func (in *Inbox) openStatus(m Message, d *Delivery) []Report {
	gone, p := in.status.read(m.Payload)
	if p != nil {
		d.Letter = newLetter(m.Topic, m.Payload, Problems{p.at(m.Topic)})
		return nil
	}
	if in.gone.Swap(gone) == gone {
		return nil
	}
	r := Report{Device: in.device, At: m.Received}
	if gone {
		r.Problem = offlineProblem()
	}
	return []Report{r}
}

// backAgain says that a device which had said that it goes has sent something.
func (in *Inbox) backAgain(at time.Time) []Report {
	if !in.gone.CompareAndSwap(true, false) {
		return nil
	}
	return []Report{{Device: in.device, At: at}}
}
