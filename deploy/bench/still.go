package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/snapshot"
	"offsite/streams/snapshot/decoder"
)

// still measures the way from a cached 1080p key frame to a checked JPEG, by an
// ffmpeg child, by the embedded decoder, and where the JPEG is kept already. CPU
// is that of a decoding child with the gateway's part, memory the gateway's.
func still(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("still", flag.ContinueOnError)
	n := flags.Int("n", 40, "stills by each decoder; cached ones are ten times as many")
	width := flags.Int("width", 640, "of the cached stills that are made smaller")
	if err := flags.Parse(args); err != nil {
		return err
	}
	keys, err := keyFrames(ctx)
	if err != nil {
		return err
	}
	cache, err := os.MkdirTemp("", "offsite-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(cache) }()
	module := decoder.Config{Cache: filepath.Join(cache, "decoder")}
	// The sandbox comes first, so that its peak is not that of another.
	for _, m := range []struct {
		name, step string
		cfg        snapshot.Config
	}{
		{"still-sandbox", snapshot.StepSandbox, snapshot.Config{Decoder: snapshot.Sandbox, Module: module}},
		{"still-ffmpeg", snapshot.StepFFmpeg, snapshot.Config{Module: module}},
	} {
		b := stills{taker: snapshot.New(m.cfg), feed: streams.NewFeed(streams.FeedConfig{}), step: m.step}
		b.feed.Connected()
		began := time.Now()
		if err := b.fresh(ctx, keys[0]); err != nil {
			return err
		}
		fmt.Printf("bench=%s-first seconds=%.2f\n", m.name, time.Since(began).Seconds())
		err := b.measure(m.name, *n, func(i int) error { return b.fresh(ctx, keys[i%len(keys)]) })
		if err == nil {
			err = b.measure(m.name+"-cached", 10**n, func(int) error { return b.take(ctx, *width) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keyFrames gives those of the 1080p clip.
func keyFrames(ctx context.Context) ([]*streams.Frame, error) {
	path, remove, err := cameraClip(ctx)
	if err != nil {
		return nil, err
	}
	defer remove()
	data, err := os.ReadFile(path) //nolint:gosec // made above
	if err != nil {
		return nil, err
	}
	var keys []*streams.Frame
	assembler := streams.NewAssembler(streams.H264, nil, nil, nil)
	for _, unit := range streams.CutUnits(streams.H264, streams.SplitAnnexB(data)) {
		if f, err := assembler.Frame(unit, 0, time.Now()); err == nil && f != nil && f.Key {
			keys = append(keys, f)
		}
	}
	return keys, nil
}

// stills takes stills of one camera by one decoder.
type stills struct {
	taker *snapshot.Taker
	feed  *streams.Feed
	step  string
}

// fresh takes a still of a key frame that has just come.
func (b *stills) fresh(ctx context.Context, key *streams.Frame) error {
	frame := *key
	frame.At = time.Now()
	b.feed.Publish(&frame)
	return b.take(ctx, 0)
}

func (b *stills) take(ctx context.Context, width int) error {
	s, err := b.taker.TakeSized(ctx, devices.Camera{ID: "bench"}, b.feed, width)
	if err != nil {
		return err
	}
	if s.Step != b.step {
		return fmt.Errorf("still by %q, not %q: is ffmpeg installed?", s.Step, b.step)
	}
	return nil
}

func (b *stills) measure(name string, n int, one func(i int) error) error {
	cpu := func() time.Duration { return cpuTime(syscall.RUSAGE_SELF) + cpuTime(syscall.RUSAGE_CHILDREN) }
	usedBefore, began := cpu(), time.Now()
	took := make([]time.Duration, 0, n)
	for i := range n {
		asked := time.Now()
		if err := one(i); err != nil {
			return err
		}
		took = append(took, time.Since(asked))
	}
	all, used := time.Since(began), cpu()-usedBefore
	slices.Sort(took)
	ms := func(p float64) float64 {
		return float64(took[min(len(took)-1, int(p*float64(len(took))))].Microseconds()) / 1000
	}
	fmt.Printf("bench=%s n=%d seconds=%.2f rate_per_s=%.1f cpu_us_per_unit=%.0f rss_peak_mib=%.0f p50_ms=%.1f p99_ms=%.1f\n",
		name, n, all.Seconds(), float64(n)/all.Seconds(), float64(used.Microseconds())/float64(n), peakMemory(), ms(0.5), ms(0.99))
	return nil
}
