package e2e

import (
	"strings"
	"testing"
)

// testPlayerLadder watches a camera of the demo where first WebRTC and
// WebSockets are closed, and then HLS too.
func testPlayerLadder(t *testing.T) {
	chromium := needBrowser(t)
	d := startDemo(t)
	base, _, _ := strings.Cut(d.Console, "/#")
	type look struct {
		Time               float64
		Width, Frames, Sum int
	}
	var got struct {
		First, Later         look
		Caption, Left, Why   string
		Opened, Parts, Still int
		Scripts, Covered     []string
	}
	browse(t, "ladder.mjs", map[string]any{"chromium": chromium, "url": d.Console, "base": base}, &got)
	if got.Later.Width != 640 || got.Later.Frames-got.First.Frames < 20 || got.Later.Sum == got.First.Sum {
		t.Errorf("HLS: the picture does not move: %+v, %+v", got.First, got.Later)
	}
	if !strings.Contains(got.Caption, "HLS") || !strings.Contains(got.Left, "WebRTC 连接不上") || !strings.Contains(got.Left, "WebSocket 连接不上") {
		t.Errorf("HLS: says %q and %q", got.Caption, got.Left)
	}
	if got.Opened != 1 || got.Parts == 0 {
		t.Errorf("HLS: %d playbacks opened, want 1; %d requests for parts to come, want some", got.Opened, got.Parts)
	}
	if got.Still != 640 || !strings.Contains(got.Why, "静态画面") {
		t.Errorf("stills: %d pixels wide, says %q", got.Still, got.Why)
	}
	if len(got.Scripts) > 0 {
		t.Errorf("loaded before anybody watches HLS: %q", got.Scripts)
	}
	for _, c := range got.Covered {
		t.Errorf("the button covers the picture: %s", c)
	}
}
