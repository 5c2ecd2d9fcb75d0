package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/snapshot"
)

// pipes is a listener whose connections are in memory, so that a test's time can
// stand still.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p.accepted <- server
	return client, nil
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accepted:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error { close(p.closed); return nil }

func (pipes) Addr() net.Addr { return &net.UnixAddr{} }

// A camera with a still address is asked once for all screens, and anew for
// evidence.
func TestStillAddressServesScreensForAWhile(t *testing.T) {
	var picture bytes.Buffer
	if err := jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 640, 360)), nil); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		line := pipes{make(chan net.Conn), make(chan struct{})}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { //nolint:gosec // of a test
			asked++
			time.Sleep(300 * time.Millisecond) // a camera takes its time
			_, _ = w.Write(picture.Bytes())
		})}
		var served sync.WaitGroup
		served.Go(func() { _ = server.Serve(line) })
		defer func() { _ = server.Close(); served.Wait() }()
		taker := snapshot.New(snapshot.Config{Dial: line.dial})
		c := cam
		c.StillURL = "http://10.0.0.1/snap"
		screens := func(n, width int) {
			var all sync.WaitGroup
			stills := make([]streams.Still, n)
			for i := range stills {
				all.Go(func() {
					var err error
					stills[i], err = taker.TakeSized(t.Context(), c, nil, width)
					if err != nil || stills[i].Width != width || stills[i].Step != snapshot.StepCamera {
						t.Errorf("%d wide by %s: %v", stills[i].Width, stills[i].Step, err)
					}
				})
			}
			all.Wait()
			for _, s := range stills {
				if &s.JPEG[0] != &stills[0].JPEG[0] {
					t.Errorf("%d wide was made twice", width)
				}
			}
		}
		want := func(n int) {
			t.Helper()
			if asked != n {
				t.Fatalf("asked %d times, want %d", asked, n)
			}
		}
		screens(16, 640)
		screens(16, 320)
		want(1)
		time.Sleep(1900 * time.Millisecond)
		screens(2, 160)
		want(1)
		time.Sleep(200 * time.Millisecond)
		screens(2, 160)
		want(2)
		if still, err := taker.Take(t.Context(), c, nil); err != nil || time.Since(still.At) > 300*time.Millisecond {
			t.Errorf("for evidence one of %v: %v", still.At, err)
		}
		want(3)
		screens(2, 640)
		want(3)
		c.Version++ // somebody has edited it
		screens(2, 640)
		want(4)
	})
}

// Many who ask at once show a wrong password once.
func TestWrongPasswordIsShownOnceByMany(t *testing.T) {
	var shown atomic.Int32
	begun := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="cam"`)
		w.WriteHeader(http.StatusUnauthorized)
		if r.Header.Get("Authorization") != "" {
			shown.Add(1)
		} else {
			<-begun
		}
	}))
	defer s.Close()
	taker := snapshot.New(snapshot.Config{})
	c := cam
	c.StillURL, c.Username, c.Password = s.URL, "admin", "wr0ng-canary"
	gone, leave := context.WithCancel(t.Context()) // the first to ask leaves
	var all, ready sync.WaitGroup
	for i := range 16 {
		ready.Add(1)
		ctx := t.Context()
		if i == 0 {
			ctx = gone
		}
		all.Go(func() {
			ready.Done()
			_, err := taker.TakeSized(ctx, c, nil, 0)
			var p *devices.Problem
			if ctx.Err() == nil && (!errors.As(err, &p) || p.Code != snapshot.CodePassword) {
				t.Errorf("got %v", err)
			}
		})
	}
	ready.Wait()
	leave()
	close(begun)
	all.Wait()
	if n := shown.Load(); n != 1 {
		t.Errorf("shown %d times", n)
	}
}
