package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"offsite/deploy/peers"
	"offsite/gateway/api/contract"
)

// timeline gives what the gateway tells of a camera's recording since from.
func (p *program) timeline(camera string, from time.Time) (tl contract.RecordingTimeline, err error) {
	q := url.Values{"from": {from.Format(time.RFC3339)}, "to": {time.Now().Add(time.Minute).Format(time.RFC3339)}}
	return tl, p.Do(p.t.Context(), http.MethodGet, "/cameras/"+camera+"/recordings?"+q.Encode(), nil, &tl)
}

// fetch gets a path of the gateway with the program's token.
func (p *program) fetch(path, span string) (*http.Response, []byte) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, strings.TrimSuffix(p.API, "/api/v1")+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.Token)
	if span != "" {
		req.Header.Set("Range", span)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp, body
}

// picturesIn lets ffprobe decode a file, which must make it say nothing, and
// counts its pictures.
func picturesIn(t *testing.T, path string) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", path)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	var n int
	if _, scan := fmt.Sscan(string(out), &n); err != nil || said.Len() > 0 || scan != nil {
		t.Fatalf("ffprobe of %s: %v: %s %s", filepath.Base(path), err, out, said.String())
	}
	return n
}

// TestRecordingOfACameraThatIsNotOurs records it, loses it, ends the gateway hard
// and plays all that is left.
func TestRecordingOfACameraThatIsNotOurs(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ffprobe"); err != nil {
		t.Skip("ffprobe is absent: apt-get install ffmpeg")
	}
	clip := cameraClip(t, "h264", 20)
	gst := startGstCamera(t, clip)
	p := startProgram(t, "recording:\n  segment: 4s\n")
	began := time.Now().Add(-time.Second)
	p.post("/cameras", thing{"id": "yard", "site": "plant", "name": "yard", "url": gst.camera().URL, "record": "continuous"})
	recorded := func(stretches int, length time.Duration) func() error {
		return func() error {
			tl, err := p.timeline("yard", began)
			if n := len(tl.Stretches); err == nil && (n != stretches || tl.Stretches[n-1].To.Sub(tl.Stretches[n-1].From) < length) {
				err = fmt.Errorf("recorded %+v", tl.Stretches)
			}
			return err
		}
	}
	p.await("three segments", recorded(1, 11*time.Second))
	gst.kill()
	p.await("a gap with its reason", func() error {
		tl, err := p.timeline("yard", began)
		if n := len(tl.Gaps); err == nil && (n == 0 || tl.Gaps[n-1].Why.Code == "recording_off") {
			err = fmt.Errorf("gaps %+v", tl.Gaps)
		}
		return err
	})
	startGstCamera(t, clip, "--port", gst.port)
	p.await("the camera is recorded again", recorded(2, 6*time.Second))
	tl, err := p.timeline("yard", began)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v, gaps %+v", tl.Stretches, tl.Gaps)

	from, to := tl.Stretches[0].From, tl.Stretches[1].From.Add(3*time.Second)
	var taken contract.RecordingExport
	if err := p.Do(t.Context(), http.MethodPost, "/cameras/yard/recordings:export", thing{"from": from, "to": to, "reason": "执法检查"}, &taken); err != nil {
		t.Fatal(err)
	}
	if len(taken.Parts) != 1 {
		t.Fatalf("%+v", taken)
	}
	resp, whole := p.fetch(taken.Parts[0].URL, "")
	if sum := sha256.Sum256(whole); resp.StatusCode != http.StatusOK || hex.EncodeToString(sum[:]) != taken.Parts[0].Sha256 || len(taken.Gaps) != 1 {
		t.Errorf("%d, %d bytes are not those of %+v", resp.StatusCode, len(whole), taken)
	}
	resp, part := p.fetch(taken.Parts[0].URL, "bytes=5000-9999")
	if resp.StatusCode != http.StatusPartialContent || !bytes.Equal(part, whole[5000:10000]) {
		t.Errorf("a range: %d, %d bytes", resp.StatusCode, len(part))
	}
	path := filepath.Join(t.TempDir(), "export.mp4")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	want := (tl.Stretches[0].To.Sub(from) + 3*time.Second).Seconds() * 10 // pictures a second
	if n := picturesIn(t, path); float64(n) < want-12 || float64(n) > want+12 {
		t.Errorf("%d pictures in the export, want about %.0f", n, want)
	}

	p.Kill()
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.await("recording goes on", func() error {
		tl, err := p.timeline("yard", began)
		if err == nil && (len(tl.Stretches) < 2 || time.Since(tl.Stretches[len(tl.Stretches)-1].To) > 5*time.Second) {
			err = errors.New("nothing new")
		}
		return err
	})
	files, pictures := 0, 0
	err = filepath.WalkDir(filepath.Join(p.State, "recordings"), func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".mp4") {
			files++
			pictures += picturesIn(t, path)
		}
		return err
	})
	if err != nil || files < 5 {
		t.Errorf("%d files: %v", files, err)
	}
	t.Logf("%d pictures in %d files", pictures, files)
}

// testRecordings plays a recording in Chromium, goes to and fro in it
// and exports a part, on a screen and on a phone.
func testRecordings(t *testing.T) {
	chromium := needBrowser(t)
	d := startDemo(t)
	gateway := peers.Offsite{API: d.API, Token: d.Token}
	var cam thing
	if err := gateway.Do(t.Context(), http.MethodGet, "/cameras/cam-1", nil, &cam); err != nil {
		t.Fatal(err)
	}
	cam["record"] = "continuous"
	if err := gateway.Do(t.Context(), http.MethodPut, "/cameras/cam-1", cam, nil); err != nil {
		t.Fatal(err)
	}
	base, _, _ := strings.Cut(d.Console, "/#")
	var got struct {
		Playing           []float64
		When, Hash, Wide  string
		Events            []string
		Back, Rate, Width float64
		Downloaded        int
	}
	browse(t, "recordings.mjs", map[string]any{"chromium": chromium, "url": d.Console, "base": base}, &got)
	if len(got.Playing) != 2 || got.Playing[1] < got.Playing[0]+2 || got.Width != 640 {
		t.Errorf("it does not play: %+v", got)
	}
	if got.Back >= got.Playing[1]-2 || got.Rate != 4 || got.When == "" {
		t.Errorf("seeking and speed: %+v", got)
	}
	if len(got.Events) == 0 || strings.Contains(strings.Join(got.Events, " "), "al-") {
		t.Errorf("the day's events are told as %q", got.Events)
	}
	if len(got.Hash) != 64 || got.Downloaded < 10_000 || got.Wide != "" {
		t.Errorf("export or phone: %+v", got)
	}
}
