package edge

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"offsite/devices"
	"offsite/edge/notice"
	"offsite/edge/relay"
	"offsite/edge/yardtest"
	"offsite/streams"
)

func feed(t *testing.T, b *runningBox) *streams.Feed {
	t.Helper()
	f, err := b.Cameras.Feed("eye", devices.MainProfile)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestLiveViewIsShedFirst has somebody watch, takes the memory away and gives it back.
func TestLiveViewIsShedFirst(t *testing.T) {
	b := startBox(t, t.TempDir(), nil)
	yardtest.Register(t, b.Registry, &devices.Camera{ID: "eye", Site: "plant", Name: "眼", URL: "rtsp://127.0.0.1:1/x"})
	eventually(t, "no camera", func() bool { _, err := b.Cameras.Feed("eye", devices.MainProfile); return err == nil })
	ends := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		ends <- b.Cameras.View(r.Context(), "eye", devices.MainProfile, conn)
		_ = conn.CloseNow()
	}))
	defer server.Close()
	watch := func() {
		t.Helper()
		conn, _, err := websocket.Dial(t.Context(), server.URL, nil) //nolint:bodyclose // it has none
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.CloseNow() })
	}
	short := func(err error) bool {
		var p *devices.Problem
		return errors.As(err, &p) && p.Code == "memory_short"
	}
	watch()
	select {
	case err := <-ends:
		t.Fatalf("sent away while there is memory: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	b.memory.Look(0.92)
	if err := <-ends; !short(err) {
		t.Errorf("who watched: %v", err)
	}
	watch()
	if err := <-ends; !short(err) {
		t.Errorf("who came then: %v", err)
	}
	if err := b.Cameras.HLS(httptest.NewRecorder(), httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", nil), "eye", devices.MainProfile, "index.m3u8"); !short(err) {
		t.Errorf("by HLS: %v", err)
	}
	if _, err := b.Cameras.Enter(func(*devices.Problem) {}); !short(err) {
		t.Errorf("by RTSP: %v", err)
	}
	if p := b.notices.Why(notice.Memory); p == nil || strings.Contains(p.EN, "platform") {
		t.Errorf("people are told %+v", p)
	}
	ordered := func() error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nobody waits for the picture
		_, err := b.relay.Open(ctx, relay.Order{ID: "one", Camera: "eye", Feed: feed(t, b), For: time.Minute, To: streams.Receiver{URL: &url.URL{Scheme: "rtsps", Host: "127.0.0.1:1"}}})
		return err
	}
	if err := ordered(); err == nil || short(err) {
		t.Errorf("by the platform: %v", err)
	}
	b.memory.Look(0.96)
	if err := ordered(); !short(err) {
		t.Errorf("by the platform, when there is very little: %v", err)
	}
	if p := b.notices.Why(notice.Memory); p == nil || !strings.Contains(p.EN, "platform") {
		t.Errorf("people are told %+v", p)
	}
	b.memory.Look(0.84)
	if err := ordered(); err == nil || short(err) {
		t.Errorf("by the platform, when there is some again: %v", err)
	}
	if b.notices.Why(notice.Memory) == nil {
		t.Error("let in too early")
	}
	b.memory.Look(0.70)
	watch()
	select {
	case err := <-ends:
		t.Errorf("with memory again: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if b.notices.Why(notice.Memory) != nil {
		t.Error("it still says so")
	}
}
