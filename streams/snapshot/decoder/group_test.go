package decoder_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"iter"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"offsite/streams"
	"offsite/streams/snapshot/decoder"
)

const frameTime = 40 * time.Millisecond

// picture is one access unit of a group.
type picture struct {
	time time.Duration
	unit []byte
}

func seq(group []picture) iter.Seq2[time.Duration, []byte] {
	return func(yield func(time.Duration, []byte) bool) {
		for _, p := range group {
			if !yield(p.time, p.unit) {
				return
			}
		}
	}
}

// brightening gives a group of 50 pictures in the order of decoding; the one that
// is shown as number n is a grey of brightness 40+4n, see bright.
func brightening(t testing.TB, codec streams.Codec, size string, args ...string) []picture {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	encoder, container := "libx264", "h264"
	if codec == streams.H265 {
		encoder, container = "libx265", "hevc"
	}
	path := filepath.Join(t.TempDir(), "group.mp4")
	ffmpeg(t, append([]string{
		"-f", "lavfi", "-i", "color=black:size=" + size + ":rate=25,geq=lum='40+4*N':cb=128:cr=128", "-frames:v", "50",
		"-c:v", encoder, "-preset", "ultrafast", "-qp", "4",
	}, append(args, path)...)...)
	frames := streams.CutUnits(codec, streams.SplitAnnexB(ffmpeg(t, "-i", path, "-c", "copy", "-f", container, "pipe:1")))
	var group []picture
	assembler := streams.NewAssembler(codec, nil, nil, nil)
	for line := range strings.Lines(string(ffmpeg(t, "-i", path, "-c", "copy", "-f", "framecrc", "pipe:1"))) {
		var dts, pts, duration int64
		if n, _ := fmt.Sscanf(strings.ReplaceAll(line, ",", " "), "0 %d %d %d", &dts, &pts, &duration); n < 3 {
			continue
		}
		f, err := assembler.Frame(frames[len(group)], 0, time.Now())
		if err != nil || f == nil {
			t.Fatalf("frame %v: %v", f, err)
		}
		group = append(group, picture{time.Duration(pts) * frameTime / time.Duration(duration), f.AnnexB()})
	}
	if len(group) != 50 || len(frames) != 50 {
		t.Fatalf("%d times, %d units", len(group), len(frames))
	}
	return group
}

func ffmpeg(t testing.TB, args ...string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-nostdin", "-v", "error"}, args...)...).Output()
	if err != nil {
		t.Skip("ffmpeg cannot make this: ", err)
	}
	return out
}

// bright is the brightness, in full range, of what is shown at a time.
func bright(at time.Duration) int { return (40 + 4*int(at/frameTime) - 16) * 255 / 219 }

// shows checks that the picture is the one of its time, everywhere.
func shows(t *testing.T, img image.Image, at time.Duration) {
	t.Helper()
	p, ok := img.(*image.YCbCr)
	if !ok {
		t.Fatalf("picture %T", img)
	}
	for _, y := range p.Y {
		if d := int(y) - bright(at); d < -2 || d > 2 {
			t.Fatalf("brightness %d in the picture of %v, want %d", y, at, bright(at))
		}
	}
}

var groups = []struct {
	name  string
	codec streams.Codec
	args  []string
}{
	{"h264", streams.H264, []string{"-bf", "0"}},
	{"h264 reordered", streams.H264, []string{"-x264-params", "bframes=3:b-adapt=0:b-pyramid=normal:scenecut=0"}},
	{"h264 in fields", streams.H264, []string{"-bf", "2", "-x264-params", "tff=1:b-adapt=0"}},
	{"h265", streams.H265, []string{"-x265-params", "log-level=none:bframes=0"}},
	{"h265 reordered", streams.H265, []string{"-x265-params", "log-level=none:bframes=3:b-adapt=0:b-pyramid=1:scenecut=0"}},
}

func TestPictureOfAGroup(t *testing.T) {
	for _, tt := range groups {
		t.Run(tt.name, func(t *testing.T) {
			group := brightening(t, tt.codec, "160x96", tt.args...)
			d, reordered := shared(t), false
			for _, last := range []int{0, 1, 2, 3, 4, 5, 24, 47, 48, 49} {
				wanted := group[last].time
				reordered = reordered || wanted != time.Duration(last)*frameTime
				img, at, err := d.Decode(t.Context(), tt.codec, seq(group[:last+1]), wanted)
				if err != nil || at != wanted {
					t.Fatalf("picture of %v, want %v: %v", at, wanted, err)
				}
				shows(t, img, at)
			}
			if reordered != (tt.name != "h264" && tt.name != "h265") {
				t.Errorf("reordered: %v", reordered)
			}
		})
	}
}

// What moves is decoded from many pictures before: the last of a group differs from that of
// native libavcodec by no more than a key frame does.
func TestLastPictureOfAGroupIsThatOfNativeFFmpeg(t *testing.T) {
	for _, codec := range []streams.Codec{streams.H264, streams.H265} {
		t.Run(string(codec), func(t *testing.T) {
			group := moving(t, codec, "640x360", "400k")
			var data []byte
			for _, p := range group {
				data = append(data, p.unit...)
			}
			img, _, err := shared(t).Decode(t.Context(), codec, seq(group), group[len(group)-1].time)
			if err != nil {
				t.Fatal(err)
			}
			p, ok := img.(*image.YCbCr)
			if !ok {
				t.Fatalf("picture %T", img)
			}
			all := native(t, codec, data, "yuvj420p")
			want := all[len(all)-640*360*3/2:]
			if db := noise(slices.Concat(p.Y, p.Cb, p.Cr), want); db < 45 {
				t.Errorf("%.1f dB against native ffmpeg", db)
			} else {
				t.Logf("%.1f dB", db)
			}
		})
	}
}

// A picture that cannot be decoded, or is missing, ends in its reason: what was decoded
// from it would be another picture than the camera's.
func TestDamagedPictureInAGroup(t *testing.T) {
	const hurt = 20 // in the reordered groups one on which no other depends
	damages := []struct {
		name   string
		damage func(group []picture) []picture
	}{
		{"missing", func(g []picture) []picture { return append(g[:hurt:hurt], g[hurt+1:]...) }},
		{"cut", func(g []picture) []picture { g[hurt].unit = g[hurt].unit[:len(g[hurt].unit)/2]; return g }},
		{"noise", func(g []picture) []picture {
			g[hurt].unit = append(bytes.Clone(g[hurt].unit[:12]), bytes.Repeat([]byte{0x9b, 0x3c}, 100)...)
			return g
		}},
		{"empty", func(g []picture) []picture { g[hurt].unit = nil; return g }},
		{"another group's", func(g []picture) []picture { g[hurt].unit = g[hurt+9].unit; return g }},
	}
	for _, tt := range groups {
		whole := brightening(t, tt.codec, "160x96", tt.args...)
		for _, d := range damages {
			t.Run(tt.name+" "+d.name, func(t *testing.T) {
				group := d.damage(append([]picture(nil), whole...))
				img, at, err := shared(t).Decode(t.Context(), tt.codec, seq(group), group[len(group)-1].time)
				switch {
				case err == nil && strings.Contains(tt.name, "reordered"): // nothing depended on it
					shows(t, img, at)
				case err == nil:
					t.Errorf("picture of %v", at)
				case !errors.Is(err, decoder.ErrDamaged) || !strings.Contains(err.Error(), "access unit "):
					t.Error(err)
				}
			})
		}
	}
}

// A slice that never came leaves, in the memory of a picture, what was there before.
func TestMissingSliceInAGroup(t *testing.T) {
	tests := []struct {
		name  string
		codec streams.Codec
		args  []string
	}{
		{"h264", streams.H264, []string{"-bf", "0", "-x264-params", "slices=4"}},
		{"h265", streams.H265, []string{"-x265-params", "log-level=none:bframes=0:slices=4:ctu=16"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			group := brightening(t, tt.codec, "640x384", tt.args...)[:30]
			parts := streams.SplitAnnexB(group[20].unit)
			if len(parts) < 4 {
				t.Skipf("the encoder made %d units", len(parts))
			}
			for _, missing := range []int{1, len(parts) - 1} {
				group[20].unit = nil
				for i, s := range parts {
					if i != missing {
						group[20].unit = append(append(group[20].unit, 0, 0, 0, 1), s...)
					}
				}
				for _, last := range []int{20, 23} {
					_, at, err := shared(t).Decode(t.Context(), tt.codec, seq(group[:last+1]), group[last].time)
					if !errors.Is(err, decoder.ErrDamaged) {
						t.Errorf("slice %d missing: picture of %v: %v", missing, at, err)
					}
				}
			}
		})
	}
}

// endless repeats the group for ever; each time begins with its key frame.
func endless(group []picture) iter.Seq2[time.Duration, []byte] {
	return func(yield func(time.Duration, []byte) bool) {
		for round := time.Duration(0); ; round++ {
			for _, p := range group {
				if !yield(round*50*frameTime+p.time, p.unit) {
					return
				}
			}
		}
	}
}

func TestBudgetEndsAGroup(t *testing.T) {
	const never = 1 << 60
	for _, budget := range []time.Duration{1, 400 * time.Millisecond} {
		d := open(t, decoder.Config{Budget: budget, Time: time.Minute})
		for _, tt := range groups {
			t.Run(tt.name+" "+budget.String(), func(t *testing.T) {
				began := time.Now()
				img, at, err := d.Decode(t.Context(), tt.codec, endless(brightening(t, tt.codec, "160x96", tt.args...)), never)
				if err != nil || (budget == 1) != (at == 0) {
					t.Fatalf("picture of %v: %v", at, err)
				}
				shows(t, img, at%(50*frameTime))
				t.Logf("picture of %v, after %v", at, time.Since(began))
			})
		}
	}
}

func BenchmarkGroup(b *testing.B) {
	for _, codec := range []streams.Codec{streams.H264, streams.H265} {
		b.Run(string(codec), func(b *testing.B) {
			group := moving(b, codec, "1920x1080", "2M")
			for b.Loop() {
				if _, _, err := shared(b).Decode(b.Context(), codec, seq(group), group[len(group)-1].time); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// moving gives two seconds of 25 pictures a second.
func moving(t testing.TB, codec streams.Codec, size, rate string) []picture {
	t.Helper()
	encoder, container, args := "libx264", "h264", []string{"-bf", "0"}
	if codec == streams.H265 {
		encoder, container, args = "libx265", "hevc", []string{"-x265-params", "log-level=none:bframes=0"}
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	data := ffmpeg(t, append(append([]string{
		"-f", "lavfi", "-i", "testsrc2=size=" + size + ":rate=25", "-frames:v", "50", "-g", "500",
		"-c:v", encoder, "-preset", "superfast", "-b:v", rate, "-maxrate", rate, "-bufsize", rate,
	}, args...), "-f", container, "pipe:1")...)
	var group []picture
	assembler := streams.NewAssembler(codec, nil, nil, nil)
	for i, unit := range streams.CutUnits(codec, streams.SplitAnnexB(data)) {
		f, err := assembler.Frame(unit, 0, time.Now())
		if err != nil || f == nil {
			t.Fatalf("frame %v: %v", f, err)
		}
		group = append(group, picture{time.Duration(i) * frameTime, f.AnnexB()})
	}
	return group
}
