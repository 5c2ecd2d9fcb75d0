package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"offsite/devices"
	"offsite/devices/mqtt/senml"
	"offsite/devices/mqtt/sparkplug"
)

// maxLine bounds a line of a payload in hexadecimal, and a raw payload.
const maxLine = 4 << 20

type decodeSenML struct{}

// Run prints a line of JSON for each pack, {"refused":reason} for what is none.
func (c *decodeSenML) Run(s streamsOut) error { return c.decode(os.Stdin, s.out) }

// decode takes packs of one line or of several; a blank line ends a pack.
func (c *decodeSenML) decode(in io.Reader, to io.Writer) error {
	out := newLines(to)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	var pack []byte
	flush := func() error {
		if len(bytes.TrimSpace(pack)) == 0 {
			return nil
		}
		defer func() { pack = pack[:0] }()
		return out.pack(pack)
	}
	for lines.Scan() {
		line := lines.Bytes()
		whole := bytes.HasPrefix(bytes.TrimSpace(line), []byte("[")) && json.Valid(line)
		if whole || len(bytes.TrimSpace(line)) == 0 || len(pack) > devices.MaxPayload {
			if err := flush(); err != nil {
				return err
			}
		}
		pack = append(append(pack, line...), '\n')
		if json.Valid(pack) {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return flush()
}

// lines prints an object a line.
type lines struct {
	out *bufio.Writer
	enc *json.Encoder
}

func newLines(to io.Writer) *lines {
	out := bufio.NewWriter(to)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return &lines{out, enc}
}

func (l *lines) print(v any) error {
	if err := l.enc.Encode(v); err != nil {
		return err
	}
	return l.out.Flush()
}

func (l *lines) refuse(p *devices.Problem, frame string) error {
	const most = 2048
	if len(frame) > most {
		frame = frame[:most]
	}
	return l.print(refusedFrame{Refused: p.EN, ZH: p.ZH, Code: p.Code, Field: p.Field, Frame: strings.ToValidUTF8(frame, "?")})
}

// senmlRecord is a resolved record of a pack.
type senmlRecord struct {
	Name  string    `json:"name"`
	Value *float64  `json:"value"` // null for text and data
	Unit  string    `json:"unit,omitempty"`
	Time  time.Time `json:"time,omitzero"` // absent: the pack does not say
}

func (l *lines) pack(pack []byte) error {
	samples, p := senml.Read(bytes.TrimSpace(pack), time.Now())
	if p != nil {
		return l.refuse(p, string(bytes.TrimSpace(pack)))
	}
	records := make([]senmlRecord, len(samples))
	for i, s := range samples {
		records[i] = senmlRecord{Name: s.Name, Unit: s.Unit, Time: s.At}
		if s.Fault == nil {
			records[i].Value = &samples[i].Value
		}
	}
	return l.print(struct {
		Records []senmlRecord `json:"records"`
	}{records})
}

type decodeSparkplug struct{}

// Run prints a line of JSON for each payload, {"refused":reason} for what is none.
func (c *decodeSparkplug) Run(s streamsOut) error { return c.decode(os.Stdin, s.out) }

// decode takes lines of hexadecimal or base64, with the topic in front if there
// is one, as mosquitto_sub -F '%t %x' writes them; else the whole input is one
// payload.
func (c *decodeSparkplug) decode(in io.Reader, to io.Writer) error {
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
	text := bufio.NewScanner(r)
	text.Buffer(nil, maxLine)
	for text.Scan() {
		line := strings.TrimSpace(text.Text())
		if line == "" {
			continue
		}
		topic, payload := "", line
		if i := strings.LastIndexByte(line, ' '); i >= 0 {
			topic, payload = line[:i], line[i+1:]
		} else if strings.HasPrefix(line, "spBv1.0/") {
			topic, payload = line, "" // of an empty payload
		}
		raw, ok := unwrapped(payload)
		var err error
		if ok {
			err = out.sparkplug(births, topic, raw, line)
		} else {
			err = out.refuse(devices.Invalid("payload", "not_hexadecimal", "每行须为十六进制或 base64 的报文，前面可写主题",
				"each line is a payload in hexadecimal or base64, with the topic in front if you like"), line)
		}
		if err != nil {
			return err
		}
	}
	return text.Err()
}

// isText says whether input begins like lines of text rather than with a payload.
func isText(start []byte) bool {
	if len(start) == 64 {
		start = start[:60] // a character may be cut in two
	}
	return utf8.Valid(start) && bytes.IndexFunc(start, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }) < 0
}

func unwrapped(text string) ([]byte, bool) {
	if raw, err := hex.DecodeString(text); err == nil {
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
