package hls_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"testing"
	"time"

	"go.uber.org/goleak"

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
	feed  *streams.Feed
	clip  []*streams.Frame
	next  int
	began time.Time
}

func newCamera(frames []*streams.Frame) *camera {
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	return &camera{feed: feed, clip: frames, began: time.Now()}
}

// show publishes n pictures as if they had come in the time until now.
func (c *camera) show(n int) {
	for range n {
		f := *c.clip[c.next%len(c.clip)]
		f.PTS = f.PTS - f.DTS + time.Duration(c.next)*40*time.Millisecond
		f.DTS = time.Duration(c.next) * 40 * time.Millisecond
		f.At = time.Now()
		c.feed.Publish(&f)
		c.next++
	}
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
