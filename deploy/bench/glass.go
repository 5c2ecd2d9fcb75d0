package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"

	"offsite/streams"
	"offsite/streams/fmp4"
	"offsite/streams/whep"
)

// Where the console's player lies, from the repository's root.
const consoleWeb = "gateway/console/web"

// glassPage plays the camera again and again by the console's own player, reads
// the time code of each picture that is shown, and tells.
const glassPage = `<!doctype html><video muted autoplay playsinline width=640 height=360></video><script type="module">
import { Ladder, inBrowser } from '/live/player';
const tell = (told) => fetch('/tell', { method: 'POST', body: JSON.stringify(told) });
addEventListener('error', (e) => tell({ failure: e.message }));
addEventListener('unhandledrejection', (e) => tell({ failure: String(e.reason) }));
const asked = new URLSearchParams(location.search), base = '/api/v1/cameras/gate', video = document.querySelector('video');
const strip = new OffscreenCanvas(640, 32).getContext('2d', { willReadFrequently: true });
const behind = () => {
  strip.drawImage(video, 0, 0, 640, 32, 0, 0, 640, 32);
  const p = strip.getImageData(0, 16, 640, 1).data;
  let shown = 0;
  for (let bit = 0; bit < 20; bit++) if (p[(bit * 32 + 16) * 4] > 128) shown |= 1 << bit;
  return ((Date.now() % 2 ** 20) - shown + 2 ** 20) % 2 ** 20;
};
const play = (seconds) => new Promise((done) => {
  const began = performance.now(), lags = [];
  let first = 0, way = '';
  const ladder = new Ladder({ base, profile: 'main', lowLatency: asked.get('way') === 'webrtc', sub: false }, inBrowser(video, base, () => undefined), (s) => { way = s.rung.way; });
  const look = () => {
    const now = performance.now() - began;
    first ||= now;
    if (now > 3000) lags.push(behind());
    if (now < seconds * 1000) { video.requestVideoFrameCallback(look); return; }
    ladder.stop();
    done({ first, lags, way });
  };
  video.requestVideoFrameCallback(look);
});
const plays = [];
for (let i = 0; i < Number(asked.get('plays')); i++) {
  plays.push(await play(Number(asked.get('seconds'))));
  await new Promise((r) => setTimeout(r, 300 + 137 * i % 700)); // another place in the group
}
await tell({ plays });
</script>`

// played is what one play saw, in milliseconds.
type played struct {
	First float64
	Lags  []float64
	Way   string
}

// telling is what the page says when it is done.
type telling struct {
	Plays   []played
	Failure string // instead
}

// firstPicture measures how long the console's player in Chromium takes to show
// the first picture of a feed that runs, by WebSocket and by WebRTC.
func firstPicture(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("first-picture", flag.ContinueOnError)
	plays := flags.Int("n", 12, "plays by each way")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return inChromium(ctx, *plays, 0, func(way string, list []played, took time.Duration) {
		firsts := make([]float64, 0, len(list))
		for _, p := range list[1:] { // the first one loads the decoder as well
			firsts = append(firsts, p.First)
		}
		fmt.Printf("bench=first-picture way=%s n=%d seconds=%.1f p50_ms=%.0f p99_ms=%.0f cold_ms=%.0f\n", way, len(firsts), took.Seconds(), share(firsts, 0.5), share(firsts, 0.99), list[0].First)
	})
}

// glass measures how old pictures are when Chromium shows them: from drawing,
// through coder, feed and player, to the screen.
func glass(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("glass", flag.ContinueOnError)
	seconds := flags.Float64("seconds", 15, "length of each play; the first three seconds do not count")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return inChromium(ctx, 1, *seconds, func(way string, list []played, took time.Duration) {
		lags := list[0].Lags
		fmt.Printf("bench=glass way=%s n=%d seconds=%.1f rate_per_s=%.0f p50_ms=%.0f p99_ms=%.0f\n",
			way, len(lags), took.Seconds(), float64(len(lags))/(*seconds-3), share(lags, 0.5), share(lags, 0.99))
	})
}

// share gives the value below which this share of list lies.
func share(list []float64, of float64) float64 {
	if len(list) == 0 {
		return -1
	}
	slices.Sort(list)
	return list[min(len(list)-1, int(of*float64(len(list))))]
}

// inChromium plays a coded camera by each way and reports.
func inChromium(ctx context.Context, plays int, seconds float64, report func(way string, list []played, took time.Duration)) error {
	modules, remove, err := playerModules(ctx)
	if err != nil {
		return err
	}
	defer remove()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	feed := streams.NewFeed(streams.FeedConfig{})
	server := whep.New(whep.Defaults(), nil)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return codedCamera(ctx, feed) })
	g.Go(func() error { return server.Run(ctx, nil) })
	told := make(chan telling, 1)
	web := httptest.NewServer(glassServer(ctx, feed, server, modules, told))
	defer web.Close()
	g.Go(func() error {
		defer cancel()
		for _, way := range []string{"socket", "webrtc"} {
			began := time.Now()
			list, err := browse(ctx, fmt.Sprintf("%s/?way=%s&plays=%d&seconds=%g", web.URL, way, plays, seconds), told)
			if err != nil {
				return err
			}
			for _, p := range list {
				if p.Way != way {
					return fmt.Errorf("asked for %s, but it played by %s", way, p.Way)
				}
			}
			report(way, list, time.Since(began))
		}
		return context.Canceled
	})
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// playerModules makes the console's player into modules that a browser loads.
func playerModules(ctx context.Context) (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "offsite-player-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	script := `const ts = require('typescript'), fs = require('fs');
for (const f of [...fs.readdirSync('src/live').map((f) => 'live/' + f), 'api/client.ts']) {
  if (!f.endsWith('.ts') || f.endsWith('.test.ts')) continue;
  const to = process.argv[1] + '/' + f.replace(/\.ts$/, '');
  fs.mkdirSync(require('path').dirname(to), { recursive: true });
  fs.writeFileSync(to, ts.transpileModule(fs.readFileSync('src/' + f, 'utf8'), { compilerOptions: { module: 'esnext', target: 'es2022' } }).outputText);
}`
	cmd := exec.CommandContext(ctx, "node", "-e", script, dir)
	cmd.Dir = consoleWeb
	if out, err := cmd.CombinedOutput(); err != nil {
		remove()
		return "", nil, fmt.Errorf("the console's player: %w: %s (run npm ci in %s, and this from the repository's root)", err, out, consoleWeb)
	}
	return dir, remove, nil
}

// glassServer serves the page, the player and the camera.
func glassServer(ctx context.Context, feed *streams.Feed, server *whep.Server, modules string, told chan<- telling) http.Handler {
	muxer, track := fmp4.New(feed, fmp4.Config{}), whep.NewTrack(feed)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, glassPage)
	})
	for _, folder := range []string{"live", "api"} {
		mux.HandleFunc("GET /"+folder+"/{file}", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/javascript")
			http.ServeFile(w, r, filepath.Join(modules, folder, filepath.Base(r.PathValue("file"))))
		})
	}
	const camera = "/api/v1/cameras/gate/"
	mux.HandleFunc("GET "+camera+"live", func(w http.ResponseWriter, r *http.Request) {
		if conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled}); err == nil {
			_ = muxer.Serve(ctx, conn)
		}
	})
	mux.HandleFunc("POST "+camera+"whep", func(w http.ResponseWriter, r *http.Request) {
		offer, _ := io.ReadAll(r.Body)
		answer, err := server.Open(r.Context(), whep.Viewing{Track: track, Offer: string(offer)})
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Location", "whep/"+answer.ID)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, answer.SDP)
	})
	mux.HandleFunc("DELETE "+camera+"whep/{session}", func(_ http.ResponseWriter, r *http.Request) {
		_ = server.Close(r.PathValue("session"))
	})
	mux.HandleFunc("POST /tell", func(_ http.ResponseWriter, r *http.Request) {
		var what telling
		if json.NewDecoder(r.Body).Decode(&what) == nil {
			select {
			case told <- what:
			default: // it has failed before
			}
		}
	})
	return mux
}

// browse opens the page in Chromium until it has told.
func browse(ctx context.Context, url string, told <-chan telling) ([]played, error) {
	profile, err := os.MkdirTemp("", "offsite-chromium-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(profile) }()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	browser := exec.CommandContext(ctx, "chromium", strings.Fields("--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "+
		"--autoplay-policy=no-user-gesture-required --user-data-dir="+profile+" "+url)...)
	browser.Cancel = func() error { return browser.Process.Signal(os.Interrupt) }
	browser.WaitDelay = 5 * time.Second
	if err := browser.Start(); err != nil {
		return nil, fmt.Errorf("chromium: %w", err)
	}
	defer func() { cancel(); _ = browser.Wait() }()
	select {
	case what := <-told:
		if what.Failure != "" {
			return nil, fmt.Errorf("the page failed: %s", what.Failure)
		}
		return what.Plays, nil
	case <-ctx.Done():
		return nil, errors.New("nothing told by Chromium in time")
	}
}
