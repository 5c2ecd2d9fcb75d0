package snapshot_test

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/snapshot"
)

// codings are ways in which a camera sends its pictures.
var codings = []struct {
	name  string
	codec streams.Codec
	args  []string
}{
	{"h264", streams.H264, []string{"-c:v", "libx264", "-bf", "0"}},
	{"h264 reordered", streams.H264, []string{"-c:v", "libx264", "-x264-params", "bframes=3:b-adapt=0:b-pyramid=normal"}},
	{"h265", streams.H265, []string{"-c:v", "libx265", "-x265-params", "log-level=none:bframes=0"}},
	{"h265 reordered", streams.H265, []string{"-c:v", "libx265", "-x265-params", "log-level=none:bframes=3:b-adapt=0"}},
	{"h265 in open groups", streams.H265, []string{"-c:v", "libx265", "-x265-params", "log-level=none:bframes=3:b-adapt=0:keyint=60:min-keyint=60:scenecut=0:open-gop=1"}},
}

// blinking gives four seconds of 25 pictures a second, one key frame at the
// beginning only; what is shown as number n is a grey of brightness 24+2n. Frames
// arrive in the order of decoding, every 40 ms from began on.
func blinking(t *testing.T, began time.Time, codec streams.Codec, args ...string) []*streams.Frame {
	t.Helper()
	return coded(t, began, codec, "color=black:size=160x96:rate=25,geq=lum='24+2*N':cb=128:cr=128", append(args, "-qp", "4")...)
}

// coded gives four seconds of a source of ffmpeg's as blinking does.
func coded(t *testing.T, began time.Time, codec streams.Codec, source string, args ...string) []*streams.Frame {
	t.Helper()
	needFFmpeg(t)
	made, err := encoded(string(codec), source, strings.Join(args, " "))
	if err != nil {
		t.Skip(err)
	}
	frames := decodeClip(t, codec, made.data)
	n := 0
	for line := range strings.Lines(made.times) {
		var dts, pts, duration time.Duration
		if got, _ := fmt.Sscanf(strings.ReplaceAll(line, ",", " "), "0 %d %d %d", &dts, &pts, &duration); got < 3 {
			continue
		}
		f := frames[n]
		f.PTS, f.DTS, f.At = pts*frameTime/duration, dts*frameTime/duration, began.Add(time.Duration(n)*frameTime)
		n++
	}
	if n != len(frames) {
		t.Fatalf("%d times of %d frames", n, len(frames))
	}
	return frames
}

// recorded is a clip and ffmpeg's list of its times.
type recorded struct {
	data  []byte
	times string
}

var (
	recordings = map[string]recorded{} // encoding takes seconds
	recording  sync.Mutex
)

func encoded(codec, source, args string) (recorded, error) {
	recording.Lock()
	defer recording.Unlock()
	key := codec + source + args
	if r, ok := recordings[key]; ok {
		return r, nil
	}
	dir, err := os.MkdirTemp("", "offsite-")
	if err != nil {
		return recorded{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "clip.mp4")
	all := []string{"-f", "lavfi", "-i", source, "-t", "4", "-g", "500", "-preset", "ultrafast"}
	container := map[string]string{"h264": "h264", "h265": "hevc"}[codec]
	var out [3][]byte
	for i, args := range [][]string{
		append(append(all, strings.Fields(args)...), path),
		{"-i", path, "-c", "copy", "-f", container, "pipe:1"},
		{"-i", path, "-c", "copy", "-f", "framecrc", "pipe:1"},
	} {
		if out[i], err = exec.Command("ffmpeg", append([]string{"-nostdin", "-v", "error"}, args...)...).Output(); err != nil { //nolint:noctx // for all tests
			return recorded{}, fmt.Errorf("ffmpeg cannot make this: %w", err)
		}
	}
	recordings[key] = recorded{out[1], string(out[2])}
	return recordings[key], nil
}

const frameTime = 40 * time.Millisecond

// grey checks that the picture is the one of its time.
func grey(t *testing.T, picture []byte, pts time.Duration) {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	want := (24 + 2*int(pts/frameTime) - 16) * 255 / 219 // limited to full range
	if r, _, _, _ := img.At(80, 48).RGBA(); abs(int(r>>8)-want) > 2 {
		t.Errorf("brightness %d, want %d", r>>8, want)
	}
}

// TestMoment asks for pictures of moments between two key frames that are far
// from each other.
func TestMoment(t *testing.T) {
	began := time.Now().Add(-10 * time.Second)
	frames := blinking(t, began, codings[0].codec, codings[0].args...)
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
		{"without ffmpeg, near the key frame", snapshot.Sandbox, 130 * time.Millisecond, 0, snapshot.StepSandbox},
		{"without ffmpeg, far from it", snapshot.Sandbox, 2010 * time.Millisecond, 2 * time.Second, snapshot.StepSandbox},
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
			grey(t, still.JPEG, tt.want)
		})
	}
}

// TestMomentInEveryCoding wants the picture whose time it is, which with pictures
// that are shown in another order than they are sent in is not the last one out.
func TestMomentInEveryCoding(t *testing.T) {
	began := time.Now().Add(-10 * time.Second)
	takers := []*snapshot.Taker{snapshot.New(decoders[0].cfg), snapshot.New(decoders[1].cfg)} // the module is loaded once
	for _, tt := range codings {
		frames := blinking(t, began, tt.codec, tt.args...)
		feed := streams.NewFeed(streams.FeedConfig{Ring: time.Minute})
		feed.Connected()
		for _, f := range frames {
			feed.Publish(f)
		}
		for i, with := range decoders[:2] {
			t.Run(tt.name+" by "+with.name, func(t *testing.T) {
				taker := takers[i]
				for _, i := range []int{11, 12, 75, 99} {
					still, err := taker.Moment(t.Context(), feed, frames[i].At)
					if err != nil || !still.At.Equal(frames[i].At) || still.Step != with.step {
						t.Fatalf("frame %d: picture of %v by %s: %v", i, still.At.Sub(began), still.Step, err)
					}
					grey(t, still.JPEG, frames[i].PTS)
				}
			})
		}
	}
}

// TestMomentWithinTheBudget takes what could be decoded in time, and tells its time.
func TestMomentWithinTheBudget(t *testing.T) {
	began := time.Now().Add(-10 * time.Second)
	frames := blinking(t, began, codings[0].codec, codings[0].args...)
	later := *frames[0] // a key frame, 1.5 s after the moment
	later.At, later.PTS, later.DTS = began.Add(4500*time.Millisecond), 4500*time.Millisecond, 4500*time.Millisecond
	tests := []struct {
		name   string
		budget time.Duration
		patch  []*streams.Frame
		most   time.Duration // from the moment
	}{
		{"enough", 0, nil, 20 * time.Millisecond},
		{"the key frame alone", 1, nil, 3 * time.Second},
		{"a later key frame is nearer", 1, []*streams.Frame{&later}, 1500 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			feed := streams.NewFeed(streams.FeedConfig{Ring: time.Minute})
			feed.Connected()
			for _, f := range slices.Concat(frames, tt.patch) {
				feed.Publish(f)
			}
			bounded := module
			bounded.Budget = tt.budget
			at := began.Add(3 * time.Second)
			still, err := snapshot.New(snapshot.Config{Decoder: snapshot.Sandbox, Module: bounded}).Moment(t.Context(), feed, at)
			if err != nil {
				t.Fatal(err)
			}
			if far := still.At.Sub(at).Abs(); far > tt.most || (tt.budget > 0 && far != tt.most) {
				t.Errorf("picture of %v", still.At.Sub(began))
			}
			i := slices.IndexFunc(frames, func(f *streams.Frame) bool { return f.At.Equal(still.At) })
			grey(t, still.JPEG, frames[max(i, 0)].PTS)
		})
	}
}

func abs(n int) int { return max(n, -n) }

// TestMomentAfterTheCameraHasGone takes no old picture, however near.
func TestMomentAfterTheCameraHasGone(t *testing.T) {
	began := time.Now().Add(-10 * time.Second)
	feed := streams.NewFeed(streams.FeedConfig{Ring: time.Minute})
	feed.Connected()
	for _, f := range blinking(t, began, codings[0].codec, codings[0].args...) {
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

// TestMomentBehindWhatNobodyMarked finds a lost frame by the times alone, and noise by the decoder.
func TestMomentBehindWhatNobodyMarked(t *testing.T) {
	began := time.Now().Add(-10 * time.Second)
	tests := []struct {
		name, lacks string
		damage      func(frames []*streams.Frame) []*streams.Frame
	}{
		{"a frame is missing", "still_lost", func(frames []*streams.Frame) []*streams.Frame { return slices.Delete(frames, 20, 21) }},
		{"a frame is noise", "still_damaged", func(frames []*streams.Frame) []*streams.Frame {
			frames[20].NALUs = [][]byte{append(slices.Clone(frames[20].NALUs[0][:8]), bytes.Repeat([]byte{0x9b, 0x3c}, 100)...)}
			return frames
		}},
	}
	takers := []*snapshot.Taker{snapshot.New(patient(decoders[0].cfg)), snapshot.New(patient(decoders[1].cfg))}
	for _, coding := range []int{0, 2} {
		for _, tt := range tests {
			feed := streams.NewFeed(streams.FeedConfig{Ring: time.Minute})
			feed.Connected()
			for _, f := range tt.damage(blinking(t, began, codings[coding].codec, codings[coding].args...)) {
				feed.Publish(f)
			}
			for i, with := range decoders[:2] {
				t.Run(codings[coding].name+", "+tt.name+" by "+with.name, func(t *testing.T) {
					still, err := takers[i].Moment(t.Context(), feed, began.Add(1200*time.Millisecond))
					if err != nil || !still.At.Equal(began.Add(19*frameTime)) {
						t.Fatalf("picture of %v: %v", still.At.Sub(began), err)
					}
					if still.Lacks == nil || still.Lacks.Code != tt.lacks {
						t.Errorf("it lacks %v, want %s", still.Lacks, tt.lacks)
					}
					grey(t, still.JPEG, 19*frameTime)
				})
			}
		}
	}
}

// TestMomentTakesTheNearestWholePicture, which behind a damage may be the next key frame, and before
// any damage is the one of the moment.
func TestMomentTakesTheNearestWholePicture(t *testing.T) {
	began := time.Now().Add(-10 * time.Second)
	frames := blinking(t, began, streams.H264, "-c:v", "libx264", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-bf", "0")
	for _, f := range frames[20:50] {
		f.Broken = true
	}
	tests := []struct {
		name     string
		at, want int // frames
		lacks    string
	}{
		{"before the damage", 15, 15, ""},
		{"the last one before it", 19, 19, ""},
		{"just behind it", 22, 19, ""}, // as near as the nearest key frame would have to be
		{"nearer to it than to the next key frame", 30, 19, "still_lost"},
		{"nearer to the next key frame", 40, 50, "still_lost"},
		{"in the next group", 60, 60, ""},
	}
	taker := snapshot.New(patient(decoders[1].cfg))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			feed := streams.NewFeed(streams.FeedConfig{Ring: time.Minute})
			feed.Connected()
			for _, f := range frames {
				feed.Publish(f)
			}
			still, err := taker.Moment(t.Context(), feed, frames[tt.at].At)
			if err != nil || !still.At.Equal(frames[tt.want].At) {
				t.Fatalf("picture of %v: %v", still.At.Sub(began), err)
			}
			lacks := ""
			if still.Lacks != nil {
				lacks = still.Lacks.Code
			}
			if lacks != tt.lacks {
				t.Errorf("it lacks %q, want %q", lacks, tt.lacks)
			}
			grey(t, still.JPEG, frames[tt.want].PTS)
		})
	}
}

// TestDistanceOfMoments asks a healthy camera with a key frame every two seconds for
// moments, with a key frame as near as 200 ms or without.
func TestDistanceOfMoments(t *testing.T) {
	began := time.Now().Add(-12 * time.Second)
	feed := streams.NewFeed(streams.FeedConfig{Ring: time.Minute})
	feed.Connected()
	for _, f := range blinking(t, began, streams.H264, "-c:v", "libx264", "-t", "10", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-bf", "0") {
		feed.Publish(f)
	}
	const moments, most = 20, 200 * time.Millisecond // where a key frame is near enough
	for _, with := range decoders[:2] {
		t.Run(with.name, func(t *testing.T) {
			taker := snapshot.New(with.cfg)
			var away []time.Duration
			for i := range moments {
				at := began.Add(300*time.Millisecond + time.Duration(i)*374*time.Millisecond)
				still, err := taker.Moment(t.Context(), feed, at)
				if err != nil || still.Step != with.step {
					t.Fatalf("step %q: %v", still.Step, err)
				}
				away = append(away, still.At.Sub(at).Abs())
			}
			slices.Sort(away)
			t.Logf("p50 %v, p95 %v, most %v", away[moments/2], away[moments*95/100], away[moments-1])
			if away[moments-1] > most {
				t.Errorf("p95 %v, most %v", away[moments*95/100], away[moments-1])
			}
		})
	}
}
