package main

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
)

// documents are what people read; decisions.md tells of what was, too.
var documents = []string{"README.md", "deploy/docs/README.zh-CN.md", "deploy/docs/platform.md", "deploy/docs/templates.md", "gateway/api/openapi.yaml", "edge/dispatch/openapi.yaml", "deploy/offsite.yaml"}

var (
	linked  = regexp.MustCompile(`\]\(([^)#\s]+)`)
	quoted  = regexp.MustCompile("`([^`\n]+)`")
	place   = regexp.MustCompile(`^(cmd|deploy|devices|edge|gateway|streams|timeseries)/[A-Za-z0-9_./-]+$`)
	setting = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)+(: .*)?$`)
	request = regexp.MustCompile(`(GET|POST|PUT|PATCH|DELETE) ((?:/api)?/v1/[A-Za-z0-9_{}./:-]*[A-Za-z0-9_{}])`)
	blank   = regexp.MustCompile(`\\\{[^}]*\\\}`)
)

// Whatever README and the documents print can be done: links lead somewhere,
// paths are there, commands and their flags are understood, keys stand in the
// configuration, and requests in the description of an API.
func TestTheDocumentsAreTrue(t *testing.T) {
	requests := slices.Concat(operations(t, "gateway/api/openapi.yaml", "/api/v1"), operations(t, "edge/dispatch/openapi.yaml", ""))
	contract := read(t, "edge/dispatch/openapi.yaml") // names commands of the platform, such as recording.query
	keys := keysOf(reflect.TypeFor[Config](), "")
	checked := 0
	for _, name := range documents {
		text := read(t, name)
		for _, m := range linked.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(m[1], "://") {
				checked++
				there(t, name, filepath.Join(filepath.Dir(name), m[1]))
			}
		}
		for _, m := range request.FindAllStringSubmatch(text, -1) {
			checked++
			if op := m[1] + " " + m[2]; !slices.ContainsFunc(requests, func(r *regexp.Regexp) bool { return r.MatchString(op) }) {
				t.Errorf("%s: no description of an API has %s", name, op)
			}
		}
		for _, m := range quoted.FindAllStringSubmatch(text, -1) {
			switch {
			case place.MatchString(m[1]):
				checked++
				there(t, name, m[1])
			case setting.MatchString(m[1]):
				key, _, _ := strings.Cut(m[1], ":")
				if section, _, _ := strings.Cut(key, "."); has(keys, section) && !strings.Contains(contract, key) {
					checked++
					if !has(keys, key) {
						t.Errorf("%s: the configuration has no key %s", name, key)
					}
				}
			}
		}
		for _, args := range commands(text) {
			checked++
			if err := understood(args); err != nil {
				t.Errorf("%s: offsite %s: %v", name, strings.Join(args, " "), err)
			}
		}
	}
	if checked < 80 {
		t.Errorf("only %d things were checked; does the test still know how the documents are written?", checked)
	}
}

// has says whether key is one, or holds some.
func has(keys []string, key string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return k == key || strings.HasPrefix(k, key+".") })
}

func there(t *testing.T, name, path string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(path))); err != nil {
		t.Errorf("%s names %s, which is not there", name, path)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := fs.ReadFile(os.DirFS(filepath.Join("..", "..")), name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// operations gives "METHOD /path" of every operation of a description, any word
// for a parameter.
func operations(t *testing.T, name, base string) (found []*regexp.Regexp) {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal([]byte(read(t, name)), &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		path = blank.ReplaceAllString(regexp.QuoteMeta(base+path), `[^/:]+`)
		for method := range methods {
			found = append(found, regexp.MustCompile("^"+strings.ToUpper(method)+" "+path+"$"))
		}
	}
	return found
}

var typed = regexp.MustCompile("(?m)(?:^ {4}(?:\\./|go run \\./cmd/)?|`(?:go run \\./cmd/)?)offsite ([^`#\n]+)")

// commands gives the arguments of every command line of ours.
func commands(text string) (list [][]string) {
	for _, m := range typed.FindAllStringSubmatch(text, -1) {
		line, _, _ := strings.Cut(m[1], " < ")
		args := strings.Fields(line)
		for i, arg := range args {
			args[i], _, _ = strings.Cut(arg, "|")
		}
		list = append(list, args)
	}
	return list
}

// understood says whether the program takes args; in the middle of a sentence a
// command may stand without what it wants besides.
func understood(args []string) error {
	parser, err := kong.New(&program{}, kong.Name("offsite"), kong.Writers(io.Discard, io.Discard), kong.Exit(func(int) {}))
	if err != nil {
		return err
	}
	if _, err = parser.Parse(args); err != nil && !strings.HasPrefix(err.Error(), "expected ") {
		return err
	}
	return nil
}
