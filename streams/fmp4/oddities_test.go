package fmp4_test

import (
	"bytes"
	"image"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/streams"
	"offsite/streams/fmp4"
)

// encoded makes a second of video of 25 pictures with ffmpeg's arguments, and
// gives each picture's place in the order of showing.
func encoded(t *testing.T, codec streams.Codec, args ...string) (data []byte, shown []int) {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	dir := t.TempDir()
	run := func(args ...string) {
		args = append([]string{"-nostdin", "-v", "error"}, args...)
		if said, err := exec.CommandContext(t.Context(), "ffmpeg", args...).CombinedOutput(); err != nil {
			t.Skipf("ffmpeg cannot: %s", said)
		}
	}
	mp4, raw := filepath.Join(dir, "clip.mp4"), filepath.Join(dir, "clip")
	run(append(append([]string{"-f", "lavfi", "-i", "testsrc2=size=320x192:rate=25:duration=1", "-threads", "1"}, args...), mp4)...)
	format := map[streams.Codec]string{streams.H264: "h264", streams.H265: "hevc"}[codec]
	run("-i", mp4, "-c", "copy", "-bsf:v", format+"_mp4toannexb", "-f", format, raw)
	data, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	times := probeTimes(t, mp4, "pts_time")
	for _, at := range times {
		shown = append(shown, int((at-slices.Min(times))*25+0.5))
	}
	return data, shown
}

func TestOutputOfOddStreamsPassesFFprobe(t *testing.T) {
	x264 := []string{"-c:v", "libx264", "-preset", "ultrafast", "-g", "10"}
	x265 := []string{"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=10"}
	tests := []struct {
		name  string
		codec streams.Codec
		args  []string
	}{
		{"h264", streams.H264, append(x264, "-bf", "0")},
		{"h264 with B-frames", streams.H264, append(x264, "-bf", "3", "-profile:v", "main", "-pix_fmt", "yuv420p")},
		{"h264, four slices", streams.H264, append(x264, "-bf", "0", "-slices", "4")},
		{"h264 with delimiters", streams.H264, append(x264, "-bf", "0", "-x264-params", "aud=1")},
		{"h264, all key frames", streams.H264, append(x264, "-g", "1")},
		{"h264, interlaced", streams.H264, append(x264, "-bf", "0", "-flags", "+ildct+ilme")},
		{"h264, 4:4:4", streams.H264, append(x264, "-bf", "0", "-pix_fmt", "yuv444p")},
		{"h264, intra refresh", streams.H264, append(x264, "-bf", "0", "-x264-params", "intra-refresh=1")},
		{"h265", streams.H265, append(x265, "-bf", "0")},
		{"h265 with B-frames", streams.H265, append(x265, "-bf", "4")},
		{"h265, 10 bit", streams.H265, append(x265, "-bf", "0", "-pix_fmt", "yuv420p10le")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			data, shown := encoded(t, tt.codec, tt.args...)
			clip := frames(t, tt.codec, data, shown)
			feed := streams.NewFeed(streams.FeedConfig{})
			feed.Connected()
			m := fmp4.New(feed, fmp4.Config{})
			var got []message
			for _, f := range clip {
				feed.Publish(f)
				b, err := m.Fragment(f)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, message{data: b})
			}
			head, err := m.Init(clip[0])
			if err != nil {
				t.Fatal(err)
			}
			path := checkMP4(t, append([]message{{data: head}}, got...), len(clip))
			times := probeTimes(t, path, "dts_time")
			for i := 1; i < len(times); i++ {
				if times[i] <= times[i-1] {
					t.Errorf("decoding time goes back: %v", times)
					break
				}
			}
		})
	}
}

func TestPicturesAreSentAsTheyAre(t *testing.T) {
	var picture bytes.Buffer
	if err := jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 64, 48)), nil); err != nil {
		t.Fatal(err)
	}
	params, err := streams.NewPictureParameters(64, 48)
	if err != nil {
		t.Fatal(err)
	}
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	feed.Publish(&streams.Frame{Params: params, NALUs: [][]byte{picture.Bytes()}, At: time.Now(), Key: true})
	conn, _ := watch(t, fmp4.New(feed, fmp4.Config{}))
	got := read(t, conn, 2)
	want := []message{{text: `{"mode":"mjpeg","width":64,"height":48}`}, {data: picture.Bytes()}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(message{})); diff != "" {
		t.Error(diff)
	}
}

func TestLagIsTold(t *testing.T) {
	clip := frames(t, streams.H264, load(t, "../rtsp/testdata/small.h264"), nil)[:5]
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	publish(feed, clip)
	conn, _ := watch(t, fmp4.New(feed, fmp4.Config{}))
	read(t, conn, 7)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for range 10 {
		<-tick.C
		publish(feed, clip[:1])
		if got := readAll(t, conn, 1)[0]; strings.HasPrefix(got.text, `{"mode":"lag","ms":`) {
			return
		}
	}
	t.Error("not told in 3 s")
}
