package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"offsite/devices"
	"offsite/streams/fmp4"
	"offsite/streams/rtsp/rtsptest"
)

// playerPage is the least page that plays streams/fmp4 and tells how it fares.
const playerPage = `<!doctype html><video muted></video><script>
const video = document.querySelector('video'), ws = new WebSocket('ws://' + location.host + '/live');
ws.binaryType = 'arraybuffer';
let source, buffer, queue = [], heads = [], errors = [];
function pump() {
  if (!buffer || buffer.updating || !queue.length) return;
  const next = queue.shift();
  try { typeof next === 'string' ? buffer.changeType(next) : buffer.appendBuffer(next); } catch (e) { errors.push(String(e)); }
  if (typeof next === 'string') pump();
}
ws.onmessage = (m) => {
  if (typeof m.data !== 'string') { queue.push(m.data); pump(); return; }
  const head = JSON.parse(m.data);
  heads.push(head);
  if (head.mode !== 'live') return;
  const type = 'video/mp4; codecs="' + head.codec + '"';
  if (source) { queue.push(type); return; }
  source = new MediaSource();
  video.src = URL.createObjectURL(source);
  source.onsourceopen = () => {
    buffer = source.addSourceBuffer(type);
    buffer.onupdateend = () => {
      if (video.buffered.length && video.paused) {
        video.currentTime = video.buffered.end(video.buffered.length - 1) - 0.1;
        video.play().catch((e) => errors.push(String(e)));
      }
      pump();
    };
    pump();
  };
};
video.onerror = () => errors.push(video.error.message);
setInterval(() => { // over the time in which the camera was gone
  const last = video.buffered.length - 1;
  if (last > 0 && video.currentTime < video.buffered.start(last)) video.currentTime = video.buffered.start(last);
}, 250);
setInterval(() => fetch('/tell', {method: 'POST', body: JSON.stringify({
  time: video.currentTime, width: video.videoWidth, height: video.videoHeight, paused: video.paused,
  end: video.buffered.length ? video.buffered.end(video.buffered.length - 1) : 0, ranges: video.buffered.length,
  frames: video.getVideoPlaybackQuality().totalVideoFrames, heads, errors})}), 250);
</script>`

type playerReport struct {
	Time, End     float64
	Width, Height int
	Paused        bool
	Ranges        int
	Frames        int
	Heads         []map[string]any
	Errors        []string
}

// mode is the newest that was told, apart from how late the pictures are.
func (r playerReport) mode() any {
	for _, h := range slices.Backward(r.Heads) {
		if h["mode"] != "lag" {
			return h["mode"]
		}
	}
	return nil
}

// openPlayer shows the muxer's pictures in Chromium and gives its reports.
func openPlayer(t *testing.T, m *fmp4.Muxer) <-chan playerReport {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is absent: apt-get install chromium")
	}
	reports := make(chan playerReport, 1000)
	ctx, cancel := context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(playerPage))
	})
	mux.HandleFunc("/live", func(w http.ResponseWriter, r *http.Request) {
		if conn, err := websocket.Accept(w, r, nil); err == nil {
			_ = m.Serve(ctx, conn)
		}
	})
	mux.HandleFunc("/tell", func(_ http.ResponseWriter, r *http.Request) {
		var p playerReport
		if json.NewDecoder(r.Body).Decode(&p) == nil {
			select {
			case reports <- p:
			default:
			}
		}
	})
	server := httptest.NewServer(mux)
	profile, err := os.MkdirTemp("", "offsite-chromium-") // its helpers may still write when the test ends
	if err != nil {
		t.Fatal(err)
	}
	browser := exec.CommandContext(ctx, path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--autoplay-policy=no-user-gesture-required", "--user-data-dir="+profile, server.URL)
	browser.Cancel = func() error { return browser.Process.Signal(os.Interrupt) }
	browser.WaitDelay = 5 * time.Second
	if err := browser.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = browser.Wait()
		server.CloseClientConnections()
		server.Close()
		_ = os.RemoveAll(profile)
	})
	return reports
}

func testCameraPlays(t *testing.T) {
	server, err := rtsptest.Listen(rtsptest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	feed := superviseCamera(t, devices.Camera{ID: "cam-1", Site: "site-1", Name: "门口", URL: server.URL("cam")})
	reports := openPlayer(t, fmp4.New(feed, fmp4.Config{}))

	// until takes reports until one is as wanted.
	until := func(what string, ok func(playerReport) bool) playerReport {
		t.Helper()
		end := time.After(45 * time.Second)
		var last playerReport
		for {
			select {
			case last = <-reports:
				if len(last.Errors) > 0 {
					t.Fatalf("%s: player: %v", what, last.Errors)
				}
				if ok(last) {
					return last
				}
			case <-end:
				t.Fatalf("%s: last report %+v", what, last)
			}
		}
	}
	first := until("first picture", func(p playerReport) bool { return p.Width == 640 && p.Time > 0 })
	later := until("plays", func(p playerReport) bool { return p.Time > first.Time+3 })
	if later.Height != 360 || later.Ranges != 1 || later.Frames < 20 || later.End-later.Time > 2 {
		t.Errorf("after three seconds: %+v", later)
	}
	server.Camera("cam").Disappear(true)
	gone := until("says why it waits", func(p playerReport) bool { return p.mode() == "wait" })
	t.Logf("told: %v", gone.Heads[len(gone.Heads)-1])
	server.Camera("cam").Disappear(false)
	until("goes on after the camera came back", func(p playerReport) bool {
		return p.mode() == "live" && p.End > gone.End+2 && p.Time > gone.Time+2
	})
}
