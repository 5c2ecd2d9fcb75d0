package edge

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/edge/breach"
	"offsite/edge/ptz"
	"offsite/edge/yardtest"
	"offsite/streams"
	"offsite/streams/onvif"
	"offsite/streams/onvif/onviftest"
	"offsite/streams/rtsp/rtsptest"
)

// TestACameraThatTheGatewayTurns steers a camera over a real socket, which shows one picture
// at home and another at its first preset.
func TestACameraThatTheGatewayTurns(t *testing.T) {
	t.Parallel()
	home, gate := rtsptest.Demo(), another(t)
	server, err := rtsptest.Listen(rtsptest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	device, err := onviftest.Listen(onviftest.Config{Username: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for _, run := range []func(context.Context) error{server.Run, device.Run} {
		go func() { done <- run(ctx) }()
	}
	defer func() { cancel(); <-done; <-done }()
	b := startBoxWith(t, t.TempDir(), nil, func(cfg *Config) {
		w := &cfg.Video.Watch
		w.Every, w.Settle, w.Holds = unwatched, devices.Duration(4*time.Second), devices.Duration(time.Millisecond)
	})
	yardtest.Register(t, b.Registry, &devices.Camera{
		ID: "eye", Site: "plant", Name: "眼", URL: server.URL("cam"), Pull: devices.PullAlways, ONVIF: device.URL(), Username: "u", Password: "p",
	})
	b.await("the camera", func(u Update) bool { return u.Camera != nil && u.Camera.Connected })
	s := restarted(b)
	who := ptz.Mover{ID: "li", Name: "李"}
	shows := func(clip *rtsptest.Clip) {
		t.Helper()
		if err := server.Camera("cam").Play(clip); err != nil {
			t.Fatal(err)
		}
		b.awaitKeys(ctx, 3)
	}
	stands := func(want ptz.Stance) {
		t.Helper()
		for b.PTZ.Stance("eye").Moves { // a real device lies between
			time.Sleep(10 * time.Millisecond)
		}
		for i := 0; i < 4 || !want.Astray && !s.knows(want.Place) && i < 20; i++ {
			if rule := s.looks(t); rule != "" {
				t.Errorf("found %s", rule)
			}
		}
		got := b.PTZ.Stance("eye")
		got.Since = time.Time{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}

	b.awaitKeys(ctx, 3)
	stands(ptz.Stance{})
	if err := b.PTZ.GoTo(ctx, "eye", who, "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.SetReference(ctx, "eye", "li", nothingElse); err == nil || devices.AllProblems(err)[0].Code != "camera_moves" {
		t.Errorf("a reference is taken while it turns: %v", err)
	}
	if rule := s.looks(t); rule != "" || s.watches["eye"].place != "" {
		t.Errorf("found %q at %q while it turns", rule, s.watches["eye"].place)
	}
	shows(gate)
	stands(ptz.Stance{Place: "1"})
	list, err := b.References.Of(ctx, "eye")
	if err != nil || len(list) != 2 || list[0].Place != "" || list[1].Place != "1" {
		t.Errorf("references %d: %v", len(list), err)
	}
	if err := b.PTZ.Nudge(ctx, "eye", who, onvif.Vector{Pan: 0.1}); err != nil {
		t.Fatal(err)
	}
	stands(ptz.Stance{Astray: true})
	shows(home) // somebody has turned it back by hand
	stands(ptz.Stance{})
	shows(gate) // but not by the gateway
	s.looks(t)
	time.Sleep(5 * time.Millisecond) // the finding must hold
	if rule := s.looks(t); rule != breach.CameraMoved {
		t.Errorf("found %q of a camera that others have turned", rule)
	}
	if _, err := b.PTZ.SetPreset(ctx, "eye", who, "1", "大门"); err != nil {
		t.Fatal(err)
	}
	if list, err = b.References.Of(ctx, "eye"); err != nil || len(list) != 1 {
		t.Errorf("%d references after the preset was replaced: %v", len(list), err)
	}
}

// another is a clip of another place than the demonstration's.
func another(t *testing.T) *rtsptest.Clip {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: nothing to draw with")
	}
	path := filepath.Join(t.TempDir(), "gate.h264")
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i",
		"mandelbrot=size=640x360:rate=25:start_scale=0.02:start_x=-0.743:start_y=0.131:end_scale=0.019:maxiter=100", "-t", "4", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-bf", "0", "-g", "10", path).CombinedOutput()
	if err != nil {
		t.Skipf("ffmpeg cannot code H.264: %v: %s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clip, err := rtsptest.NewClip(streams.H264, data, 25)
	if err != nil {
		t.Fatal(err)
	}
	return clip
}

// awaitKeys waits for key frames of the camera.
func (b *runningBox) awaitKeys(ctx context.Context, n int) {
	b.t.Helper()
	feed, err := b.Cameras.Feed("eye", devices.MainProfile)
	if err != nil {
		b.t.Fatal(err)
	}
	r := feed.Subscribe()
	defer r.Close()
	for keys := 0; keys < n; {
		f, err := r.Next(ctx)
		if err != nil {
			b.t.Fatal(err)
		}
		if f.Key {
			keys++
		}
	}
}
