// Package table writes registered things as CSV tables and takes them over again.
//
// A table file holds things of one kind, a row each, RFC 4180 with commas or
// semicolons, in UTF-8 with or without its mark or in GB18030. The first line
// names the columns: the paths of the API's JSON ("modbus.unit"), in any order;
// columns of somebody's own notes begin with "#". A row makes the thing of its
// id or replaces it; what has no column stays as it is, an empty cell empties
// its field, but an empty secret stays. Lists stand in one cell: items apart by
// "|", the fields of an item by ":", a backslash before these two and itself,
// `\-` for an empty text. Times are RFC 3339 or Beijing time without a zone.
// Secrets are read and never written. Text that a spreadsheet would run as a
// formula is written with an apostrophe before it, which is taken away again;
// numbers are not.
package table

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"

	"offsite/devices"
)

// Bounds of one table. What has more is no table that somebody wrote.
const (
	Max         = 16 << 20 // bytes
	mostRows    = 50_000
	mostColumns = 128
	longestCell = 64 << 10 // bytes
)

// Encodings of tables.
const (
	UTF8    = "utf-8"
	GB18030 = "gb18030"
)

// Form is how a table is written. The zero Form is what spreadsheets
// open without asking: UTF-8 with its mark, and commas.
type Form struct {
	Encoding  string // UTF8, GB18030; empty means UTF8, and at reading what fits
	Semicolon bool   // between cells, not commas; at reading what the first line has is taken
}

// bom marks UTF-8 for spreadsheets.
const bom = "\ufeff"

// Write writes things, all of one kind, as a table that Read takes.
// Secrets are left out. It returns a Problem of code not_gb18030 when the
// encoding cannot hold the text.
func Write(w io.Writer, kind devices.Kind, things []devices.Thing, form Form) error {
	var b bytes.Buffer
	b.WriteString(bom)
	all := columns(kind)
	write := func(cell func(c *column) string) {
		first := true
		for i := range all {
			if all[i].secret {
				continue
			}
			if !first {
				b.WriteByte(form.separator())
			}
			first = false
			writeCell(&b, cell(&all[i]))
		}
		b.WriteString("\r\n")
	}
	write(func(c *column) string { return c.name })
	for _, t := range things {
		write(func(c *column) string {
			text := c.cellText(t)
			if !c.number {
				text = defuse(text)
			}
			return text
		})
	}
	out := b.Bytes()
	if form.Encoding == GB18030 {
		var p *devices.Problem
		if out, p = toGB18030(out[len(bom):]); p != nil {
			return p
		}
	}
	_, err := w.Write(out)
	return err
}

// toGB18030 refuses text with characters that would not come back the same,
// such as those of private use.
func toGB18030(text []byte) ([]byte, *devices.Problem) {
	out, err := simplifiedchinese.GB18030.NewEncoder().Bytes(text)
	if err == nil && !bytes.Contains(text, []byte("\ufffd")) {
		var back []byte
		if back, err = simplifiedchinese.GB18030.NewDecoder().Bytes(out); err == nil && bytes.Equal(back, text) {
			return out, nil
		}
	}
	return nil, &devices.Problem{
		Kind: devices.ErrConflict, Code: "not_gb18030", Field: "encoding", Cause: err,
		ZH: "内容含 GB18030 不能表示的字符；请用 UTF-8 导出", EN: "there are characters that GB18030 cannot hold; export as UTF-8",
	}
}

func (f Form) separator() byte {
	if f.Semicolon {
		return ';'
	}
	return ','
}

// Cell is text as a cell of a table with commas: quoted where it must be, and no
// spreadsheet takes it for a formula.
func Cell(text string) string {
	var b bytes.Buffer
	writeCell(&b, defuse(text))
	return b.String()
}

// writeCell quotes what a spreadsheet would cut or trim, also where it splits
// at the other separator.
func writeCell(b *bytes.Buffer, text string) {
	if !strings.ContainsAny(text, ",;\t\"\r\n") && strings.TrimSpace(text) == text {
		b.WriteString(text)
		return
	}
	b.WriteByte('"')
	b.WriteString(strings.ReplaceAll(text, `"`, `""`))
	b.WriteByte('"')
}

// formula says that a spreadsheet may take the text for one, the full-width
// signs included.
func formula(text string) bool {
	r, _ := utf8.DecodeRuneInString(strings.TrimLeft(text, "'"))
	return strings.ContainsRune("=+-@\t\r＝＋－＠", r) && text != ""
}

// defuse puts an apostrophe before what a spreadsheet may take for a formula;
// refuse takes it away again. Both leave every other text as it is.
func defuse(text string) string {
	if formula(text) {
		return "'" + text
	}
	return text
}

func refuse(text string) string {
	if strings.HasPrefix(text, "'") && formula(text) {
		return text[1:]
	}
	return text
}

// decodeTable gives the text of a file. Text that is no UTF-8 is GB18030.
func decodeTable(data []byte, encoding string) (string, *devices.Problem) {
	switch {
	case len(data) > Max:
		return "", devices.Invalid("", "too_large", "文件不得超过 16 MiB，请分成几个文件", "a table has at most 16 MiB; split it")
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}), bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		return "", devices.Invalid("", "bad_encoding", "文件为 UTF-16；请另存为“CSV UTF-8”", `the file is UTF-16; save it as "CSV UTF-8"`)
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return "", devices.Invalid("", "bad_encoding", "这是 Excel 工作簿；请另存为“CSV UTF-8”", `this is a workbook; save it as "CSV UTF-8"`)
	}
	if encoding != GB18030 && utf8.Valid(data) {
		return strings.TrimPrefix(string(data), bom), nil
	}
	if encoding == UTF8 {
		return "", devices.Invalid("", "bad_encoding", "文件不是 UTF-8；请另存为“CSV UTF-8”或选择 GB18030", `the file is not UTF-8; save it as "CSV UTF-8" or choose GB18030`)
	}
	text, err := simplifiedchinese.GB18030.NewDecoder().Bytes(data)
	if at := bytes.Index(text, []byte("\ufffd")); err != nil || at >= 0 {
		line := 1 + bytes.Count(text[:max(at, 0)], []byte("\n"))
		return "", devices.Invalid("", "bad_encoding",
			fmt.Sprintf("第 %d 行既不是 UTF-8 也不是 GB18030；请另存为“CSV UTF-8”", line),
			fmt.Sprintf(`line %d is neither UTF-8 nor GB18030; save the file as "CSV UTF-8"`, line))
	}
	return strings.TrimPrefix(string(text), bom), nil
}

// record is one line of a table; it goes on over line ends inside quotes.
type record struct {
	line  int // where it begins, from 1
	cells []string
}

// scanner cuts the text of a table into records (RFC 4180; line ends CR LF, LF
// or CR). What stands in quotes comes out exactly as it is, other cells without
// the blanks around them.
type scanner struct {
	text      string
	separator byte
	at        int
	line      int
}

func newScanner(text string) *scanner {
	s := &scanner{text: text, separator: ',', line: 1}
	head := text[:min(len(text), longestCell)]
	if i := strings.IndexAny(head, "\r\n"); i >= 0 {
		head = head[:i]
	}
	if strings.Count(head, ";") > strings.Count(head, ",") {
		s.separator = ';'
	}
	return s
}

// next gives the next record; ok is false at the end. A fault leaves out the
// rest of its line.
func (s *scanner) next() (r record, fault *Fault, ok bool) {
	if s.at >= len(s.text) {
		return record{}, nil, false
	}
	r.line = s.line
	for {
		cell, p := s.cell()
		if p != nil {
			fault = &Fault{Line: r.line, Column: len(r.cells) + 1, Problem: p}
			s.skipLine()
			return r, fault, true
		}
		if len(r.cells) == mostColumns {
			s.skipLine()
			p = devices.Invalid("", "too_many", fmt.Sprintf("一行最多 %d 列", mostColumns), fmt.Sprintf("a row has at most %d cells", mostColumns))
			return r, &Fault{Line: r.line, Column: mostColumns + 1, Problem: p}, true
		}
		r.cells = append(r.cells, cell)
		if s.at < len(s.text) && s.text[s.at] == s.separator {
			s.at++
			continue
		}
		s.endLine()
		return r, nil, true
	}
}

// cell reads up to a separator, the line's or the text's end.
func (s *scanner) cell() (string, *devices.Problem) {
	if s.at < len(s.text) && s.text[s.at] == '"' {
		return s.quoted()
	}
	start := s.at
	for s.at < len(s.text) && s.text[s.at] != s.separator && s.text[s.at] != '\n' && s.text[s.at] != '\r' {
		if s.text[s.at] == '"' {
			return "", devices.Invalid("", "bad_quote", "引号只能包住整个单元格；单元格内的引号须写两个", "quotes go around the whole cell; a quote inside is written twice")
		}
		s.at++
	}
	return s.bounded(strings.TrimSpace(s.text[start:s.at]))
}

func (s *scanner) quoted() (string, *devices.Problem) {
	s.at++
	start := s.at
	doubled := false
	for {
		i := strings.IndexByte(s.text[s.at:], '"')
		if i < 0 {
			s.at = start // the rest of the file is not one cell: go on behind this line
			return "", devices.Invalid("", "bad_quote", "引号没有配对", "the quote is not closed")
		}
		s.at += i + 1
		if s.at < len(s.text) && s.text[s.at] == '"' {
			s.at++
			doubled = true
			continue
		}
		break
	}
	inner := s.text[start : s.at-1]
	s.line += lineEnds(inner)
	if s.at < len(s.text) && s.text[s.at] != s.separator && s.text[s.at] != '\n' && s.text[s.at] != '\r' {
		return "", devices.Invalid("", "bad_quote", "右引号之后应是分隔符或行尾", "a separator or the line's end comes after the closing quote")
	}
	if doubled {
		inner = strings.ReplaceAll(inner, `""`, `"`)
	}
	return s.bounded(inner)
}

func (s *scanner) bounded(cell string) (string, *devices.Problem) {
	if len(cell) > longestCell {
		return "", devices.Invalid("", "too_long", "单元格不得超过 64 KiB", "a cell has at most 64 KiB")
	}
	return cell, nil
}

// lineEnds counts CR LF, LF and CR.
func lineEnds(text string) int {
	return strings.Count(text, "\n") + strings.Count(text, "\r") - strings.Count(text, "\r\n")
}

func (s *scanner) endLine() {
	if s.at < len(s.text) && s.text[s.at] == '\r' {
		s.at++
		s.line++
		if s.at < len(s.text) && s.text[s.at] == '\n' {
			s.at++
		}
		return
	}
	if s.at < len(s.text) {
		s.at++
		s.line++
	}
}

func (s *scanner) skipLine() {
	i := strings.IndexAny(s.text[s.at:], "\r\n")
	if i < 0 {
		s.at = len(s.text)
		return
	}
	s.at += i
	s.endLine()
}
