package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sync/errgroup"

	"offsite/deploy/peers"
	"offsite/devices"
	"offsite/devices/mqtt"
	"offsite/devices/mqtt/broker"
	"offsite/timeseries/spool"
)

// ingestFlags are those of both ingest measurements.
type ingestFlags struct {
	n, publishers, inflight int
	dir                     string
	publish                 string // host:port: be the publishers' process
	gather                  bool
	apart                   bool // each publisher is a device of its own
}

func readIngestFlags(name string, args []string) (ingestFlags, error) {
	var f ingestFlags
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.IntVar(&f.n, "n", 600_000, "messages in all")
	set.IntVar(&f.publishers, "publishers", 20, "connections that publish")
	set.IntVar(&f.inflight, "inflight", 50, "messages of one connection that wait for their PUBACK")
	set.BoolVar(&f.gather, "gather", false, "publishers write what fits their window at once, not each message by itself")
	set.BoolVar(&f.apart, "apart", false, "ingest-mqtt: each publisher's topic belongs to a device of its own, all with the same broker")
	set.StringVar(&f.dir, "dir", "", "an empty directory for the log of readings, on the disk to be measured (default a temporary one)")
	set.StringVar(&f.publish, "publish", "", "used by the measurement itself: publish to this address")
	if err := set.Parse(args); err != nil {
		return f, err
	}
	f.n -= f.n % f.publishers
	return f, nil
}

// spoolSink is the durable log alone, as the pipeline hands deliveries to it.
type spoolSink struct {
	log    *spool.Log
	latest func(time.Duration) // of some messages, from their own time to the disk; nil to leave it out
	seen   atomic.Int64
	stored atomic.Int64
	bad    atomic.Int64
}

func (s *spoolSink) Accept(d devices.Delivery, done func(error)) {
	if d.Letter != nil || len(d.Readings) != 1 {
		s.bad.Add(1)
	}
	sampled := s.latest != nil && s.seen.Add(1)%64 == 0
	var at time.Time
	if sampled {
		at = d.Readings[0].At
	}
	s.log.Append(d, func(err error) {
		if err == nil {
			s.stored.Add(1)
		}
		if sampled {
			s.latest(time.Since(at))
		}
		done(err)
	})
}

func (s *spoolSink) Report(devices.Report) {}

// withSpool opens a log in dir, runs it beside measure and closes it.
func withSpool(ctx context.Context, dir string, measure func(ctx context.Context, log *spool.Log) error) error {
	if dir == "" {
		made, err := os.MkdirTemp("", "offsite-bench-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(made) }()
		dir = made
	}
	db, err := pebble.Open(filepath.Join(dir, "readings"), &pebble.Options{
		MemTableSize: 16 << 20, FormatMajorVersion: pebble.FormatNewest, Logger: silent{},
	})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	log, err := spool.Open(db, []byte("log/"), spool.Config{Followers: []string{"bench"}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return log.Run(ctx) })
	g.Go(func() error { // the follower, so that the trimmer works as it does in the product
		for {
			after := log.Durable()
			if err := log.Advance("bench", after); err != nil {
				return err
			}
			if err := log.Wait(ctx, after); err != nil {
				return err
			}
		}
	})
	g.Go(func() error {
		defer cancel()
		return measure(ctx, log)
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// silent keeps Pebble quiet.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(70)
}

// ingestBroker measures publish -> decode -> fsync -> PUBACK of the embedded broker.
func ingestBroker(ctx context.Context, args []string) error {
	f, err := readIngestFlags("ingest-broker", args)
	if err != nil {
		return err
	}
	if f.publish != "" {
		return publish(ctx, f)
	}
	return withSpool(ctx, f.dir, func(ctx context.Context, log *spool.Log) error {
		b, err := broker.New(broker.Config{Address: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		clients := make([]broker.Client, f.publishers)
		for i := range clients {
			dev, bound := publisherDevice(i)
			clients[i] = broker.Client{Device: dev, Bounds: []devices.Bound{bound}}
		}
		if err := b.Update(clients); err != nil {
			return err
		}
		sink := &spoolSink{log: log}
		ctx, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		running.Go(func() { _ = b.Run(ctx, sink) })
		<-b.Ready()
		m, err := measureIngest(ctx, f, "ingest-broker", b.Addr().String(), nil)
		if err != nil {
			return err
		}
		return m.print("ingest-broker", f, sink, nil)
	})
}

// ingestMQTT measures Mosquitto -> paho -> decode -> fsync -> acknowledgement.
func ingestMQTT(ctx context.Context, args []string) error {
	f, err := readIngestFlags("ingest-mqtt", args)
	if err != nil {
		return err
	}
	if f.publish != "" {
		return publish(ctx, f)
	}
	dir, err := os.MkdirTemp("", "offsite-mosquitto-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	address, stop, err := tunedMosquitto(ctx, dir)
	if err != nil {
		return err
	}
	defer stop()
	return withSpool(ctx, f.dir, func(ctx context.Context, log *spool.Log) error {
		var delays delays
		sink := &spoolSink{log: log, latest: delays.add}
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
		all := func() bool { return sink.stored.Load() >= int64(f.n) }
		m, err := measureIngest(ctx, f, "ingest-mqtt", address, all)
		if err != nil {
			return err
		}
		return m.print("ingest-mqtt", f, sink, &delays)
	})
}

// tunedMosquitto starts a Mosquitto in memory whose windows lose nothing.
func tunedMosquitto(ctx context.Context, dir string) (address string, stop func(), err error) {
	return startMosquitto(ctx, dir, "max_inflight_messages 1000\nmax_queued_messages 0\n")
}

// startMosquitto starts a Mosquitto in memory with more lines of configuration.
func startMosquitto(ctx context.Context, dir, more string) (address string, stop func(), err error) {
	address, err = peers.FreeAddr()
	if err != nil {
		return "", nil, err
	}
	_, port, _ := strings.Cut(address, ":")
	conf := filepath.Join(dir, "mosquitto.conf")
	text := "listener " + port + " 127.0.0.1\nallow_anonymous true\nuser root\n" + more
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	child := exec.CommandContext(ctx, "mosquitto", "-c", conf)
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := child.Start(); err != nil {
		cancel()
		return "", nil, fmt.Errorf("start mosquitto, a package of Debian: %w", err)
	}
	stop = func() {
		cancel()
		_ = child.Wait()
	}
	wait, done := context.WithTimeout(ctx, 10*time.Second)
	defer done()
	if err := peers.Await(wait, peers.Listening(address)); err != nil {
		stop()
		return "", nil, err
	}
	return address, stop, nil
}

// runMQTT runs the devices of all publishers: one for all topics, or one each.
func runMQTT(ctx context.Context, cancel func(), f ingestFlags, address string, sink devices.Sink, running *sync.WaitGroup) (<-chan struct{}, error) {
	bounds := map[string][]devices.Bound{}
	for i := range f.publishers {
		dev, bound := publisherDevice(i)
		if !f.apart {
			dev.ID = "bench"
		}
		bounds[dev.ID] = append(bounds[dev.ID], bound)
	}
	watched := &watchedSink{Sink: sink, awaited: map[string]bool{}, online: make(chan struct{})}
	pool := mqtt.New(mqtt.Config{Gateway: "bench"})
	for id := range bounds {
		watched.awaited[id] = true
	}
	for id, bounds := range bounds {
		d, err := pool.Open(devices.Device{ID: id, Endpoint: "mqtt://" + address}, bounds)
		if err != nil {
			return nil, err
		}
		running.Go(func() {
			defer cancel() // without a session there is nothing to wait for
			if err := d.Run(ctx, watched); ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "bench: session ended:", err)
			}
		})
	}
	return watched.online, nil
}

// watchedSink tells when all devices are there.
type watchedSink struct {
	devices.Sink
	mu      sync.Mutex
	awaited map[string]bool // device ids
	online  chan struct{}
}

func (w *watchedSink) Report(r devices.Report) {
	if r.Problem != nil {
		fmt.Fprintln(os.Stderr, "bench:", r.Problem)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.awaited[r.Device] {
		return
	}
	if delete(w.awaited, r.Device); len(w.awaited) == 0 {
		close(w.online)
	}
}

// ingested is what was measured of this process, publishers apart.
type ingested struct {
	took     time.Duration
	cpu      time.Duration
	p50, p99 string // as the publishers saw it, ms
}

// measureIngest lets a child publish and waits for its end and for all, which
// may be nil.
func measureIngest(ctx context.Context, f ingestFlags, name, address string, all func() bool) (ingested, error) {
	var m ingested
	self, err := os.Executable()
	if err != nil {
		return m, err
	}
	child := exec.CommandContext(ctx, self, name, "-publish", address, "-n", strconv.Itoa(f.n),
		"-publishers", strconv.Itoa(f.publishers), "-inflight", strconv.Itoa(f.inflight), "-gather="+strconv.FormatBool(f.gather))
	child.Stderr = os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := child.StdoutPipe()
	if err != nil {
		return m, err
	}
	in, err := child.StdinPipe()
	if err != nil {
		return m, err
	}
	if err := child.Start(); err != nil {
		return m, err
	}
	lines := bufio.NewScanner(out)
	if lines.Scan() { // all its connections are there
		before, began := cpuTime(syscall.RUSAGE_SELF), time.Now()
		_ = in.Close()
		if lines.Scan() {
			m.p50, m.p99, _ = strings.Cut(lines.Text(), " ")
		}
		for all != nil && !all() {
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
				return m, context.Cause(ctx)
			}
		}
		m.took, m.cpu = time.Since(began), cpuTime(syscall.RUSAGE_SELF)-before
	}
	return m, child.Wait()
}

func (m ingested) print(name string, f ingestFlags, sink *spoolSink, delays *delays) error {
	if bad, stored := sink.bad.Load(), sink.stored.Load(); bad > 0 || stored != int64(f.n) {
		return fmt.Errorf("%d messages of %d are on disk, %d could not be read", stored, f.n, bad)
	}
	if delays != nil {
		m.p50, m.p99 = delays.percentile(0.50), delays.percentile(0.99)
	}
	fmt.Printf("bench=%s n=%d seconds=%.2f rate_per_s=%.0f cpu_us_per_unit=%.2f rss_peak_mib=%.0f p50_ms=%s p99_ms=%s\n",
		name, f.n, m.took.Seconds(), float64(f.n)/m.took.Seconds(), float64(m.cpu.Nanoseconds())/1e3/float64(f.n), peakMemory(), m.p50, m.p99)
	return nil
}
