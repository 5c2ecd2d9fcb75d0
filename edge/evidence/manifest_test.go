package evidence

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCanonicalText(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"plain", "东门 <&>", `"东门 <&>"`},
		{"separators", "a\u2028b\u2029", "\"a\u2028b\u2029\""},
		{"the letters of an escape", `a\u2028b\u2029`, `"a\\u2028b\\u2029"`},
		{"a backslash and a separator", "\\\u2028", "\"\\\\\u2028\""},
		{"escapes", "\"\\\b\f\n\r\t\x01\x7f", `"\"\\\b\f\n\r\t\u0001` + "\x7f\""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := canonical(tt.text); err != nil || string(got) != tt.want {
				t.Errorf("got %s, want %s: %v", got, tt.want, err)
			}
		})
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"", "东门", `\u2028`, "\u2028\\\u2029", `\\u2029`, "\x00\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			t.Skip()
		}
		text, err := canonical(map[string]string{"name": s})
		if err != nil {
			t.Fatal(err)
		}
		var back map[string]string
		if err := json.Unmarshal(text, &back); err != nil || back["name"] != s {
			t.Errorf("%q became %s: %v", s, text, err)
		}
		if strings.Count(string(text), "\u2028") != strings.Count(s, "\u2028") {
			t.Errorf("%q is escaped in %s", s, text)
		}
	})
}
