package recording_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/streams"
	"offsite/streams/recording"
	"offsite/streams/recording/recordingtest"
)

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// film is what a camera sends: its frames in the order of decoding, and its
// pictures as they are to be seen.
type film struct {
	frames []*streams.Frame
	seen   []recordingtest.Picture
}

// shoot films a counter, 25 pictures a second, a key frame every second. A stream
// with B-frames is numbered as RTP does it, by when a picture is shown. Its first
// second is left out: only from the second key frame on the order of an H.264
// stream is known.
func shoot(t *testing.T, codec streams.Codec, encoder ...string) film {
	t.Helper()
	path := filepath.Join(t.TempDir(), "film.mp4")
	args := []string{"-f", "lavfi", "-i", "testsrc=size=160x120:rate=25:duration=7", "-pix_fmt", "yuv420p", "-g", "25"}
	recordingtest.FFmpeg(t, slices.Concat(args, encoder, []string{path})...)
	f := film{seen: recordingtest.Pictures(t, path)}
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_entries", "packet=pts", "-of", "csv=p=0", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var times []time.Duration
	info, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_entries", "stream=time_base", "-of", "csv=p=0", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	scale := number(t, strings.TrimPrefix(strings.TrimSpace(string(info)), "1/"))
	for line := range strings.Lines(string(out)) {
		times = append(times, time.Duration(number(t, strings.Trim(line, ",\n")))*time.Second/time.Duration(scale))
	}
	if codec == streams.MJPEG {
		f.frames = jpegs(t, recordingtest.FFmpeg(t, "-i", path, "-c", "copy", "-f", "mjpeg", "-"), times)
		return f.without(25)
	}
	form := map[streams.Codec]string{streams.H264: "h264", streams.H265: "hevc"}[codec]
	units := streams.CutUnits(codec, streams.SplitAnnexB(recordingtest.FFmpeg(t, "-i", path, "-c", "copy", "-f", form, "-")))
	if len(units) != len(times) {
		t.Fatalf("%d access units, %d times", len(units), len(times))
	}
	a := streams.NewAssembler(codec, nil, nil, nil)
	for i, u := range units {
		one, err := a.Frame(u, times[i], time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		f.frames = append(f.frames, one)
	}
	return f.without(25)
}

// without leaves out the first n pictures.
func (f film) without(n int) film {
	return film{f.frames[n:], relative(slices.Clone(f.seen[n:]))}
}

// jpegs cuts a stream of pictures.
func jpegs(t *testing.T, data []byte, times []time.Duration) []*streams.Frame {
	t.Helper()
	params, err := streams.NewPictureParameters(160, 120)
	if err != nil {
		t.Fatal(err)
	}
	var list []*streams.Frame
	for at := range times {
		end := bytes.Index(data, []byte{0xff, 0xd9})
		if end < 0 {
			t.Fatalf("%d pictures, %d times", len(list), len(times))
		}
		list = append(list, &streams.Frame{Params: params, NALUs: [][]byte{data[:end+2]}, PTS: times[at], DTS: times[at], Key: true})
		data = data[end+2:]
	}
	return list
}

// send publishes the film as it would come: each frame when it is to be decoded.
func (f film) send(feed *streams.Feed) {
	began := time.Now()
	for _, one := range f.frames {
		time.Sleep(time.Until(began.Add(one.DTS - f.frames[0].DTS)))
		sent := *one
		sent.At = time.Now()
		feed.Publish(&sent)
	}
	time.Sleep(every)
}

// from gives the pictures from the one at ms on, counted from it.
func (f film) from(ms, end int64) []recordingtest.Picture {
	var list []recordingtest.Picture
	for _, s := range f.seen {
		if s.MS >= ms && s.MS < end {
			list = append(list, recordingtest.Picture{MS: s.MS - ms, Hash: s.Hash})
		}
	}
	return list
}

// TestEveryCodecIsTrueToTheFrame records a film and compares every picture of
// every segment, and of clips over their borders, with the film itself: the same
// picture at the same time.
func TestEveryCodecIsTrueToTheFrame(t *testing.T) {
	needProbe(t)
	x264 := []string{"-c:v", "libx264", "-preset", "veryfast", "-sc_threshold", "0", "-tune", "fastdecode"}
	x265 := []string{"-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1"}
	tests := []struct {
		name    string
		codec   streams.Codec
		encoder []string
	}{
		{"H.264", streams.H264, append(slices.Clone(x264), "-bf", "0")},
		{"H.264 with B-frames", streams.H264, append(slices.Clone(x264), "-bf", "3", "-b_strategy", "0")},
		{"H.265", streams.H265, append(slices.Clone(x265), "-x265-params", "log-level=none:bframes=0:scenecut=0:open-gop=0:pools=1")},
		{"H.265 with B-frames", streams.H265, append(slices.Clone(x265), "-x265-params", "log-level=none:bframes=3:b-adapt=0:scenecut=0:open-gop=0:pools=1")},
		{"H.265 with open groups", streams.H265, append(slices.Clone(x265), "-x265-params", "log-level=none:bframes=3:b-adapt=0:scenecut=0:open-gop=1:pools=1")},
		{"MJPEG", streams.MJPEG, []string{"-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p", "-huffman", "default"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := shoot(t, tt.codec, tt.encoder...)
			dir, zero := t.TempDir(), time.Time{}
			a := archive(t, dir, recording.Config{Segment: 2 * time.Second})
			synctest.Test(t, func(t *testing.T) {
				zero = time.Now()
				feed := streams.NewFeed(streams.FeedConfig{})
				feed.Connected()
				record(t, a, feed, func() { f.send(feed) })
			})
			if diff := cmp.Diff([][2]int64{{0, 2000}, {2000, 4000}, {4000, 6000}}, spans(all(t, a), zero)); diff != "" {
				t.Fatal(diff)
			}
			for i, path := range files(t, dir) {
				compare(t, "segment "+strconv.Itoa(i), f.from(int64(i)*2000, int64(i+1)*2000), relative(recordingtest.Pictures(t, path)))
			}
			for _, c := range []struct {
				name           string
				from, to       int64 // ms that are asked for
				begin, decoded int64 // ms that are given
			}{
				{"over both borders", 1040, 5000, 1000, 5000},
				{"to the end", 4500, 60000, 4000, 6000},
			} {
				if tt.codec == streams.MJPEG { // a key frame every 40 ms
					c.begin = c.from - c.from%40
				}
				clip, err := a.Clip("cam-1", zero.Add(time.Duration(c.from)*time.Millisecond), zero.Add(time.Duration(c.to)*time.Millisecond))
				if err != nil {
					t.Fatal(err)
				}
				if begin := clip.From.Sub(zero).Milliseconds(); begin != c.begin {
					t.Errorf("%s: begins at %d ms, want %d", c.name, begin, c.begin)
				}
				path := save(t, clip)
				if got := length(t, path); got != c.decoded-c.begin {
					t.Errorf("%s: plays %d ms, want %d", c.name, got, c.decoded-c.begin)
				}
				compare(t, c.name, f.from(c.begin, c.decoded), recordingtest.Pictures(t, path))
			}
		})
	}
}

// length is how long a file says that it plays, ms.
func length(t *testing.T, path string) int64 {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(seconds*1000 + 0.5)
}

// relative counts the times from the first picture's.
func relative(list []recordingtest.Picture) []recordingtest.Picture {
	for i := len(list) - 1; i >= 0; i-- {
		list[i].MS -= list[0].MS
	}
	return list
}

func compare(t *testing.T, what string, want, got []recordingtest.Picture) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff[:min(len(diff), 600)])
	}
}
