package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"

	"offsite/streams"
	"offsite/streams/fmp4"
)

// viewers measures what each viewer of one camera of 1080p25 2 Mbit/s costs: the
// same clip is sent to more and more of them over WebSocket, and the cost of one
// picture to one viewer ought to stay. Viewers and gateway share the process; a
// viewer reads and throws away, which is counted in.
func viewers(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("viewers", flag.ContinueOnError)
	most := flags.Int("n", 200, "viewers of the last round; the first has a tenth")
	seconds := flags.Float64("seconds", 8, "measured time of each round")
	if err := flags.Parse(args); err != nil {
		return err
	}
	clip, err := shownClip(ctx)
	if err != nil {
		return err
	}
	for _, n := range []int{max(1, *most/10), *most} {
		if err := viewBy(ctx, clip, n, time.Duration(*seconds*float64(time.Second))); err != nil {
			return err
		}
	}
	return nil
}

// shownClip makes the frames of the camera's clip.
func shownClip(ctx context.Context) ([]*streams.Frame, error) {
	path, remove, err := cameraClip(ctx)
	if err != nil {
		return nil, err
	}
	defer remove()
	data, err := os.ReadFile(path) //nolint:gosec // just made
	if err != nil {
		return nil, err
	}
	var clip []*streams.Frame
	assembler := streams.NewAssembler(streams.H264, nil, nil, nil)
	for i, unit := range streams.CutUnits(streams.H264, streams.SplitAnnexB(data)) {
		f, err := assembler.Frame(unit, time.Duration(i)*time.Second/25, time.Time{})
		if err != nil || f == nil {
			return nil, fmt.Errorf("picture %d: %w", i, err)
		}
		clip = append(clip, f)
	}
	return clip, nil
}

// viewBy lets n viewers watch for length.
func viewBy(ctx context.Context, clip []*streams.Frame, n int, length time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	muxer := fmp4.New(feed, fmp4.Config{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled}); err == nil {
			_ = muxer.Serve(ctx, conn)
		}
	}))
	defer server.Close()
	var got, bytes atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range n {
		g.Go(func() error { return view(ctx, server.URL, &got, &bytes) })
	}
	g.Go(func() error {
		defer cancel()
		return broadcast(ctx, feed, clip, func(elapsed time.Duration) bool { return elapsed >= length+2*time.Second })
	})
	select { // all are connected and have their first group
	case <-time.After(2 * time.Second):
	case <-ctx.Done():
		return g.Wait()
	}
	began, cpu, first := time.Now(), cpuTime(syscall.RUSAGE_SELF), got.Load()
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	took, used, pictures := time.Since(began), cpuTime(syscall.RUSAGE_SELF)-cpu, got.Load()-first
	fmt.Printf("bench=viewers n=%d seconds=%.1f rate_per_s=%.0f cpu_us_per_unit=%.1f rss_peak_mib=%.0f mbit_per_viewer=%.2f lost=%d\n",
		n, took.Seconds(), float64(pictures)/took.Seconds(), float64(used.Microseconds())/float64(max(1, pictures)), peakMemory(),
		float64(bytes.Load())*8/1e6/(took.Seconds()+2)/float64(n), feed.State().Lost)
	return nil
}

// broadcast plays the clip on the feed, in time, until done says so.
func broadcast(ctx context.Context, feed *streams.Feed, clip []*streams.Frame, done func(time.Duration) bool) error {
	const every = time.Second / 25
	began := time.Now()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for i := 0; !done(time.Since(began)); i++ {
		f := *clip[i%len(clip)] // the header alone: its NAL units are shared
		f.PTS, f.At = time.Duration(i)*every, time.Now()
		f.DTS = f.PTS
		feed.Publish(&f)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Canceled
}

// view is one viewer.
func view(ctx context.Context, url string, pictures, bytes *atomic.Int64) error {
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(url, "http"), nil) //nolint:bodyclose // the library closes it
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(16 << 20)
	for {
		kind, data, err := conn.Read(ctx)
		if err != nil {
			return context.Canceled // the round is over
		}
		if kind == websocket.MessageBinary {
			pictures.Add(1)
			bytes.Add(int64(len(data)))
		}
	}
}
