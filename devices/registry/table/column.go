package table

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"offsite/devices"
	"offsite/devices/registry"
)

// column is one field of a kind, as a table shows it.
type column struct {
	name   string // JSON path: "modbus.unit"
	steps  []int  // field indexes from the thing down, through pointers
	secret bool
	number bool // written so that no spreadsheet takes it for a formula
	needed bool // a number whose absence would pass for a legal 0
}

// neededNumbers are those that a row must give: a limit of 0 alarms for ever,
// register 0 is another quantity, unit 0 another device.
var neededNumbers = []string{"value", "register.address", "modbus.unit"}

// columns are the fields of a kind in the order of its struct, so that a field
// that is added there has its column.
func columns(kind devices.Kind) []column {
	thing := registry.New(kind)
	if thing == nil {
		return nil
	}
	return fieldColumns(reflect.TypeOf(thing).Elem(), "", nil)
}

var (
	secretType = reflect.TypeFor[devices.Secret]()
	metaType   = reflect.TypeFor[devices.Meta]()
	timeType   = reflect.TypeFor[time.Time]()
)

func fieldColumns(t reflect.Type, prefix string, above []int) (list []column) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Type == metaType || name == "" || name == "-" {
			continue
		}
		name = prefix + name
		steps := append(slices.Clone(above), i)
		if group(f.Type) {
			list = append(list, fieldColumns(f.Type.Elem(), name+".", steps)...)
			continue
		}
		list = append(list, column{name: name, steps: steps, secret: f.Type == secretType, number: numeric(f.Type), needed: slices.Contains(neededNumbers, name)})
	}
	return list
}

// group says that a field is a struct of its own, which is nil where all its
// cells are empty.
func group(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct && t.Elem() != timeType
}

func numeric(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() >= reflect.Int && t.Kind() <= reflect.Float64 && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// find gives the column's field of thing; make fills in the groups above it,
// else the zero Value stands for a field of a group that is not there.
func (c *column) find(thing reflect.Value, make bool) reflect.Value {
	v := thing
	for _, step := range c.steps {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				if !make {
					return reflect.Value{}
				}
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(step)
	}
	return v
}

// cellText writes a field, "" for what the API would leave out.
func (c *column) cellText(thing devices.Thing) string {
	v := c.find(reflect.ValueOf(thing), false)
	if !v.IsValid() || c.secret {
		return ""
	}
	if v.IsZero() && !c.always() {
		return ""
	}
	return scalarText(v)
}

// always says that the field's zero is written out: it means something.
func (c *column) always() bool { return c.needed || c.name == "digits" }

func scalarText(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	if v.Kind() == reflect.Slice {
		return listText(v)
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok && v.Type() != timeType {
		text, _ := m.MarshalText() // durations always marshal
		return string(text)
	}
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10)
	case reflect.Float32, reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	}
	if t, ok := v.Interface().(time.Time); ok {
		return t.In(devices.Beijing).Format("2006-01-02T15:04:05.999Z07:00")
	}
	text, _ := json.Marshal(v.Interface()) // plain data always marshals
	return string(text)
}

// Lists stand in one cell: items apart by "|", the fields of an item by ":". A
// backslash goes before these two and itself; `\-` is an empty text.
var (
	escapeItem   = strings.NewReplacer(`\`, `\\`, `|`, `\|`, `:`, `\:`)
	emptyItem    = `\-`
	itemTextType = reflect.String
)

func listText(v reflect.Value) string {
	items := make([]string, v.Len())
	for i := range items {
		item := v.Index(i)
		if item.Kind() != reflect.Struct {
			items[i] = itemText(item)
			continue
		}
		fields := make([]string, item.NumField())
		for j := range fields {
			fields[j] = itemText(item.Field(j))
		}
		items[i] = strings.Join(fields, ":")
	}
	return strings.Join(items, "|")
}

func itemText(v reflect.Value) string {
	text := scalarText(v)
	if text == "" && v.Kind() == itemTextType {
		return emptyItem
	}
	return escapeItem.Replace(text)
}

// splitList cuts at the separator where no backslash stands before it.
func splitList(text string, separator byte) (parts []string) {
	start := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case separator:
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}

func unescapeItem(text string) string {
	if text == emptyItem {
		return ""
	}
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// setCell reads the text of a cell into a field. An empty text is the zero.
func setCell(v reflect.Value, text string) *devices.Problem {
	if text == "" {
		v.SetZero()
		return nil
	}
	switch {
	case v.Kind() == reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		if p := setCell(fresh.Elem(), text); p != nil {
			return p
		}
		v.Set(fresh)
		return nil
	case v.Kind() == reflect.Slice:
		return setList(v, text)
	case v.Type() == timeType:
		return setTime(v, text)
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return devices.AllProblems(err)[0]
		}
		return nil
	}
	return setScalar(v, text)
}

func setScalar(v reflect.Value, text string) *devices.Problem {
	if v.Kind() == reflect.String {
		v.SetString(text)
		return nil
	}
	text = strings.TrimSpace(text)
	switch v.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return devices.Invalid("", "bad_type", "须为 true 或 false", "give true or false")
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return devices.Invalid("", "bad_type", "须为整数", "give a whole number")
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			most := uint64(math.MaxUint64) >> (64 - v.Type().Bits())
			return devices.Invalid("", "bad_type", fmt.Sprintf("须为 0 至 %d 的整数", most), fmt.Sprintf("give a whole number from 0 to %d", most))
		}
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return devices.Invalid("", "bad_type", "须为数字，小数点用 . ，不用千位分隔", "give a number with a point for decimals and no thousands separators")
		}
		v.SetFloat(f)
	default:
		if json.Unmarshal([]byte(text), v.Addr().Interface()) != nil {
			return devices.Invalid("", "bad_type", "须为 JSON", "give JSON")
		}
	}
	return nil
}

func setTime(v reflect.Value, text string) *devices.Problem {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006/1/2 15:04:05", "2006/1/2 15:04", time.DateOnly, "2006/1/2"} {
		// Spreadsheets drop the zone; people here mean Beijing.
		if t, err := time.ParseInLocation(layout, strings.TrimSpace(text), devices.Beijing); err == nil {
			v.Set(reflect.ValueOf(t.UTC().Truncate(time.Millisecond)))
			return nil
		}
	}
	return devices.Invalid("", "bad_time", "时间须写作 2026-01-02T15:04:05+08:00 或 2026-01-02 15:04:05（北京时间）", "write a time as 2026-01-02T15:04:05+08:00, or 2026-01-02 15:04:05 in Beijing")
}

func setList(v reflect.Value, text string) *devices.Problem {
	items := splitList(text, '|')
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		into := list.Index(i)
		if into.Kind() != reflect.Struct {
			if p := setItem(into, item); p != nil {
				return p
			}
			continue
		}
		fields := splitList(item, ':')
		if len(fields) != into.NumField() {
			names := fieldNames(into.Type())
			return devices.Invalid("", "bad_list", fmt.Sprintf("第 %d 项须写作 %s，各项之间用 | 分隔", i+1, names), fmt.Sprintf("write item %d as %s, and put | between items", i+1, names))
		}
		for j, field := range fields {
			if p := setItem(into.Field(j), field); p != nil {
				return p
			}
		}
	}
	v.Set(list)
	return nil
}

func setItem(v reflect.Value, text string) *devices.Problem {
	if v.Kind() != itemTextType {
		text = strings.TrimSpace(text)
	}
	return setCell(v, unescapeItem(text))
}

func fieldNames(t reflect.Type) string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return strings.Join(names, ":")
}
