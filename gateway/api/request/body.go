package request

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/gateway/api/contract"
)

// MaxBody is the most that a request body may hold.
const MaxBody = 1 << 20

// Decode reads the JSON body into v, strictly: every unknown field and every
// value that does not fit is told at once, by its path.
func Decode(c echo.Context, v any) error {
	if kind, _, err := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderContentType)); err != nil || kind != "application/json" {
		return &devices.Problem{Kind: contract.ErrMediaType, Code: "wrong_media_type", ZH: "请求体须为 application/json", EN: "send the body as application/json"}
	}
	body, err := ReadBody(c)
	if err != nil {
		return err
	}
	return decodeStrictly(body, v)
}

func decodeStrictly(body []byte, v any) error {
	if !json.Valid(body) {
		return malformed(body)
	}
	var ps devices.Problems
	checkJSON(&ps, body, reflect.TypeOf(v).Elem(), "")
	if err := ps.Err(); err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return devices.Invalid("", "bad_body", "请求体不符合格式", "the body does not fit: "+err.Error())
	}
	return forgotten(body, v)
}

func malformed(body []byte) *devices.Problem {
	var syntax *json.SyntaxError
	line, column, why := 1, 1, "unexpected end"
	if err := json.Unmarshal(body, new(any)); errors.As(err, &syntax) {
		before := string(body[:min(int(syntax.Offset), len(body))])
		line = 1 + strings.Count(before, "\n")
		column = len(before) - strings.LastIndexByte(before, '\n') - 1
		why = syntax.Error()
	}
	return devices.Invalid("", "bad_json", fmt.Sprintf("JSON 第 %d 行第 %d 列有误", line, max(column, 1)), fmt.Sprintf("the JSON is malformed at line %d, column %d: %s", line, max(column, 1), why))
}

// checkJSON looks for what would not fit into t.
func checkJSON(ps *devices.Problems, raw json.RawMessage, t reflect.Type, path string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if string(raw) == "null" {
		return
	}
	switch {
	case readsItself(t):
		checkValue(ps, raw, t, path)
	case t.Kind() == reflect.Struct:
		checkObject(ps, raw, t, path)
	case t.Kind() == reflect.Slice:
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			ps.Add(devices.Invalid(path, "not_a_list", "须为列表", "give a list"))
		}
		for i, item := range items {
			checkJSON(ps, item, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
		}
	default:
		checkValue(ps, raw, t, path)
	}
}

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
)

func readsItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(textUnmarshaler) || p.Implements(jsonUnmarshaler)
}

func checkValue(ps *devices.Problems, raw json.RawMessage, t reflect.Type, path string) {
	err := json.Unmarshal(raw, reflect.New(t).Interface())
	if err == nil {
		return
	}
	var p *devices.Problem
	switch {
	case errors.As(err, &p):
		ps.Add(devices.Invalid(path, p.Code, p.ZH, p.EN))
	case t == reflect.TypeFor[time.Time]():
		ps.Add(devices.Invalid(path, "bad_time", "时间须写作 2026-01-02T15:04:05+08:00", "write a time as 2026-01-02T15:04:05+08:00"))
	default:
		zh, en := wanted(t)
		ps.Add(devices.Invalid(path, "bad_type", "须为"+zh, "give "+en))
	}
}

func wanted(t reflect.Type) (zh, en string) {
	switch t.Kind() {
	case reflect.String:
		return "文本", "a text"
	case reflect.Bool:
		return " true 或 false", "true or false"
	case reflect.Float64, reflect.Float32:
		return "数字", "a number"
	case reflect.Int, reflect.Int64:
		return "整数", "a whole number"
	case reflect.Uint8:
		return " 0 至 255 的整数", "a whole number from 0 to 255"
	case reflect.Uint16:
		return " 0 至 65535 的整数", "a whole number from 0 to 65535"
	default:
		return "合适的值", "a fitting value"
	}
}

func checkObject(ps *devices.Problems, raw json.RawMessage, t reflect.Type, path string) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		ps.Add(devices.Invalid(path, "not_an_object", "须为对象", "give an object"))
		return
	}
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		at := name
		if path != "" {
			at = path + "." + name
		}
		field, ok := fieldOf(t, name)
		if !ok {
			ps.Add(devices.Invalid(at, "unknown_field", "没有字段 "+at+"，请核对拼写", "there is no field "+at+"; check its spelling"))
			continue
		}
		checkJSON(ps, members[name], field.Type, at)
	}
}

// forgotten tells the required numbers that the body leaves out and that would
// pass for a legal 0: a limit of 0 alarms for ever, register 0 is another
// quantity. What else is wrong with the thing is told with them.
func forgotten(body []byte, v any) error {
	var said struct {
		Value    json.RawMessage `json:"value"`
		Register *struct {
			Address json.RawMessage `json:"address"`
		} `json:"register"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return err
	}
	field := ""
	switch v := v.(type) {
	case *devices.Limit:
		if absent(said.Value) {
			field = "value"
		}
	case *devices.Binding:
		if v.Register != nil && absent(said.Register.Address) {
			field = "register.address"
		}
	}
	t, ok := v.(devices.Thing)
	if field == "" || !ok {
		return nil
	}
	ps := devices.Problems{devices.Invalid(field, "missing", "请填写；0 也须写明", "give it; 0 must be written too")}
	for _, p := range devices.AllProblems(t.Check()) {
		if p.Field != field && (p.Field != "id" || t.Key() != "") { // an id left out is made at creation
			ps.Add(p)
		}
	}
	return ps.Err()
}

func absent(raw json.RawMessage) bool { return raw == nil || string(raw) == "null" }

// fieldOf finds the field with this JSON name, also in embedded structs.
func fieldOf(t reflect.Type, name string) (reflect.StructField, bool) {
	for _, f := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == name && tag != "-" && f.IsExported() {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// ReadBody reads at most MaxBody.
func ReadBody(c echo.Context) ([]byte, error) {
	body := http.MaxBytesReader(c.Response(), c.Request().Body, MaxBody)
	b, err := io.ReadAll(body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &devices.Problem{Kind: contract.ErrTooLarge, Code: "body_too_large", ZH: "请求体不得超过 1 MiB", EN: "a body has at most 1 MiB"}
	case err != nil:
		return nil, devices.Invalid("", "body_broken", "请求体未能完整读取", "the body could not be read to its end")
	}
	return b, nil
}

// longestReason is how many characters a reason has at most.
const longestReason = 500

// Reasoned checks why somebody does what needs a reason.
func Reasoned(reason string) *devices.Problem {
	switch {
	case strings.TrimSpace(reason) == "":
		return devices.Invalid("reason", "missing", "请写明原因", "say why")
	case !utf8.ValidString(reason) || utf8.RuneCountInString(reason) > longestReason:
		return devices.Invalid("reason", "too_long", "原因须为文字，最长 500 个字", "write a reason of at most 500 characters")
	}
	return nil
}
