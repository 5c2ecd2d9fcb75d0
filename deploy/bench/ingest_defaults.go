package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"offsite/timeseries/spool"
)

// quietTime without a message says that the broker has no more of them.
const quietTime = time.Second

// ingestDefaults measures how fast a Mosquitto with its defaults can be emptied:
// with 20 messages in flight each fsync acknowledges 20 at most. The publishers
// are faster, so the broker's queue of 1,000 stays full and it drops what does
// not fit; that is its affair and told beside the rate.
func ingestDefaults(ctx context.Context, args []string) error {
	f, err := readIngestFlags("ingest-mqtt-defaults", args)
	if err != nil {
		return err
	}
	if f.publish != "" {
		return publish(ctx, f)
	}
	dir, err := os.MkdirTemp("", "offsite-bench-mosquitto-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	address, stop, err := startMosquitto(ctx, dir, "")
	if err != nil {
		return err
	}
	defer stop()
	return withSpool(ctx, f.dir, func(ctx context.Context, log *spool.Log) error {
		sink := &spoolSink{log: log}
		ctx, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		online, err := runMQTT(ctx, cancel, f, address, sink, &running)
		if err != nil {
			return err
		}
		select {
		case <-online:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		last, since := int64(-1), time.Now()
		m, err := measureIngest(ctx, f, "ingest-mqtt-defaults", address, func() bool {
			if n := sink.stored.Load(); n != last {
				last, since = n, time.Now()
			}
			return time.Since(since) > quietTime
		})
		if err != nil {
			return err
		}
		took := m.took - quietTime
		fmt.Printf("bench=ingest-mqtt-defaults n=%d seconds=%.2f rate_per_s=%.0f cpu_us_per_unit=%.2f dropped_by_mosquitto=%d\n",
			last, took.Seconds(), float64(last)/took.Seconds(), float64(m.cpu.Nanoseconds())/1e3/float64(last), int64(f.n)-last)
		return nil
	})
}
