package memory

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lay writes the files of control groups into a directory of their own, and gives it.
func lay(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestTheNearestLimitCounts(t *testing.T) {
	root := lay(t, map[string]string{
		"box/memory.max":                    "1000\n",
		"box/memory.current":                "950\n",
		"box/memory.stat":                   "anon 800\nfile_mapped 20\ninactive_file 100\nactive_file 70\n",
		"box/inner/memory.max":              "max\n",
		"memory/old/memory.limit_in_bytes":  "500\n",
		"memory/old/memory.usage_in_bytes":  "500\n",
		"memory/old/memory.stat":            "inactive_file 1\ntotal_inactive_file 50\ntotal_active_file 10\ntotal_mapped_file 10\n",
		"memory/free/memory.limit_in_bytes": "9223372036854771712\n",
	})
	for _, tt := range []struct {
		name, self string
		want       Use // none: no limit
	}{
		{"its own, version 2", "0::/box\n", Use{Used: 800, Limit: 1000}},
		{"that around it", "0::/box/inner\n", Use{Used: 800, Limit: 1000}},
		{"version 1", "4:memory:/old\n0::/\n", Use{Used: 450, Limit: 500}},
		{"none", "4:memory:/free\n0::/elsewhere\n", Use{}},
		{"nonsense", "memory\n\n", Use{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := Find(root, tt.self)
			if g == nil {
				if tt.want != (Use{}) {
					t.Error("not found")
				}
				return
			}
			use, err := g.Use()
			if diff := cmp.Diff(tt.want, use); diff != "" || err != nil {
				t.Error(err, diff)
			}
		})
	}
}
