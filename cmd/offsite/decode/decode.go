// Package decode reads frames of the protocols of the field from standard input, as
// they are or in hexadecimal as monitors and captures print it, and prints one JSON
// object a line for each: an engineer's tool. What is no frame is
// printed as {"refused", "zh", "code", "field", "frame"}.
package decode

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"

	"offsite/devices"
)

// Command reads frames from standard input and prints them.
type Command struct {
	HJ212     HJ212     `cmd:"" name:"hj212" help:"Frames of HJ 212 data loggers, as they are or in hexadecimal. HJ 212 数据包"`
	Modbus    Modbus    `cmd:"" name:"modbus" help:"Lines of Modbus frames in hexadecimal, TCP or RTU, or ASCII frames from their colon on. Modbus 报文"`
	SenML     SenML     `cmd:"" name:"senml" help:"SenML packs in JSON, RFC 8428. SenML 报文"`
	Sparkplug Sparkplug `cmd:"" name:"sparkplug" help:"Sparkplug B payloads: a raw one, or lines of hexadecimal or base64 with the topic in front if you like. Sparkplug B 报文"`
}

// maxLine bounds a line, and a raw payload.
const maxLine = 4 << 20

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

func (l *lines) refuse(p *devices.Problem, frame string) error { return l.print(refusal(p, frame)) }

func refusal(p *devices.Problem, frame string) refusedFrame {
	const most = 2048
	return refusedFrame{Refused: p.EN, ZH: p.ZH, Code: p.Code, Field: p.Field, Frame: strings.ToValidUTF8(frame[:min(len(frame), most)], "?")}
}

// refusedFrame is what is printed for a frame that is none.
type refusedFrame struct {
	Refused string `json:"refused"` // why, in English
	ZH      string `json:"zh"`      // the same in Chinese
	Code    string `json:"code"`    // stable, for programs
	Field   string `json:"field,omitempty"`
	Frame   string `json:"frame"` // as it came, at most 2,048 bytes
}
