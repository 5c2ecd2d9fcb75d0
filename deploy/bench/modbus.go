package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/devices/modbus"
	"offsite/devices/modbus/modbustest"
	"offsite/timeseries/spool"
)

// modbusFlags are those of both Modbus measurements.
type modbusFlags struct {
	slaves, shared, registers int
	seconds                   int
	silent, rtu, durable      bool
	serve                     bool
	dir                       string
}

func readModbusFlags(name string, args []string) (modbusFlags, error) {
	f := modbusFlags{silent: name == "modbus-silent"}
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.IntVar(&f.slaves, "slaves", 100, "units that are polled each second")
	set.IntVar(&f.shared, "shared", map[bool]int{false: 1, true: 5}[f.silent], "units behind one connection; in modbus-silent the last of them never answers")
	set.IntVar(&f.registers, "registers", 50, "registers of each unit, each a point of its own")
	set.IntVar(&f.seconds, "seconds", 30, "how long to measure")
	set.BoolVar(&f.rtu, "rtu", false, "RTU over TCP instead of Modbus TCP")
	set.BoolVar(&f.durable, "durable", false, "record every reading in the durable log; otherwise readings are dropped where drivers leave them")
	set.StringVar(&f.dir, "dir", "", "with -durable an empty directory for the log, on the disk to be measured (default a temporary one)")
	set.BoolVar(&f.serve, "serve", false, "used by the measurement itself: be the slaves")
	return f, set.Parse(args)
}

// buses is how many connections there are.
func (f *modbusFlags) buses() int { return (f.slaves + f.shared - 1) / f.shared }

// mute says whether the unit never answers.
func (f *modbusFlags) mute(unit int) bool { return f.silent && unit == f.shared }

func (f *modbusFlags) args() []string {
	return []string{
		"-serve", "-slaves", strconv.Itoa(f.slaves), "-shared", strconv.Itoa(f.shared),
		"-registers", strconv.Itoa(f.registers), "-rtu=" + strconv.FormatBool(f.rtu),
	}
}

// benchModbus measures units polled each second.
func benchModbus(ctx context.Context, args []string) error { return pollUnits(ctx, "modbus", args) }

// benchModbusSilent measures the same where the last unit of each connection
// never answers: what becomes of the others.
func benchModbusSilent(ctx context.Context, args []string) error {
	return pollUnits(ctx, "modbus-silent", args)
}

func pollUnits(ctx context.Context, name string, args []string) error {
	f, err := readModbusFlags(name, args)
	if err != nil {
		return err
	}
	if f.serve {
		return serveUnits(ctx, &f)
	}
	endpoints, stop, err := startUnits(ctx, name, &f)
	if err != nil {
		return err
	}
	defer stop()
	if !f.durable {
		return measurePolls(ctx, name, &f, endpoints, dropped{})
	}
	return withSpool(ctx, f.dir, func(ctx context.Context, log *spool.Log) error {
		return measurePolls(ctx, name, &f, endpoints, &spoolSink{log: log})
	})
}

// serveUnits is the child process: the slaves. It prints their endpoints, a line
// each, and ends with its input.
func serveUnits(ctx context.Context, f *modbusFlags) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	for range f.buses() {
		slave, err := modbustest.Listen(ctx, modbustest.Config{RTU: f.rtu})
		if err != nil {
			return err
		}
		for unit := 1; unit <= f.shared; unit++ {
			u := slave.Unit(byte(unit))
			u.Set(modbustest.Holding, 0, make([]uint16, f.registers)...)
			if f.mute(unit) {
				u.Misbehave(modbustest.Fault{Kind: modbustest.Silent})
			}
		}
		g.Go(func() error { return slave.Run(ctx) })
		fmt.Println(slave.Endpoint())
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// startUnits starts the child and gives the endpoints of its slaves.
func startUnits(ctx context.Context, name string, f *modbusFlags) (endpoints []string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	child := exec.CommandContext(ctx, self, append([]string{name}, f.args()...)...)
	child.Stderr = os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := child.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	in, err := child.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := child.Start(); err != nil {
		return nil, nil, err
	}
	stop = func() { _, _ = in.Close(), child.Wait() }
	for lines := bufio.NewScanner(out); len(endpoints) < f.buses(); {
		if !lines.Scan() {
			stop()
			return nil, nil, fmt.Errorf("the slaves did not start: %w", errors.Join(lines.Err(), io.ErrUnexpectedEOF))
		}
		endpoints = append(endpoints, strings.TrimSpace(lines.Text()))
	}
	return endpoints, stop, nil
}

// dropped is a sink that keeps nothing.
type dropped struct{}

func (dropped) Accept(_ devices.Delivery, done func(error)) { done(nil) }

func (dropped) Report(devices.Report) {}

// pollSink notes when the polls of each device came and hands them on.
type pollSink struct {
	devices.Sink
	mu    sync.Mutex
	came  map[string][]time.Time
	count int // readings
}

func (s *pollSink) Accept(d devices.Delivery, done func(error)) {
	now := time.Now()
	s.mu.Lock()
	s.came[d.Origin.Device] = append(s.came[d.Origin.Device], now)
	s.count += len(d.Readings)
	s.mu.Unlock()
	s.Sink.Accept(d, done)
}

func measurePolls(ctx context.Context, name string, f *modbusFlags, endpoints []string, inner devices.Sink) error {
	sink := &pollSink{Sink: inner, came: map[string][]time.Time{}}
	pool := modbus.New(modbus.Config{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	healthy := map[string]bool{}
	for i := range f.slaves {
		unit := 1 + i%f.shared
		dev, bounds := polledUnit(i, endpoints[i/f.shared], uint8(unit), f.registers)
		driver, err := pool.Open(dev, bounds)
		if err != nil {
			return err
		}
		if !f.mute(unit) {
			healthy[dev.ID] = true
		}
		running.Go(func() { _ = driver.Run(ctx, sink) })
		// Spread over a second, as devices are that were registered one by one.
		if err := pause(ctx, time.Second/time.Duration(f.slaves)); err != nil {
			return err
		}
	}
	if err := pause(ctx, 3*time.Second); err != nil { // until the silent ones are known
		return err
	}
	sink.mu.Lock()
	sink.count = 0
	sink.mu.Unlock()
	before, began := cpuTime(syscall.RUSAGE_SELF), time.Now()
	if err := pause(ctx, time.Duration(f.seconds)*time.Second); err != nil {
		return err
	}
	cpu, took := cpuTime(syscall.RUSAGE_SELF)-before, time.Since(began)
	sink.mu.Lock()
	defer sink.mu.Unlock()
	onTime, periods := timeliness(sink.came, healthy, began, took)
	fmt.Printf("bench=%s n=%d seconds=%.1f rate_per_s=%.0f cpu_us_per_unit=%.2f rss_peak_mib=%.0f connections=%d silent=%d core_percent=%.2f on_time_percent=%.2f period_p1_ms=%.0f period_p99_ms=%.0f\n",
		name, sink.count, took.Seconds(), float64(sink.count)/took.Seconds(), float64(cpu.Microseconds())/float64(max(sink.count, 1)), peakMemory(),
		len(endpoints), f.slaves-len(healthy), 100*cpu.Seconds()/took.Seconds(), onTime, percentile(periods, 0.01), percentile(periods, 0.99))
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// polledUnit is one unit and its points.
func polledUnit(i int, endpoint string, unit uint8, registers int) (devices.Device, []devices.Bound) {
	id := fmt.Sprintf("unit-%03d", i)
	dev := devices.Device{
		ID: id, Site: "bench", Name: id, Driver: devices.DriverModbus, Endpoint: endpoint,
		Period: devices.Duration(time.Second), Modbus: &devices.ModbusSettings{Unit: unit},
	}
	bounds := make([]devices.Bound, registers)
	for r := range bounds {
		point := fmt.Sprintf("%s.r%d", id, r)
		bounds[r] = devices.Bound{
			Site: "bench", Point: devices.Point{ID: point},
			Binding: devices.Binding{
				ID: fmt.Sprintf("%s-r%d", id, r), Point: point, Device: id,
				Register: &devices.Register{Table: "holding", Address: uint16(r), Type: "uint16"},
			},
		}
	}
	return dev, bounds
}

// timeliness gives the share, in percent, of the moments at which healthy units
// are to be polled, each second, that a poll came no more than half a second
// after, and the times between two polls.
func timeliness(came map[string][]time.Time, healthy map[string]bool, began time.Time, took time.Duration) (percent float64, periods []time.Duration) {
	kept, wanted := 0, 0
	for id := range healthy {
		polls := came[id]
		first := began.Truncate(time.Second).Add(time.Second)
		last := began.Add(took - 500*time.Millisecond).Truncate(time.Second)
		wanted += int(last.Sub(first)/time.Second) + 1
		moments := map[int64]bool{}
		for i, at := range polls {
			moment := at.Truncate(time.Second)
			if moment.Before(first) || moment.After(last) {
				continue
			}
			if at.Sub(moment) <= 500*time.Millisecond {
				moments[moment.Unix()] = true
			}
			if i > 0 {
				periods = append(periods, at.Sub(polls[i-1]))
			}
		}
		kept += len(moments)
	}
	return 100 * float64(kept) / float64(max(wanted, 1)), periods
}

// percentile gives a share of ds in milliseconds.
func percentile(ds []time.Duration, share float64) float64 {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return float64(ds[int(share*float64(len(ds)-1))].Microseconds()) / 1000
}
