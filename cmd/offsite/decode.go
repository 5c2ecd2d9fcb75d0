package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"

	"offsite/devices"
	"offsite/devices/hj212/wire"
)

// decodeCommand reads frames from standard input and prints one JSON object
// each: an engineer's tool.
type decodeCommand struct {
	HJ212     decodeHJ212     `cmd:"" name:"hj212" help:"Frames of HJ 212 data loggers. HJ 212 数据包"`
	Modbus    decodeModbus    `cmd:"" name:"modbus" help:"Lines of Modbus frames in hexadecimal, TCP or RTU, or ASCII frames from their colon on. Modbus 报文"`
	SenML     decodeSenML     `cmd:"" name:"senml" help:"SenML packs in JSON, RFC 8428. SenML 报文"`
	Sparkplug decodeSparkplug `cmd:"" name:"sparkplug" help:"Sparkplug B payloads: a raw one, or lines of hexadecimal or base64 with the topic in front if you like. Sparkplug B 报文"`
}

type decodeHJ212 struct {
	Tolerant bool   `help:"Accept the dialects that loggers in the field speak. 兼容模式"`
	SM4Key   string `name:"sm4-key" help:"Key of an encrypted data area, 16 characters or 32 hexadecimal digits. SM4 密钥" env:"OFFSITE_SM4_KEY"`
}

// Run prints a line of JSON for each frame, {"refused":reason} for what is none.
func (c *decodeHJ212) Run(s streamsOut) error { return c.decode(os.Stdin, s.out) }

func (c *decodeHJ212) decode(in io.Reader, to io.Writer) error {
	d := wire.Decoder{Tolerant: c.Tolerant, Text: true}
	if c.SM4Key != "" {
		cipher, err := wire.NewCipher(devices.Secret(c.SM4Key))
		if err != nil {
			return err
		}
		d.Key = func(string) *wire.Cipher { return cipher }
	}
	out := bufio.NewWriter(to)
	chunk := make([]byte, 32<<10)
	for {
		n, err := in.Read(chunk)
		_, _ = d.Write(chunk[:n]) // it never fails
		if err != nil {
			d.End()
		}
		if failed := printFrames(&d, out); failed != nil {
			return failed
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// refusedFrame is what is printed for a frame that is none.
type refusedFrame struct {
	Refused string `json:"refused"` // why, in English
	ZH      string `json:"zh"`      // the same in Chinese
	Code    string `json:"code"`    // stable, for programs
	Field   string `json:"field,omitempty"`
	Frame   string `json:"frame"` // as it came, at most 2,048 bytes
}

func printFrames(d *wire.Decoder, out *bufio.Writer) error {
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	for {
		f, ok := d.Next()
		if !ok {
			return out.Flush()
		}
		var line any = f.Packet
		if p := f.Refused; p != nil {
			line = refusedFrame{Refused: p.EN, ZH: p.ZH, Code: p.Code, Field: p.Field, Frame: string(f.Raw)}
		}
		if err := lines.Encode(line); err != nil {
			return err
		}
	}
}
