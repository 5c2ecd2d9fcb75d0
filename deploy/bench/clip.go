package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/edge/evidence"
	"offsite/streams"
	"offsite/streams/clip"
	"offsite/streams/rtsp"
	"offsite/streams/rtsp/rtsptest"
)

// clips measures how long after its end the clip of an event is in the vault, hashed
// and fsynced, of several cameras at once.
func clips(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("clip", flag.ContinueOnError)
	n := flags.Int("n", 8, "clips at once")
	length := flags.Duration("length", 8*time.Second, "of each")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "offsite-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	vault, err := evidence.OpenVault(dir)
	if err != nil {
		return err
	}
	defer func() { _ = vault.Close() }()
	server, err := rtsptest.Listen(rtsptest.Config{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	source, err := rtsp.Open(devices.Camera{ID: "cam", Site: "bench", Name: "bench", URL: server.URL("cam")}, rtsp.Config{})
	if err != nil {
		return err
	}
	feed := streams.NewFeed(streams.FeedConfig{})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Run(ctx) })
	g.Go(func() error { return source.Run(ctx, feed) })
	g.Go(func() error {
		defer cancel()
		return measureClips(ctx, vault, feed, *n, *length)
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func measureClips(ctx context.Context, vault *evidence.Vault, feed *streams.Feed, n int, length time.Duration) error {
	r := feed.Subscribe()
	_, err := r.Next(ctx)
	r.Close()
	if err != nil {
		return err
	}
	cpu, to := cpuTime(syscall.RUSAGE_SELF), time.Now().Add(length)
	late, sizes := make([]time.Duration, n), make([]int64, n)
	var g errgroup.Group
	for i := range n {
		g.Go(func() error {
			file, err := vault.Create()
			if err != nil {
				return err
			}
			defer file.Abort()
			named := fmt.Sprintf("bench %d ", i) // so that no two are one file
			cfg := clip.Config{Caption: func(at time.Time) string { return named + at.String() }}
			if _, err := clip.Record(ctx, feed, to.Add(-length), to, file, cfg); err != nil {
				return err
			}
			_, sizes[i], err = file.Commit()
			late[i] = time.Since(to)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	slices.Sort(late)
	fmt.Printf("bench=clip clips=%d seconds=%.0f bytes=%d ready_p50_ms=%d ready_max_ms=%d cpu_ms_each=%.1f\n", n, length.Seconds(), sizes[0],
		late[n/2].Milliseconds(), late[n-1].Milliseconds(), float64((cpuTime(syscall.RUSAGE_SELF)-cpu).Milliseconds())/float64(n))
	return nil
}
