package decode

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"time"

	"offsite/devices"
	"offsite/devices/mqtt/senml"
)

// SenML decodes packs of SenML in JSON, RFC 8428.
type SenML struct{}

// Run prints a line of JSON for each pack, {"refused":reason} for what is none.
func (c *SenML) Run(to io.Writer) error { return c.decode(os.Stdin, to) }

// decode takes packs of one line or of several; a blank line ends a pack.
func (c *SenML) decode(in io.Reader, to io.Writer) error {
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
