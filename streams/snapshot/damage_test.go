package snapshot_test

import (
	"bytes"
	"image"
	"image/jpeg"
	"math"
	"os/exec"
	"slices"
	"testing"
	"time"

	"offsite/streams"
	"offsite/streams/snapshot"
)

// scene is what a camera sees where all moves, so that each picture differs from its neighbours.
const scene = "testsrc2=size=320x192:rate=25"

const sceneWidth, sceneHeight = 320, 192

// scenes are codings of the scene, and which frame is hurt in them: one on which others
// depend, or one on which none does.
var scenes = []struct {
	name  string
	codec streams.Codec
	hurt  int
	args  []string
}{
	{"h264 reordered", streams.H264, 13, []string{"-c:v", "libx264", "-x264-params", "bframes=3:b-adapt=0:b-pyramid=normal:scenecut=0"}},
	{"h264 in slices, reordered", streams.H264, 15, []string{"-c:v", "libx264", "-x264-params", "bframes=2:b-adapt=0:slices=4:scenecut=0"}},
	{"h265 reordered", streams.H265, 13, []string{"-c:v", "libx265", "-x265-params", "log-level=none:bframes=3:b-adapt=0:b-pyramid=1:scenecut=0"}},
	{"h265 in slices", streams.H265, 12, []string{"-c:v", "libx265", "-x265-params", "log-level=none:bframes=0:slices=4:ctu=16"}},
}

// damages hurt frame i of a group.
var damages = []struct {
	name, lacks string
	damage      func(frames []*streams.Frame, i int) []*streams.Frame
}{
	{"lost on its way", "still_lost", func(frames []*streams.Frame, i int) []*streams.Frame {
		for _, f := range frames[i+1:] {
			f.Broken = true
		}
		return slices.Delete(frames, i, i+1)
	}},
	{"its end is missing", "still_damaged", func(frames []*streams.Frame, i int) []*streams.Frame {
		units := frames[i].NALUs
		last := len(units) - 1
		left := len(units[last]) / 2
		if frames[i].Params.Codec == streams.H265 {
			left = 6 // libavcodec does not miss the second half of a slice (measured with 5.1)
		}
		units[last] = units[last][:left]
		return frames
	}},
	{"a slice is missing", "still_damaged", func(frames []*streams.Frame, i int) []*streams.Frame {
		if len(frames[i].NALUs) < 3 {
			return nil
		}
		frames[i].NALUs = slices.Delete(frames[i].NALUs, 2, 3)
		return frames
	}},
}

// TestMomentOfADamagedGroup asks for a moment behind a damage: what comes is the last picture before
// it, as ffmpeg decodes the whole stream, and never one that was decoded from what is not whole.
func TestMomentOfADamagedGroup(t *testing.T) {
	began := time.Now().Add(-10 * time.Second)
	takers := []*snapshot.Taker{snapshot.New(patient(decoders[0].cfg)), snapshot.New(patient(decoders[1].cfg))}
	for _, coding := range scenes {
		whole := native(t, coding.codec, coding.args)
		for _, tt := range damages {
			frames := coded(t, began, coding.codec, scene, coding.args...)
			want := *frames[coding.hurt-1]
			feed := streams.NewFeed(streams.FeedConfig{Ring: time.Minute})
			feed.Connected()
			for _, f := range tt.damage(frames, coding.hurt) {
				feed.Publish(f)
			}
			if feed.Key() == nil { // there is one slice alone
				continue
			}
			for i, with := range decoders[:2] {
				t.Run(coding.name+", "+tt.name+" by "+with.name, func(t *testing.T) {
					still, err := takers[i].Moment(t.Context(), feed, began.Add(1100*time.Millisecond))
					if err != nil || !still.At.Equal(want.At) {
						t.Fatalf("picture of %v, want %v: %v", still.At.Sub(began), want.At.Sub(began), err)
					}
					if still.Lacks == nil || still.Lacks.Code != tt.lacks || still.Lacks.ZH == "" {
						t.Errorf("it lacks %v, want %s", still.Lacks, tt.lacks)
					}
					if db := likeness(t, still.JPEG, whole[want.PTS/frameTime]); db < 40 {
						t.Errorf("%.1f dB to the picture of its time", db)
					}
				})
			}
		}
	}
}

// patient is a configuration that gives a slow machine the time it needs.
func patient(cfg snapshot.Config) snapshot.Config {
	const long = 2 * time.Minute
	cfg.Patience, cfg.Limits.Time, cfg.Limits.CPU, cfg.Module.Budget, cfg.Module.Time = long, long, long, long, long
	return cfg
}

// native gives the brightness of all pictures of the scene, in the order of showing, by the
// machine's ffmpeg, full range.
func native(t *testing.T, codec streams.Codec, args []string) [][]byte {
	t.Helper()
	var data []byte
	for _, f := range coded(t, time.Time{}, codec, scene, args...) {
		data = append(data, f.AnnexB()...)
	}
	format := map[streams.Codec]string{streams.H264: "h264", streams.H265: "hevc"}[codec]
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-f", format, "-i", "pipe:0", "-vf", "scale=out_range=full,format=yuvj420p,extractplanes=y", "-f", "rawvideo", "pipe:1")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil || len(out) != 100*sceneWidth*sceneHeight {
		t.Fatalf("%d bytes: %v", len(out), err)
	}
	return slices.Collect(slices.Chunk(out, sceneWidth*sceneHeight))
}

// likeness compares the brightness of a JPEG with a picture, in dB.
func likeness(t *testing.T, picture, want []byte) float64 {
	t.Helper()
	decoded, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	img, ok := decoded.(*image.YCbCr)
	if !ok {
		t.Fatalf("picture %T", decoded)
	}
	sum := 0.0
	for y := range sceneHeight {
		for x := range sceneWidth {
			d := float64(img.Y[img.YOffset(x, y)]) - float64(want[y*sceneWidth+x])
			sum += d * d
		}
	}
	return 10 * math.Log10(255*255*sceneWidth*sceneHeight/max(sum, 1))
}
