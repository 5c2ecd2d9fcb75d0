package edge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"offsite/devices"
	"offsite/edge/notice"
)

// memory is what a control group takes of the memory that it may take, which is
// what a container or a service's MemoryMax= bounds.
type memory struct {
	usage, limit, stat string // files
	inactive           string // line of stat with what is given back before anything is ended
}

// The files of a control group, version 2 and 1.
var groupFiles = []memory{
	{"memory.current", "memory.max", "memory.stat", "inactive_file"},
	{"memory.usage_in_bytes", "memory.limit_in_bytes", "memory.stat", "total_inactive_file"},
}

// openMemory finds the nearest control group around this process that has a
// limit; nil where there is none, or it cannot be read. root is /sys/fs/cgroup,
// self the text of /proc/self/cgroup: lines of "number:controllers:path".
func openMemory(root, self string) *memory {
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
			dir := filepath.Join(mount, path)
			m := &memory{filepath.Join(dir, files.usage), filepath.Join(dir, files.limit), filepath.Join(dir, files.stat), files.inactive}
			if limit, err := number(m.limit); err == nil && limit < 1<<50 { // version 1 writes no limit as a number of that kind
				return m
			}
			if path == "/" {
				break
			}
		}
	}
	return nil
}

func number(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// used is the part of the limit that is in use and cannot be had back by
// forgetting files.
func (m *memory) used() (float64, error) {
	usage, err := number(m.usage)
	limit, err2 := number(m.limit)
	text, err3 := os.ReadFile(m.stat)
	if err := errors.Join(err, err2, err3); err != nil {
		return 0, fmt.Errorf("memory of the control group: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if n, found := strings.CutPrefix(line, m.inactive+" "); found {
			inactive, _ := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			usage -= inactive
		}
	}
	return float64(usage) / float64(max(limit, 1)), nil
}

// When live view is shed, of the memory that the control group may take, and
// when it is let in again.
const (
	memoryEvery = time.Second
	memoryShort = 0.90
	memoryEased = 0.80
)

// watchMemory sends who watches live away before memory ends, so that readings,
// judgement and evidence have what there is, until ctx ends.
func (b *Box) watchMemory(ctx context.Context, m *memory) error {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	for {
		if used, err := m.used(); err == nil { // what cannot be measured sheds nothing
			b.lookAtMemory(used)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (b *Box) lookAtMemory(used float64) {
	held := b.notices.Why(notice.Memory) != nil
	switch {
	case used >= memoryShort && !held:
		p := &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "memory_short",
			ZH: "内存不足，实时画面已暂停，读数、判定、证据与录像不受影响；内存恢复后自动继续，请增加内存上限或减少摄像机缓存时长 video.ring",
			EN: "memory is short: live pictures have stopped, so that readings, judgement, evidence and recordings do not suffer; it goes on by itself, give the gateway more memory or a shorter video.ring",
		}
		b.notices.Set(notice.Memory, p)
		b.logger.Warn("live view is shed: memory is short", "used", used)
		b.Cameras.Shed(p)
	case used < memoryEased && held:
		b.notices.Set(notice.Memory, nil)
		b.logger.Info("live view goes on", "used", used)
		b.Cameras.Shed(nil)
	}
}
