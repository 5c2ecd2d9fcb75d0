package template

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// placeholder is "${…}".
var placeholder = regexp.MustCompile(`\$\{([^{}]*)\}`)

// values are what the names of placeholders stand for: string, bool, float64,
// or nil for a parameter that was left empty.
type values map[string]any

// fill replaces the placeholders in v, which is as YAML gives it. A value that
// is one placeholder takes its type; members that are then nil are left out, and
// objects that hold nothing else.
func (e values) fill(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return e.fillText(v)
	case map[string]any:
		filled := make(map[string]any, len(v))
		for name, member := range v {
			m, err := e.fill(member)
			if err != nil {
				return nil, err
			}
			if m != nil {
				filled[name] = m
			}
		}
		if len(filled) == 0 && len(v) > 0 {
			return nil, nil // nothing was given that belongs here
		}
		return filled, nil
	case []any:
		filled := make([]any, len(v))
		for i, item := range v {
			var err error
			if filled[i], err = e.fill(item); err != nil {
				return nil, err
			}
		}
		return filled, nil
	default:
		return v, nil
	}
}

func (e values) fillText(text string) (any, error) {
	spots := placeholder.FindAllStringSubmatchIndex(text, -1)
	if len(spots) == 1 && spots[0][0] == 0 && spots[0][1] == len(text) {
		return e.evaluate(text[spots[0][2]:spots[0][3]])
	}
	var b strings.Builder
	at := 0
	for _, s := range spots {
		b.WriteString(text[at:s[0]])
		v, err := e.evaluate(text[s[2]:s[3]])
		if err != nil {
			return nil, err
		}
		b.WriteString(spell(v))
		at = s[1]
	}
	b.WriteString(text[at:])
	return b.String(), nil
}

// string is fillText where nothing but a text will do.
func (e values) string(text string) (string, error) {
	v, err := e.fillText(text)
	return spell(v), err
}

func spell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// evaluate reads a name, or sums of products of names and numbers.
func (e values) evaluate(expression string) (any, error) {
	expression = strings.TrimSpace(expression)
	if v, ok := e[expression]; ok {
		return v, nil
	}
	sum := 0.0
	rest := expression
	for sign := 1.0; ; {
		i := strings.IndexAny(rest, "+-")
		term := rest
		if i >= 0 {
			term = rest[:i]
		}
		v, err := e.product(term)
		if err != nil {
			return nil, fmt.Errorf("${%s}: %w", expression, err)
		}
		sum += sign * v
		if i < 0 {
			return sum, nil
		}
		sign = 1
		if rest[i] == '-' {
			sign = -1
		}
		rest = rest[i+1:]
	}
}

func (e values) product(term string) (float64, error) {
	product := 1.0
	for factor := range strings.SplitSeq(term, "*") {
		factor = strings.TrimSpace(factor)
		v, named := e[factor]
		if !named {
			n, err := strconv.ParseFloat(factor, 64)
			if err != nil {
				return 0, fmt.Errorf("%q is neither a parameter nor a number", factor)
			}
			v = n
		}
		n, ok := v.(float64)
		if !ok {
			return 0, fmt.Errorf("%q is not a number", factor)
		}
		product *= n
	}
	return product, nil
}

var word = regexp.MustCompile(`[a-z][a-z0-9_]*`)

// names gives the parameters that a value refers to, in any depth, each once.
func names(v any) (list []string) {
	add := func(name string) {
		if name != "n" && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	switch v := v.(type) {
	case string:
		for _, spot := range placeholder.FindAllStringSubmatch(v, -1) {
			for _, name := range word.FindAllString(spot[1], -1) {
				add(name)
			}
		}
	case map[string]any:
		for _, member := range v {
			for _, name := range names(member) {
				add(name)
			}
		}
	case []any:
		for _, item := range v {
			for _, name := range names(item) {
				add(name)
			}
		}
	}
	slices.Sort(list)
	return list
}
