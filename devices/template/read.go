package template

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"offsite/devices"
)

// Bounds of a template's file.
const (
	longestFile = 256 << 10
	deepest     = 64 // levels of brackets
)

// parse reads one template. All faults are told at once as Problems, each with
// its line and its path.
func parse(data []byte, known map[string]connection) (*Template, error) {
	t := &Template{Parameters: []Parameter{}, Points: []Point{}, Limits: []Suggestion{}}
	r := reader{lines: map[string]int{}}
	if err := r.read(data, reflect.ValueOf(t).Elem()); err != nil {
		return nil, err
	}
	check := func(err error) error {
		for _, p := range devices.AllProblems(err) {
			r.add(p, r.nearest(p.Field))
		}
		return r.problems.Err()
	}
	if err := check(t.validate()); err != nil {
		return nil, err
	}
	if err := check(t.connect(known)); err != nil {
		return nil, err
	}
	if err := check(t.tryOut()); err != nil {
		return nil, err
	}
	return t, nil
}

// read decodes the one document of data.
func (r *reader) read(data []byte, into reflect.Value) error {
	if len(data) > longestFile || bracketDepth(data) > deepest {
		return devices.Invalid("", "too_large", "模板文件不得超过 256 KiB 或 64 层括号", "a template has at most 256 KiB and 64 levels of brackets")
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return syntaxFault(err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return devices.Invalid("", "not_one_document", "每个文件写一个模板", "write one template in a file")
	}
	body := file.Docs[0].Body
	for _, kind := range []ast.NodeType{ast.AliasType, ast.AnchorType, ast.MergeKeyType, ast.TagType} {
		for _, node := range ast.Filter(kind, body) {
			r.add(devices.Invalid("", "alias", "模板不用 YAML 的锚点、别名、合并和标签", "a template holds no anchors, aliases, merges and tags"), lineOf(node))
		}
	}
	if len(r.problems) == 0 {
		r.value("", body, into)
	}
	return r.problems.Err()
}

// bracketDepth is the deepest that brackets stand in each other, or more: the
// parser calls itself for each.
func bracketDepth(data []byte) (most int) {
	depth := 0
	for _, c := range data {
		switch c {
		case '[', '{':
			depth++
			most = max(most, depth)
		case ']', '}':
			depth = max(0, depth-1)
		}
	}
	return most
}

func syntaxFault(err error) *devices.Problem {
	line, why := 0, err.Error()
	var at yaml.Error
	if errors.As(err, &at) {
		why = at.GetMessage()
		if t := at.GetToken(); t != nil && t.Position != nil {
			line = t.Position.Line
		}
	}
	p := devices.Invalid("", "yaml_syntax", "不是 YAML，请检查缩进、冒号和引号", fmt.Sprintf("not YAML (%s); look at indentation, colons and quotes", why))
	return atLine(p, line)
}

func atLine(p *devices.Problem, line int) *devices.Problem {
	if line > 0 {
		p.ZH = fmt.Sprintf("第 %d 行：%s", line, p.ZH)
		p.EN = fmt.Sprintf("line %d: %s", line, p.EN)
	}
	return p
}

// reader decodes strictly and remembers where each path stands.
type reader struct {
	problems devices.Problems
	lines    map[string]int
}

func (r *reader) add(p *devices.Problem, line int) { r.problems.Add(atLine(p, line)) }

// nearest is the line of a path or of what it lies in.
func (r *reader) nearest(path string) int {
	for path != "" {
		if line, ok := r.lines[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 0
}

func (r *reader) value(path string, node ast.Node, into reflect.Value) {
	if path != "" && r.lines[path] == 0 {
		r.lines[path] = lineOf(node)
	}
	if _, text := into.Addr().Interface().(encoding.TextUnmarshaler); !text {
		switch into.Kind() {
		case reflect.Pointer:
			into.Set(reflect.New(into.Type().Elem()))
			r.value(path, node, into.Elem())
			return
		case reflect.Struct:
			r.object(path, node, into)
			return
		case reflect.Slice:
			r.list(path, node, into)
			return
		case reflect.Map, reflect.Interface:
			r.walk(path, node)
		}
	}
	if err := yaml.NodeToValue(node, into.Addr().Interface()); err != nil {
		r.add(devices.Invalid(path, "bad_type", "值的类型不符", "this is the wrong kind of value"), lineOf(node))
	}
}

func (r *reader) object(path string, node ast.Node, into reflect.Value) {
	m, ok := node.(ast.MapNode)
	if !ok {
		r.add(devices.Invalid(path, "not_an_object", "此处应为“键: 值”", "keys and values stand here"), lineOf(node))
		return
	}
	fields := map[string]int{}
	var known []string
	for i := range into.NumField() {
		if name := into.Type().Field(i).Tag.Get("yaml"); name != "-" {
			fields[name] = i
			known = append(known, name)
		}
	}
	for it := m.MapRange(); it.Next(); {
		key := strings.Trim(it.Key().String(), `"'`)
		at := join(path, key)
		i, ok := fields[key]
		if !ok {
			slices.Sort(known)
			list := strings.Join(known, ", ")
			r.add(devices.Invalid(at, "unknown_key", "没有这个键，此处可用："+list, "no such key; here stand: "+list), lineOf(it.Key()))
			continue
		}
		r.lines[at] = lineOf(it.Key())
		r.value(at, it.Value(), into.Field(i))
	}
}

func (r *reader) list(path string, node ast.Node, into reflect.Value) {
	s, ok := node.(*ast.SequenceNode)
	if !ok {
		r.add(devices.Invalid(path, "not_a_list", "此处应为列表", "a list stands here"), lineOf(node))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(s.Values), len(s.Values)))
	for i, item := range s.Values {
		r.value(fmt.Sprintf("%s[%d]", path, i), item, into.Index(i))
	}
}

// walk remembers the lines of what is read only when it is rendered.
func (r *reader) walk(path string, node ast.Node) {
	m, ok := node.(ast.MapNode)
	if !ok {
		return
	}
	for it := m.MapRange(); it.Next(); {
		at := join(path, strings.Trim(it.Key().String(), `"'`))
		r.lines[at] = lineOf(it.Key())
		r.walk(at, it.Value())
	}
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
