package decode

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"offsite/devices"
	"offsite/devices/mqtt/sparkplug"
)

// Sparkplug decodes payloads of Sparkplug B.
type Sparkplug struct{}

// Run prints a line of JSON for each payload, {"refused":reason} for what is none.
func (c *Sparkplug) Run(to io.Writer) error { return c.decode(os.Stdin, to) }

// decode takes lines of hexadecimal or base64, with the topic in front if there
// is one, as mosquitto_sub -F '%t %x' writes them, or a payload in lines with
// offsets; else the whole input is one payload.
func (c *Sparkplug) decode(in io.Reader, to io.Writer) error {
	out := newLines(to)
	births := sparkplug.New().(*sparkplug.Format)
	r := bufio.NewReaderSize(in, 64<<10)
	start, _ := r.Peek(64)
	if !isText(start) {
		raw, err := io.ReadAll(io.LimitReader(r, maxLine))
		if err != nil {
			return err
		}
		return out.sparkplug(births, "", raw, hex.EncodeToString(raw))
	}
	captured := readDumps(r)
	captured.asTyped = true
	for {
		p, ok := captured.next()
		if !ok {
			return captured.err()
		}
		topic, raw := "", p.raw
		problem := p.problem
		if problem == nil && raw == nil {
			topic, raw, problem = typed(p.text)
		}
		var err error
		if problem != nil {
			err = out.refuse(problem, p.text)
		} else {
			err = out.sparkplug(births, topic, raw, p.text)
		}
		if err != nil {
			return err
		}
	}
}

// typed reads a line: a payload, with its topic in front if there is one.
func typed(line string) (topic string, raw []byte, problem *devices.Problem) {
	if raw, ok := unwrapped(line); ok {
		return "", raw, nil
	}
	payload := line
	if m := pairs.FindStringSubmatchIndex(line); m != nil {
		topic, payload = line[:m[0]], line[m[2]:m[3]]
	} else if i := strings.LastIndexByte(line, ' '); i >= 0 {
		topic, payload = line[:i], line[i+1:]
	} else if strings.HasPrefix(line, "spBv1.0/") {
		topic, payload = line, "" // of an empty payload
	}
	raw, ok := unwrapped(payload)
	if !ok {
		return "", nil, devices.Invalid("payload", "not_hexadecimal", "每行须为十六进制或 base64 的报文，前面可写主题",
			"each line is a payload in hexadecimal or base64, with the topic in front if you like")
	}
	return topic, raw, nil
}

// pairs are the bytes behind a topic, with blanks between them.
var pairs = regexp.MustCompile(`\s+((?:[0-9a-fA-F]{2}\s+)+[0-9a-fA-F]{2})$`)

// isText says whether input begins like lines of text rather than with a payload.
func isText(start []byte) bool {
	if len(start) == 64 {
		start = start[:60] // a character may be cut in two
	}
	return utf8.Valid(start) && bytes.IndexFunc(start, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }) < 0
}

func unwrapped(text string) ([]byte, bool) {
	if raw, err := hex.DecodeString(between.Replace(text)); err == nil {
		return raw, true
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	return raw, err == nil
}

// sparkplug prints a payload; with its topic, aliases are resolved and gaps told.
func (l *lines) sparkplug(births *sparkplug.Format, topic string, raw []byte, frame string) error {
	p, err := sparkplug.Parse(raw)
	if err != nil {
		return l.refuse(devices.Invalid("payload", "bad_sparkplug", "报文不是 Sparkplug B："+err.Error(), "the payload is not Sparkplug B: "+err.Error()), frame)
	}
	line := struct {
		Topic string `json:"topic,omitempty"`
		*sparkplug.Payload
		Gap string `json:"gap,omitempty"`
	}{topic, p, ""}
	if topic != "" {
		sheet, _ := births.Read(topic, raw, time.Now()) // what it cannot name it cannot name
		if sheet.Gap != nil {
			line.Gap = sheet.Gap.EN
		}
		births.Name(topic, p)
	}
	return l.print(line)
}
