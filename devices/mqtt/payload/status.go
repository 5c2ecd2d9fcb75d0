package payload

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"offsite/devices"
)

// Words by which firmware says whether a device is there.
var (
	wordsOffline = []string{"offline", "false", "0", "dead", "disconnected", "lost"}
	wordsOnline  = []string{"online", "true", "1", "alive", "connected"}
)

// readStatus gives whether a message of the status topic says that the device has gone.
func readStatus(s *devices.StatusTopic, payload []byte) (gone bool, p *devices.Problem) {
	text := strings.TrimSpace(string(payload[:min(len(payload), devices.MaxPayload)]))
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
	return false, devices.Invalid("mqtt.status", "unknown_status",
		fmt.Sprintf("状态主题上的 %s 既不表示在线也不表示离线；请在设备的 mqtt.status 中填写表示在线与离线的词", devices.Quoted(strings.ToValidUTF8(text, "?"))),
		fmt.Sprintf("%s on the status topic says neither there nor gone; put the device's words into its mqtt.status", devices.Quoted(strings.ToValidUTF8(text, "?"))))
}

func offlineProblem() *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "device_offline",
		ZH: "设备（或其遗嘱）在状态主题上报告离线；请检查设备的电源与网络",
		EN: "the device, or its last will, says on its status topic that it has gone; check its power and network",
	}
}

// openStatus reads a message of the status topic.
func (in *Inbox) openStatus(m Message, d *devices.Delivery) []devices.Report {
	gone, p := readStatus(in.status, m.Payload)
	if p != nil {
		d.Letter = newLetter(m.Topic, m.Payload, devices.Problems{at(m.Topic, p)})
		return nil
	}
	if in.gone.Swap(gone) == gone {
		return nil
	}
	r := devices.Report{Device: in.device, At: m.Received}
	if gone {
		r.Problem = offlineProblem()
	}
	return []devices.Report{r}
}

// backAgain says that a device which had said that it goes has sent something.
func (in *Inbox) backAgain(at time.Time) []devices.Report {
	if !in.gone.CompareAndSwap(true, false) {
		return nil
	}
	return []devices.Report{{Device: in.device, At: at}}
}
