package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sys/unix"

	"offsite/deploy/peers"
	"offsite/devices"
	"offsite/edge/dispatch/wire"
	"offsite/edge/memory"
	"offsite/streams"
	"offsite/streams/rtsp"
	"offsite/streams/rtsp/rtsptest"
)

// memoryGroup is a control group of the test's own.
type memoryGroup struct {
	*memory.Group
	t       *testing.T
	procs   string // file that takes in who writes its number there
	ballast string // file in memory that belongs to the group
}

// newMemoryGroup makes one that may take so many bytes. It skips the test where that
// is not allowed.
func newMemoryGroup(t *testing.T, limit int64) *memoryGroup {
	t.Helper()
	const root = "/sys/fs/cgroup"
	modbusTools(t, "fallocate", "sh")
	name := fmt.Sprintf("offsite-e2e-%d", os.Getpid())
	dir, file, self := filepath.Join(root, "memory", name), "memory.limit_in_bytes", "4:memory:/"+name+"\n"
	if _, err := os.Stat(filepath.Join(root, "memory")); err != nil {
		dir, file, self = filepath.Join(root, name), "memory.max", "0::/"+name+"\n"
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Skipf("no control group of our own here: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.FormatInt(limit, 10)), 0o600); err != nil {
		t.Skipf("this control group bounds no memory: %v", err)
	}
	inMemory := t.TempDir()
	if err := unix.Mount("offsite-e2e", inMemory, "tmpfs", 0, "size="+strconv.FormatInt(limit, 10)); err != nil {
		t.Skipf("no file system in memory: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(inMemory, 0); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(inMemory, "ballast")
	if err := os.WriteFile(ballast, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return &memoryGroup{Group: memory.Find(root, self), t: t, procs: filepath.Join(dir, "cgroup.procs"), ballast: ballast}
}

// program is the gateway as it runs inside the group.
func (g *memoryGroup) program() string {
	g.t.Helper()
	binary, err := programBinary()
	if err != nil {
		g.t.Fatal(err)
	}
	path := filepath.Join(g.t.TempDir(), "offsite")
	text := fmt.Sprintf("#!/bin/sh\necho $$ > %s\nexec %s \"$@\"\n", g.procs, binary)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil { //nolint:gosec // it is run
		g.t.Fatal(err)
	}
	return path
}

// level makes the ballast as large as it must be for this share of the group to be in
// use.
func (g *memoryGroup) level(ctx context.Context, share float64) error {
	use, err := g.Use()
	if err != nil {
		return err
	}
	st, err := os.Stat(g.ballast)
	if err != nil {
		return err
	}
	size := max(st.Size()+int64(share*float64(use.Limit))-use.Used, 0)
	if size <= st.Size() {
		return os.Truncate(g.ballast, size)
	}
	// Memory belongs to the group of who first touches it.
	fill := fmt.Sprintf("echo $$ > %s && exec fallocate -l %d %s", g.procs, size, g.ballast)
	if out, err := exec.CommandContext(ctx, "sh", "-c", fill).CombinedOutput(); err != nil {
		return fmt.Errorf("fallocate: %w: %s", err, out)
	}
	return nil
}

// hold keeps this share of the group in use, whatever the gateway takes, until let go.
func (g *memoryGroup) hold(share float64) (letGo func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			if err := g.level(ctx, share); err != nil && ctx.Err() == nil {
				g.t.Errorf("hold %.2f: %v", share, err)
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// viewed watches a camera by WebSocket and gives how that ends; it returns with the
// first picture.
func (p *program) viewed(camera string) <-chan error {
	p.t.Helper()
	header := http.Header{"Authorization": {"Bearer " + p.Token}}
	conn, _, err := websocket.Dial(p.t.Context(), "ws"+strings.TrimPrefix(p.API, "http")+"/cameras/"+camera+"/live", &websocket.DialOptions{HTTPHeader: header}) //nolint:bodyclose // of a WebSocket
	if err != nil {
		p.t.Fatal(err)
	}
	conn.SetReadLimit(16 << 20)
	first, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		defer conn.CloseNow() //nolint:errcheck // it is over
		var said []byte
		for picture := false; ; {
			kind, message, err := conn.Read(p.t.Context())
			if err != nil {
				ended <- fmt.Errorf("%s: %w", said, err)
				return
			}
			if kind == websocket.MessageText {
				said = message
			}
			if kind == websocket.MessageBinary && !picture {
				picture = true
				close(first)
			}
		}
	}()
	select {
	case <-first:
	case err := <-ended:
		p.t.Fatalf("no picture: %v", err)
	}
	return ended
}

// readBy reads a camera by RTSP and gives how that ends; it returns with the first picture.
func (p *program) readBy(address, camera string) <-chan error {
	p.t.Helper()
	source, err := rtsp.Open(devices.Camera{
		ID: "nvr", Site: "plant", Name: "nvr", URL: "rtsp://" + address + "/" + camera, Username: "nvr", Password: devices.Secret(p.Token),
	}, rtsp.Config{})
	if err != nil {
		p.t.Fatal(err)
	}
	feed := streams.NewFeed(streams.FeedConfig{})
	pictures := feed.Subscribe()
	defer pictures.Close()
	ended := make(chan error, 1)
	go func() { ended <- source.Run(p.t.Context(), feed) }()
	limited, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	if _, err := pictures.Next(limited); err != nil {
		p.t.Fatalf("no picture by RTSP: %v", err)
	}
	return ended
}

// TestPicturesGoBeforeMemoryDoes takes the gateway's memory away, as much as it has, and gives
// it back, while somebody watches by WebSocket, by RTSP and at the platform.
func TestPicturesGoBeforeMemoryDoes(t *testing.T) {
	t.Parallel()
	server := startGstReceiver(t, "")
	group := newMemoryGroup(t, 512<<20)
	address, err := peers.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	p := startProgramAs(t, group.program(), filepath.Join(t.TempDir(), "state"),
		"gateway:\n  rtsp: {listen: "+address+"}\nplatform:\n  push: {hosts: [127.0.0.1], insecure: true}\nvideo:\n  ffmpeg: none\n")
	publish := p.sensor(t, "stack")
	cameras := rtspCameras(t, rtsptest.Config{Paths: []string{"yard"}})
	p.post("/cameras", thing{"id": "yard", "site": "plant", "name": "yard", "url": cameras.URL("yard"), "pull": "always"})
	p.await("the camera", func() error { return p.plays("yard") })
	sent := thing{"camera": "yard", "profile": "main", "ttl_seconds": 600, "push_url": "rtsp://127.0.0.1:" + server.port + "/live"}
	opened := told[wire.StreamData](t, p.ask(wire.CommandTypeStreamOpen, sent))
	viewer, reader := p.viewed("yard"), p.readBy(address, "yard")

	letGo := group.hold(0.925)
	if err := <-viewer; websocket.CloseStatus(err) != websocket.StatusTryAgainLater || !strings.Contains(err.Error(), "内存不足") || !strings.Contains(err.Error(), "memory is short") {
		t.Errorf("the viewer by WebSocket: %v", err)
	}
	if err := <-reader; err == nil {
		t.Error("the reader by RTSP was not sent away")
	}
	p.await("notice", func() error { _, err := p.notice("memory_short"); return err })
	if list := p.platform.Streams(); len(list) != 0 {
		t.Errorf("the platform's stream has ended with the viewers': %+v", list)
	}
	letGo()

	letGo = group.hold(0.97)
	p.await("the end of the platform's stream", func() error { return wantCount(p.platform.Streams(), 1) })
	if end := p.platform.Streams()[0]; end.Stream != opened.Stream || end.Reason != wire.StreamEndReasonMemoryShort || !strings.Contains(end.Problem.TitleZh, "内存") || !strings.Contains(end.Problem.Title, "memory") {
		t.Errorf("%+v", end)
	}
	if r := p.ask(wire.CommandTypeStreamOpen, sent); r.Problem.Code != "memory_short" {
		t.Errorf("another one: %+v", r)
	}
	publish("offsite/stack/v", at(-time.Second, 150))
	p.await("a breach is told meanwhile", func() error { return wantCount(p.told("stack.v", wire.EventStepOpened), 1) })
	letGo()

	if err := os.Truncate(group.ballast, 0); err != nil {
		t.Fatal(err)
	}
	p.await("memory again", func() error {
		if _, err := p.notice("memory_short"); err == nil {
			return errors.New("it still says so")
		}
		return nil
	})
	p.viewed("yard")
	p.readBy(address, "yard")
	told[wire.StreamData](t, p.ask(wire.CommandTypeStreamOpen, sent))
	if use, err := group.Use(); err == nil {
		t.Logf("the gateway takes %d MiB of %d", use.Used>>20, use.Limit>>20)
	}
}
