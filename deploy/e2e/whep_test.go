package e2e

import (
	"strings"
	"testing"
)

// testWebRTC watches a camera of the demo with low latency.
func testWebRTC(t *testing.T) {
	chromium := needBrowser(t)
	d := startDemo(t)
	base, _, _ := strings.Cut(d.Console, "/#")
	type look struct {
		Time               float64
		Width, Frames, Sum int
	}
	type told struct {
		First, Later  look
		Caption, Left string
	}
	var got struct {
		Chosen            string
		UDP, TCP, Neither told
	}
	browse(t, "whep.mjs", map[string]any{"chromium": chromium, "url": d.Console, "base": base}, &got)
	for _, tt := range []struct {
		name, way string
		told
		left string
	}{
		{"UDP", "WebRTC", got.UDP, ""},
		{"TCP", "WebRTC", got.TCP, ""},
		{"neither", "WebSocket", got.Neither, "WebRTC 连接不上"},
	} {
		if tt.Later.Width != 640 || tt.Later.Frames-tt.First.Frames < 20 || tt.Later.Sum == tt.First.Sum {
			t.Errorf("%s: the picture does not move: %+v, %+v", tt.name, tt.First, tt.Later)
		}
		if !strings.Contains(tt.Caption, tt.way) || !strings.Contains(tt.Left, tt.left) || (tt.left == "" && tt.Left != "") {
			t.Errorf("%s: says %q and %q", tt.name, tt.Caption, tt.Left)
		}
	}
	if !strings.Contains(got.Chosen, "开") {
		t.Errorf("the choice says %q", got.Chosen)
	}
}
