package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/recording"
	"offsite/streams/rtsp"
)

// record measures what it costs to pull cameras and to record them all: network
// to access units to ring to files that are fsynced every two seconds.
func record(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("record", flag.ContinueOnError)
	n := flags.Int("n", 20, "cameras")
	seconds := flags.Float64("seconds", 40, "measured time")
	ring := flags.Duration("ring", 10*time.Second, "video kept in memory for each camera")
	dir := flags.String("dir", "", "where to record; empty: a directory that is deleted again")
	if err := flags.Parse(args); err != nil {
		return err
	}
	clip, remove, err := cameraClip(ctx)
	if err != nil {
		return err
	}
	defer remove()
	addr, stop, err := startCameras(ctx, clip, *n, 25)
	if err != nil {
		return err
	}
	defer stop()
	if *dir == "" {
		if *dir, err = os.MkdirTemp("", "offsite-bench-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(*dir) }()
	}
	return recordAll(ctx, addr, *n, *dir, *ring, time.Duration(*seconds*float64(time.Second)))
}

func recordAll(ctx context.Context, addr string, n int, dir string, ring, length time.Duration) error {
	archive, err := recording.Open(dir, recording.Config{})
	if err != nil {
		return err
	}
	defer func() { _ = archive.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	feeds := make([]*streams.Feed, n)
	for i := range feeds {
		id := "cam-" + strconv.Itoa(i)
		source, err := rtsp.Open(devices.Camera{ID: id, Site: "bench", Name: "bench", URL: "rtsp://" + addr + "/" + id}, rtsp.Config{})
		if err != nil {
			return err
		}
		feed := streams.NewFeed(streams.FeedConfig{Ring: ring})
		feeds[i] = feed
		g.Go(func() error { return source.Run(ctx, feed) })
		g.Go(func() error { return archive.Record(ctx, id, feed, time.Now()) })
	}
	g.Go(func() error {
		defer cancel()
		return measureRecord(ctx, archive, feeds, length)
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func measureRecord(ctx context.Context, archive *recording.Archive, feeds []*streams.Feed, length time.Duration) error {
	select { // all play, and have made their files, before the clock starts
	case <-time.After(5 * time.Second):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	first, began, cpu := archive.Counts(), time.Now(), cpuTime(syscall.RUSAGE_SELF)
	select {
	case <-time.After(length):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	took, used, last := time.Since(began), cpuTime(syscall.RUSAGE_SELF)-cpu, archive.Counts()
	var ring int64
	for _, f := range feeds {
		ring += f.State().RingBytes
	}
	written := float64(last.Bytes - first.Bytes)
	fmt.Printf("bench=record n=%d seconds=%.1f core_percent=%.2f rss_peak_mib=%.0f ring_mib=%.1f mbit_per_camera=%.2f lost=%d\n",
		len(feeds), took.Seconds(), 100*used.Seconds()/took.Seconds(), peakMemory(), float64(ring)/(1<<20), written*8/1e6/took.Seconds()/float64(len(feeds)), last.Lost)
	return nil
}
