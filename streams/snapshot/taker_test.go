package snapshot_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"
	"github.com/icholy/digest"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/snapshot"
	"offsite/streams/snapshot/decoder"
)

// module bounds the embedded decoder. Its compiled code is kept from one run of
// the tests to the next: with the race detector compiling takes ten seconds.
var module = func() decoder.Config {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return decoder.Config{Cache: filepath.Join(dir, "offsite", "decoder")}
}()

// decoders are the configurations under which a key frame becomes a JPEG.
var decoders = []struct {
	name string
	cfg  snapshot.Config
	step string
}{
	{"ffmpeg", snapshot.Config{Module: module}, snapshot.StepFFmpeg},
	{"sandbox", snapshot.Config{Module: module, Decoder: snapshot.Sandbox}, snapshot.StepSandbox},
	{"no ffmpeg", snapshot.Config{Module: module, FFmpeg: "none"}, snapshot.StepSandbox},
}

// undecoded is a configuration without any decoder that works.
var undecoded = decoder.Config{Module: "/nonexistent/module.wasm"}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clip gives the access units of the demo video.
func clip(t testing.TB) []*streams.Frame {
	t.Helper()
	data, err := os.ReadFile("../rtsp/rtsptest/demo.h264")
	if err != nil {
		t.Fatal(err)
	}
	return decodeClip(t, streams.H264, data)
}

func decodeClip(t testing.TB, codec streams.Codec, data []byte) []*streams.Frame {
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

// connected gives a feed whose newest key frame is f, which arrives at at.
func connected(f *streams.Frame, at time.Time) *streams.Feed {
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	if f != nil {
		fresh := *f
		fresh.At = at
		feed.Publish(&fresh)
	}
	return feed
}

func needFFmpeg(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
}

var cam = devices.Camera{ID: "cam-1", Site: "site-1", Name: "门口", URL: "rtsp://127.0.0.1/cam"}

func TestKeyFrameBecomesJPEG(t *testing.T) {
	needFFmpeg(t)
	frames := clip(t)
	for _, tt := range decoders {
		t.Run(tt.name, func(t *testing.T) {
			at := time.Now().Add(-time.Second)
			feed := connected(frames[0], at)
			taker := snapshot.New(tt.cfg)
			if step, why := taker.Rung(); step != tt.step || why != nil {
				t.Errorf("rung %s: %v", step, why)
			}
			still, err := taker.Take(t.Context(), cam, feed)
			if err != nil {
				t.Fatal(err)
			}
			img, err := jpeg.Decode(bytes.NewReader(still.JPEG))
			if err != nil {
				t.Fatal(err)
			}
			if b := img.Bounds(); b.Dx() != 640 || b.Dy() != 360 || still.Width != 640 || still.Height != 360 {
				t.Errorf("picture %v, still %dx%d", b, still.Width, still.Height)
			}
			if still.Step != tt.step || !still.At.Equal(at) || still.Frame != nil {
				t.Errorf("step %s, at %v", still.Step, still.At)
			}
			again, err := taker.Take(t.Context(), cam, feed)
			if err != nil || &again.JPEG[0] != &still.JPEG[0] {
				t.Errorf("the picture of the same key frame was made twice: %v", err)
			}
			other, err := taker.Take(t.Context(), cam, connected(frames[90], time.Now()))
			if err != nil || bytes.Equal(other.JPEG, still.JPEG) {
				t.Errorf("another key frame gives the same picture: %v", err)
			}
		})
	}
}

func TestStillIsMadeSmallerOnce(t *testing.T) {
	taker := snapshot.New(snapshot.Config{Module: module, Decoder: snapshot.Sandbox})
	feed := connected(clip(t)[0], time.Now().Add(time.Minute)) // it outlives the decoder being compiled
	tests := []struct{ width, want, height int }{
		{0, 640, 360}, {-1, 640, 360}, {1, 160, 90}, {200, 320, 180}, {320, 320, 180}, {481, 640, 360}, {1 << 40, 640, 360},
	}
	kept := map[int]*byte{}
	for _, tt := range tests {
		still, err := taker.TakeSized(t.Context(), cam, feed, tt.width)
		if err != nil {
			t.Fatal(err)
		}
		img, err := jpeg.Decode(bytes.NewReader(still.JPEG))
		if err != nil || img.Bounds().Dx() != tt.want || img.Bounds().Dy() != tt.height || still.Width != tt.want || still.Height != tt.height {
			t.Errorf("width %d: still %dx%d, picture %v: %v", tt.width, still.Width, still.Height, img.Bounds(), err)
		}
		if first := kept[tt.want]; first != nil && first != &still.JPEG[0] {
			t.Errorf("width %d was made twice", tt.want)
		}
		kept[tt.want] = &still.JPEG[0]
	}
}

func TestMotionJPEGIsTakenAsItIs(t *testing.T) {
	var picture bytes.Buffer
	if err := jpeg.Encode(&picture, image.NewYCbCr(image.Rect(0, 0, 320, 240), image.YCbCrSubsampleRatio420), nil); err != nil {
		t.Fatal(err)
	}
	holed := bytes.Clone(picture.Bytes())
	picture.Reset()
	white := image.NewGray(image.Rect(0, 0, 320, 240))
	for i := range white.Pix {
		white.Pix[i] = 0xff
	}
	if err := jpeg.Encode(&picture, white, nil); err != nil {
		t.Fatal(err)
	}
	params, err := streams.NewPictureParameters(320, 240)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		picture []byte
		code    string // empty: it is taken
	}{
		{"whole", picture.Bytes(), ""},
		{"cut", picture.Bytes()[:picture.Len()/2], snapshot.CodeDamaged},
		{"of impossible colour", holed, snapshot.CodeDamaged},
		{"empty", nil, snapshot.CodeDamaged},
		{"of 8K", claiming(picture.Bytes(), 7680, 4320), snapshot.CodeRefused},
		{"of 64 million pixels", claiming(picture.Bytes(), 8192, 8192), snapshot.CodeRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			feed := connected(&streams.Frame{Params: params, NALUs: [][]byte{tt.picture}, Key: true}, time.Now())
			still, err := snapshot.New(snapshot.Config{FFmpeg: "none", Module: undecoded}).Take(t.Context(), cam, feed)
			if tt.code == "" {
				if err != nil || still.Step != snapshot.StepMJPEG || !bytes.Equal(still.JPEG, tt.picture) {
					t.Errorf("step %q: %v", still.Step, err)
				}
				return
			}
			var p *devices.Problem
			if !errors.As(err, &p) || p.Code != tt.code {
				t.Errorf("got %v", err)
			}
		})
	}
}

// claiming gives the JPEG with another size in its frame header (ITU-T T.81, B.2.2).
func claiming(picture []byte, width, height uint16) []byte {
	out := bytes.Clone(picture)
	frame := bytes.Index(out, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(out[frame+5:], height)
	binary.BigEndian.PutUint16(out[frame+7:], width)
	return out
}

func TestDecoderThatFailsIsNoPicture(t *testing.T) {
	key := clip(t)[0]
	tests := []struct {
		name   string
		module decoder.Config
		code   string
	}{
		{"time", decoder.Config{Cache: module.Cache, Time: time.Microsecond}, snapshot.CodeDecoder},
		{"memory", decoder.Config{Cache: module.Cache, Memory: 3 << 20}, snapshot.CodeDecoder},
		{"too large", decoder.Config{Cache: module.Cache, Pixels: 1000}, snapshot.CodeRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			still, err := snapshot.New(snapshot.Config{Decoder: snapshot.Sandbox, Module: tt.module}).Take(t.Context(), cam, connected(key, time.Now()))
			var p *devices.Problem
			if !errors.As(err, &p) || p.Code != tt.code || p.Cause == nil || still.JPEG != nil || still.Frame != nil {
				t.Errorf("step %q: %v", still.Step, err)
			}
		})
	}
}

func TestModuleTakesThePlaceOfABrokenFFmpeg(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexit 127\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	taker := snapshot.New(snapshot.Config{FFmpeg: path, Module: module})
	still, err := taker.Take(t.Context(), cam, connected(clip(t)[0], time.Now()))
	if err != nil || still.Step != snapshot.StepSandbox {
		t.Fatalf("step %q: %v", still.Step, err)
	}
	if step, why := taker.Rung(); step != snapshot.StepSandbox || why == nil {
		t.Errorf("rung %q: %v", step, why)
	}
}

func TestManyAskOnce(t *testing.T) {
	needFFmpeg(t)
	frames := clip(t)
	feed := connected(frames[0], time.Now())
	taker := snapshot.New(snapshot.Config{})
	var wg sync.WaitGroup
	stills := make([]streams.Still, 8)
	for i := range stills {
		wg.Go(func() { stills[i], _ = taker.Take(t.Context(), cam, feed) })
	}
	wg.Wait()
	for _, s := range stills {
		if len(s.JPEG) == 0 || &s.JPEG[0] != &stills[0].JPEG[0] {
			t.Fatal("not all got the one picture")
		}
	}
}

func TestDamagedKeyFrameIsNoPicture(t *testing.T) {
	needFFmpeg(t)
	key := clip(t)[0]
	slice := len(key.NALUs) - 1
	tests := []struct {
		name   string
		damage func(f *streams.Frame)
	}{
		{"cut in half", func(f *streams.Frame) { f.NALUs[slice] = f.NALUs[slice][:len(f.NALUs[slice])/2] }},
		{"bytes changed", func(f *streams.Frame) {
			b := bytes.Clone(f.NALUs[slice])
			for i := range 8 {
				b[len(b)/2+3*i] ^= 0x5a
			}
			f.NALUs[slice] = b
		}},
		{"nothing but its head", func(f *streams.Frame) { f.NALUs[slice] = f.NALUs[slice][:5] }},
	}
	for _, with := range decoders[:2] {
		taker := snapshot.New(with.cfg)
		for _, tt := range tests {
			t.Run(with.name+" "+tt.name, func(t *testing.T) {
				f := *key
				f.NALUs = append([][]byte(nil), key.NALUs...)
				tt.damage(&f)
				still, err := taker.Take(t.Context(), cam, connected(&f, time.Now()))
				var p *devices.Problem
				if !errors.As(err, &p) || p.Code != snapshot.CodeDamaged || still.JPEG != nil || still.Frame != nil {
					t.Fatalf("still of %d bytes, step %q, error %v", len(still.JPEG), still.Step, err)
				}
				if !strings.Contains(p.EN, "damaged") || !strings.Contains(p.ZH, "损坏") {
					t.Errorf("problem %s", p.Bilingual())
				}
			})
		}
	}
}

// encodeSlices makes key frames of four slices.
func encodeSlices(t *testing.T, args ...string) []byte {
	t.Helper()
	needFFmpeg(t)
	args = append([]string{"-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=5:duration=1"}, args...)
	out, err := exec.CommandContext(t.Context(), "ffmpeg", append(args, "pipe:1")...).Output()
	if err != nil {
		t.Skip("ffmpeg cannot encode this: ", err)
	}
	return out
}

func TestMissingSliceIsNoPicture(t *testing.T) {
	tests := []struct {
		name  string
		codec streams.Codec
		args  []string
	}{
		{"h264", streams.H264, []string{"-c:v", "libx264", "-preset", "ultrafast", "-x264-params", "slices=4:keyint=5", "-f", "h264"}},
		{"h265", streams.H265, []string{"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:slices=4:keyint=5:ctu=16", "-f", "hevc"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key := decodeClip(t, tt.codec, encodeSlices(t, tt.args...))[0]
			if len(key.NALUs) < 4 {
				t.Skipf("the encoder made %d units", len(key.NALUs))
			}
			for _, with := range decoders[:2] {
				taker := snapshot.New(with.cfg)
				if _, err := taker.Take(t.Context(), cam, connected(key, time.Now())); err != nil {
					t.Fatalf("%s, whole: %v", with.name, err)
				}
				for _, missing := range []int{len(key.NALUs) - 1, len(key.NALUs) - 2} {
					f := *key
					f.NALUs = append(append([][]byte(nil), key.NALUs[:missing]...), key.NALUs[missing+1:]...)
					still, err := taker.Take(t.Context(), cam, connected(&f, time.Now()))
					var p *devices.Problem
					if !errors.As(err, &p) || p.Code != snapshot.CodeDamaged {
						t.Errorf("%s, unit %d missing: still of %d bytes, error %v", with.name, missing, len(still.JPEG), err)
					}
				}
			}
		})
	}
}

func TestWithoutDecoderTheFrameItselfIsKept(t *testing.T) {
	tests := []struct{ name, ffmpeg string }{
		{"none", "none"},
		{"missing", "/nonexistent/ffmpeg"},
		{"broken", "/bin/false-as-ffmpeg"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.ffmpeg
			if tt.name == "broken" {
				path = filepath.Join(t.TempDir(), "ffmpeg")
				if err := os.WriteFile(path, []byte("#!/bin/sh\nexit 127\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			still, err := snapshot.New(snapshot.Config{FFmpeg: path, Module: undecoded}).Take(t.Context(), cam, connected(clip(t)[0], time.Now()))
			if err != nil || still.Step != snapshot.StepFrame || still.JPEG != nil {
				t.Fatalf("step %q, error %v", still.Step, err)
			}
			var p pmp4.Presentation
			if err := p.Unmarshal(bytes.NewReader(still.Frame)); err != nil || len(p.Tracks) != 1 || len(p.Tracks[0].Samples) != 1 {
				t.Errorf("not an MP4 of one frame: %v", err)
			}
		})
	}
}

func TestChildIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nwhile :; do :; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, limits := range map[string]snapshot.Limits{
		"time": {Time: 300 * time.Millisecond, CPU: time.Minute},
		"cpu":  {CPU: time.Second, Time: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			still, err := snapshot.New(snapshot.Config{FFmpeg: path, Limits: limits, Module: undecoded}).Take(t.Context(), cam, connected(clip(t)[0], time.Now()))
			if err != nil || still.Step != snapshot.StepFrame {
				t.Errorf("step %q, error %v", still.Step, err)
			}
			if took := time.Since(began); took > 30*time.Second { // each alone ends it long before the other's minute
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestNoPictureSaysWhy(t *testing.T) {
	key := clip(t)[0]
	lost := connected(key, time.Date(2026, 3, 1, 6, 30, 0, 0, time.UTC))
	lost.Disconnected(&devices.Problem{Code: "camera_password", ZH: "密码错误", EN: "wrong password"})
	reconnected := connected(key, time.Now())
	reconnected.Disconnected(nil)
	reconnected.Connected()
	tests := []struct {
		name string
		feed *streams.Feed
		code string
		en   string
		zh   string
	}{
		{"silent since", lost, snapshot.CodeSilent, "silent since 2026-03-01 14:30:00 (wrong password)", "自 2026-03-01 14:30:00 起无信号（密码错误）"},
		{"no feed", nil, snapshot.CodeSilent, "not in use", "未启用"},
		{"just connected", connected(nil, time.Now()), snapshot.CodeWaiting, "no key frame yet", "尚未收到关键帧"},
		{"reconnected", reconnected, snapshot.CodeWaiting, "no key frame yet", "尚未收到关键帧"},
		{"stale", connected(key, time.Now().Add(-6*time.Second)), snapshot.CodeStale, "too old", "已过时"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := snapshot.New(snapshot.Config{}).Take(t.Context(), cam, tt.feed)
			var p *devices.Problem
			if !errors.As(err, &p) || p.Code != tt.code || !strings.Contains(p.EN, tt.en) || !strings.Contains(p.ZH, tt.zh) {
				t.Errorf("got %v; want %s, %q, %q", err, tt.code, tt.en, tt.zh)
			}
			if !errors.Is(err, devices.ErrUnavailable) {
				t.Error("not of kind unavailable")
			}
		})
	}
}

func TestLongKeyFrameIntervalWidensTheAge(t *testing.T) {
	needFFmpeg(t)
	frames := clip(t)
	feed := connected(frames[0], time.Now().Add(-18*time.Second))
	second := *frames[15]
	second.At = time.Now().Add(-8 * time.Second) // an interval of 10 s
	feed.Publish(&second)
	if _, err := snapshot.New(snapshot.Config{}).Take(t.Context(), cam, feed); err != nil {
		t.Error(err)
	}
}

// still serves picture to whom the user and password are right.
func still(t *testing.T, picture []byte, kind string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch kind {
		case "digest":
			challenge := digest.Challenge{Realm: "cam", Nonce: "n1", QOP: []string{"auth"}}
			got, err := digest.ParseCredentials(r.Header.Get("Authorization"))
			if err == nil {
				want, _ := digest.Digest(&challenge, digest.Options{Method: r.Method, URI: r.URL.RequestURI(), Count: got.Nc, Cnonce: got.Cnonce, Username: "admin", Password: "s3cret-canary"})
				if want.Response == got.Response {
					break
				}
			}
			w.Header().Set("WWW-Authenticate", challenge.String())
			w.WriteHeader(http.StatusUnauthorized)
			return
		case "basic":
			if user, pass, _ := r.BasicAuth(); user != "admin" || pass != "s3cret-canary" {
				w.Header().Set("WWW-Authenticate", `Basic realm="cam"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
		case "redirect":
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
			return
		}
		_, _ = w.Write(picture)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/snap?ch=1"
}

func TestStillAddress(t *testing.T) {
	needFFmpeg(t)
	made, err := snapshot.New(snapshot.Config{}).Take(t.Context(), cam, connected(clip(t)[0], time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, kind, password string
		picture              []byte
		ok                   bool
	}{
		{"open", "", "", made.JPEG, true},
		{"digest", "digest", "s3cret-canary", made.JPEG, true},
		{"basic", "basic", "s3cret-canary", made.JPEG, true},
		{"wrong password", "digest", "wr0ng-canary", made.JPEG, false},
		{"redirect", "redirect", "", made.JPEG, false},
		{"cut short", "", "", made.JPEG[:len(made.JPEG)/2], false},
		{"a page, not a picture", "", "", []byte("<html>log in</html>"), false},
		{"empty", "", "", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := cam
			c.StillURL, c.Username, c.Password = still(t, tt.picture, tt.kind), "admin", devices.Secret(tt.password)
			taker := snapshot.New(snapshot.Config{})
			got, err := taker.Take(t.Context(), c, nil)
			if tt.ok {
				if err != nil || got.Step != snapshot.StepCamera || got.Width != 640 || got.Height != 360 || time.Since(got.At) > time.Minute {
					t.Fatalf("step %q %dx%d: %v", got.Step, got.Width, got.Height, err)
				}
				return
			}
			var p *devices.Problem
			want := snapshot.CodeStill
			if tt.password == "wr0ng-canary" {
				want = snapshot.CodePassword
			}
			if !errors.As(err, &p) || p.Code != want || strings.Contains(err.Error(), "canary") {
				t.Fatalf("got %v", err)
			}
			// The ladder goes on where there is a stream.
			got, err = taker.Take(t.Context(), c, connected(clip(t)[0], time.Now()))
			if err != nil || got.Step != snapshot.StepFFmpeg {
				t.Errorf("step %q, error %v", got.Step, err)
			}
		})
	}
}

// A camera locks the account after a few wrong passwords, and its page asks for a
// still every few seconds.
func TestRefusedPasswordIsShownOnce(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			var shown atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") == "" {
					w.Header().Set("WWW-Authenticate", `Basic realm="cam"`)
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				shown.Add(1)
				w.WriteHeader(status)
			}))
			defer s.Close()
			taker := snapshot.New(snapshot.Config{})
			c := cam
			c.ID, c.StillURL, c.Username, c.Password = "gate", s.URL, "admin", "wr0ng-canary"
			ask := func(c devices.Camera, want int32) {
				t.Helper()
				for range 3 {
					_, err := taker.Take(t.Context(), c, nil)
					var p *devices.Problem
					if !errors.As(err, &p) || p.Code != snapshot.CodePassword || strings.Contains(err.Error(), "canary") {
						t.Errorf("got %v", err)
					}
				}
				if n := shown.Load(); n != want {
					t.Errorf("shown %d times, want %d", n, want)
				}
			}
			ask(c, 1)
			c.Password = "wr0ng-too-canary"
			ask(c, 2)
			c.Version++
			ask(c, 3)
			taker.AskAgain("gate")
			ask(c, 4)
		})
	}
}

func TestCancelledTakeLeavesNothingBehind(t *testing.T) {
	needFFmpeg(t)
	feed := connected(clip(t)[0], time.Now())
	taker := snapshot.New(snapshot.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := taker.Take(ctx, cam, feed); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got, err := taker.Take(t.Context(), cam, feed); err != nil || got.Step != snapshot.StepFFmpeg {
		t.Errorf("step %q, error %v", got.Step, err)
	}
}

func BenchmarkStill(b *testing.B) {
	needFFmpeg(b)
	key := clip(b)[0]
	taker := snapshot.New(snapshot.Config{})
	for b.Loop() {
		if _, err := taker.Take(b.Context(), cam, connected(key, time.Now())); err != nil {
			b.Fatal(err)
		}
	}
}
