package devices

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The four kinds of error. The HTTP layer alone turns them into status codes.
var (
	ErrInvalid     = errors.New("invalid")
	ErrNotFound    = errors.New("not found")
	ErrConflict    = errors.New("conflict")
	ErrUnavailable = errors.New("unavailable")
)

// Problem is an error that a person reads: which field is wrong, why, and what
// cures it, in both languages.
type Problem struct {
	Kind  error  // one of the four kinds; nil means ErrInvalid
	Code  string // stable, snake_case, for programs: "register_overlap"
	Field string // JSON path of the field, "modbus.unit"; empty if none
	ZH    string // one sentence with the cure, in Chinese
	EN    string // the same in English
	Cause error  // what lies beneath, for the log; never shown to people
}

// Invalid is the Problem of one field.
func Invalid(field, code, zh, en string) *Problem {
	return &Problem{Kind: ErrInvalid, Code: code, Field: field, ZH: zh, EN: en}
}

// Error gives the English sentence behind the field's name.
func (p *Problem) Error() string {
	text := p.EN
	if p.Field != "" {
		text = p.Field + ": " + text
	}
	if p.Cause != nil {
		text += ": " + p.Cause.Error()
	}
	return text
}

// Unwrap lets errors.Is find the kind and the cause.
func (p *Problem) Unwrap() []error {
	kind := p.Kind
	if kind == nil {
		kind = ErrInvalid
	}
	if p.Cause == nil {
		return []error{kind}
	}
	return []error{kind, p.Cause}
}

// Bilingual gives both sentences, Chinese first, for a terminal.
func (p *Problem) Bilingual() string {
	if p.Field == "" {
		return fmt.Sprintf("%s / %s", p.ZH, p.EN)
	}
	return fmt.Sprintf("%s: %s / %s", p.Field, p.ZH, p.EN)
}

// Quoted gives a copy of a stranger's text, which may be raw JSON, in quotes and
// short enough for a sentence.
func Quoted(text string) string {
	const most = 64
	text = strings.Trim(text, `"`)
	if len(text) <= most {
		return strconv.Quote(text)
	}
	return strconv.Quote(strings.ToValidUTF8(text[:most], "")) + "…"
}

// Problems are all faults of one thing at once.
type Problems []*Problem

// Error joins the sentences, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.Is and errors.As look into every one.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// Err gives ps as an error, and nil when there is none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// Add puts p behind ps when there is one.
func (ps *Problems) Add(p *Problem) {
	if p != nil {
		*ps = append(*ps, p)
	}
}

// AllProblems collects every Problem that err holds. An err that is not nil
// and holds none gives one Problem of code "internal" with err as its cause.
func AllProblems(err error) Problems {
	if err == nil {
		return nil
	}
	var ps Problems
	if errors.As(err, &ps) {
		return ps
	}
	var p *Problem
	if errors.As(err, &p) {
		return Problems{p}
	}
	return Problems{{Kind: ErrUnavailable, Code: "internal", ZH: "内部错误，详见日志", EN: "internal fault, see the log", Cause: err}}
}

// stored is a Problem as it stands in a database column: JSON, without its cause.
type stored struct {
	Code  string `json:"code"`
	Field string `json:"field,omitempty"`
	ZH    string `json:"zh"`
	EN    string `json:"en"`
}

// Stored gives p as the JSON {code, field, zh, en} for a database column.
func (p *Problem) Stored() string {
	text, _ := json.Marshal(stored{p.Code, p.Field, p.ZH, p.EN}) // strings always marshal
	return string(text)
}

// ReadStored reads what Stored wrote, as a Problem of kind ErrUnavailable.
func ReadStored(text []byte) *Problem {
	var s stored
	if err := json.Unmarshal(text, &s); err != nil {
		s = stored{Code: "unknown", ZH: "原因未能读出", EN: "the reason could not be read"}
	}
	return &Problem{Kind: ErrUnavailable, Code: s.Code, Field: s.Field, ZH: s.ZH, EN: s.EN}
}
