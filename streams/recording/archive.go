package recording

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"offsite/devices"
)

// Config of an Archive.
type Config struct {
	Segment  time.Duration // after which a segment is cut at the next key frame; 1 min
	Fragment time.Duration // of video that is written at once; 1 s
	Sync     time.Duration // between two fsyncs of a segment; 2 s
	Log      *slog.Logger

	// Missed is told of the time between two pictures of which those between were
	// gone before they could be written. It never blocks.
	Missed func(camera string, from, to time.Time)
}

func (c *Config) setDefaults() {
	if c.Segment <= 0 {
		c.Segment = time.Minute
	}
	if c.Fragment <= 0 {
		c.Fragment = time.Second
	}
	if c.Sync <= 0 {
		c.Sync = 2 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Missed == nil {
		c.Missed = func(string, time.Time, time.Time) {}
	}
}

// Archive keeps the segments of all cameras. It is safe for use by several
// goroutines.
type Archive struct {
	root *os.Root
	cfg  Config
	room sync.Pool // of *[]byte: room for a fragment

	mu      sync.Mutex
	writing map[string]Segment          // by camera: what is being written, as far as it is whole
	used    map[string]map[string]int64 // bytes by camera and day
	counts  Counts
}

// Counts since the start.
type Counts struct {
	Bytes    uint64 // written
	Segments uint64 // ended
	Lost     uint64 // frames that were gone before they could be written
}

// Segment is one file.
type Segment struct {
	Camera   string
	From, To time.Time // by the gateway's clock
	Bytes    int64
	Open     bool // it is being written
	name     string
}

// Open opens the directory and makes it where it is absent.
func Open(dir string, cfg Config) (*Archive, error) {
	cfg.setDefaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, storageProblem(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, storageProblem(err)
	}
	a := &Archive{root: root, cfg: cfg, writing: map[string]Segment{}, used: map[string]map[string]int64{}}
	a.room.New = func() any { return new([]byte) }
	return a, nil
}

// Close gives the directory up; nothing records any more.
func (a *Archive) Close() error { return a.root.Close() }

const (
	dayForm  = "20060102"
	timeForm = "150405.000"
	partEnd  = ".part"
)

var (
	cameraPattern = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	dayPattern    = regexp.MustCompile(`^\d{8}$`)
	wholePattern  = regexp.MustCompile(`^(\d{6}\.\d{3})_(\d{1,10})_(\d{1,15})\.mp4$`)
)

// wholeName is that of a finished segment without its day.
func wholeName(from time.Time, length time.Duration, bytes int64) string {
	return fmt.Sprintf("%s_%d_%d.mp4", from.Format(timeForm), length.Milliseconds(), bytes)
}

// readName gives the finished segment of this name; ok is false for others.
func readName(camera, day, name string) (s Segment, ok bool) {
	m := wholePattern.FindStringSubmatch(name)
	if m == nil {
		return s, false
	}
	from, err := time.Parse(dayForm+timeForm, day+m[1])
	length, _ := strconv.ParseInt(m[2], 10, 64)
	bytes, _ := strconv.ParseInt(m[3], 10, 64) // both are digits only, and few
	return Segment{
		Camera: camera, From: from, To: from.Add(time.Duration(length) * time.Millisecond), Bytes: bytes, name: camera + "/" + day + "/" + name,
	}, err == nil
}

// list gives the names in a directory, sorted; none where there is no such directory.
func (a *Archive) list(dir string) ([]string, error) {
	d, err := a.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, storageProblem(err)
	}
	names, err := d.Readdirnames(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, storageProblem(err)
	}
	slices.Sort(names)
	return names, nil
}

// Load mends what a crash has left and counts what there is. Call it before
// anything records, and again only when nothing does.
func (a *Archive) Load() error {
	a.mu.Lock()
	a.used = map[string]map[string]int64{}
	a.mu.Unlock()
	cameras, err := a.list(".")
	if err != nil {
		return err
	}
	for _, camera := range cameras {
		if !cameraPattern.MatchString(camera) {
			continue
		}
		days, err := a.days(camera)
		if err != nil {
			return err
		}
		for _, day := range days {
			if err := a.loadDay(camera, day); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *Archive) loadDay(camera, day string) error {
	names, err := a.list(camera + "/" + day)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, partEnd) {
			if err := a.mend(camera, day, name); err != nil { // one bad file must not end all recording
				a.cfg.Log.Error("recording not mended", "camera", camera, "day", day, "file", name, "err", err)
			}
		} else if s, ok := readName(camera, day, name); ok {
			a.count(s, s.Bytes)
		}
	}
	return nil
}

// days gives the days of a camera, oldest first.
func (a *Archive) days(camera string) ([]string, error) {
	names, err := a.list(camera)
	return slices.DeleteFunc(names, func(n string) bool { return !dayPattern.MatchString(n) }), err
}

// count adds bytes to what is used by the day of s.
func (a *Archive) count(s Segment, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	days := a.used[s.Camera]
	if days == nil {
		days = map[string]int64{}
		a.used[s.Camera] = days
	}
	day := s.From.Format(dayForm)
	if days[day] += bytes; days[day] <= 0 {
		delete(days, day)
	}
	if len(days) == 0 {
		delete(a.used, s.Camera)
	}
}

// Usage is what is kept of one camera.
type Usage struct {
	Bytes  int64
	Oldest time.Time // the UTC day of the oldest segment
}

// Usage gives what is kept of each camera, finished segments only.
func (a *Archive) Usage() map[string]Usage {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := map[string]Usage{}
	for camera, days := range a.used {
		var u Usage
		for day, bytes := range days {
			u.Bytes += bytes
			if at, err := time.Parse(dayForm, day); err == nil && (u.Oldest.IsZero() || at.Before(u.Oldest)) {
				u.Oldest = at
			}
		}
		all[camera] = u
	}
	return all
}

// Counts gives the counters since the start.
func (a *Archive) Counts() Counts {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts
}

// Segments gives those that reach into [from, to), oldest first, the one that is
// being written as far as it is whole.
func (a *Archive) Segments(camera string, from, to time.Time) ([]Segment, error) {
	if !cameraPattern.MatchString(camera) {
		return nil, nil
	}
	days, err := a.days(camera)
	if err != nil {
		return nil, err
	}
	// A segment may have begun the day before: longer ones there are not.
	first, last := from.Add(-24*time.Hour).UTC().Format(dayForm), to.UTC().Format(dayForm)
	var found []Segment
	for _, day := range days {
		if day < first || day > last {
			continue
		}
		names, err := a.list(camera + "/" + day)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if s, ok := readName(camera, day, name); ok && s.From.Before(to) && s.To.After(from) {
				found = append(found, s)
			}
		}
	}
	a.mu.Lock()
	s, ok := a.writing[camera]
	a.mu.Unlock()
	if ok && s.Bytes > 0 && s.From.Before(to) && s.To.After(from) && !slices.ContainsFunc(found, func(f Segment) bool { return f.From.Equal(s.From) }) {
		found = append(found, s)
	}
	slices.SortFunc(found, func(x, y Segment) int { return x.From.Compare(y.From) })
	return found, nil
}

// open opens the file of s, also when it has been finished meanwhile.
func (a *Archive) open(s Segment) (*os.File, error) {
	f, err := a.root.Open(s.name)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	day := s.From.Format(dayForm)
	names, err := a.list(s.Camera + "/" + day)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if strings.HasPrefix(name, s.From.Format(timeForm)+"_") {
			return a.root.Open(s.Camera + "/" + day + "/" + name)
		}
	}
	return nil, fs.ErrNotExist
}

// Remove deletes a finished segment, and the directories that it leaves empty.
func (a *Archive) Remove(s Segment) error {
	if s.Open {
		return nil
	}
	err := a.root.Remove(s.name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storageProblem(err)
	}
	if err == nil {
		a.count(s, -s.Bytes)
	}
	// These fail while something is in them, which is as it should be.
	if a.root.Remove(s.Camera+"/"+s.From.Format(dayForm)) == nil {
		_ = a.root.Remove(s.Camera)
	}
	return nil
}

func storageProblem(err error) *devices.Problem {
	if p, ok := errors.AsType[*devices.Problem](err); ok {
		return p
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "recording_disk_full",
			ZH: "磁盘已满，录像未能保存；请清理磁盘或缩短录像保存天数", EN: "the disk is full, nothing is recorded; free some space or keep recordings for fewer days", Cause: err,
		}
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "recording_disk_error",
		ZH: "录像目录读写出错，请检查磁盘和权限", EN: "the directory of recordings cannot be read or written; check disk and permissions", Cause: err,
	}
}

// DiskUsed is which part of the disk of dir is in use, by what a service may use.
func DiskUsed(dir string) (float64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("size of the disk of %s: %w", dir, err)
	}
	used := st.Blocks - st.Bfree
	return float64(used) / float64(max(used+st.Bavail, 1)), nil
}
