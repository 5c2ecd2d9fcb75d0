package devices_test

import (
	"fmt"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever the module says in both languages is said in both: what ends up in
// a struct's ZH has Chinese characters, what ends up in its EN has none, and a
// Problem's Code is a word for programs that means one thing. Texts are followed
// to where they are written, through parameters, results, variables and fields,
// so that no helper hides one. What is computed by other means (trimmed, joined,
// another program's words) is for the tests beside it.
func TestEveryProblemSpeaksBothLanguages(t *testing.T) {
	t.Parallel()
	texts := parseModule(t, "..").texts()
	if len(texts) < 2500 {
		t.Errorf("only %d texts were found; does the test still know how they are made?", len(texts))
	}
	for _, fault := range faultsOf(texts) {
		t.Error(fault)
	}
}

// TestNoHelperHidesAText tries that on every way a text may take.
func TestNoHelperHidesAText(t *testing.T) {
	root := filepath.Join("testdata", "bilingual")
	file := filepath.Join(root, "said.go")
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i, line := range strings.Split(string(source), "\n") {
		if _, why, ok := strings.Cut(line, "// want: "); ok {
			for each := range strings.SplitSeq(why, "; ") {
				want = append(want, fmt.Sprintf("%s:%d: %s", file, i+1, each))
			}
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, faultsOf(parseModule(t, root).texts())); diff != "" {
		t.Error(diff)
	}
}

// text is a text of a role as it stands in the source.
type text struct {
	at   token.Position
	as   role
	text string
}

// role is what a text is for; kind is that of the Problem whose code it is.
type role struct {
	of   use
	kind string
}

type use int

const (
	code     use = iota // the word for programs
	chinese             // a Chinese sentence
	english             // an English sentence
	partCode            // what is put together to one of these
	partChinese
	partEnglish
)

var (
	word     = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	partWord = regexp.MustCompile(`^[a-z0-9_]*$`)
	sentence = regexp.MustCompile(`[A-Za-z]{2,},? [A-Za-z]{2,}`)
	verbs    = regexp.MustCompile(`%[a-z]`)
)

// fault says what is wrong with x, if anything.
func (x text) fault() string {
	switch {
	case x.as.of == code && !word.MatchString(verbs.ReplaceAllString(x.text, "0")), x.as.of == partCode && !partWord.MatchString(x.text):
		return "no word for programs"
	case x.as.of == chinese && !han(x.text), x.as.of == partChinese && !han(x.text) && sentence.MatchString(x.text):
		return "no Chinese"
	case x.as.of == english && x.text == "", (x.as.of == english || x.as.of == partEnglish) && han(x.text):
		return "no English"
	}
	return ""
}

// faultsOf gives "file:line: fault", sorted, each once.
func faultsOf(texts []text) []string {
	var list []string
	told := map[string]text{} // of each code
	slices.SortFunc(texts, func(a, b text) int {
		return strings.Compare(fmt.Sprintf("%s:%06d", a.at.Filename, a.at.Line), fmt.Sprintf("%s:%06d", b.at.Filename, b.at.Line))
	})
	for _, x := range texts {
		if why := x.fault(); why != "" {
			list = append(list, fmt.Sprintf("%s:%d: %s in %q", x.at.Filename, x.at.Line, why, x.text))
		}
		if x.as.of != code || x.as.kind == "" {
			continue
		}
		if first, ok := told[x.text]; ok && first.as.kind != x.as.kind {
			list = append(list, fmt.Sprintf("%s:%d: %s is %s, elsewhere %s", x.at.Filename, x.at.Line, x.text, x.as.kind, first.as.kind))
		} else {
			told[x.text] = x
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
