package snapshot_test

import (
	"bytes"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/snapshot"
)

// blinking gives four seconds of 25 pictures a second, one key frame at the
// beginning only; picture i is a grey of brightness 40+2i.
func blinking(t *testing.T, began time.Time, args ...string) []*streams.Frame {
	t.Helper()
	needFFmpeg(t)
	path := filepath.Join(t.TempDir(), "grey.h264")
	all := append([]string{"-v", "error", "-f", "lavfi", "-i", "color=black:size=160x96:rate=25,geq=lum='40+2*N':cb=128:cr=128", "-t", "4", "-g", "500", "-c:v", "libx264", "-preset", "ultrafast", "-qp", "4"}, args...)
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", append(all, path)...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	frames := decodeClip(t, streams.H264, data)
	for i, f := range frames {
		f.PTS, f.DTS, f.At = time.Duration(i)*40*time.Millisecond, time.Duration(i)*40*time.Millisecond, began.Add(time.Duration(i)*40*time.Millisecond)
	}
	return frames
}

// TestMoment asks for pictures of moments between two key frames that are far
// from each other.
func TestMoment(t *testing.T) {
	began := time.Now().Add(-10 * time.Second)
	frames := blinking(t, began, "-bf", "0")
	feed := streams.NewFeed(streams.FeedConfig{Ring: time.Minute})
	feed.Connected()
	for _, f := range frames {
		feed.Publish(f)
	}
	tests := []struct {
		name    string
		decoder string
		at      time.Duration // since began
		want    time.Duration // of the picture; -1: none
		step    string
	}{
		{"the key frame itself", snapshot.Auto, 0, 0, snapshot.StepFFmpeg},
		{"near the key frame", snapshot.Auto, 130 * time.Millisecond, 0, snapshot.StepFFmpeg},
		{"far from it", snapshot.Auto, 2010 * time.Millisecond, 2 * time.Second, snapshot.StepFFmpeg},
		{"the last one", snapshot.Auto, 3990 * time.Millisecond, 3960 * time.Millisecond, snapshot.StepFFmpeg},
		{"a second after the last one", snapshot.Auto, 5 * time.Second, 3960 * time.Millisecond, snapshot.StepFFmpeg},
		{"long after the last one", snapshot.Auto, 8 * time.Second, -1, ""},
		{"before the first one", snapshot.Auto, -3 * time.Second, -1, ""},
		{"without ffmpeg", snapshot.Sandbox, 2010 * time.Millisecond, 0, snapshot.StepSandbox},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			taker := snapshot.New(snapshot.Config{Decoder: tt.decoder, Module: module})
			still, err := taker.Moment(t.Context(), feed, began.Add(tt.at))
			if tt.want < 0 {
				if p := devices.AllProblems(err); len(p) != 1 || p[0].Code != snapshot.CodeMissed {
					t.Errorf("%v, %v", still.At, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := still.At.Sub(began); got != tt.want || still.Step != tt.step {
				t.Errorf("picture of %v by %s", got, still.Step)
			}
			img, err := jpeg.Decode(bytes.NewReader(still.JPEG))
			if err != nil {
				t.Fatal(err)
			}
			want := (40 + 2*int(tt.want/(40*time.Millisecond)) - 16) * 255 / 219 // limited to full range
			if r, _, _, _ := img.At(80, 48).RGBA(); abs(int(r>>8)-want) > 4 {
				t.Errorf("brightness %d, want %d", r>>8, want)
			}
		})
	}
}

func abs(n int) int { return max(n, -n) }

// TestMomentAfterTheCameraHasGone takes no old picture, however near.
func TestMomentAfterTheCameraHasGone(t *testing.T) {
	began := time.Now().Add(-10 * time.Second)
	feed := streams.NewFeed(streams.FeedConfig{Ring: time.Minute})
	feed.Connected()
	for _, f := range blinking(t, began, "-bf", "0") {
		feed.Publish(f)
	}
	feed.Disconnected(nil)
	taker := snapshot.New(snapshot.Config{Module: module})
	if still, err := taker.Moment(t.Context(), feed, began.Add(4*time.Second)); err == nil {
		t.Errorf("picture of %v", still.At.Sub(began))
	}
	if still, err := taker.Moment(t.Context(), feed, began.Add(3*time.Second)); err != nil || !still.At.Equal(began.Add(3*time.Second)) {
		t.Errorf("picture of %v: %v", still.At.Sub(began), err)
	}
}

// TestMomentOfADamagedGroup takes the key frame where what follows is not whole:
// a decoder that conceals what is missing makes pictures that never were.
func TestMomentOfADamagedGroup(t *testing.T) {
	began := time.Now().Add(-10 * time.Second)
	tests := []struct {
		name   string
		damage func(frames []*streams.Frame) []*streams.Frame
	}{
		{"a frame is missing", func(frames []*streams.Frame) []*streams.Frame { return slices.Delete(frames, 20, 21) }},
		{"the end of a frame is missing", func(frames []*streams.Frame) []*streams.Frame {
			u := frames[20].NALUs[0]
			frames[20].NALUs = [][]byte{u[:len(u)/2]}
			return frames
		}},
		{"a frame is noise", func(frames []*streams.Frame) []*streams.Frame {
			frames[20].NALUs = [][]byte{append(slices.Clone(frames[20].NALUs[0][:8]), bytes.Repeat([]byte{0x9b, 0x3c}, 100)...)}
			return frames
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			feed := streams.NewFeed(streams.FeedConfig{Ring: time.Minute})
			feed.Connected()
			for _, f := range tt.damage(blinking(t, began, "-bf", "0")) {
				feed.Publish(f)
			}
			still, err := snapshot.New(snapshot.Config{Module: module}).Moment(t.Context(), feed, began.Add(2*time.Second))
			if err != nil || !still.At.Equal(began) {
				t.Errorf("picture of %v: %v", still.At.Sub(began), err)
			}
		})
	}
}

// TestDistanceOfMoments asks a healthy camera with a key frame every two seconds for
// 40 moments. Whoever decodes whole groups is near them all; the embedded decoder,
// which decodes key frames alone, is at most half a group away.
func TestDistanceOfMoments(t *testing.T) {
	began := time.Now().Add(-12 * time.Second)
	feed := streams.NewFeed(streams.FeedConfig{Ring: time.Minute})
	feed.Connected()
	for _, f := range blinking(t, began, "-t", "10", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-bf", "0") {
		feed.Publish(f)
	}
	for _, tt := range []struct {
		decoder   string
		p95, most time.Duration
	}{
		{snapshot.Auto, 200 * time.Millisecond, 200 * time.Millisecond},
		{snapshot.Sandbox, 1020 * time.Millisecond, 1020 * time.Millisecond},
	} {
		t.Run(tt.decoder, func(t *testing.T) {
			taker := snapshot.New(snapshot.Config{Decoder: tt.decoder, Module: module})
			var away []time.Duration
			for i := range 40 {
				at := began.Add(300*time.Millisecond + time.Duration(i)*187*time.Millisecond)
				still, err := taker.Moment(t.Context(), feed, at)
				if err != nil {
					t.Fatal(err)
				}
				away = append(away, still.At.Sub(at).Abs())
			}
			slices.Sort(away)
			t.Logf("p50 %v, p95 %v, most %v", away[20], away[37], away[39])
			if away[37] > tt.p95 || away[39] > tt.most {
				t.Errorf("p95 %v, most %v", away[37], away[39])
			}
		})
	}
}
