package decoder_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"offsite/streams"
	"offsite/streams/snapshot/decoder"
)

// compiled keeps the compiled module from one run of the tests to the next: with
// the race detector compiling takes ten seconds.
var compiled = func() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "offsite", "decoder")
}()

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, cfg decoder.Config) *decoder.Decoder {
	t.Helper()
	if cfg.Cache == "" {
		cfg.Cache = compiled
	}
	d := decoder.New(cfg)
	if err := d.Usable(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(d.Close)
	return d
}

var one = sync.OnceValue(func() *decoder.Decoder {
	return decoder.New(decoder.Config{Cache: compiled, Budget: time.Minute, Time: 2 * time.Minute})
})

// shared is a decoder with the default bounds of memory, and more time than a busy machine needs.
func shared(t testing.TB) *decoder.Decoder {
	t.Helper()
	if err := one().Usable(); err != nil {
		t.Skip(err)
	}
	return one()
}

// demo is the demo video's first key frame, H.264 of 640x360.
func demo(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("../../rtsp/rtsptest/demo.h264")
	if err != nil {
		t.Fatal(err)
	}
	return unit(t, streams.H264, data)
}

// unit gives the first access unit of a byte stream.
func unit(t testing.TB, codec streams.Codec, data []byte) []byte {
	t.Helper()
	f, err := streams.NewAssembler(codec, nil, nil, nil).Frame(streams.CutUnits(codec, streams.SplitAnnexB(data))[0], 0, time.Now())
	if err != nil || f == nil {
		t.Fatalf("frame %v: %v", f, err)
	}
	return f.AnnexB()
}

// decode gives the picture of one key frame.
func decode(ctx context.Context, d *decoder.Decoder, codec streams.Codec, unit []byte) (image.Image, error) {
	img, _, err := d.Decode(ctx, codec, func(yield func(time.Duration, []byte) bool) { yield(0, unit) }, 0)
	return img, err
}

// encode makes one key frame with ffmpeg.
func encode(t testing.TB, codec streams.Codec, size, format string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	encoder, container := "libx264", "h264"
	if codec == streams.H265 {
		encoder, container = "libx265", "hevc"
		args = append(args, "-x265-params", "log-level=none")
	}
	all := append([]string{
		"-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=" + size + ":rate=1:duration=1", "-frames:v", "1",
		"-vf", "format=" + format, "-c:v", encoder, "-preset", "ultrafast",
	}, args...)
	out, err := exec.CommandContext(t.Context(), "ffmpeg", append(all, "-f", container, "pipe:1")...).Output()
	if err != nil {
		t.Skip("ffmpeg cannot encode this: ", err)
	}
	return unit(t, codec, out)
}

// native decodes with the machine's own ffmpeg to full-range planes, one picture after the other.
func native(t *testing.T, codec streams.Codec, data []byte, format string) []byte {
	t.Helper()
	demuxer := map[streams.Codec]string{streams.H264: "h264", streams.H265: "hevc"}[codec]
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", demuxer, "-i", "pipe:0",
		"-vf", "scale=out_range=full,format="+format, "-f", "rawvideo", "pipe:1")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal("ffmpeg: ", err)
	}
	return out
}

// noise is the peak signal-to-noise ratio in dB.
func noise(a, b []byte) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	if sum == 0 {
		return math.Inf(1)
	}
	return 10 * math.Log10(255*255*float64(len(a))/sum)
}

func TestPictureIsThatOfNativeFFmpeg(t *testing.T) {
	tests := []struct {
		name         string
		codec        streams.Codec
		size, format string
		out          string // the same planes in full range
		args         []string
	}{
		{"h264 cropped", streams.H264, "1280x712", "yuv420p", "yuvj420p", nil},
		{"h264 in slices", streams.H264, "640x360", "yuv420p", "yuvj420p", []string{"-x264-params", "slices=4"}},
		{"h264 interlaced", streams.H264, "640x352", "yuv420p", "yuvj420p", []string{"-x264-params", "tff=1"}},
		{"h264 odd size", streams.H264, "322x242", "yuv420p", "yuvj420p", nil},
		{"h264 full range", streams.H264, "640x360", "yuvj420p", "yuvj420p", nil},
		{"h264 4:2:2", streams.H264, "640x360", "yuv422p", "yuvj422p", nil},
		{"h264 4:4:4", streams.H264, "640x360", "yuv444p", "yuvj444p", nil},
		{"h264 10 bits", streams.H264, "640x360", "yuv420p10le", "yuvj420p", nil},
		{"h265", streams.H265, "1280x712", "yuv420p", "yuvj420p", nil},
		{"h265 full range", streams.H265, "640x360", "yuvj420p", "yuvj420p", nil},
		{"h265 4:2:2", streams.H265, "640x360", "yuv422p", "yuvj422p", nil},
		{"h265 10 bits", streams.H265, "640x360", "yuv420p10le", "yuvj420p", nil},
		{"h265 grey", streams.H265, "640x360", "gray", "gray", nil},
	}
	d := shared(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := encode(t, tt.codec, tt.size, tt.format, tt.args...)
			img, err := decode(t.Context(), d, tt.codec, data)
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			switch p := img.(type) {
			case *image.YCbCr:
				got = append(append(append(got, p.Y...), p.Cb...), p.Cr...)
			case *image.Gray:
				got = p.Pix
			}
			want := native(t, tt.codec, data, tt.out)
			if len(got) != len(want) {
				t.Fatalf("%d bytes of planes, native %d", len(got), len(want))
			}
			if db := noise(got, want); db < 45 {
				t.Errorf("%.1f dB against native ffmpeg", db)
			} else {
				t.Logf("%.1f dB", db)
			}
		})
	}
}

func TestWhatCannotBeDecodedIsNoPicture(t *testing.T) {
	whole := demo(t)
	damage := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(whole)) }
	tests := []struct {
		name  string
		codec streams.Codec
		unit  []byte
		want  error
	}{
		{"empty", streams.H264, nil, decoder.ErrDamaged},
		{"no access unit", streams.H264, []byte("GET / HTTP/1.1\r\n\r\n"), decoder.ErrDamaged},
		{"the other codec", streams.H265, whole, decoder.ErrDamaged},
		{"cut in half", streams.H264, whole[:len(whole)/2], decoder.ErrDamaged},
		{"last hundred bytes missing", streams.H264, whole[:len(whole)-100], decoder.ErrDamaged},
		{"parameter sets alone", streams.H264, whole[:40], decoder.ErrDamaged},
		{"bytes changed", streams.H264, damage(func(b []byte) []byte {
			for i := range 8 {
				b[len(b)/2+3*i] ^= 0x5a
			}
			return b
		}), decoder.ErrDamaged},
		{"an unknown codec", streams.Codec("av1"), whole, decoder.ErrRefused},
		{"too many bytes", streams.H264, make([]byte, 17<<20), decoder.ErrRefused},
	}
	d := shared(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			img, err := decode(t.Context(), d, tt.codec, tt.unit)
			if !errors.Is(err, tt.want) || img != nil {
				t.Errorf("picture %v, error %v, want %v", img != nil, err, tt.want)
			}
			if err != nil && strings.HasSuffix(err.Error(), ": ") {
				t.Errorf("no reason in %q", err)
			}
		})
	}
}

func TestHugePicturesAreRefused(t *testing.T) {
	for _, codec := range []streams.Codec{streams.H264, streams.H265} {
		t.Run(string(codec), func(t *testing.T) {
			data, err := os.ReadFile("testdata/8k." + string(codec))
			if err != nil {
				t.Fatal(err)
			}
			_, err = decode(t.Context(), shared(t), codec, data)
			if !errors.Is(err, decoder.ErrRefused) || !strings.Contains(err.Error(), "too large") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestModuleIsBounded(t *testing.T) {
	big := encode(t, streams.H264, "3840x2160", "yuv420p")
	tests := []struct {
		name string
		cfg  decoder.Config
		say  string
	}{
		{"time", decoder.Config{Time: time.Millisecond}, "time limit"},
		{"memory", decoder.Config{Memory: 12 << 20}, "memory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			img, err := decode(t.Context(), open(t, tt.cfg), streams.H264, big)
			if img != nil || err == nil || !strings.Contains(err.Error(), tt.say) || errors.Is(err, decoder.ErrDamaged) {
				t.Errorf("picture %v, error %v", img != nil, err)
			}
		})
	}
}

func TestCancelledDecodeEnds(t *testing.T) {
	d := shared(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("nobody waits"))
	if _, err := decode(ctx, d, streams.H264, demo(t)); err == nil || err.Error() != "nobody waits" {
		t.Errorf("got %v", err)
	}
}

// foreign writes a module by hand whose function _start has this body.
func foreign(t *testing.T, memory byte, body ...byte) string {
	t.Helper()
	b := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, content ...byte) { b = append(append(b, id, byte(len(content))), content...) }
	section(1, 1, 0x60, 0, 0) // one type: a function without parameters and results
	section(3, 1, 0)
	section(5, 1, 0, memory) // in pages
	section(7, append([]byte{2, 6, '_', 's', 't', 'a', 'r', 't', 0, 0, 6}, "memory\x02\x00"...)...)
	section(10, append([]byte{1, byte(len(body) + 2), 0}, append(body, 0x0b)...)...)
	path := filepath.Join(t.TempDir(), "foreign.wasm")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestForeignModule(t *testing.T) {
	file := func(data string) string {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name, module string
		unusable     bool
	}{
		{"missing", filepath.Join(t.TempDir(), "absent.wasm"), true},
		{"no module", file("hello"), true},
		{"broken gzip", file("\x1f\x8b\x08nothing"), true},
		{"no memory", file("\x00asm\x01\x00\x00\x00"), true},
		{"too much memory to begin with", foreign(t, 100), true},
		{"does nothing", foreign(t, 1), false},
		{"traps", foreign(t, 1, 0x00), false},
		{"runs for ever", foreign(t, 1, 0x03, 0x40, 0x0c, 0, 0x0b), false},
		{"takes all memory", foreign(t, 1, 0x03, 0x40, 0x41, 16, 0x40, 0, 0x1a, 0x0c, 0, 0x0b), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decoder.New(decoder.Config{Module: tt.module, Cache: t.TempDir(), Time: 200 * time.Millisecond, Memory: 4 << 20})
			defer d.Close()
			img, err := decode(t.Context(), d, streams.H264, demo(t))
			if img != nil || err == nil || errors.Is(err, decoder.ErrUnusable) != tt.unusable || errors.Is(err, decoder.ErrDamaged) {
				t.Errorf("picture %v, error %v", img != nil, err)
			}
			if (d.Usable() != nil) != tt.unusable {
				t.Errorf("usable: %v", d.Usable())
			}
			t.Log(err)
		})
	}
}

func TestWithoutRoomForTheCacheItRunsAllTheSame(t *testing.T) {
	module := foreign(t, 1)
	d := decoder.New(decoder.Config{Module: module, Cache: filepath.Join(module, "cache")})
	defer d.Close()
	if _, err := decode(t.Context(), d, streams.H264, demo(t)); err == nil || errors.Is(err, decoder.ErrUnusable) {
		t.Errorf("got %v", err)
	}
}

func TestIdleModuleKeepsNoMemory(t *testing.T) {
	data := demo(t)
	synctest.Test(t, func(t *testing.T) {
		d := open(t, decoder.Config{Idle: time.Minute})
		if _, err := decode(t.Context(), d, streams.H264, data); err != nil {
			t.Fatal(err)
		}
		if !d.Loaded() {
			t.Fatal("the module is dropped at once")
		}
		time.Sleep(59 * time.Second)
		if _, err := decode(t.Context(), d, streams.H264, data); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second)
		if !d.Loaded() {
			t.Error("the module is dropped while it is in use")
		}
		time.Sleep(2 * time.Second)
		if d.Loaded() {
			t.Error("the module is still there")
		}
	})
}

func TestManyDecodeAtOnce(t *testing.T) {
	d, data := shared(t), demo(t)
	failed := make(chan error, 6)
	for range cap(failed) {
		go func() {
			_, err := decode(t.Context(), d, streams.H264, data)
			failed <- err
		}()
	}
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// The file says of which bytes the notice and the build speak.
func TestModuleIsTheOneThatIsNamed(t *testing.T) {
	sums, err := os.ReadFile("module/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	packed, err := os.ReadFile("module/picture.wasm.gz")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(packed)
	if !strings.Contains(string(sums), hex.EncodeToString(sum[:])+"  picture.wasm.gz") {
		t.Errorf("picture.wasm.gz has SHA-256 %x, SHA256SUMS says\n%s", sum, sums)
	}
}

// Every damage ends in time, in an error or in a picture: one flipped bit may
// still be read as another picture, which no decoder can know. FuzzUnit looks further.
func TestDamageHasAnEnd(t *testing.T) {
	const rounds = 40
	for _, codec := range []streams.Codec{streams.H264, streams.H265} {
		t.Run(string(codec), func(t *testing.T) {
			whole, chance := encode(t, codec, "320x240", "yuv420p"), rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
			d := open(t, decoder.Config{Time: 3 * time.Second, Memory: 64 << 20, Pixels: 1 << 20})
			pictures := 0
			for range rounds {
				unit := bytes.Clone(whole)
				for range 1 + chance.IntN(6) {
					at := chance.IntN(len(unit))
					if chance.IntN(2) == 0 {
						at = chance.IntN(min(120, len(unit))) // parameter sets and slice headers
					}
					unit[at] ^= byte(1 << chance.IntN(8))
				}
				img, err := decode(t.Context(), d, codec, unit)
				switch {
				case err == nil && img.Bounds().Dx()*img.Bounds().Dy() <= 1<<20:
					pictures++
				case err == nil:
					t.Errorf("picture of %v", img.Bounds())
				case errors.Is(err, decoder.ErrUnusable):
					t.Fatal(err)
				}
			}
			t.Logf("%d of %d gave a picture", pictures, rounds)
			if img, err := decode(t.Context(), d, codec, whole); err != nil || img.Bounds().Dx() != 320 {
				t.Errorf("afterwards, whole: %v", err)
			}
		})
	}
}

// FuzzUnit looks for units that bring the module out of its bounds, alone or as what
// follows: each ends in a picture or an error, within its time.
func FuzzUnit(f *testing.F) {
	whole := demo(f)
	f.Add(false, len(whole), whole)
	f.Add(false, len(whole)/3, whole[:len(whole)/3])
	f.Add(false, len(whole), slices.Concat(whole, whole))
	f.Add(true, 12, []byte("\x00\x00\x00\x01\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x5d\x95\x98\x09"))
	d := decoder.New(decoder.Config{Cache: compiled, Time: 3 * time.Second, Memory: 64 << 20, Pixels: 1 << 20})
	if err := d.Usable(); err != nil {
		f.Skip(err)
	}
	f.Cleanup(d.Close)
	f.Fuzz(func(t *testing.T, h265 bool, cut int, data []byte) {
		codec := streams.H264
		if h265 {
			codec = streams.H265
		}
		cut = max(0, min(cut, len(data)))
		img, _, err := d.Decode(t.Context(), codec, seq([]picture{{0, data[:cut]}, {1, data[cut:]}}), 1)
		if (img == nil) == (err == nil) {
			t.Fatalf("picture %v, error %v", img != nil, err)
		}
		if img != nil && img.Bounds().Dx()*img.Bounds().Dy() > 1<<20 {
			t.Fatalf("picture of %v", img.Bounds())
		}
		if errors.Is(err, decoder.ErrUnusable) {
			t.Fatal(err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, codec := range []streams.Codec{streams.H264, streams.H265} {
		b.Run(string(codec), func(b *testing.B) {
			d, data := shared(b), encode(b, codec, "1920x1080", "yuv420p", "-b:v", "2M", "-maxrate", "2M", "-bufsize", "2M")
			for b.Loop() {
				if _, err := decode(b.Context(), d, codec, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
