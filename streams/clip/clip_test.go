package clip

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var began = time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)

// encoded lets ffmpeg encode seconds of a moving picture, 25 a second, a key
// frame each second, and gives the frames as a camera would send them from began on.
func encoded(t testing.TB, codec streams.Codec, seconds int, size string, args ...string) []*streams.Frame {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: nothing to encode with")
	}
	muxer := map[streams.Codec]string{streams.H264: "h264", streams.H265: "hevc"}[codec]
	path := filepath.Join(t.TempDir(), "clip."+muxer)
	all := append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=size=" + size + ":rate=25", "-t", fmt.Sprint(seconds), "-pix_fmt", "yuv420p", "-g", "25"}, args...)
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", append(all, "-f", muxer, path)...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	shown := order(t, path)
	a := streams.NewAssembler(codec, nil, nil, nil)
	var frames []*streams.Frame
	for i, u := range streams.CutUnits(codec, streams.SplitAnnexB(data)) {
		f, err := a.Frame(u, time.Duration(shown[i])*40*time.Millisecond, began.Add(time.Duration(i)*40*time.Millisecond))
		if err != nil || f == nil {
			t.Fatal("frame: ", err)
		}
		frames = append(frames, f)
	}
	return frames
}

// order gives the place in time of each picture of a byte stream.
func order(t testing.TB, path string) []int {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_entries", "frame=pkt_pos", "-of", "csv=p=0", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var positions []int // in the order in which they are shown
	for _, line := range strings.Fields(string(out)) {
		var n int
		_, _ = fmt.Sscanf(line, "%d", &n)
		positions = append(positions, n)
	}
	sorted := slices.Sorted(slices.Values(positions))
	shown := make([]int, len(positions))
	for at, p := range positions {
		shown[slices.Index(sorted, p)] = at
	}
	return shown
}

// camera gives a feed that has had the frames.
func camera(frames ...*streams.Frame) *streams.Feed {
	feed := streams.NewFeed(streams.FeedConfig{Ring: time.Hour})
	feed.Connected()
	for _, f := range frames {
		feed.Publish(f)
	}
	return feed
}

func record(t testing.TB, feed *streams.Feed, from, to time.Time, cfg Config) (string, Clip) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clip.mp4")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Record(t.Context(), feed, from, to, file, cfg)
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != c.Bytes {
		t.Errorf("file of %v bytes, said %d: %v", info.Size(), c.Bytes, err)
	}
	return path, c
}

// probe is what ffprobe says of a clip.
type probe struct {
	Streams []struct {
		Kind   string `json:"codec_type"`
		Codec  string `json:"codec_name"`
		Frames string `json:"nb_read_frames"`
		Start  string `json:"start_time"`
	} `json:"streams"`
	Format struct {
		Duration string `json:"duration"`
	} `json:"format"`
}

// look lets ffprobe and ffmpeg read a clip whole; neither may complain.
func look(t testing.TB, path string) probe {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("ffprobe -v error: %v: %s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-xerror", "-i", path, "-map", "0:v", "-f", "null", "-").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("ffmpeg -v error: %v: %s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var p probe
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// times gives a field of each video packet.
func times(t testing.TB, path, field string) []float64 {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet="+field, "-of", "csv=p=0", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var list []float64
	for _, line := range strings.Fields(string(out)) {
		var v float64
		_, _ = fmt.Sscanf(line, "%g", &v)
		list = append(list, v)
	}
	return list
}

var (
	x264 = []string{"-c:v", "libx264", "-preset", "ultrafast"}
	x265 = []string{"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error"}
)

func TestClipsPlayElsewhere(t *testing.T) {
	tests := []struct {
		name  string
		codec streams.Codec
		args  []string
	}{
		{"h264", streams.H264, append(x264, "-bf", "0")},
		{"h264 with B-frames", streams.H264, append(x264, "-bf", "3", "-b_strategy", "0")},
		{"h265", streams.H265, append(x265, "-bf", "0")},
		{"h265 with B-frames", streams.H265, append(x265, "-bf", "3")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			frames := encoded(t, tt.codec, 6, "320x180", tt.args...)
			from, to := began.Add(2500*time.Millisecond), began.Add(5*time.Second)
			path, c := record(t, camera(frames...), from, to, Config{Caption: func(at time.Time) string { return "北厂区 · 东门 · " + at.Format(time.TimeOnly) }})
			got := look(t, path)
			if c.Frames != 75 || !c.Start.Equal(began.Add(2*time.Second)) || !c.End.Equal(to) || len(c.Gaps) != 0 {
				t.Errorf("clip of %d frames, %v to %v, gaps %v", c.Frames, c.Start, c.End, c.Gaps)
			}
			if len(got.Streams) != 2 || got.Streams[0].Frames != "75" || got.Streams[1].Codec != "mov_text" || got.Format.Duration != "3.000000" {
				t.Errorf("%+v", got)
			}
			if shown := times(t, path, "pts_time"); slices.Min(shown) != 0 {
				t.Errorf("the first picture is shown at %v", slices.Min(shown))
			}
			if lines := captions(t, path); len(lines) != 3 || !strings.Contains(lines[0], ">北厂区 · 东门 · 04:00:02<") {
				t.Errorf("captions %q", lines)
			}
		})
	}
}

// captions lets ffmpeg read the second track.
func captions(t testing.TB, path string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-i", path, "-map", "0:s", "-f", "srt", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for block := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n\n") {
		if parts := strings.SplitN(block, "\n", 3); len(parts) == 3 {
			lines = append(lines, parts[2])
		}
	}
	return lines
}

// TestChangesInside has a camera change its picture's size, go away for three
// seconds, and come back with its stamps begun anew.
func TestChangesInside(t *testing.T) {
	small := encoded(t, streams.H264, 2, "320x180", append(x264, "-bf", "0")...)
	large := encoded(t, streams.H264, 2, "640x360", append(x264, "-bf", "2", "-profile:v", "main")...)
	feed := camera(small...)
	for i, f := range large {
		f.At = began.Add(2*time.Second + time.Duration(i)*40*time.Millisecond)
		f.PTS, f.DTS = f.PTS+2*time.Second, f.DTS+2*time.Second
		feed.Publish(f)
	}
	feed.Disconnected(nil)
	feed.Connected()
	for i, f := range small {
		again := *f
		again.At = began.Add(7*time.Second + time.Duration(i)*40*time.Millisecond)
		feed.Publish(&again)
	}
	path, c := record(t, feed, began, began.Add(10*time.Second), Config{})
	got := look(t, path)
	if c.Frames != 150 || c.Sets != 2 || got.Streams[0].Frames != "150" {
		t.Errorf("%d frames, %d parameter sets, read %+v", c.Frames, c.Sets, got)
	}
	if diff := cmp.Diff([]Span{{began.Add(3960 * time.Millisecond), began.Add(7 * time.Second)}}, c.Gaps); diff != "" {
		t.Error(diff)
	}
	shown := times(t, path, "pts_time")
	if last := slices.Max(shown); last < 8.9 || last > 9 {
		t.Errorf("the last picture is shown at %v", last)
	}
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "frame=width", "-of", "csv=p=0", path).Output()
	if widths := strings.Fields(string(out)); err != nil || len(widths) != 150 || strings.Trim(widths[49], ",") != "320" || strings.Trim(widths[75], ",") != "640" || strings.Trim(widths[149], ",") != "320" {
		t.Errorf("widths %v: %v", widths, err)
	}
}

// TestCrowdedHead has a camera change its parameter sets, of some kilobytes each,
// until the head has no room for them.
func TestCrowdedHead(t *testing.T) {
	frames := encoded(t, streams.H264, 1, "320x180", append(x264, "-bf", "0")...)
	tests := []struct {
		name    string
		padding []int // bytes that a second's picture parameter set is longer by
		frames  int
		crowded bool
	}{
		{"one that is large", []int{20_000}, 25, false},
		{"two that fit", []int{2000, 2001}, 50, false},
		{"the last has no room", []int{2000, 2001, 2002, 2003, 2004}, 75, true},
		{"the second has no room", []int{20_000, 20_001, 20_002}, 25, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			feed := camera()
			for second, more := range tt.padding {
				params := *frames[0].Params
				params.PPS = append(bytes.Clone(params.PPS), make([]byte, more)...) // trailing zeros
				for i, f := range frames {
					since := time.Duration(second)*time.Second + time.Duration(i)*40*time.Millisecond
					next := *f
					next.Params, next.PTS, next.DTS, next.At = &params, since, since, began.Add(since)
					feed.Publish(&next)
				}
			}
			path, c := record(t, feed, began, began.Add(10*time.Second), Config{})
			if c.Frames != tt.frames || c.Crowded != tt.crowded || !c.End.Equal(began.Add(time.Duration(tt.frames)*40*time.Millisecond)) {
				t.Errorf("%d frames to %v, crowded %v", c.Frames, c.End, c.Crowded)
			}
			if got := look(t, path); got.Streams[0].Frames != fmt.Sprint(tt.frames) {
				t.Errorf("read %+v", got)
			}
		})
	}
}

func TestMJPEG(t *testing.T) {
	var picture bytes.Buffer
	if err := jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 64, 48)), nil); err != nil {
		t.Fatal(err)
	}
	params, err := streams.NewPictureParameters(64, 48)
	if err != nil {
		t.Fatal(err)
	}
	feed := camera()
	for i := range 20 {
		at := time.Duration(i) * 200 * time.Millisecond
		feed.Publish(&streams.Frame{Params: params, NALUs: [][]byte{picture.Bytes()}, PTS: at, DTS: at, At: began.Add(at), Key: true})
	}
	path, c := record(t, feed, began, began.Add(4*time.Second), Config{})
	if got := look(t, path); got.Streams[0].Codec != "mjpeg" || got.Streams[0].Frames != "20" || c.Frames != 20 {
		t.Errorf("%+v %+v", got, c)
	}
}

// TestADeadCameraGivesNoOldPicture asks for a span after the last frame.
func TestADeadCameraGivesNoOldPicture(t *testing.T) {
	frames := encoded(t, streams.H264, 2, "320x180", append(x264, "-bf", "0")...)
	file, err := os.Create(filepath.Join(t.TempDir(), "clip"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	_, err = Record(t.Context(), camera(frames...), began.Add(10*time.Second), began.Add(20*time.Second), file, Config{})
	if !errors.Is(err, ErrEmpty) {
		t.Errorf("got %v", err)
	}
}

// TestLiveEnds has a clip wait for what comes: until its end, until the camera is
// lost or another one, until the gateway stops, and until it is full.
func TestLiveEnds(t *testing.T) {
	frames := encoded(t, streams.H264, 6, "320x180", append(x264, "-bf", "0")...)
	tests := []struct {
		name   string
		lost   time.Duration // when the camera goes; 0: it does not
		edited time.Duration // when the feed goes over to another camera; 0: it does not
		cancel time.Duration // when the gateway stops
		most   int64
		took   time.Duration
		frames int
		broken bool
		full   bool
		gaps   int
	}{
		{"to its end", 0, 0, time.Minute, 0, 4 * time.Second, 100, false, false, 0},
		{"camera lost", time.Second, 0, time.Minute, 0, 4300 * time.Millisecond, 26, false, false, 1},
		{"gateway stops", 0, 0, 1990 * time.Millisecond, 0, 1990 * time.Millisecond, 50, true, false, 1},
		{"another camera from then on", 0, 1990 * time.Millisecond, time.Minute, 0, 1990 * time.Millisecond, 50, false, false, 1},
		{"full", 0, 0, time.Minute, headSpace + 1, 1 * time.Second, 26, false, true, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "clip.mp4")
			synctest.Test(t, func(t *testing.T) {
				file, err := os.Create(path)
				if err != nil {
					t.Fatal(err)
				}
				defer file.Close()
				feed := camera()
				ctx, cancel := context.WithTimeout(t.Context(), tt.cancel)
				defer cancel()
				start := time.Now()
				if tt.edited > 0 {
					time.AfterFunc(tt.edited, feed.Forget)
				}
				go func() {
					for i, f := range frames {
						now := *f
						now.At = time.Now()
						if at := time.Duration(i) * 40 * time.Millisecond; tt.lost > 0 && at > tt.lost {
							feed.Disconnected(nil)
							return
						}
						feed.Publish(&now)
						time.Sleep(40 * time.Millisecond)
					}
				}()
				c, err := Record(ctx, feed, start, start.Add(4*time.Second), file, Config{Most: tt.most})
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took != tt.took || c.Frames != tt.frames || c.Broken != tt.broken || c.Full != tt.full || c.Another != (tt.edited > 0) || len(c.Gaps) != tt.gaps {
					t.Errorf("took %v, %+v", took, c)
				}
				time.Sleep(10 * time.Second)
			})
			look(t, path)
		})
	}
}
