package memory

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Group is the control group that bounds the memory of this process: a container, or a
// service's MemoryMax=.
type Group struct {
	usage, limit, stat       string // files
	inactive, active, mapped string // lines of stat: files in the page cache, and those of them that a process maps
}

// The files of a control group, version 2 and 1.
var groupFiles = [...]Group{
	{"memory.current", "memory.max", "memory.stat", "inactive_file", "active_file", "file_mapped"},
	{"memory.usage_in_bytes", "memory.limit_in_bytes", "memory.stat", "total_inactive_file", "total_active_file", "total_mapped_file"},
}

// unlimited is what version 1 writes at least where there is no limit.
const unlimited = 1 << 50

// Around finds the nearest control group around this process that has a limit; nil
// where there is none, or it cannot be read.
func Around() *Group {
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	return Find("/sys/fs/cgroup", string(self))
}

// Find is Around where the groups are mounted at root, and self is the text of
// /proc/self/cgroup: lines of "number:controllers:path".
func Find(root, self string) *Group {
	for line := range strings.Lines(self) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 || part[1] != "" && part[1] != "memory" {
			continue
		}
		files, mount := groupFiles[0], root
		if part[1] == "memory" {
			files, mount = groupFiles[1], filepath.Join(root, "memory")
		}
		for path := filepath.Clean("/" + part[2]); ; path = filepath.Dir(path) {
			g := files.in(filepath.Join(mount, path))
			if limit, err := number(g.limit); err == nil && limit < unlimited {
				return &g
			}
			if path == "/" {
				break
			}
		}
	}
	return nil
}

// in gives the files as they stand in a directory.
func (g Group) in(dir string) Group {
	for _, file := range []*string{&g.usage, &g.limit, &g.stat} {
		*file = filepath.Join(dir, *file)
	}
	return g
}

func number(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// Use is what a group takes of the memory that it may take, in bytes.
type Use struct {
	Used  int64 // and cannot be had back by forgetting files
	Limit int64
}

// Share is the part of the limit that is in use.
func (u Use) Share() float64 { return float64(u.Used) / float64(max(u.Limit, 1)) }

// Use measures. Of the page cache only files that a process maps count: to take those
// of the running program away would only have them read again.
func (g *Group) Use() (Use, error) {
	usage, err := number(g.usage)
	limit, err2 := number(g.limit)
	text, err3 := os.ReadFile(g.stat)
	if err := errors.Join(err, err2, err3); err != nil {
		return Use{}, fmt.Errorf("memory of the control group: %w", err)
	}
	stat := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		name, n, _ := strings.Cut(strings.TrimSpace(line), " ")
		stat[name], _ = strconv.ParseInt(n, 10, 64) // one that is no number is none of ours
	}
	files := max(stat[g.inactive]+stat[g.active]-stat[g.mapped], 0)
	return Use{Used: usage - files, Limit: limit}, nil
}
