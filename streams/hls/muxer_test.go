package hls_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/hls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clip reads a byte stream; its pictures come in steps of 40 ms.
func clip(t testing.TB, codec streams.Codec, name string) []*streams.Frame {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	a := streams.NewAssembler(codec, nil, nil, nil)
	var out []*streams.Frame
	for i, u := range streams.CutUnits(codec, streams.SplitAnnexB(data)) {
		f, err := a.Frame(u, time.Duration(i)*40*time.Millisecond, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// camera repeats a clip into a feed.
type camera struct {
	feed   *streams.Feed
	clip   []*streams.Frame // begins with a key frame
	step   time.Duration
	jitter time.Duration // that stamps are off at most
	group  int           // pictures from key frame to key frame; zero: as in the clip
	filler []byte        // added to each picture
	next   int
}

// shown gives the feed after n pictures.
func (c *camera) shown(n int) *streams.Feed {
	c.show(n)
	return c.feed
}

func newCamera(frames []*streams.Frame) *camera {
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	return &camera{feed: feed, clip: frames, step: 40 * time.Millisecond}
}

// show publishes n pictures at once, whose stamps go on as the camera's do.
func (c *camera) show(n int) {
	for range n {
		i := c.next % len(c.clip)
		if c.group > 0 {
			i = c.next % c.group % keyDistance(c.clip)
			if c.next%c.group >= keyDistance(c.clip) {
				i = 1 + (c.next%c.group)%(keyDistance(c.clip)-1)
			}
		}
		f := *c.clip[i]
		shift := time.Duration(c.next) * c.step
		if c.jitter > 0 {
			shift += time.Duration(c.next*7919%1000) * c.jitter / 1000
		}
		if c.filler != nil {
			f.NALUs = append(slices.Clone(f.NALUs), append([]byte{6, 5}, c.filler...)) // supplemental information
		}
		f.PTS, f.DTS, f.At = shift+f.PTS-f.DTS, shift, time.Now()
		c.feed.Publish(&f)
		c.next++
	}
}

// keyDistance is the number of pictures of the clip's first group.
func keyDistance(clip []*streams.Frame) int {
	for i, f := range clip {
		if i > 0 && f.Key {
			return i
		}
	}
	return len(clip)
}

// run shows pictures at their pace until ctx ends.
func (c *camera) run(ctx context.Context) {
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	for {
		c.show(1)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// serve runs m behind an HTTP server and gives its address.
func serve(t *testing.T, m *hls.Muxer) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := m.Serve(w, r, path.Base(r.URL.Path)); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
		}
	}))
	t.Cleanup(func() {
		cancel()
		<-ended
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return server.URL
}

func TestFFmpegPlays(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	cam := newCamera(clip(t, streams.H264, "../rtsp/rtsptest/demo.h264"))
	cam.show(100)
	ctx, cancel := context.WithCancel(t.Context())
	shown := make(chan struct{})
	go func() { defer close(shown); cam.run(ctx) }()
	defer func() { cancel(); <-shown }()
	url := serve(t, hls.New(cam.feed, hls.Config{}))
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-xerror", "-err_detect", "explode",
		"-i", url+"/index.m3u8", "-t", "5", "-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-f", "null", "-").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("ffmpeg: %v: %s", err, out)
	}
}

// eventually waits for cond, which is to come true by itself.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); {
		if time.Now().After(end) {
			t.Fatal(what)
		}
		runtime.Gosched()
	}
}

// ask gives the answer to one request, and the Problem that came instead.
func ask(m *hls.Muxer, name string) (*httptest.ResponseRecorder, *devices.Problem) {
	w := httptest.NewRecorder()
	var p *devices.Problem
	errors.As(m.Serve(w, httptest.NewRequest(http.MethodGet, "/"+name, nil), name), &p)
	return w, p
}

func TestH265IsSharedBySegments(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	path := filepath.Join(t.TempDir(), "clip.h265")
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x176:rate=25:duration=2", "-c:v", "libx265",
		"-x265-params", "log-level=error:keyint=25:bframes=0:no-open-gop=1", path).CombinedOutput()
	if err != nil {
		t.Skipf("no H.265 encoder: %v %s", err, out)
	}
	cam := newCamera(clip(t, streams.H265, path))
	cam.show(150)
	url := serve(t, hls.New(cam.feed, hls.Config{}))
	_, index := fetch(t, url+"/index.m3u8")
	if !strings.Contains(string(index), `CODECS="hvc1.`) {
		t.Errorf("playlist %s", index)
	}
	_, text := fetch(t, url+"/"+checkIndex(t, string(index)))
	list := parse(t, string(text))
	_, all := fetch(t, url+"/"+list.initial)
	for _, s := range list.segments[len(list.segments)-2:] {
		_, data := fetch(t, url+"/"+s.uri)
		all = append(all, data...)
	}
	whole := filepath.Join(t.TempDir(), "whole.mp4")
	if err := os.WriteFile(whole, all, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-xerror", "-err_detect", "explode", "-i", whole, "-f", "null", "-").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("ffmpeg: %v: %s", err, out)
	}
}

func TestReconnectBeginsAnotherPlaylist(t *testing.T) {
	cam := newCamera(clip(t, streams.H264, "../rtsp/rtsptest/demo.h264"))
	cam.show(100)
	m := hls.New(cam.feed, hls.Config{})
	url := serve(t, m)
	_, index := fetch(t, url+"/index.m3u8")
	before := checkIndex(t, string(index))
	cam.feed.Disconnected(nil)
	cam.feed.Connected()
	cam.next = 0 // its clock begins at 0 again
	cam.show(100)
	eventually(t, "the old playlist is still there", func() bool {
		_, p := ask(m, before)
		return p != nil && p.Code == "hls_renewed"
	})
	_, index = fetch(t, url+"/index.m3u8")
	_, text := fetch(t, url+"/"+checkIndex(t, string(index)))
	parse(t, string(text)).obeys(t)
}

func TestWhatCannotBeShownIsTold(t *testing.T) {
	still, err := streams.NewPictureParameters(640, 360)
	if err != nil {
		t.Fatal(err)
	}
	demo := clip(t, streams.H264, "../rtsp/rtsptest/demo.h264")
	away := streams.NewFeed(streams.FeedConfig{})
	away.Disconnected(&devices.Problem{Kind: devices.ErrUnavailable, Code: "camera_refused"})
	tests := []struct {
		name string
		feed *streams.Feed
		cfg  hls.Config
		file string
		code string
	}{
		{"MJPEG", newCamera([]*streams.Frame{{Params: still, NALUs: [][]byte{{0xff, 0xd8}}, Key: true}}).shown(1), hls.Config{}, "index.m3u8", "hls_not_possible"},
		{"a camera that is away", away, hls.Config{Patience: time.Millisecond}, "index.m3u8", "camera_refused"},
		{"more than the memory", newCamera(demo).shown(50), hls.Config{Bytes: 4096, Patience: 50 * time.Millisecond}, "index.m3u8", "hls_too_large"},
		{"a segment that never was", newCamera(demo).shown(50), hls.Config{}, "x_seg9.mp4", "hls_renewed"},
		{"a playlist that never was", newCamera(demo).shown(50), hls.Config{}, "x.m3u8", "hls_renewed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := hls.New(tt.feed, tt.cfg)
			serve(t, m)
			if w, p := ask(m, tt.file); p == nil || p.Code != tt.code || w.Body.Len() > 0 {
				t.Errorf("problem %+v, body %q", p, w.Body)
			}
		})
	}
}

// TestMemoryIsBounded shows a minute of large pictures, none of which the feed keeps.
func TestMemoryIsBounded(t *testing.T) {
	const most = 32 << 20
	demo := clip(t, streams.H264, "../rtsp/rtsptest/demo.h264")
	cam := newCamera(demo)
	cam.feed = streams.NewFeed(streams.FeedConfig{RingBytes: 8 << 20})
	cam.feed.Connected()
	cam.filler = make([]byte, 60<<10) // 12 Mbit/s
	cam.group = 25
	m := hls.New(cam.feed, hls.Config{Bytes: most})
	url := serve(t, m)
	cam.show(40)
	_, index := fetch(t, url+"/index.m3u8")
	name := checkIndex(t, string(index))
	before := heap()
	for i := range 60 {
		cam.show(25)
		fetch(t, fmt.Sprintf("%s/%s?_HLS_msn=%d", url, name, 8+i))
	}
	if grown := heap() - before; grown > most {
		t.Errorf("%d bytes more after a minute", grown)
	}
}

// heap is what is live.
func heap() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

func TestNothingIsMadeWhenNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cam := newCamera(clip(t, streams.H264, "../rtsp/rtsptest/demo.h264"))
		cam.show(100)
		m := hls.New(cam.feed, hls.Config{Grace: 30 * time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		synctest.Wait()
		if cam.feed.Wanted() {
			t.Error("made before anybody asked")
		}
		if _, p := ask(m, "index.m3u8"); p != nil {
			t.Error(p)
		}
		time.Sleep(29 * time.Second)
		synctest.Wait()
		if !cam.feed.Wanted() {
			t.Error("no longer made within the grace")
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if cam.feed.Wanted() {
			t.Error("still made after the grace")
		}
		cancel()
		<-ended
	})
}
