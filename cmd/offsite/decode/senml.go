package decode

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"offsite/devices"
	"offsite/devices/mqtt/senml"
)

// SenML decodes packs of SenML in JSON, RFC 8428.
type SenML struct {
	Hex bool `help:"The input is hexadecimal, as serial monitors, xxd, hexdump -C, tcpdump -X and Wireshark print it; usually it is recognised. 输入为十六进制（一般可自动识别）"`
}

// Run prints a line of JSON for each pack, {"refused":reason} for what is none.
func (c *SenML) Run(to io.Writer) error { return c.decode(os.Stdin, to) }

// decode takes packs of one line or of several; a blank line ends a pack.
func (c *SenML) decode(in io.Reader, to io.Writer) error {
	packs := packs{out: newLines(to)}
	r := bufio.NewReaderSize(in, 64<<10)
	if c.Hex || startsAsDump(r) {
		return packs.dumped(r)
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if err := packs.add(lines.Bytes(), "\n"); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return packs.flush()
}

// packs puts packs together from lines.
type packs struct {
	out  *lines
	pack []byte
}

// dumped takes packs in hexadecimal, each of one piece or of several.
func (p *packs) dumped(r io.Reader) error {
	in := readDumps(r)
	for {
		piece, ok := in.next()
		var err error
		switch {
		case !ok:
			return errors.Join(p.flush(), in.err())
		case piece.problem != nil:
			err = p.out.refuse(piece.problem, piece.text)
		default:
			err = p.add(piece.raw, "")
		}
		if err != nil {
			return err
		}
	}
}

// add takes a line. A blank one, and one that is a pack by itself, ends the pack
// before it; end stands between the lines of a pack.
func (p *packs) add(line []byte, end string) error {
	whole := bytes.HasPrefix(bytes.TrimSpace(line), []byte("[")) && json.Valid(line)
	if whole || len(bytes.TrimSpace(line)) == 0 || len(p.pack) > devices.MaxPayload {
		if err := p.flush(); err != nil {
			return err
		}
	}
	p.pack = append(append(p.pack, line...), end...)
	if json.Valid(p.pack) {
		return p.flush()
	}
	return nil
}

func (p *packs) flush() error {
	defer func() { p.pack = p.pack[:0] }()
	if len(bytes.TrimSpace(p.pack)) == 0 {
		return nil
	}
	return p.out.pack(p.pack)
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
