package console

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

var (
	linked = regexp.MustCompile(`(?:src|href)="\./([^"]+)"`)
	inline = regexp.MustCompile(`(?s)<script[^>]*>\s*[^<\s]|\son[a-z]+=|javascript:`)
)

// TestFiles checks that what is embedded is a whole application, and one that a
// strict content security policy lets run.
func TestFiles(t *testing.T) {
	files := Files()
	page, err := fs.ReadFile(files, "index.html")
	if err != nil {
		t.Fatal(err)
	}
	named := linked.FindAllStringSubmatch(string(page), -1)
	if len(named) < 2 {
		t.Errorf("index.html names %d files; build the console: gateway/console/build", len(named))
	}
	for _, n := range named {
		if _, err := fs.Stat(files, n[1]); err != nil {
			t.Errorf("index.html names %s: %v", n[1], err)
		}
	}
	if found := inline.FindString(string(page)); found != "" {
		t.Errorf("index.html has code of its own, which the content security policy forbids: %s", found)
	}
	err = fs.WalkDir(files, "assets", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".js") {
			return err
		}
		text, err := fs.ReadFile(files, path)
		if err == nil && (strings.Contains(string(text), "new Function(") || strings.Contains(string(text), "innerHTML=`")) {
			t.Errorf("%s makes code or markup from text", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
