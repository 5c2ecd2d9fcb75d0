// Package settings reads offsite.yaml strictly: every unknown key, wrong value
// and broken rule is told at once, with its line and its key path, in both
// languages.
package settings

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"offsite/devices"
)

// Checked is a configuration that knows its own rules.
type Checked interface{ Validate() error }

// Read decodes data over the defaults that into holds and validates the whole.
// A line that is not YAML is told and left out, so that the others are read.
func Read(data []byte, into Checked) error {
	file, broken := parse(data)
	r := reader{lines: map[string]int{}, told: map[*devices.Problem]int{}}
	for _, f := range broken {
		r.add(f.problem, f.line)
	}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			r.mapping("", doc.Body, reflect.ValueOf(into).Elem())
		}
	}
	for _, p := range devices.AllProblems(into.Validate()) {
		// What a line that was left out has said is not known.
		if r.lines[p.Field] > 0 || len(broken) == 0 {
			r.add(p, r.lineOf(p.Field))
		}
	}
	slices.SortStableFunc(r.problems, func(a, b *devices.Problem) int { return r.told[a] - r.told[b] })
	return r.problems.Err()
}

type reader struct {
	problems devices.Problems
	lines    map[string]int           // of each key path that the file has
	told     map[*devices.Problem]int // the line of each problem
}

// add puts the line before the sentences of p.
func (r *reader) add(p *devices.Problem, line int) {
	r.told[p] = line
	if line > 0 {
		p.ZH = fmt.Sprintf("第 %d 行：%s", line, p.ZH)
		p.EN = fmt.Sprintf("line %d: %s", line, p.EN)
	}
	r.problems.Add(p)
}

// lineOf finds the line of path or of the nearest key above it.
func (r *reader) lineOf(path string) int {
	for path != "" {
		if line, ok := r.lines[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
	}
	return 0
}

func (r *reader) mapping(path string, node ast.Node, into reflect.Value) {
	m, ok := node.(ast.MapNode)
	if !ok {
		if _, null := node.(*ast.NullNode); null {
			return
		}
		r.add(devices.Invalid(path, "not_a_section", "此处应为下级设置（缩进的键: 值）", "this key holds indented settings, not a value"), lineOf(node))
		return
	}
	fields := fieldsOf(into.Type())
	for it := m.MapRange(); it.Next(); {
		key, value := it.Key().String(), it.Value()
		key = strings.Trim(key, `"'`)
		at := join(path, key)
		line := lineOf(it.Key())
		if r.lines[at] != 0 {
			r.add(devices.Invalid(at, "key_twice", fmt.Sprintf("该键已在第 %d 行出现，请删去一处", r.lines[at]), fmt.Sprintf("the key stands on line %d already; remove one", r.lines[at])), line)
			continue
		}
		r.lines[at] = line
		index, ok := fields[key]
		if !ok {
			r.add(unknownKey(at, fields), line)
			continue
		}
		r.value(at, value, into.FieldByIndex(index))
	}
}

func (r *reader) value(path string, node ast.Node, into reflect.Value) {
	_, text := into.Addr().Interface().(encoding.TextUnmarshaler)
	if into.Kind() == reflect.Struct && !text {
		r.mapping(path, node, into)
		return
	}
	var err error
	if t, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		err = t.UnmarshalText([]byte(scalar(node)))
	} else {
		err = yaml.NodeToValue(node, into.Addr().Interface())
	}
	if err == nil {
		return
	}
	var p *devices.Problem
	if !errors.As(err, &p) {
		p = devices.Invalid(path, "bad_value", "值的类型不符，应为 "+words[into.Kind()][0], "wrong kind of value, want "+words[into.Kind()][1])
	}
	p.Field = path
	r.add(p, lineOf(node))
}

// words names the kinds of values in both languages.
var words = map[reflect.Kind][2]string{
	reflect.Bool: {"true 或 false", "true or false"}, reflect.Int: {"整数", "a whole number"}, reflect.Int64: {"整数", "a whole number"},
	reflect.Float64: {"数", "a number"}, reflect.String: {"文字", "text"}, reflect.Slice: {"列表", "a list"},
}

func scalar(node ast.Node) string {
	if s, ok := node.(*ast.StringNode); ok {
		return s.Value
	}
	return node.String()
}

func unknownKey(path string, fields map[string][]int) *devices.Problem {
	known := make([]string, 0, len(fields))
	for k := range fields {
		known = append(known, k)
	}
	slices.Sort(known)
	list := strings.Join(known, ", ")
	zh, en := "没有这个键", "no such key"
	if meant := nearest(path[strings.LastIndexByte(path, '.')+1:], known); meant != "" {
		zh, en = zh+"，是否为 "+meant+"？", en+", did you mean "+meant+"?"
	} else {
		zh, en = zh+"，", en+";"
	}
	return devices.Invalid(path, "unknown_key", zh+"此处可用："+list, en+" here stand: "+list)
}

// nearest gives the word of known that key may be a slip of, or "".
func nearest(key string, known []string) string {
	best, least := "", 3 // slips at most, and fewer than half the letters
	for _, k := range known {
		if n := slips(strings.ToLower(key), k); n < least && 2*n < len(k) {
			best, least = k, n
		}
	}
	return best
}

// slips counts the letters to insert, leave out or change from a to b, and the
// neighbours to exchange.
func slips(a, b string) int {
	before, last, row := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			row[j+1] = min(last[j+1], row[j]) + 1
			if a[i] == b[j] {
				row[j+1] = min(row[j+1], last[j])
			} else {
				row[j+1] = min(row[j+1], last[j]+1)
			}
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}

// fieldsOf maps the keys of a struct to its fields, those of an embedded struct
// among them.
func fieldsOf(t reflect.Type) map[string][]int {
	fields := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name != "" && name != "-" {
			fields[name] = f.Index
		}
	}
	return fields
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func lineOf(node ast.Node) int {
	if t := node.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}
