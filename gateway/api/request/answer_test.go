package request

import (
	"testing"
)

func TestShortenKeepsCharactersWhole(t *testing.T) {
	for _, tt := range []struct {
		s    string
		n    int
		want string
	}{{"short", 120, "short"}, {"摄像机", 4, "摄"}, {"摄像机", 6, "摄像"}, {"摄", 2, ""}} {
		if got := Shorten(tt.s, tt.n); got != tt.want {
			t.Errorf("Shorten(%q, %d) = %q, want %q", tt.s, tt.n, got, tt.want)
		}
	}
}
