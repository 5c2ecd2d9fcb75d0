package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/timeseries"
	"offsite/timeseries/influx"
	"offsite/timeseries/influx/influxtest"
	"offsite/timeseries/local"
	"offsite/timeseries/spool"
)

// historyFlags are those of both history measurements.
type historyFlags struct {
	n, series, batch int
	dir              string
	withLog          bool
	url              string
}

func readHistoryFlags(name string, args []string) (historyFlags, error) {
	f := historyFlags{}
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.IntVar(&f.n, "n", 10_000_000, "readings in all")
	set.IntVar(&f.series, "series", 10_000, "series, each with a reading a second")
	set.IntVar(&f.batch, "batch", 5_000, "readings in one write")
	set.StringVar(&f.dir, "dir", "", "an empty directory on the disk to be measured (default a temporary one)")
	if name == "history-local" {
		set.BoolVar(&f.withLog, "log", true, "through the log of readings, fsynced batch by batch; false writes into the store alone")
	} else {
		set.StringVar(&f.url, "url", "", "an InfluxDB 1.8 with a database \"bench\" (default: influxd is started)")
	}
	err := set.Parse(args)
	return f, err
}

// plant makes the readings: a gateway of a hundred points sends them in one
// delivery, values walk in steps of a tenth.
type plant struct {
	series []timeseries.Series
	batch  int
	next   int // reading
	seq    uint64
}

const pointsADevice = 100

func newPlant(f historyFlags) *plant {
	p := &plant{batch: f.batch}
	for i := range f.series {
		p.series = append(p.series, timeseries.Series{
			Site: fmt.Sprintf("site-%d", i/1000), Point: fmt.Sprintf("outlet-%d.factor-%d", i/pointsADevice, i%pointsADevice),
		})
	}
	return p
}

var plantStart = time.Date(2026, 3, 1, 0, 0, 0, 0, devices.Beijing).UTC()

// deliveries gives the next batch.
func (p *plant) deliveries() []devices.Delivery {
	ds := make([]devices.Delivery, 0, p.batch/pointsADevice+1)
	for left := p.batch; left > 0; {
		n := min(left, pointsADevice)
		rs := make([]devices.Reading, n)
		for i := range rs {
			s, second := p.next%len(p.series), p.next/len(p.series)
			key := p.series[s]
			at := plantStart.Add(time.Duration(second) * time.Second)
			value := math.Round(200+100*math.Sin(float64(s+second)/50)+10*math.Sin(float64(s*second))) / 10
			rs[i] = devices.Reading{Site: key.Site, Point: key.Point, At: at, Value: value}
			p.next++
		}
		ds = append(ds, devices.Delivery{Received: rs[n-1].At, Readings: rs})
		left -= n
	}
	return ds
}

// records gives the next batch as it would stand in the log.
func (p *plant) records() []timeseries.Record {
	var recs []timeseries.Record
	for _, d := range p.deliveries() {
		p.seq++
		recs = append(recs, timeseries.Record{Seq: p.seq, Delivery: d})
	}
	return recs
}

// historyLocal measures readings into the embedded store.
func historyLocal(ctx context.Context, args []string) error {
	f, err := readHistoryFlags("history-local", args)
	if err != nil {
		return err
	}
	if f.dir == "" {
		if f.dir, err = os.MkdirTemp("", "offsite-bench-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(f.dir) }()
	}
	db, err := pebble.Open(filepath.Join(f.dir, "readings"), &pebble.Options{
		MemTableSize: 16 << 20, FormatMajorVersion: pebble.FormatNewest, Logger: silent{},
	})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	before, began := cpuTime(syscall.RUSAGE_SELF), time.Now()
	store, err := fillLocal(ctx, db, f)
	if err != nil {
		return err
	}
	took, cpu := time.Since(began), cpuTime(syscall.RUSAGE_SELF)-before
	if err := db.Flush(); err != nil {
		return err
	}
	size, err := db.EstimateDiskUsage([]byte("history/d"), []byte("history/e"))
	if err != nil {
		return err
	}
	asked, err := hourMeans(ctx, store, newPlant(f).series[0])
	if err != nil {
		return err
	}
	printHistory("history-local", f, took, cpu, fmt.Sprintf("bytes_per_reading=%.2f query_ms=%.2f log=%t", float64(size)/float64(f.n), asked, f.withLog))
	return nil
}

func fillLocal(ctx context.Context, db *pebble.DB, f historyFlags) (*local.Store, error) {
	p := newPlant(f)
	if f.withLog {
		return fillByLog(ctx, db, f, p)
	}
	store, err := local.Open(db, []byte("history/"), local.Config{})
	if err != nil {
		return nil, err
	}
	for p.next < f.n {
		if _, err := store.Write(ctx, p.records()); err != nil {
			return nil, err
		}
	}
	_, err = store.Flush(ctx)
	return store, err
}

// fillByLog sends every batch through the log, one batch an fsync, with the
// store following as in the product.
func fillByLog(ctx context.Context, db *pebble.DB, f historyFlags, p *plant) (*local.Store, error) {
	log, err := spool.Open(db, []byte("log/"), spool.Config{Followers: []string{"history"}})
	if err != nil {
		return nil, err
	}
	store, err := local.Open(db, []byte("history/"), local.Config{Commit: log.Commit})
	if err != nil {
		return nil, err
	}
	logCtx, stop := context.WithCancel(ctx)
	g, logCtx := errgroup.WithContext(logCtx)
	g.Go(func() error { return log.Run(logCtx) })
	g.Go(func() error {
		for p.next < f.n {
			if err := appendAll(log, p.deliveries()); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error {
		defer stop()
		for at, written := uint64(0), 0; written < f.n; {
			if err := log.Wait(logCtx, at); err != nil {
				return err
			}
			recs, err := log.Read(at, f.batch/pointsADevice+1)
			if err != nil {
				return err
			}
			w, err := store.Write(logCtx, recs)
			if err != nil {
				return err
			}
			for i := range recs {
				written += len(recs[i].Readings)
			}
			at = recs[len(recs)-1].Seq
			if err := log.Advance("history", w.Durable); err != nil {
				return err
			}
		}
		_, err := store.Flush(logCtx)
		return err
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	return store, ctx.Err()
}

// appendAll returns when all deliveries are on disk.
func appendAll(log *spool.Log, ds []devices.Delivery) error {
	done := make(chan error, len(ds))
	for _, d := range ds {
		log.Append(d, func(err error) { done <- err })
	}
	var errs []error
	for range ds {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

// hourMeans gives how many milliseconds the hour means of one series take.
func hourMeans(ctx context.Context, store timeseries.Store, key timeseries.Series) (float64, error) {
	best := math.Inf(1)
	for range 10 {
		began := time.Now()
		if _, err := store.Windows(ctx, key, plantStart, plantStart.Add(24*time.Hour), time.Hour); err != nil {
			return 0, err
		}
		best = min(best, time.Since(began).Seconds()*1000)
	}
	return best, nil
}

// historyInflux measures readings into an InfluxDB; CPU is ours alone.
func historyInflux(ctx context.Context, args []string) error {
	f, err := readHistoryFlags("history-influx", args)
	if err != nil {
		return err
	}
	if f.url == "" {
		server, err := influxtest.Run(ctx, f.dir)
		if err != nil {
			return err
		}
		defer func() { _ = server.Remove() }()
		if _, err := server.Query("", "CREATE DATABASE bench"); err != nil {
			return err
		}
		f.url = server.URL
	}
	store, err := influx.Open(influx.Config{URL: f.url, Database: "bench", Lines: f.batch})
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	p := newPlant(f)
	before, began := cpuTime(syscall.RUSAGE_SELF), time.Now()
	for p.next < f.n {
		w, err := store.Write(ctx, p.records())
		if err != nil {
			return err
		}
		if len(w.Refused) > 0 {
			return fmt.Errorf("%d readings refused: %w", len(w.Refused), w.Refused[0].Reason)
		}
	}
	printHistory("history-influx", f, time.Since(began), cpuTime(syscall.RUSAGE_SELF)-before, "")
	return nil
}

func printHistory(name string, f historyFlags, took, cpu time.Duration, extra string) {
	line := fmt.Sprintf("bench=%s n=%d seconds=%.2f rate_per_s=%.0f cpu_us_per_unit=%.3f rss_peak_mib=%.0f %s", name, f.n,
		took.Seconds(), float64(f.n)/took.Seconds(), float64(cpu.Microseconds())/float64(f.n), peakMemory(), extra)
	fmt.Println(strings.TrimSpace(line))
}
