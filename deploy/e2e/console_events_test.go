package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"offsite/streams"
	"offsite/streams/rtsp/rtsptest"
)

// testEvents narrows the list of alarms, on a screen and on a phone.
func testEvents(t *testing.T) {
	chromium := needBrowser(t)
	d := startDemo(t)
	base, _, _ := strings.Cut(d.Console, "/#")
	var got struct {
		Breach, Camera, Watched, Measured, Tomorrow []string
		Address, Kept, Back, Cleared, English       string
		Fold                                        []bool
		Wide                                        float64
	}
	browse(t, "events.mjs", map[string]any{"chromium": chromium, "url": d.Console, "base": base}, &got)
	dust := func(list []string) bool {
		return len(list) > 0 && !slices.ContainsFunc(list, func(s string) bool {
			return !strings.Contains(s, "大门扬尘监测点") && !strings.Contains(s, "噪声")
		})
	}
	if len(got.Breach) == 0 || len(got.Camera) > 0 || len(got.Tomorrow) > 0 {
		t.Errorf("of points %q, of pictures %q, of tomorrow %q", got.Breach, got.Camera, got.Tomorrow)
	}
	if !dust(got.Watched) || !dust(got.Measured) {
		t.Errorf("of the camera at the gate %q, of its dust meter %q", got.Watched, got.Measured)
	}
	if got.Address != "/events?camera=cam-1&what=breach" || got.Kept != got.Address || got.Back != got.Address || got.Cleared != "/events?show=open" {
		t.Errorf("kept as %q, after a reload %q, from an alarm back at %q, cleared %q", got.Address, got.Kept, got.Back, got.Cleared)
	}
	if !slices.Equal(got.Fold, []bool{false, true}) || got.Wide != 360 || !strings.Contains(got.English, "Filter (2)") {
		t.Errorf("on a phone: unfolded %v, %v pixels wide, says %q", got.Fold, got.Wide, got.English)
	}
}

// testReference sets what a camera ought to show on its page, then covers the
// camera: an event tells of it, with a picture, until it sees again.
func testReference(t *testing.T) {
	chromium := needBrowser(t)
	p := startProgram(t, "video:\n  watch:\n    every: 5s\n    holds: 5s\n    lost: 5s\n    settle: 1s\n")
	server := rtspCameras(t, rtsptest.Config{})
	p.post("/cameras", thing{"id": "yard", "site": "plant", "name": "煤场", "url": server.URL("cam"), "pull": "always"})
	hand := http.NewServeMux()
	for path, clip := range map[string]*rtsptest.Clip{"/cover": fog(t), "/uncover": rtsptest.Demo()} {
		hand.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			if err := server.Camera("cam").Play(clip); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	covers := httptest.NewServer(hand)
	t.Cleanup(covers.Close)
	task := visitor(t, demo{API: p.API, Token: p.Token, Console: strings.TrimSuffix(p.API, "/api/v1")}, chromium, "keeper", "staff")
	task["hand"] = covers.URL
	var got struct {
		Set, Kept, Asks, Title, Open, Ended string
		Reference, Evidence                 int
	}
	browse(t, "reference.mjs", task, &got)
	if !strings.Contains(got.Set, "由 keeper 设定") || !strings.Contains(got.Kept, "由 keeper 设定") || got.Reference != 640 || got.Asks == "" {
		t.Errorf("asked %q; the reference says %q, after a reload %q, %d pixels wide", got.Asks, got.Set, got.Kept, got.Reference)
	}
	if !strings.Contains(got.Title, "煤场") || !strings.Contains(got.Title, "镜头被遮挡") || !strings.Contains(got.Open, "报警中") || got.Evidence != 640 {
		t.Errorf("the covered camera: %q, %q, its picture is %d pixels wide", got.Title, got.Open, got.Evidence)
	}
	if !strings.Contains(got.Ended, "画面已恢复") {
		t.Errorf("uncovered it says %q", got.Ended)
	}
}

// fog is what a camera shows whose lens is covered.
func fog(t *testing.T) *rtsptest.Clip {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fog.h264")
	args := []string{
		"-nostdin", "-v", "error", "-f", "lavfi", "-i", "color=c=gray:size=640x360:rate=15", "-vf", "noise=alls=2:allf=t", "-t", "4",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "15", "-pix_fmt", "yuv420p", "-f", "h264", path,
	}
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", args...).CombinedOutput(); err != nil {
		t.Skipf("ffmpeg does not make the covered picture: %v %s", err, out)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clip, err := rtsptest.NewClip(streams.H264, text, 15)
	if err != nil {
		t.Fatal(err)
	}
	return clip
}
