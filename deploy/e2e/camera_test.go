package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/fmp4"
	"offsite/streams/rtsp"
	"offsite/streams/rtsp/rtsptest"
	"offsite/streams/snapshot"
)

// Size of vtest.avi, a street with people walking that comes with opencv-doc.
const vtestWidth, vtestHeight = 768, 576

// vtest gives the path of vtest.avi, unpacked if need be.
func vtest(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"/usr/share/doc/opencv-doc", "/usr/share/opencv4", "/usr/share/opencv", "/usr/share/OpenCV"} {
		found := ""
		_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err == nil && strings.HasPrefix(filepath.Base(path), "vtest.avi") {
				found = path
				return filepath.SkipAll
			}
			return nil
		})
		if strings.HasSuffix(found, ".gz") {
			return gunzip(t, found)
		}
		if found != "" {
			return found
		}
	}
	t.Skip("vtest.avi is absent: apt-get install opencv-doc")
	return ""
}

func gunzip(t *testing.T, path string) string {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "vtest.avi")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, z); err != nil { //nolint:gosec // Debian's own file
		t.Fatal(err)
	}
	return out
}

// cameraClip re-encodes the first seconds of vtest.avi, at most its 79, as an
// MP4 with a key frame each second.
func cameraClip(t *testing.T, codec string, seconds int) string {
	t.Helper()
	source := vtest(t)
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is absent: apt-get install ffmpeg")
	}
	out := filepath.Join(t.TempDir(), codec+".mp4")
	args := []string{"-nostdin", "-v", "error", "-i", source, "-t", strconv.Itoa(seconds), "-an", "-pix_fmt", "yuv420p", "-g", "10"}
	switch codec {
	case "jpeg":
		args = append(args, "-c:v", "mjpeg", "-huffman", "default", "-q:v", "6", "-pix_fmt", "yuvj420p")
	case "h264b":
		args = append(args, "-c:v", "libx264", "-preset", "fast", "-bf", "2", "-b:v", "1M")
	case "h265":
		args = append(args, "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=10:bframes=0", "-tag:v", "hvc1")
	case "h264sub": // half as wide and half as high
		args = append(args, "-vf", "scale=iw/2:ih/2", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-b:v", "200k")
	default:
		args = append(args, "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-b:v", "1M")
	}
	if said, err := exec.CommandContext(t.Context(), "ffmpeg", append(args, out)...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, said)
	}
	return out
}

// gstCamera is a running gstcamera.py.
type gstCamera struct {
	cmd  *exec.Cmd
	port string
}

// startGstCamera skips the test where GStreamer's RTSP server is absent.
func startGstCamera(t *testing.T, args ...string) *gstCamera {
	t.Helper()
	return startGst(t, "gstcamera.py", args...)
}

// startGst runs a script that serves RTSP with GStreamer and says "ready PORT".
func startGst(t *testing.T, script string, args ...string) *gstCamera {
	t.Helper()
	const python = "/usr/bin/python3" // Debian's own, for which its bindings are made
	probe := exec.CommandContext(t.Context(), python, "-c", "import gi; gi.require_version('GstRtspServer','1.0'); from gi.repository import GstRtspServer")
	if said, err := probe.CombinedOutput(); err != nil {
		t.Skipf("GStreamer's RTSP server is absent: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0: %s", bytes.TrimSpace(said))
	}
	cmd := exec.Command(python, append([]string{script}, args...)...) //nolint:noctx // ended by stop
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // held open: the script ends when it closes
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &gstCamera{cmd: cmd}
	t.Cleanup(c.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s did not begin: %v", script, err)
	}
	if _, err := fmt.Sscanf(line, "ready %s", &c.port); err != nil {
		t.Fatalf("%s said %q", script, line)
	}
	return c
}

func (c *gstCamera) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func (c *gstCamera) camera() devices.Camera {
	return devices.Camera{ID: "cam-1", Site: "site-1", Name: "大门", URL: "rtsp://127.0.0.1:" + c.port + "/cam"}
}

// superviseCamera pulls cam for the test's time, beginning again after half a second.
func superviseCamera(t *testing.T, cam devices.Camera) *streams.Feed {
	t.Helper()
	source, err := rtsp.Open(cam, rtsp.Config{Stall: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	feed := streams.NewFeed(streams.FeedConfig{})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			_ = source.Run(ctx, feed)
			select {
			case <-time.After(500 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return feed
}

// nextFrame gives the first frame for which ok says yes.
func nextFrame(t *testing.T, feed *streams.Feed, ok func(*streams.Frame) bool) *streams.Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r := feed.Subscribe()
	defer r.Close()
	for {
		f, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("no frame: %v; feed %+v", err, feed.State())
		}
		if ok(f) {
			return f
		}
	}
}

// awaitState polls until the feed's state is as wanted.
func awaitState(t *testing.T, feed *streams.Feed, ok func(streams.State) bool) streams.State {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	for {
		if s := feed.State(); ok(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("feed stayed %+v", feed.State())
		}
	}
}

// cameraPicture decodes a still and checks its size.
func cameraPicture(t *testing.T, still streams.Still, width, height int) image.Image {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(still.JPEG))
	if err != nil {
		t.Fatalf("still of step %q: %v", still.Step, err)
	}
	if b := img.Bounds(); b.Dx() != width || b.Dy() != height {
		t.Fatalf("picture of %v, want %dx%d", b, width, height)
	}
	return img
}

// pictureStats gives the mean brightness difference of two pictures and the
// spread of brightness in the first, both of 0..255.
func pictureStats(a, b image.Image) (difference, spread float64) {
	grey := func(img image.Image, x, y int) float64 {
		r, g, bl, _ := img.At(x, y).RGBA()
		return (0.299*float64(r) + 0.587*float64(g) + 0.114*float64(bl)) / 257
	}
	low, high, n := 255.0, 0.0, 0
	for y := 0; y < a.Bounds().Dy(); y += 4 {
		for x := 0; x < a.Bounds().Dx(); x += 4 {
			v := grey(a, x, y)
			low, high = min(low, v), max(high, v)
			d := v - grey(b, x, y)
			difference += max(d, -d)
			n++
		}
	}
	return difference / float64(n), high - low
}

func TestCameraThatIsNotOurs(t *testing.T) {
	clips := map[string]string{"h264": cameraClip(t, "h264", 20), "h265": cameraClip(t, "h265", 20)}
	tests := []struct {
		name      string
		codec     string
		args      []string
		transport string
		user      string
	}{
		{"h264 tcp", "h264", nil, "tcp", ""},
		{"h264 udp", "h264", []string{"--udp-only"}, "udp", ""},
		{"h264 digest", "h264", []string{"--user", "admin", "--password", "Pass-w0rd"}, "tcp", "admin"},
		{"h265 tcp", "h265", nil, "tcp", ""},
		{"h265 udp", "h265", nil, "udp", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			gst := startGstCamera(t, append([]string{clips[tt.codec], "--codec", tt.codec}, tt.args...)...)
			cam := gst.camera()
			cam.Transport, cam.Username, cam.Password = tt.transport, tt.user, "Pass-w0rd"
			feed := superviseCamera(t, cam)
			taker := snapshot.New(snapshot.Config{})
			first := nextFrame(t, feed, func(f *streams.Frame) bool { return f.Key })
			one, err := taker.Take(t.Context(), cam, feed)
			if err != nil {
				t.Fatal(err)
			}
			nextFrame(t, feed, func(f *streams.Frame) bool { return f.Key && f.PTS >= first.PTS+2*time.Second })
			two, err := taker.Take(t.Context(), cam, feed)
			if err != nil {
				t.Fatal(err)
			}
			a, b := cameraPicture(t, one, vtestWidth, vtestHeight), cameraPicture(t, two, vtestWidth, vtestHeight)
			difference, spread := pictureStats(a, b)
			if difference < 0.3 || spread < 100 {
				t.Errorf("pictures differ by %.2f, brightness spreads over %.0f", difference, spread)
			}
			if !two.At.After(one.At) || time.Since(two.At) > 5*time.Second {
				t.Errorf("captured at %v and %v", one.At, two.At)
			}
			if s := feed.State(); (s.Damaged != 0 && tt.transport == "tcp") || s.Connections != 1 || s.KeyInterval < 500*time.Millisecond || s.KeyInterval > 3*time.Second {
				t.Errorf("state %+v", s)
			}
			t.Logf("%s %s: stills of %d and %d bytes differ by %.2f; codec %s", tt.name, one.Step, len(one.JPEG), len(two.JPEG), difference, fmp4.CodecString(first.Params))
		})
	}
}

func TestCameraWrongPasswordAtGStreamer(t *testing.T) {
	gst := startGstCamera(t, cameraClip(t, "h264", 20), "--user", "admin", "--password", "Pass-w0rd")
	cam := gst.camera()
	cam.Username, cam.Password = "admin", "wr0ng-canary"
	feed := superviseCamera(t, cam)
	s := awaitState(t, feed, func(s streams.State) bool { return s.Problem != nil })
	if s.Problem.Code != rtsp.CodePassword || strings.Contains(s.Problem.Error(), "canary") {
		t.Errorf("problem %v", s.Problem)
	}
	_, err := snapshot.New(snapshot.Config{}).Take(t.Context(), cam, feed)
	var p *devices.Problem
	if !errors.As(err, &p) || p.Code != snapshot.CodeSilent || !strings.Contains(p.EN, "password") || !strings.Contains(p.ZH, "密码") {
		t.Errorf("still: %v", err)
	}
}

func TestCameraIsKilledAndComesBack(t *testing.T) {
	clip := cameraClip(t, "h264", 20)
	gst := startGstCamera(t, clip)
	cam := gst.camera()
	feed := superviseCamera(t, cam)
	taker := snapshot.New(snapshot.Config{})
	nextFrame(t, feed, func(f *streams.Frame) bool { return f.Key })
	before, err := taker.Take(t.Context(), cam, feed)
	if err != nil {
		t.Fatal(err)
	}
	gst.kill()
	awaitState(t, feed, func(s streams.State) bool { return !s.Connected })
	_, err = taker.Take(t.Context(), cam, feed)
	var p *devices.Problem
	if !errors.As(err, &p) || p.Code != snapshot.CodeSilent {
		t.Fatalf("a picture of a camera that is gone: %v", err)
	}
	t.Logf("while it was gone: %s", p.Bilingual())

	again := startGstCamera(t, clip, "--port", gst.port)
	nextFrame(t, feed, func(f *streams.Frame) bool { return f.Key && f.Connection == 2 })
	after, err := taker.Take(t.Context(), again.camera(), feed)
	if err != nil {
		t.Fatal(err)
	}
	cameraPicture(t, after, vtestWidth, vtestHeight)
	if !after.At.After(before.At) {
		t.Errorf("captured at %v, before at %v", after.At, before.At)
	}
}

func TestDamagedKeyFrameSaysWhyThereIsNoPicture(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is absent: apt-get install ffmpeg")
	}
	server, err := rtsptest.Listen(rtsptest.Config{Paths: []string{"bad", "good"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	server.Camera("bad").Damage(true)

	cam := devices.Camera{ID: "bad", Site: "site-1", Name: "坏", URL: server.URL("bad")}
	good := devices.Camera{ID: "good", Site: "site-1", Name: "好", URL: server.URL("good")}
	feed, other := superviseCamera(t, cam), superviseCamera(t, good)
	taker := snapshot.New(snapshot.Config{})
	nextFrame(t, feed, func(f *streams.Frame) bool { return f.Key })
	still, err := taker.Take(t.Context(), cam, feed)
	var p *devices.Problem
	if !errors.As(err, &p) || p.Code != snapshot.CodeDamaged || still.JPEG != nil || still.Frame != nil {
		t.Fatalf("still of %d bytes, %v", len(still.JPEG), err)
	}
	t.Log(p.Bilingual())
	nextFrame(t, other, func(f *streams.Frame) bool { return f.Key })
	still, err = taker.Take(t.Context(), good, other)
	if err != nil {
		t.Fatalf("the other camera: %v", err)
	}
	cameraPicture(t, still, 640, 360)

	server.Camera("bad").Damage(false)
	whole := feed.State().Frames
	nextFrame(t, feed, func(f *streams.Frame) bool { return f.Key && f.Seq > whole })
	if still, err = taker.Take(t.Context(), cam, feed); err != nil {
		t.Fatalf("after the damage: %v", err)
	}
	cameraPicture(t, still, 640, 360)
}
