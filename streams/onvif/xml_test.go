package onvif

import (
	"runtime"
	"strings"
	"testing"
)

// TestTextInPieces has a text come in as many pieces as a document has room for:
// what is allocated for it is in proportion to the document.
func TestTextInPieces(t *testing.T) {
	const pieces = mostBytes/8 - 8
	body := "<a> " + strings.Repeat("x<!---->", pieces) + " </a>"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := parse(strings.NewReader(body))
	runtime.ReadMemStats(&after)
	if err != nil || got.text != strings.Repeat("x", pieces) {
		t.Fatal("the text is another one: ", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 64*mostBytes {
		t.Errorf("%d bytes allocated for a document of %d", n, len(body))
	}
}
