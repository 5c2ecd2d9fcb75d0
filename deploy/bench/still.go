package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/snapshot"
)

// still measures the way from a cached 1080p key frame to a checked JPEG. CPU is
// that of the decoding child with the gateway's part, memory the gateway's.
func still(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("still", flag.ContinueOnError)
	n := flags.Int("n", 40, "stills")
	if err := flags.Parse(args); err != nil {
		return err
	}
	path, remove, err := cameraClip(ctx)
	if err != nil {
		return err
	}
	defer remove()
	data, err := os.ReadFile(path) //nolint:gosec // made above
	if err != nil {
		return err
	}
	var keys []*streams.Frame
	assembler := streams.NewAssembler(streams.H264, nil, nil, nil)
	for _, unit := range streams.CutUnits(streams.H264, streams.SplitAnnexB(data)) {
		if f, err := assembler.Frame(unit, 0, time.Now()); err == nil && f != nil && f.Key {
			keys = append(keys, f)
		}
	}
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	taker := snapshot.New(snapshot.Config{})
	camera := devices.Camera{ID: "bench"}
	usedBefore := cpuTime(syscall.RUSAGE_SELF) + cpuTime(syscall.RUSAGE_CHILDREN)
	began := time.Now()
	took := make([]time.Duration, 0, *n)
	for i := range *n {
		fresh := *keys[i%len(keys)]
		fresh.At = time.Now()
		feed.Publish(&fresh)
		s, err := taker.Take(ctx, camera, feed)
		if err != nil {
			return err
		}
		if s.Step != snapshot.StepFFmpeg {
			return fmt.Errorf("still by %q: is ffmpeg installed?", s.Step)
		}
		took = append(took, time.Since(fresh.At))
	}
	all := time.Since(began)
	used := cpuTime(syscall.RUSAGE_SELF) + cpuTime(syscall.RUSAGE_CHILDREN) - usedBefore
	slices.Sort(took)
	ms := func(p float64) float64 {
		return float64(took[min(len(took)-1, int(p*float64(len(took))))].Microseconds()) / 1000
	}
	fmt.Printf("bench=still n=%d seconds=%.1f rate_per_s=%.1f cpu_us_per_unit=%.0f rss_peak_mib=%.0f p50_ms=%.0f p99_ms=%.0f\n",
		*n, all.Seconds(), float64(*n)/all.Seconds(), float64(used.Microseconds())/float64(*n), peakMemory(), ms(0.5), ms(0.99))
	return nil
}
