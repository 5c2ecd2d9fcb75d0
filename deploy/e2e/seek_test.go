package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"offsite/devices/state"
	"offsite/streams"
	"offsite/streams/clip"
	"offsite/streams/recording"
)

// seekPage goes to and fro in a video and tells how long each way took and how
// bright the upper half of the picture is there.
const seekPage = `<!doctype html><video muted preload="metadata" src="/video.mp4"></video><canvas width="16" height="16"></canvas><script>
const video = document.querySelector('video'), paper = document.querySelector('canvas').getContext('2d', {willReadFrequently: true});
const once = (name) => new Promise((done, failed) => {
  video.addEventListener(name, done, {once: true});
  video.addEventListener('error', () => failed(video.error.message), {once: true});
});
const tell = (told) => fetch('/tell', {method: 'POST', body: JSON.stringify(told)});
(async () => {
  const began = performance.now();
  await once('loadedmetadata');
  const told = {loaded: performance.now() - began, length: video.duration, seeks: []};
  for (const to of [50.5, 10.5, 58.5, 30.5, 0.5, 44.5]) {
    const from = performance.now();
    video.currentTime = to;
    await once('seeked');
    if (video.readyState < 2) await once('loadeddata');
    const took = performance.now() - from;
    paper.drawImage(video, 0, 0, video.videoWidth, video.videoHeight / 4, 0, 0, 16, 16);
    told.seeks.push({to, at: video.currentTime, took, level: paper.getImageData(8, 8, 1, 1).data[0]});
  }
  tell(told);
})().catch((e) => tell({error: String(e)}));
</script>`

type seekReport struct {
	Error  string
	Loaded float64 // ms
	Length float64 // s
	Seeks  []struct {
		To, At, Took float64
		Level        float64
	}
}

// minuteFilm is a minute, 25 pictures a second, a key frame every two seconds, of
// some thirty megabytes. The upper half of a picture is as bright as its second is
// late.
var minuteFilm = sync.OnceValues(func() ([]byte, error) {
	return exec.Command("ffmpeg", "-nostdin", "-v", "error", //nolint:noctx // it ends by itself
		"-f", "lavfi", "-i", "nullsrc=size=32x18:rate=25:duration=60,geq=lum='20+3*floor(T)':cb=128:cr=128,scale=320:96:flags=neighbor",
		"-f", "lavfi", "-i", "color=gray:size=320x96:rate=25:duration=60,noise=alls=60:allf=t", "-filter_complex", "[0][1]vstack",
		"-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "50", "-crf", "24", "-pix_fmt", "yuv420p", "-f", "h264", "-").Output()
})

// minuteFeed holds the film in its ring.
func minuteFeed(t *testing.T, began time.Time) *streams.Feed {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is absent: apt-get install ffmpeg")
	}
	data, err := minuteFilm()
	if err != nil {
		t.Fatal(err)
	}
	feed := streams.NewFeed(streams.FeedConfig{Ring: 2 * time.Minute, RingBytes: 256 << 20})
	feed.Connected()
	a := streams.NewAssembler(streams.H264, nil, nil, nil)
	for i, units := range streams.CutUnits(streams.H264, streams.SplitAnnexB(data)) {
		at := time.Duration(i) * 40 * time.Millisecond
		f, err := a.Frame(units, at, began.Add(at))
		if err != nil {
			t.Fatal(err)
		}
		feed.Publish(f)
	}
	return feed
}

// archiveOf opens the recordings of a gateway that does not run, and that has a database
// like each that has recorded.
func archiveOf(t *testing.T, dir string, cfg recording.Config) *recording.Archive {
	t.Helper()
	db, err := state.Open(t.Context(), state.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	archive, err := recording.Open(filepath.Join(dir, "recordings"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

// layFilm has the minutes of film recorded that begin then, into a directory that
// nothing else records in.
func layFilm(t *testing.T, archive *recording.Archive, camera string, began ...time.Time) {
	t.Helper()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, at := range began {
		_ = archive.Record(ended, camera, minuteFeed(t, at), at) // it has ended: what is there is written
	}
}

// slowReader gives at most so many bytes a second.
type slowReader struct {
	io.ReadSeeker
	rate float64
	read *atomic.Int64
}

func (s slowReader) Read(b []byte) (int, error) {
	n, err := s.ReadSeeker.Read(b[:min(len(b), 16<<10)])
	s.read.Add(int64(n))
	time.Sleep(time.Duration(float64(n) / s.rate * float64(time.Second)))
	return n, err
}

// seeks shows a video in Chromium by a way of a megabyte a second, and gives what
// seeking in it was like and how many bytes it took.
func seeks(t *testing.T, open func() io.ReadSeeker) (seekReport, int64) {
	t.Helper()
	chromium := needBrowser(t)
	told := make(chan seekReport, 1)
	var read atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(seekPage))
	})
	mux.HandleFunc("/video.mp4", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "video/mp4")
		http.ServeContent(w, r, "", time.Time{}, slowReader{open(), 1e6, &read})
	})
	mux.HandleFunc("/tell", func(_ http.ResponseWriter, r *http.Request) {
		var s seekReport
		if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
			s.Error = err.Error()
		}
		told <- s
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	defer server.CloseClientConnections()
	profile, err := os.MkdirTemp("", "offsite-chromium-") // its helpers may still write when the test ends
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(profile)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	browser := exec.CommandContext(ctx, chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--user-data-dir="+profile, server.URL)
	browser.Cancel = func() error { return browser.Process.Signal(os.Interrupt) }
	browser.WaitDelay = 5 * time.Second
	if err := browser.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = browser.Wait()
	}()
	select {
	case s := <-told:
		if s.Error != "" {
			t.Fatal(s.Error)
		}
		return s, read.Load()
	case <-ctx.Done():
		t.Fatal("the browser tells nothing")
		return seekReport{}, 0
	}
}

// TestClipsAreSoughtInABrowser goes to and fro in a minute of video by a slow way:
// each jump shows the picture of that second, and none waits for what lies between.
func TestClipsAreSoughtInABrowser(t *testing.T) {
	began := time.Now().Add(-10 * time.Minute).Truncate(time.Second)
	feed := minuteFeed(t, began)
	for _, tt := range []struct {
		name string
		open func(t *testing.T) func() io.ReadSeeker
	}{
		{"of a recording", func(t *testing.T) func() io.ReadSeeker {
			archive, err := recording.Open(t.TempDir(), recording.Config{Segment: 20 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = archive.Close() })
			layFilm(t, archive, "cam-1", began)
			c, err := archive.Clip("cam-1", began, began.Add(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			return func() io.ReadSeeker { return c.Open() }
		}},
		{"of an event", func(t *testing.T) func() io.ReadSeeker {
			path := filepath.Join(t.TempDir(), "clip.mp4")
			file, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = clip.Record(t.Context(), feed, began, began.Add(time.Minute), file, clip.Config{Caption: func(at time.Time) string { return at.Format(time.TimeOnly) }})
			if err != nil {
				t.Fatal(err)
			}
			if err := file.Close(); err != nil {
				t.Fatal(err)
			}
			if n := picturesIn(t, path); n != 1500 {
				t.Errorf("%d pictures", n)
			}
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return func() io.ReadSeeker { return bytes.NewReader(whole) }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			open := tt.open(t)
			size, _ := open().Seek(0, io.SeekEnd)
			report, read := seeks(t, open)
			t.Logf("%d bytes, of which %d were read; %+v", size, read, report)
			if math.Abs(report.Length-60) > 0.1 {
				t.Errorf("it lasts %v s", report.Length)
			}
			for _, s := range report.Seeks {
				// The brightness of a second, from limited to full range.
				want := (20 + 3*math.Floor(s.To) - 16) * 255 / 219
				if math.Abs(s.Level-want) > 1.7 || math.Abs(s.At-s.To) > 0.05 || s.Took > 3000 {
					t.Errorf("to %v s: at %v after %.0f ms, brightness %v, want %.1f", s.To, s.At, s.Took, s.Level, want)
				}
			}
		})
	}
}
