package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// MarshalJSON writes the packet as the command "offsite decode" shows it: the
// fields by their names in small letters, cp as a list of items, each an object
// in the order of its properties, and factors as code -> field -> value, a
// number where it is one and else a text. What is not there is left out.
func (p *Packet) MarshalJSON() ([]byte, error) {
	var o object
	for _, f := range []struct{ name, value string }{
		{"qn", p.QN}, {"st", p.ST}, {"cn", p.CN}, {"pw", p.PW}, {"mn", p.MN},
	} {
		if f.value != "" {
			o.add(f.name, text(f.value))
		}
	}
	if p.Flag >= 0 {
		o.add("flag", p.Flag)
	}
	o.add("answer_wanted", p.Wanted())
	o.add("version", p.Version)
	if p.PNUM > 0 {
		o.add("pnum", p.PNUM)
		o.add("pno", p.PNO)
	}
	if p.Resent {
		o.add("rf", 1)
	}
	items := make([]object, len(p.CP))
	for i, item := range p.CP {
		for _, f := range item {
			items[i].add(text(f.Name), text(f.Value))
		}
	}
	o.add("cp", items)
	if at := p.Value("DataTime"); at != "" {
		o.add("datatime", at)
		if t, ok := ParseTime(at); ok {
			o.add("at", t)
		}
	}
	o.add("factors", p.factors())
	o.add("crc", fmt.Sprintf("%04X", p.CRC))
	o.add("length", p.Length)
	if p.Encrypted {
		o.add("encrypted", true)
	}
	if len(p.Dialects) > 0 {
		o.add("dialects", p.Dialects)
	}
	return o.MarshalJSON()
}

// factors gathers the properties whose name is code-field.
func (p *Packet) factors() *object {
	var all object
	for _, item := range p.CP {
		for _, f := range item {
			code, field, ok := SplitName(f.Name)
			if !ok {
				continue
			}
			code = text(code)
			one, known := all.find(code).(*object)
			if !known {
				one = &object{}
				all.add(code, one)
			}
			one.add(text(field), value(field, f.Value))
		}
	}
	return &all
}

// SplitName splits a34004-Rtd at its last hyphen.
func SplitName(name string) (code, field string, ok bool) {
	at := strings.LastIndexByte(name, '-')
	if at <= 0 || at == len(name)-1 {
		return "", "", false
	}
	return name[:at], name[at+1:], true
}

// value gives a number as it was written where JSON allows that, else by its
// value; marks, times and texts stay texts.
func value(field, written string) any {
	switch field {
	case "Flag", "EFlag", "SampleTime", "Info", "SN":
		return text(written)
	}
	if n := len(written); json.Valid([]byte(written)) && (digit(written[0]) || written[0] == '-') && digit(written[n-1]) {
		return json.Number(written)
	}
	if v, err := strconv.ParseFloat(written, 64); err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) && !strings.ContainsAny(written, "xXpP_") {
		return v
	}
	return text(written)
}

// text gives what a logger wrote as UTF-8; what is none is read as GB 18030.
func text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	if t, err := simplifiedchinese.GB18030.NewDecoder().String(s); err == nil {
		return t
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// object is a JSON object that keeps the order of its members.
type object struct{ members []member }

type member struct {
	name  string
	value any
}

func (o *object) add(name string, value any) { o.members = append(o.members, member{name, value}) }

func (o *object) find(name string) any {
	for _, m := range o.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// MarshalJSON writes the members in order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o.members {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
