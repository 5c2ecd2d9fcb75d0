package api

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestPartsDoNotKnowEachOther holds the imports of this room to one way: the root
// composes the parts, a part asks at its desk, and bodies know nobody.
func TestPartsDoNotKnowEachOther(t *testing.T) {
	const room = "offsite/gateway/api"
	may := map[string][]string{"contract": nil, "request": {room + "/contract"}}
	parts, err := filepath.Glob("*/*.go")
	if err != nil || len(parts) < 40 {
		t.Fatalf("%d files in the parts: %v", len(parts), err)
	}
	for _, path := range parts {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		allowed, leaf := may[filepath.Dir(path)]
		if !leaf {
			allowed = []string{room + "/contract", room + "/request"}
		}
		for _, spec := range file.Imports {
			to, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(to, room) && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s: a part may import %v", path, to, allowed)
			}
		}
	}
}
