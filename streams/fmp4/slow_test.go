package fmp4_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"offsite/streams"
	"offsite/streams/fmp4"
)

// A viewer that reads at a sixth of the speed gets fewer pictures, but recent
// ones and whole groups.
func TestSlowViewerSkipsToKeyFrames(t *testing.T) {
	clip := frames(t, streams.H264, load(t, "../rtsp/rtsptest/demo.h264"), nil)[:90] // groups of 15, half a second here
	synctest.Test(t, func(t *testing.T) {
		const step = time.Second / 30
		feed := streams.NewFeed(streams.FeedConfig{})
		feed.Connected()
		conn := buffered(t, fmp4.New(feed, fmp4.Config{}))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var newest atomic.Int64 // number of the frame published last
		done := make(chan struct{})
		go func() {
			defer close(done)
			tick := time.NewTicker(step)
			defer tick.Stop()
			for i := 0; ctx.Err() == nil; i++ {
				f := *clip[i%len(clip)]
				f.PTS, f.DTS, f.At = time.Duration(i)*step, time.Duration(i)*step, time.Now()
				feed.Publish(&f)
				newest.Store(int64(i))
				<-tick.C
			}
		}()
		began := time.Now()
		var lags []time.Duration
		first := int64(-1)
		for ctx.Err() == nil {
			kind, data, err := conn.Read(ctx)
			i := bytes.Index(data, []byte("tfdt"))
			if err != nil || kind != websocket.MessageBinary || i < 0 {
				continue
			}
			at := int64(binary.BigEndian.Uint64(data[i+8:])) // behind version and flags
			if first < 0 {
				first = at
			}
			if time.Since(began) > 4*time.Second { // what was sent before the line's rate was known has passed
				shown := time.Duration(at-first) * time.Second / 90000
				lags = append(lags, time.Duration(newest.Load())*step-shown)
			}
			time.Sleep(200 * time.Millisecond)
		}
		<-done
		slices.Sort(lags)
		s := feed.State()
		if s.Lost == 0 || len(lags) < 100 {
			t.Fatalf("viewer got %d messages of %d frames, lost %d", len(lags), s.Frames, s.Lost)
		}
		// The session is granted a second; a group of half a second and one reading
		// every 200 ms add to it.
		t.Logf("lag of %d pictures: median %v, worst %v; %d of %d frames skipped", len(lags), lags[len(lags)/2], lags[len(lags)-1], s.Lost, s.Frames)
		if worst := lags[len(lags)-1]; worst > 2200*time.Millisecond {
			t.Errorf("lag of %v", worst)
		}
	})
}

// buffered opens a session on m over a line that holds 128 KiB each way, as the
// kernel's buffers do, inside a synctest bubble.
func buffered(t *testing.T, m *fmp4.Muxer) *websocket.Conn {
	t.Helper()
	near, nearEnd := net.Pipe()
	far, farEnd := net.Pipe()
	go carry(farEnd, nearEnd)
	go carry(nearEnd, farEnd)
	ctx, cancel := context.WithCancel(context.Background())
	lines := &oneLine{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	lines.conn <- far
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, err := websocket.Accept(w, r, nil); err == nil {
			_ = m.Serve(ctx, conn)
		}
	})}
	go func() { _ = server.Serve(lines) }()
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return near, nil }}}
	conn, _, err := websocket.Dial(ctx, "ws://camera/", &websocket.DialOptions{HTTPClient: client}) //nolint:bodyclose // the library closes it
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(16 << 20)
	t.Cleanup(func() { _ = conn.CloseNow(); cancel(); _ = server.Close() })
	return conn
}

// carry takes what one end writes to the other, which may be late for it.
func carry(from, to net.Conn) {
	const part = 4 << 10
	under := make(chan []byte, (128<<10)/part)
	go func() {
		defer to.Close()
		for b := range under {
			if _, err := to.Write(b); err != nil {
				break
			}
		}
		for range under { //nolint:revive // lets the reader end
		}
	}()
	defer close(under)
	for {
		b := make([]byte, part)
		n, err := from.Read(b)
		if err != nil {
			return
		}
		under <- b[:n]
	}
}

// oneLine is a listener to which one caller comes.
type oneLine struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (l *oneLine) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneLine) Close() error   { close(l.closed); return nil }
func (l *oneLine) Addr() net.Addr { return &net.TCPAddr{} }
