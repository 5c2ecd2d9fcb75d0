package decode

import (
	"bufio"
	"errors"
	"io"
	"os"

	"offsite/devices"
	"offsite/devices/hj212/wire"
)

// HJ212 decodes the frames of HJ 212 data loggers.
type HJ212 struct {
	Hex      bool   `help:"The input is hexadecimal, as serial monitors, xxd, hexdump -C, tcpdump -X and Wireshark print it; usually it is recognised. 输入为十六进制（一般可自动识别）"`
	Tolerant bool   `help:"Accept the dialects that loggers in the field speak. 兼容模式"`
	SM4Key   string `name:"sm4-key" help:"Key of an encrypted data area, 16 characters or 32 hexadecimal digits. SM4 密钥" env:"OFFSITE_SM4_KEY"`
}

// Run prints a line of JSON for each frame, {"refused":reason} for what is none.
func (c *HJ212) Run(to io.Writer) error { return c.decode(os.Stdin, to) }

func (c *HJ212) decode(in io.Reader, to io.Writer) error {
	d := wire.Decoder{Tolerant: c.Tolerant, Text: true}
	if c.SM4Key != "" {
		cipher, err := wire.NewCipher(devices.Secret(c.SM4Key))
		if err != nil {
			return err
		}
		d.Key = func(string) *wire.Cipher { return cipher }
	}
	out := newLines(to)
	r := bufio.NewReaderSize(in, 64<<10)
	if c.Hex || startsAsDump(r) {
		return out.dumped(r, &d)
	}
	chunk := make([]byte, 32<<10)
	for {
		n, err := r.Read(chunk)
		_, _ = d.Write(chunk[:n]) // it never fails
		if err != nil {
			d.End()
		}
		if failed := out.frames(&d); failed != nil {
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

// dumped prints the frames of what r says in hexadecimal: one stream, however
// its pieces cut it.
func (l *lines) dumped(r io.Reader, d *wire.Decoder) error {
	in := readDumps(r)
	for {
		p, ok := in.next()
		switch {
		case !ok:
			d.End()
		case p.problem != nil:
			if err := l.refuse(p.problem, p.text); err != nil {
				return err
			}
		default:
			_, _ = d.Write(p.raw) // it never fails
		}
		if err := l.frames(d); err != nil {
			return err
		}
		if !ok {
			return in.err()
		}
	}
}

// frames prints those that d has.
func (l *lines) frames(d *wire.Decoder) error {
	for {
		f, ok := d.Next()
		if !ok {
			return l.out.Flush()
		}
		var line any = f.Packet
		if p := f.Refused; p != nil {
			line = refusal(p, string(f.Raw))
		}
		if err := l.enc.Encode(line); err != nil {
			return err
		}
	}
}
