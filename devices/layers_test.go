package devices_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// topLevel is every name that may stand at the top, besides dot files.
var topLevel = map[string]bool{
	"cmd": true, "gateway": true, "devices": true, "streams": true, "timeseries": true, "edge": true,
	"deploy": true, "go.mod": true, "go.sum": true, "README.md": true, "LICENSE": true,
}

// floors gives the height of each floor; neighbours share one.
var floors = map[string]int{"devices": 0, "streams": 1, "timeseries": 1, "edge": 2, "gateway": 3, "cmd": 4, "deploy": 5}

// rootComposes marks the floors whose root imports its sub-packages; in the
// others the sub-packages import the root.
var rootComposes = map[string]bool{"edge": true, "gateway": true}

func TestImportsPointDown(t *testing.T) {
	root := ".."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || (strings.HasPrefix(d.Name(), ".") && path != root)) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if to, ours := strings.CutPrefix(imported, "offsite/"); ours {
				if why := forbidden(filepath.ToSlash(rel), to, strings.HasSuffix(path, "_test.go")); why != "" {
					t.Errorf("%s imports %s: %s", path, imported, why)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// forbidden says why package from may not import package to, or nothing.
func forbidden(from, to string, test bool) string {
	fromFloor, fromRoom, _ := strings.Cut(from, "/")
	toFloor, toRoom, _ := strings.Cut(to, "/")
	if fromFloor == toFloor {
		return forbiddenInside(fromFloor, fromRoom, toRoom, test)
	}
	high, known := floors[fromFloor]
	low, knownTo := floors[toFloor]
	switch {
	case !known || !knownTo:
		return "unknown floor"
	case high <= low:
		return "imports point down: cmd > gateway > edge > {streams, timeseries} > devices"
	}
	return ""
}

func forbiddenInside(floor, from, to string, test bool) string {
	switch {
	case floor == "cmd" || floor == "deploy":
		return ""
	case test || roomOf(from) == roomOf(to):
		return ""
	case from == "" && rootComposes[floor]:
		return ""
	case to == "" && !rootComposes[floor]:
		return ""
	case from == "":
		return "the root is vocabulary: its sub-packages import it"
	default:
		return "rooms of one floor do not import each other"
	}
}

// roomOf gives the room that a package is part of: modbus for modbus/modbustest.
func roomOf(path string) string {
	room, _, _ := strings.Cut(path, "/")
	return room
}

func TestForbiddenArrowsAreFound(t *testing.T) {
	tests := []struct {
		name, from, to string
		want           bool
	}{
		{"down", "edge", "timeseries/spool", false},
		{"up", "devices/modbus", "edge", true},
		{"neighbours", "streams/rtsp", "timeseries", true},
		{"siblings", "devices/hj212", "devices/mqtt/broker", true},
		{"to vocabulary", "devices/mqtt", "devices", false},
		{"vocabulary to room", "devices", "devices/mqtt", true},
		{"root composes", "edge", "edge/breach", false},
		{"room to composing root", "edge/breach", "edge", true},
		{"own test peer", "devices/modbus/modbustest", "devices/modbus", false},
		{"parts of one room", "devices/hj212/loggertest", "devices/hj212/wire", false},
		{"part of another room", "devices/mqtt", "devices/hj212/wire", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := forbidden(tt.from, tt.to, false) != ""; got != tt.want {
				t.Errorf("forbidden(%s, %s) = %v, want %v", tt.from, tt.to, got, tt.want)
			}
		})
	}
}

func TestTopLevelHoldsNothingElse(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !topLevel[e.Name()] && !strings.HasPrefix(e.Name(), ".") && e.Name() != "offsite" {
			t.Errorf("%s stands at the top level", e.Name())
		}
	}
}
