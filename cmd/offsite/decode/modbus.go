package decode

import (
	"encoding/hex"
	"io"
	"os"

	"offsite/devices/modbus/wire"
)

// Modbus decodes lines of Modbus frames.
type Modbus struct {
	Framing   string `help:"tcp, rtu, ascii, or auto: each frame tells. 帧格式" enum:"auto,tcp,rtu,ascii" default:"auto"`
	Direction string `help:"request, response, or auto: both are tried. 方向" enum:"auto,request,response" default:"auto"`
	Tolerant  bool   `help:"Accept a length that does not fit, a CRC with its high byte first, small letters in ASCII, quantities beyond the standard's. 兼容模式"`
}

// Run prints a line of JSON for each frame, {"refused":reason} for what is none.
func (c *Modbus) Run(to io.Writer) error { return c.decode(os.Stdin, to) }

// decode takes a frame a line, or a packet in lines with offsets; blank lines
// are passed over.
func (c *Modbus) decode(in io.Reader, to io.Writer) error {
	r := wire.Reader{Tolerant: c.Tolerant}
	if c.Framing != "auto" {
		r.Framing = c.Framing
	}
	if c.Direction != "auto" {
		r.Direction = c.Direction
	}
	out := newLines(to)
	captured := readDumps(in)
	captured.asTyped = true
	for {
		p, ok := captured.next()
		if !ok {
			return captured.err()
		}
		var f *wire.Frame
		problem := p.problem
		switch {
		case problem != nil:
		case p.raw != nil:
			f, problem = r.Read(hex.EncodeToString(p.raw))
		default:
			f, problem = r.Read(p.text)
		}
		var err error
		if problem != nil {
			err = out.refuse(problem, p.text)
		} else {
			err = out.print(f)
		}
		if err != nil {
			return err
		}
	}
}
