package table

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"offsite/devices"
	"offsite/devices/registry"
)

// Fault is what is wrong with one cell or row of a table.
type Fault struct {
	Line    int    // of the file, from 1
	Column  int    // from 1; 0 where the fault is no one cell's
	Name    string // of the column
	Problem *devices.Problem
}

// place names the spot before both sentences.
func (f Fault) place() Fault {
	zh, en := fmt.Sprintf("第 %d 行", f.Line), fmt.Sprintf("line %d", f.Line)
	if f.Column > 0 {
		zh += fmt.Sprintf("第 %d 列", f.Column)
		en += fmt.Sprintf(", column %d", f.Column)
	}
	if f.Name != "" {
		zh += "（" + f.Name + "）"
		en += " (" + f.Name + ")"
	}
	p := *f.Problem
	p.Field = f.Name
	p.ZH, p.EN = zh+"："+p.ZH, en+": "+p.EN
	f.Problem = &p
	return f
}

// Rows are a CSV file that was read: rows of one kind.
type Rows struct {
	kind   devices.Kind
	header []*column // nil: the column is to be left alone
	rows   []record
	faults faults
}

// mostFaults is how many faults of a table are told; the others are counted.
const mostFaults = 1000

type faults struct {
	list []Fault
	more int
}

func (f *faults) add(fault Fault) {
	if len(f.list) == mostFaults {
		f.more++
		return
	}
	f.list = append(f.list, fault.place())
}

// Read reads a table of one kind. It returns a Problem when nothing can
// be made of the whole file; faults of single rows are told by Import together
// with all others.
func Read(kind devices.Kind, data []byte, form Form) (*Rows, error) {
	if registry.New(kind) == nil {
		return nil, devices.Invalid("kind", "unknown_kind", "没有这类对象："+string(kind), "there are no things of kind "+string(kind))
	}
	text, p := decodeTable(data, form.Encoding)
	if p != nil {
		return nil, p
	}
	t := &Rows{kind: kind}
	s := newScanner(text)
	head, fault, ok := s.next()
	switch {
	case !ok:
		return nil, devices.Invalid("", "empty", "文件是空的；第一行须为列名", "the file is empty; its first line names the columns")
	case fault != nil:
		return nil, fault.place().Problem
	}
	if err := t.name(head); err != nil {
		return nil, err
	}
	for {
		r, fault, ok := s.next()
		if !ok {
			return t, nil
		}
		if fault != nil {
			t.faults.add(*fault)
			continue
		}
		if slices.ContainsFunc(r.cells, func(cell string) bool { return strings.TrimSpace(cell) != "" }) {
			if len(t.rows) == mostRows {
				return nil, devices.Invalid("", "too_many", fmt.Sprintf("一个文件最多 %d 行，请分开", mostRows), fmt.Sprintf("a table has at most %d rows; split it", mostRows))
			}
			t.rows = append(t.rows, r)
		}
	}
}

// name finds the columns that the first line names. All its faults are told.
func (t *Rows) name(head record) error {
	all := columns(t.kind)
	var ps devices.Problems
	for i, cell := range head.cells {
		name := strings.ToLower(strings.TrimSpace(cell))
		if name == "" || strings.HasPrefix(name, "#") {
			t.header = append(t.header, nil) // somebody's own notes
			continue
		}
		at := slices.IndexFunc(all, func(c column) bool { return c.name == name })
		switch {
		case at < 0:
			list := columnNames(all)
			ps.Add(Fault{Line: head.line, Column: i + 1, Name: clip(name), Problem: devices.Invalid("", "unknown_column", "没有这一列，可用："+list+"；备注列请以 # 开头", "there is no such column; there are: "+list+"; begin columns of your own notes with #")}.place().Problem)
		case slices.Contains(t.header, &all[at]):
			ps.Add(Fault{Line: head.line, Column: i + 1, Name: name, Problem: devices.Invalid("", "named_twice", "该列出现了两次", "this column stands twice")}.place().Problem)
		default:
			t.header = append(t.header, &all[at])
			continue
		}
		t.header = append(t.header, nil)
	}
	if !slices.ContainsFunc(t.header, func(c *column) bool { return c != nil && c.name == "id" }) && len(ps) == 0 {
		ps.Add(devices.Invalid("id", "missing", "缺少 id 列；第一行须为列名："+columnNames(all), "there is no column id; the first line names the columns: "+columnNames(all)))
	}
	return ps.Err()
}

func columnNames(all []column) string {
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].name
	}
	return strings.Join(names, ", ")
}

// clip keeps a stranger's text short enough for a sentence.
func clip(text string) string {
	const most = 32
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}

func (t *Rows) idOf(r record) string {
	for i, c := range t.header {
		if c != nil && c.name == "id" && i < len(r.cells) {
			return strings.TrimSpace(refuse(r.cells[i]))
		}
	}
	return ""
}

// fault places a Problem of a thing at the cell that it comes from.
func (t *Rows) fault(r record, p *devices.Problem) Fault {
	f := Fault{Line: r.line, Name: p.Field, Problem: p}
	best := 0
	for i, c := range t.header {
		if c != nil && len(c.name) > best && (p.Field == c.name || strings.HasPrefix(p.Field, c.name+"[")) {
			f.Column, best = i+1, len(c.name)
		}
	}
	return f
}

// thing makes what a row says, over a copy of old if there is one.
func (t *Rows) thing(r record, old devices.Thing) (devices.Thing, []Fault, error) {
	fresh := registry.New(t.kind)
	if old != nil {
		var err error
		if fresh, err = registry.Clone(old); err != nil {
			return nil, nil, err
		}
	}
	if len(r.cells) < len(t.header) {
		p := devices.Invalid("", "row_length", fmt.Sprintf("应有 %d 列，只有 %d 列", len(t.header), len(r.cells)), fmt.Sprintf("want %d cells, there are %d", len(t.header), len(r.cells)))
		return nil, []Fault{{Line: r.line, Problem: p}}, nil
	}
	var found []Fault
	v := reflect.ValueOf(fresh)
	for i, cell := range r.cells {
		var p *devices.Problem
		switch {
		case i >= len(t.header):
			if strings.TrimSpace(cell) != "" {
				p = devices.Invalid("", "row_length", fmt.Sprintf("多于 %d 列；含分隔符的内容须加引号", len(t.header)), fmt.Sprintf("there are more than %d cells; quote what holds a separator", len(t.header)))
			}
		case t.header[i] != nil:
			p = t.header[i].set(v, refuse(cell))
		}
		if p != nil {
			f := Fault{Line: r.line, Column: i + 1, Problem: p}
			if i < len(t.header) {
				f.Name = t.header[i].name
			}
			found = append(found, f)
		}
	}
	found = append(found, t.forgotten(r, v)...)
	t.dropEmptyGroups(r, v, old)
	return fresh, found, nil
}

// set reads a cell into the column's field of thing.
func (c *column) set(thing reflect.Value, text string) *devices.Problem {
	v := c.find(thing, text != "")
	switch {
	case !v.IsValid():
		return nil
	case text == "" && (c.secret || v.Type() == timeType), c.secret && !v.IsZero() && devices.Secret(text).Kept():
		return nil // stays
	}
	return setCell(v, text)
}

// forgotten tells the numbers that a row must give and leaves empty.
func (t *Rows) forgotten(r record, thing reflect.Value) (found []Fault) {
	for i, c := range t.header {
		if c != nil && c.needed && strings.TrimSpace(r.cells[i]) == "" && c.find(thing, false).IsValid() && t.wants(r, c) {
			p := devices.Invalid(c.name, "missing", "请填写；0 也须写明", "give it; 0 must be written too")
			found = append(found, Fault{Line: r.line, Column: i + 1, Name: c.name, Problem: p})
		}
	}
	return found
}

// wants says whether the row says anything about the group that c lies in.
func (t *Rows) wants(r record, c *column) bool {
	dot := strings.IndexByte(c.name, '.')
	if dot < 0 {
		return true
	}
	for i, other := range t.header {
		if other != nil && strings.HasPrefix(other.name, c.name[:dot+1]) && strings.TrimSpace(r.cells[i]) != "" {
			return true
		}
	}
	return false
}

// dropEmptyGroups takes away groups of which every cell is empty. One that held
// nothing before stays as it was.
func (t *Rows) dropEmptyGroups(r record, thing reflect.Value, old devices.Thing) {
	said := map[string]bool{}
	groups := map[string]*column{}
	for i, c := range t.header {
		if c == nil {
			continue
		}
		for depth, at := 1, strings.IndexByte(c.name, '.'); at >= 0; depth++ {
			name := c.name[:at]
			groups[name] = &column{name: name, steps: c.steps[:depth]}
			said[name] = said[name] || r.cells[i] != ""
			next := strings.IndexByte(c.name[at+1:], '.')
			if next < 0 {
				break
			}
			at += 1 + next
		}
	}
	inner := slices.SortedFunc(maps.Keys(groups), func(a, b string) int { return len(b) - len(a) })
	for _, name := range inner {
		f := groups[name].find(thing, false)
		if said[name] || !f.IsValid() || f.IsNil() || !f.Elem().IsZero() {
			continue
		}
		if old != nil {
			if was := groups[name].find(reflect.ValueOf(old), false); was.IsValid() && !was.IsNil() && was.Elem().IsZero() {
				continue
			}
		}
		f.SetZero()
	}
}
