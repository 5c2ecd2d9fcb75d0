package cameras_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"offsite/devices"
	"offsite/edge/cameras"
	"offsite/streams"
	"offsite/streams/clip"
	"offsite/streams/rtsp"
	"offsite/streams/rtsp/rtsptest"
)

// quiet is a ledger that nothing is noted in.
type quiet struct{}

func (quiet) Miss(string, time.Time, *devices.Problem) {}
func (quiet) End(string, time.Time)                    {}

// shown keeps what was shown and wakes who waits.
type shown struct {
	mu   sync.Mutex
	list []cameras.Status
	wake chan struct{}
}

func (s *shown) add(st cameras.Status) {
	s.mu.Lock()
	s.list = append(s.list, st)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// await waits until the newest that was shown is as wanted.
func (s *shown) await(t *testing.T, what string, ok func(cameras.Status) bool) {
	t.Helper()
	end := time.After(time.Minute)
	for {
		s.mu.Lock()
		n := len(s.list)
		done := n > 0 && ok(s.list[n-1])
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-s.wake:
		case <-end:
			t.Fatalf("%s: not shown; %d shown", what, n)
		}
	}
}

// pulled runs a camera of its own server for the test's time.
func pulled(t *testing.T, served rtsptest.Config, change func(*devices.Camera)) (*cameras.Feeds, *rtsptest.Server, *shown) {
	t.Helper()
	served.Paths = []string{"main", "sub"}
	server, err := rtsptest.Listen(served)
	if err != nil {
		t.Fatal(err)
	}
	s := &shown{wake: make(chan struct{}, 1)}
	feeds := cameras.New(cameras.Config{
		RTSP: rtsp.Config{Timeout: 3 * time.Second}, Notes: quiet{}, Show: s.add, Grace: 200 * time.Millisecond,
		Pause: func(int) time.Duration { return 50 * time.Millisecond },
	})
	cam := devices.Camera{ID: "cam-1", Site: "yard", Name: "大门", URL: server.URL("main"), SubURL: server.URL("sub")}
	change(&cam)
	task := feeds.Task(cam)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Run(ctx) })
	wg.Go(func() { _ = task(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return feeds, server, s
}

func first(t *testing.T, feeds *cameras.Feeds, p devices.Profile) (*streams.Feed, *streams.Reader) {
	t.Helper()
	feed, err := feeds.Feed("cam-1", p)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := feed.Subscribe()
	f, err := r.Next(ctx)
	if err != nil || !f.Key {
		t.Fatalf("%v, %+v", err, feed.State())
	}
	return feed, r
}

func TestPulledWhileSomebodyWatches(t *testing.T) {
	feeds, _, s := pulled(t, rtsptest.Config{}, func(*devices.Camera) {})
	s.await(t, "idle", func(st cameras.Status) bool { return st.Idle })
	feed, r := first(t, feeds, devices.MainProfile)
	s.await(t, "connected", func(st cameras.Status) bool { return st.Connected })
	sub, rs := first(t, feeds, devices.SubProfile)
	if sub == feed || !sub.State().Connected {
		t.Error("the sub-stream has no feed of its own")
	}
	rs.Close()
	r.Close()
	s.await(t, "idle again", func(st cameras.Status) bool { return st.Idle && !st.Connected })
	if got := feed.State().Connections; got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}

// TestSubStreamTakenAway has the address of a sub-stream go while it is viewed.
func TestSubStreamTakenAway(t *testing.T) {
	feeds, server, _ := pulled(t, rtsptest.Config{}, func(*devices.Camera) {})
	_, viewer := first(t, feeds, devices.SubProfile)
	defer viewer.Close()
	main, err := feeds.Feed("cam-1", devices.MainProfile)
	if err != nil {
		t.Fatal(err)
	}
	other := devices.Camera{ID: "cam-1", Site: "yard", Name: "大门", URL: server.URL("main"), SubURL: server.URL("other")}
	feeds.Task(other)
	if sub, err := feeds.Feed("cam-1", devices.SubProfile); err != nil || sub == main {
		t.Fatalf("another address ended the sub-stream: %v", err)
	}
	other.SubURL = ""
	feeds.Task(other)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for err == nil { // what the viewer has not read yet comes first
		_, err = viewer.Next(ctx)
	}
	if !errors.Is(err, streams.ErrClosed) {
		t.Errorf("the viewer got %v", err)
	}
	if again, err := feeds.Feed("cam-1", devices.SubProfile); err != nil || again != main {
		t.Errorf("the viewer that opens again does not get the main stream: %v", err)
	}
	other.SubURL = server.URL("sub")
	feeds.Task(other)
	if again, err := feeds.Feed("cam-1", devices.SubProfile); err != nil || again == main {
		t.Errorf("a new sub-stream is not a feed of its own: %v", err)
	}
}

func TestEditedAddressLeavesNoPictureOfTheFormerOne(t *testing.T) {
	server, err := rtsptest.Listen(rtsptest.Config{Paths: []string{"gate", "hall"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	feeds := cameras.New(cameras.Config{RTSP: rtsp.Config{Timeout: 3 * time.Second}, Notes: quiet{}, Show: func(cameras.Status) {}})
	entry := devices.Camera{ID: "cam-1", Site: "yard", Name: "大门", URL: server.URL("gate")}
	run := func(entry devices.Camera) (end func()) {
		task := feeds.Task(entry)
		own, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		wg.Go(func() {
			defer close(ended)
			_ = task(own)
		})
		return func() { stop(); <-ended }
	}
	end := run(entry)
	feed, r := first(t, feeds, devices.MainProfile)
	defer r.Close()
	end()

	entry.Transport = "tcp" // the same camera, pulled otherwise
	end = run(entry)
	_, again := first(t, feeds, devices.MainProfile)
	again.Close()
	var filmed clip.Clip // while the address is edited
	filming := make(chan error, 1)
	file, err := os.Create(filepath.Join(t.TempDir(), "clip.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	wg.Go(func() {
		var err error
		filmed, err = feeds.Clip(ctx, "cam-1", time.Now().Add(-time.Minute), time.Now().Add(time.Hour), file, clip.Config{})
		filming <- err
	})
	if frames := feed.Ring(time.Time{}, time.Now()); len(frames) == 0 || frames[0].Connection != 1 {
		t.Error("the ring was forgotten although the address stayed")
	}
	end()

	server.Camera("hall").Stall(true)
	entry.URL = server.URL("hall")
	end = run(entry)
	defer end()
	if err := <-filming; err != nil || !filmed.Another || filmed.First.Connection != 1 || filmed.Frames == 0 {
		t.Errorf("a clip across the edit: %+v, %v", filmed, err)
	}
	wake, stop := feed.Watch()
	defer stop()
	for feed.State().Connections < 3 {
		<-wake
	}
	if frames := feed.Ring(time.Time{}, time.Now()); len(frames) > 0 {
		t.Errorf("%d frames of the former address are held", len(frames))
	}
	if _, err := feeds.Moment(t.Context(), "cam-1", time.Now()); err == nil {
		t.Error("a still of the former address")
	}
	server.Camera("hall").Stall(false)
	if f := next(t, r); !f.Key || f.Connection != 3 {
		t.Errorf("key %v, connection %d", f.Key, f.Connection)
	}
	for _, f := range feed.Ring(time.Time{}, time.Now()) {
		if f.Connection != 3 {
			t.Fatalf("a frame of connection %d is held", f.Connection)
		}
	}
}

func next(t *testing.T, r *streams.Reader) *streams.Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f, err := r.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestWrongPasswordWaitsForAPerson(t *testing.T) {
	feeds, server, s := pulled(t, rtsptest.Config{User: "admin", Password: "right-one"}, func(c *devices.Camera) {
		c.Username, c.Password = "admin", "wrong"
	})
	feed, err := feeds.Feed("cam-1", devices.MainProfile)
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Hold()()
	s.await(t, "halted", func(st cameras.Status) bool { return st.Halted && st.Problem.Code == rtsp.CodePassword })
	tries := server.Asked()
	watcher := feed.Subscribe() // whoever comes to watch does not make it try
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	_, _ = watcher.Next(ctx)
	watcher.Close()
	if again := server.Asked(); again != tries {
		t.Errorf("asked %d times more", again-tries)
	}
	server.Camera("main").Protect("admin", "wrong") // now it is right
	if err := feeds.Retry("cam-1"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "connected", func(st cameras.Status) bool { return st.Connected && !st.Halted })
}
