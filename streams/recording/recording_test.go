package recording_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/recording"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const every = 40 * time.Millisecond // between two pictures

// pictures gives the frames of the package rtsp's clip: a key frame every five.
func pictures(t testing.TB) []*streams.Frame {
	t.Helper()
	data, err := os.ReadFile("../rtsp/testdata/small.h264")
	if err != nil {
		t.Fatal(err)
	}
	return cut(t, streams.H264, data)
}

func cut(t testing.TB, codec streams.Codec, data []byte) []*streams.Frame {
	t.Helper()
	a := streams.NewAssembler(codec, nil, nil, nil)
	var out []*streams.Frame
	for _, u := range streams.CutUnits(codec, streams.SplitAnnexB(data)) {
		f, err := a.Frame(u, 0, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// play publishes the clip over and over, beginning with a key frame.
func play(feed *streams.Feed, clip []*streams.Frame, length time.Duration) {
	began := time.Now()
	for i := 0; time.Since(began) < length; i++ {
		f := *clip[i%len(clip)]
		f.PTS, f.DTS, f.At = time.Duration(i)*every, time.Duration(i)*every, time.Now()
		feed.Publish(&f)
		time.Sleep(every)
	}
}

func archive(t testing.TB, dir string, cfg recording.Config) *recording.Archive {
	t.Helper()
	a, err := recording.Open(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	if err := a.Load(); err != nil {
		t.Fatal(err)
	}
	return a
}

// record records what film shows to feed.
func record(t *testing.T, a *recording.Archive, feed *streams.Feed, film func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error)
	go func() { ended <- a.Record(ctx, "cam-1", feed, time.Now()) }()
	film()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

var far = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

func all(t *testing.T, a *recording.Archive) []recording.Segment {
	t.Helper()
	list, err := a.Segments("cam-1", time.Unix(0, 0), far)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// spans tells when the segments begin and end, in ms since zero.
func spans(list []recording.Segment, zero time.Time) [][2]int64 {
	out := [][2]int64{}
	for _, s := range list {
		out = append(out, [2]int64{s.From.Sub(zero).Milliseconds(), s.To.Sub(zero).Milliseconds()})
	}
	return out
}

func needProbe(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ffprobe"); err != nil {
		t.Skip("ffprobe is absent: apt-get install ffmpeg")
	}
}

// probe lets ffprobe decode a file and gives the times of its pictures, ms.
func probe(t *testing.T, path string) []int64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_entries", "frame=pts_time", "-of", "csv=p=0", path)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil || said.Len() > 0 {
		t.Fatalf("ffprobe of %s: %v: %s", filepath.Base(path), err, said.String())
	}
	var times []int64
	for line := range strings.Lines(string(out)) {
		if line = strings.Trim(line, ",\n"); line == "" { // of side data
			continue
		}
		at, err := strconv.ParseFloat(line, 64)
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, int64(at*1000+0.5))
	}
	return times
}

// files gives the paths of all files below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// save writes the clip to a file.
func save(t *testing.T, c *recording.Clip) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clip.mp4")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := c.Open()
	defer r.Close()
	n, err := io.Copy(f, r)
	if err != nil || n != c.Size {
		t.Fatalf("%d bytes of %d: %v", n, c.Size, err)
	}
	return path
}

func TestSegmentsAndClips(t *testing.T) {
	needProbe(t)
	dir, zero := t.TempDir(), time.Time{}
	a := archive(t, dir, recording.Config{Segment: 10 * time.Second})
	clip := pictures(t)
	synctest.Test(t, func(t *testing.T) {
		zero = time.Now()
		feed := streams.NewFeed(streams.FeedConfig{})
		record(t, a, feed, func() {
			feed.Connected()
			play(feed, clip, 25*time.Second)
			feed.Disconnected(&devices.Problem{Code: "camera_silent"})
			time.Sleep(20 * time.Second)
			feed.Connected()
			play(feed, clip, 3*time.Second)
		})
	})
	if diff := cmp.Diff([][2]int64{{0, 10000}, {10000, 20000}, {20000, 25000}, {45000, 48000}}, spans(all(t, a), zero)); diff != "" {
		t.Fatal(diff)
	}
	for _, path := range files(t, dir) {
		if n := len(probe(t, path)); n != 250 && n != 125 && n != 75 {
			t.Errorf("%s: %d pictures", path, n)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
		}
	}
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	for _, tt := range []struct {
		name     string
		from, to int // ms
		begin    int
		pictures int
		last     int64 // ms after begin
	}{
		{"within a segment", 1100, 2000, 1000, 25, 960},
		{"over segments", 9000, 21000, 9000, 300, 11960},
		{"over a gap", 24000, 46000, 24000, 50, 21960},
		{"begins in a gap", 30000, 46000, 45000, 25, 960},
		{"everything", -5000, 60000, 0, 700, 47960},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := a.Clip("cam-1", at(tt.from), at(tt.to))
			if err != nil {
				t.Fatal(err)
			}
			times := probe(t, save(t, c))
			if !c.From.Equal(at(tt.begin)) || len(times) != tt.pictures || times[len(times)-1] != tt.last {
				t.Errorf("from %v: %d pictures, the last at %d", c.From.Sub(zero), len(times), times[len(times)-1])
			}
			again, err := a.Clip("cam-1", at(tt.from), at(tt.to))
			if err != nil || again.Tag != c.Tag {
				t.Errorf("the same interval is another clip: %v", err)
			}
		})
	}
	for name, c := range map[string][2]int{"no_recording": {26000, 44000}, "before_from": {5, 5}, "too_long": {0, 7 * 3600_000}} {
		if _, err := a.Clip("cam-1", at(c[0]), at(c[1])); devices.AllProblems(err)[0].Code != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReaderReadsAnyPart(t *testing.T) {
	a := archive(t, t.TempDir(), recording.Config{Segment: 3 * time.Second})
	clip, zero := pictures(t), time.Time{}
	synctest.Test(t, func(t *testing.T) {
		zero = time.Now()
		feed := streams.NewFeed(streams.FeedConfig{})
		feed.Connected()
		record(t, a, feed, func() { play(feed, clip, 10*time.Second) })
	})
	c, err := a.Clip("cam-1", zero, zero.Add(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	r := c.Open()
	defer r.Close()
	whole, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		from := rand.Int64N(c.Size)
		b := make([]byte, rand.Int64N(c.Size-from)+1)
		if _, err := r.Seek(from, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, b); err != nil || !bytes.Equal(b, whole[from:from+int64(len(b))]) {
			t.Fatalf("%d bytes at %d: %v", len(b), from, err)
		}
	}
}

func TestParametersThatChangeBeginASegmentAndTheClipPlays(t *testing.T) {
	needProbe(t)
	encode := func(size string) []*streams.Frame {
		data, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc=size="+size+":rate=25:duration=2",
			"-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "25", "-pix_fmt", "yuv420p", "-f", "h264", "-").Output()
		if err != nil {
			t.Fatal(err)
		}
		return cut(t, streams.H264, data)
	}
	clip := slices.Concat(encode("320x240"), encode("640x360"))
	a := archive(t, t.TempDir(), recording.Config{})
	synctest.Test(t, func(t *testing.T) {
		feed := streams.NewFeed(streams.FeedConfig{})
		feed.Connected()
		record(t, a, feed, func() { play(feed, clip, 4*time.Second) })
	})
	list := all(t, a)
	if len(list) != 2 {
		t.Fatalf("%d segments", len(list))
	}
	c, err := a.Clip("cam-1", list[0].From, list[1].To)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(probe(t, save(t, c))); n != 100 {
		t.Errorf("%d pictures", n)
	}
}

// TestNoSegmentIsOfTwoCameras has the feed go over to another camera while it is recorded.
func TestNoSegmentIsOfTwoCameras(t *testing.T) {
	a := archive(t, t.TempDir(), recording.Config{})
	clip := pictures(t)
	synctest.Test(t, func(t *testing.T) {
		zero := time.Now()
		feed := streams.NewFeed(streams.FeedConfig{})
		record(t, a, feed, func() {
			feed.Connected()
			play(feed, clip, 10*time.Second)
			time.Sleep(time.Second)
			feed.Forget()
			feed.Connected()
			play(feed, clip, 5*time.Second)
		})
		if diff := cmp.Diff([][2]int64{{0, 10000}, {11000, 16000}}, spans(all(t, a), zero)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWhatIsBeingWrittenCanBeSeen(t *testing.T) {
	a := archive(t, t.TempDir(), recording.Config{})
	clip := pictures(t)
	synctest.Test(t, func(t *testing.T) {
		feed := streams.NewFeed(streams.FeedConfig{})
		feed.Connected()
		record(t, a, feed, func() {
			play(feed, clip, 10*time.Second)
			list := all(t, a)
			if len(list) != 1 || !list[0].Open || list[0].To.Sub(list[0].From) < 8*time.Second {
				t.Fatalf("%+v", list)
			}
			c, err := a.Clip("cam-1", list[0].From, list[0].To)
			if err != nil {
				t.Fatal(err)
			}
			before := save(t, c)
			play(feed, clip, 5*time.Second)
			again, err := a.Clip("cam-1", list[0].From, list[0].To)
			if err != nil || again.Tag != c.Tag {
				t.Errorf("another clip: %v", err)
			}
			if err := a.Remove(all(t, a)[0]); err != nil || len(all(t, a)) != 1 {
				t.Error("an open segment was removed")
			}
			if info, err := os.Stat(before); err != nil || info.Size() != again.Size {
				t.Error(info.Size(), again.Size)
			}
		})
	})
}

func TestUsageFollowsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	a := archive(t, dir, recording.Config{Segment: 2 * time.Second})
	clip := pictures(t)
	synctest.Test(t, func(t *testing.T) {
		feed := streams.NewFeed(streams.FeedConfig{})
		feed.Connected()
		record(t, a, feed, func() { play(feed, clip, 10*time.Second) })
	})
	u := a.Usage()["cam-1"]
	if err := a.Load(); err != nil || a.Usage()["cam-1"] != u {
		t.Errorf("counted again: %+v, %v", a.Usage(), err)
	}
	if again := archive(t, dir, recording.Config{}).Usage()["cam-1"]; again != u || u.Bytes == 0 {
		t.Errorf("counted %+v, found %+v", u, again)
	}
	for _, s := range all(t, a) {
		if err := a.Remove(s); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 || len(a.Usage()) > 0 {
		t.Errorf("left over: %v %v", left, a.Usage())
	}
}

func TestNoPathLeavesTheDirectory(t *testing.T) {
	a := archive(t, t.TempDir(), recording.Config{})
	for _, camera := range []string{"..", "../etc", "a/b", "", "/", "CAM"} {
		if list, err := a.Segments(camera, time.Unix(0, 0), far); err != nil || len(list) > 0 {
			t.Errorf("%q: %v %v", camera, list, err)
		}
	}
}
