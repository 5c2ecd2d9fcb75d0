package edge

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coder/websocket"

	"offsite/devices"
	"offsite/edge/notice"
	"offsite/edge/yardtest"
)

func TestTheNearestLimitOfMemoryCounts(t *testing.T) {
	root := t.TempDir()
	lay := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	lay("box/memory.max", "1000\n")
	lay("box/memory.current", "950\n")
	lay("box/memory.stat", "anon 800\ninactive_file 150\n")
	lay("box/inner/memory.max", "max\n")
	lay("memory/old/memory.limit_in_bytes", "500\n")
	lay("memory/old/memory.usage_in_bytes", "500\n")
	lay("memory/old/memory.stat", "inactive_file 1\ntotal_inactive_file 50\n")
	lay("memory/free/memory.limit_in_bytes", "9223372036854771712\n")
	for _, tt := range []struct {
		name, self string
		want       float64 // 0: no limit
	}{
		{"its own, version 2", "0::/box\n", 0.8},
		{"that around it", "0::/box/inner\n", 0.8},
		{"version 1", "4:memory:/old\n0::/\n", 0.9},
		{"none", "4:memory:/free\n0::/elsewhere\n", 0},
		{"nonsense", "memory\n\n", 0},
	} {
		m := openMemory(root, tt.self)
		if (m != nil) != (tt.want != 0) {
			t.Errorf("%s: %+v", tt.name, m)
			continue
		}
		if m != nil {
			if used, err := m.used(); err != nil || used != tt.want {
				t.Errorf("%s: %v, %v", tt.name, used, err)
			}
		}
	}
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
	b.lookAtMemory(0.92)
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
	if p := b.notices.Why(notice.Memory); p == nil {
		t.Error("nobody is told")
	}
	b.lookAtMemory(0.85)
	if b.notices.Why(notice.Memory) == nil {
		t.Error("let in too early")
	}
	b.lookAtMemory(0.70)
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
