package settings

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"offsite/devices"
)

// mostBroken bounds how many lines are left out: what has more is no
// configuration file.
const mostBroken = 20

// broken is a line that is not YAML.
type broken struct {
	line    int
	problem *devices.Problem
}

// parse gives what can be read of data and the lines that cannot.
func parse(data []byte) (*ast.File, []broken) {
	var faults []broken
	lines := bytes.SplitAfter(data, []byte("\n"))
	for {
		// A key that stands twice is told with its path, by the reader.
		file, err := parser.ParseBytes(bytes.Join(lines, nil), 0, parser.AllowDuplicateMapKey())
		if err == nil {
			return file, faults
		}
		line, why := 0, err.Error()
		var at yaml.Error
		if errors.As(err, &at) {
			why = at.GetMessage()
			if t := at.GetToken(); t != nil && t.Position != nil {
				line = t.Position.Line
			}
		}
		faults = append(faults, broken{line, syntax(why)})
		if line < 1 || line > len(lines) || len(bytes.TrimSpace(lines[line-1])) == 0 || len(faults) == mostBroken {
			return &ast.File{}, faults
		}
		lines[line-1] = []byte("\n")
	}
}

// reasons are the parser's words, as far as people meet them.
var reasons = []struct{ word, zh, en string }{
	{"'\t'", "缩进不能用制表符（Tab），请改用空格", "indent with blanks, not with a tab"},
	{"double-quoted", "双引号没有配对，请补上右引号", "the double quote is not closed; close it"},
	{"single-quoted", "单引号没有配对，请补上右引号", "the single quote is not closed; close it"},
	{"sequence end", "方括号没有配对，请补上 ]", "the square bracket is not closed; write ]"},
	{"flow mapping", "花括号没有配对，请补上 }", "the curly bracket is not closed; write }"},
	{"non-map value", "键与值之间须有冒号和空格", "put a colon and a blank between key and value"},
	{"unexpected key name", "键与值之间须有冒号和空格", "put a colon and a blank between key and value"},
	{"not allowed in this context", "此处不能有值：请将键与同级的键对齐，且每行只写一个键", "no value can stand here: align the key with its neighbours and write one key a line"},
}

func syntax(why string) *devices.Problem {
	for _, r := range reasons {
		if strings.Contains(why, r.word) {
			return &devices.Problem{Code: "yaml_syntax", ZH: r.zh, EN: r.en}
		}
	}
	return &devices.Problem{
		Code: "yaml_syntax", ZH: "不是 YAML，请检查缩进、冒号和引号", EN: fmt.Sprintf("not YAML (%s); look at indentation, colons and quotes", why),
	}
}
