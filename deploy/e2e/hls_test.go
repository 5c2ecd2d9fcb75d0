package e2e

import (
	"errors"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"offsite/streams/rtsp/rtsptest"
)

// testHLSByTicket plays a camera from another site's page and in ffmpeg, over HTTPS:
// a ticket opens the playback, and no more than its address is needed then.
func testHLSByTicket(t *testing.T) {
	chromium := needBrowser(t)
	p := startProgram(t, "")
	address, err := p.Encrypt()
	if err == nil {
		err = errors.Join(p.Stop(), p.Start(t.Context()))
	}
	if err != nil {
		t.Fatal(err)
	}
	p.post("/cameras", thing{"id": "yard", "site": "plant", "name": "yard", "url": rtspCameras(t, rtsptest.Config{}).URL("cam")})
	playlist := func() string {
		t.Helper()
		var ticket struct{ URL string }
		if err := p.Do(t.Context(), http.MethodPost, "/tickets", thing{"purpose": "hls", "target": "yard"}, &ticket); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(ticket.URL, "index.m3u8?ticket=") {
			t.Fatalf("the ticket is for %q", ticket.URL)
		}
		return "https://" + address + ticket.URL
	}

	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Error("ffmpeg is absent")
	}
	args := []string{"-nostdin", "-v", "error", "-tls_verify", "1", "-ca_file", filepath.Join(p.State, "tls.crt"), "-i", playlist(), "-frames:v", "45", "-f", "framecrc", "-"}
	out, err := exec.CommandContext(t.Context(), "ffmpeg", args...).CombinedOutput()
	sums := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if fields := strings.Split(line, ","); len(fields) >= 6 && !strings.HasPrefix(line, "#") {
			sums[fields[5]] = true
		}
	}
	if err != nil || len(sums) < 40 {
		t.Errorf("ffmpeg decodes %d pictures that differ of 45: %v\n%s", len(sums), err, out)
	}

	var got struct {
		First, Later struct {
			Time               float64
			Width, Frames, Sum int
		}
		Parts, Playlists, Elsewhere int
	}
	browse(t, "hls.mjs", map[string]any{"chromium": chromium, "url": playlist(), "selfSigned": true}, &got)
	if got.Later.Width != 640 || got.Later.Frames-got.First.Frames < 20 || got.Later.Sum == got.First.Sum {
		t.Errorf("hls.js: the picture does not move: %+v, %+v", got.First, got.Later)
	}
	if got.Parts == 0 || got.Playlists == 0 || got.Elsewhere > 0 {
		t.Errorf("hls.js asked for %d playlists to come, %d parts, and %d times with the ticket again", got.Playlists, got.Parts, got.Elsewhere)
	}
}
