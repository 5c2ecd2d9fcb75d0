package rtsp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/rtsp"
	"offsite/streams/rtsp/rtsptest"
)

// TestMain runs many tests at once, whatever the cores: they wait for cameras that
// play in real time.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// serve runs cameras for the test's time.
func serve(t *testing.T, cfg rtsptest.Config) *rtsptest.Server {
	t.Helper()
	s, err := rtsptest.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) { _ = s.Run(ctx) })
	return s
}

func background(t *testing.T, fn func(context.Context)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func camera(s *rtsptest.Server) devices.Camera {
	return devices.Camera{ID: "cam-1", Site: "site-1", Name: "门口", URL: s.URL("cam")}
}

// pull runs a source until its camera is connected and gives the feed and the
// error that it will end with.
func pull(t *testing.T, cam devices.Camera, cfg rtsp.Config) (*streams.Feed, <-chan error) {
	t.Helper()
	src, err := rtsp.Open(cam, cfg)
	if err != nil {
		t.Fatal(err)
	}
	feed := streams.NewFeed(streams.FeedConfig{})
	ended := make(chan error, 1)
	background(t, func(ctx context.Context) { ended <- src.Run(ctx, feed) })
	return feed, ended
}

func frames(t *testing.T, feed *streams.Feed, n int) []*streams.Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := feed.Subscribe()
	defer r.Close()
	var out []*streams.Frame
	for range n {
		f, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("after %d frames: %v; %+v", len(out), err, feed.State())
		}
		out = append(out, f)
	}
	return out
}

func TestPullsFramesInOrder(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		server    rtsptest.Config
		transport string
		user      string
	}{
		{"tcp", rtsptest.Config{}, "tcp", ""},
		{"default transport", rtsptest.Config{}, "", ""},
		{"udp", rtsptest.Config{UDP: true}, "udp", ""},
		{"parameter sets in band alone", rtsptest.Config{Bare: true}, "tcp", ""},
		{"digest", rtsptest.Config{User: "admin", Password: "p:ä/ss@word"}, "tcp", "admin"},
		{"basic", rtsptest.Config{User: "admin", Password: "pä/ss@word", Basic: true}, "tcp", "admin"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, tt.server)
			cam := camera(s)
			cam.Transport, cam.Username, cam.Password = tt.transport, tt.user, devices.Secret(tt.server.Password)
			feed, _ := pull(t, cam, rtsp.Config{})
			got := frames(t, feed, 20)
			if !got[0].Key {
				t.Error("the first frame is no key frame")
			}
			for i, f := range got {
				if f.Params.Width != 640 || f.Params.Height != 360 {
					t.Errorf("frame %d is %dx%d", i, f.Params.Width, f.Params.Height)
				}
				if i > 0 {
					step := f.PTS - got[i-1].PTS
					if step < 66*time.Millisecond || step > 67*time.Millisecond {
						t.Errorf("frame %d is %v after the one before, want 66.7 ms", i, step)
					}
				}
			}
			if s := feed.State(); !s.Connected || s.Damaged != 0 || s.Connections != 1 {
				t.Errorf("state %+v", s)
			}
		})
	}
}

func TestFailuresAreTold(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		server rtsptest.Config
		change func(*devices.Camera)
		code   string
		field  string
	}{
		{"wrong password", rtsptest.Config{User: "admin", Password: "right-one"}, func(c *devices.Camera) { c.Username, c.Password = "admin", "canary-password" }, rtsp.CodePassword, "password"},
		{"wrong password, basic", rtsptest.Config{User: "admin", Password: "right-one", Basic: true}, func(c *devices.Camera) { c.Username, c.Password = "admin", "canary-password" }, rtsp.CodePassword, "password"},
		{"no password", rtsptest.Config{User: "admin", Password: "right-one"}, func(*devices.Camera) {}, rtsp.CodePassword, "username"},
		{"unknown path", rtsptest.Config{}, func(c *devices.Camera) { c.URL += "-no" }, rtsp.CodePath, "url"},
		{"nobody there", rtsptest.Config{}, func(c *devices.Camera) { c.URL = "rtsp://127.0.0.1:1/cam" }, rtsp.CodeUnreachable, "url"},
		{"no video", rtsptest.Config{NoVideo: true}, func(*devices.Camera) {}, rtsp.CodeNoVideo, "url"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			cam := camera(serve(t, tt.server))
			tt.change(&cam)
			feed, ended := pull(t, cam, rtsp.Config{Timeout: 3 * time.Second, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
			err := <-ended
			var p *devices.Problem
			if !errors.As(err, &p) || p.Code != tt.code || p.Field != tt.field {
				t.Fatalf("got %v, want code %s of field %s", err, tt.code, tt.field)
			}
			if !errors.Is(err, devices.ErrUnavailable) || p.ZH == "" || p.EN == "" {
				t.Errorf("problem %+v", p)
			}
			if got := feed.State(); got.Connected || got.Problem != p {
				t.Errorf("feed says %+v", got)
			}
			if all := fmt.Sprintf("%v %+v %s", err, err, log.String()); strings.Contains(all, "canary") {
				t.Errorf("the password shows: %s", all)
			}
		})
	}
}

// What is published is what the camera encoded, byte for byte, whatever gets
// lost on the way: a picture with a hole is never passed on, and what depends on one
// that is missing is marked until the next key frame.
func TestLossLeavesNoHoles(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := serve(t, rtsptest.Config{UDP: true})
			whole := map[[sha256.Size]byte]int{} // in the order of sending, from one on
			for i, unit := range demoUnits(t) {
				whole[sha256.Sum256(bytes.Join(unit, nil))] = i + 1
			}
			s.Camera("cam").Lose(29) // some of the key frames, which have eight packets, stay whole
			cam := camera(s)
			cam.Transport = transport
			feed, _ := pull(t, cam, rtsp.Config{})
			before, broken, marked := 0, false, 0
			for _, f := range frames(t, feed, 60) {
				i := whole[sha256.Sum256(bytes.Join(f.NALUs, nil))]
				if i == 0 {
					t.Errorf("frame %d, key %v, of %d bytes is not as the camera sent it", f.Seq, f.Key, f.Size())
				}
				if broken = !f.Key && (broken || i != before+1); f.Broken != broken {
					t.Errorf("frame %d, number %d behind %d of the clip: broken %v, want %v", f.Seq, i, before, f.Broken, broken)
				}
				if before = i; broken {
					marked++
				}
			}
			if marked == 0 {
				t.Error("nothing that depends on a lost picture has come")
			}
			if s := feed.State(); s.Damaged == 0 {
				t.Errorf("loss is not counted: %+v", s)
			}
		})
	}
}

func TestStallIsNoticed(t *testing.T) {
	t.Parallel()
	s := serve(t, rtsptest.Config{})
	feed, ended := pull(t, camera(s), rtsp.Config{Stall: 2 * time.Second})
	frames(t, feed, 2)
	s.Camera("cam").Stall(true)
	var p *devices.Problem
	if err := <-ended; !errors.As(err, &p) || p.Code != rtsp.CodeStalled {
		t.Errorf("got %v, want %s", err, rtsp.CodeStalled)
	}
}

func TestDisappearanceIsNoticedAndTheNextRunGoesOn(t *testing.T) {
	t.Parallel()
	s := serve(t, rtsptest.Config{})
	src, err := rtsp.Open(camera(s), rtsp.Config{})
	if err != nil {
		t.Fatal(err)
	}
	feed := streams.NewFeed(streams.FeedConfig{})
	ended := make(chan error, 1)
	background(t, func(ctx context.Context) { ended <- src.Run(ctx, feed) })
	frames(t, feed, 2)
	s.Camera("cam").Disappear(true)
	if err := <-ended; err == nil || feed.State().Connected {
		t.Fatalf("ended with %v, state %+v", err, feed.State())
	}
	background(t, func(ctx context.Context) { ended <- src.Run(ctx, feed) })
	var p *devices.Problem
	if err := <-ended; !errors.As(err, &p) || p.Code != rtsp.CodePath {
		t.Fatalf("got %v, want %s", err, rtsp.CodePath)
	}
	s.Camera("cam").Disappear(false)
	background(t, func(ctx context.Context) {
		for ctx.Err() == nil { // the stream exists again from the camera's next picture on
			_ = src.Run(ctx, feed)
		}
	})
	got := frames(t, feed, 2)
	if got[1].Connection != 2 || !got[0].Key {
		t.Errorf("frame of connection %d, key %v", got[1].Connection, got[0].Key)
	}
}

func TestResolutionChangesInBand(t *testing.T) {
	t.Parallel()
	s := serve(t, rtsptest.Config{})
	feed, _ := pull(t, camera(s), rtsp.Config{})
	frames(t, feed, 2)
	small := smallClip(t)
	if err := s.Camera("cam").Play(small); err != nil {
		t.Fatal(err)
	}
	r := feed.Subscribe()
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		f, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if f.Params.Width == 160 {
			if !f.Key || f.Params.Height != 96 {
				t.Errorf("key %v, %dx%d", f.Key, f.Params.Width, f.Params.Height)
			}
			return
		}
	}
}

func TestOpenRefusesBadCameras(t *testing.T) {
	t.Parallel()
	_, err := rtsp.Open(devices.Camera{ID: "c", Site: "s", Name: "n", URL: "http://x/"}, rtsp.Config{})
	if !errors.Is(err, devices.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}
