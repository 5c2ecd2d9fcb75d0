package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/hj212/wire"
	"offsite/timeseries/spool"
)

// loggerFactors are what each logger of the measurement sends, all of them bound.
var loggerFactors = []string{"w01018", "w21003", "w01001", "w00000", "w21011", "w21001", "w01010", "w01009"}

type hj212Flags struct {
	loggers, seconds int
	dir, send        string
}

func readHJ212Flags(args []string) (hj212Flags, error) {
	var f hj212Flags
	set := flag.NewFlagSet("hj212", flag.ContinueOnError)
	set.IntVar(&f.loggers, "loggers", 5000, "data loggers that are connected")
	set.IntVar(&f.seconds, "seconds", 30, "each of them sends a packet a second for so long")
	set.StringVar(&f.dir, "dir", "", "an empty directory for the log of readings, on the disk to be measured (default a temporary one)")
	set.StringVar(&f.send, "send", "", "used by the measurement itself: be the loggers of this address")
	return f, set.Parse(args)
}

// benchHJ212 measures packet -> decoded -> fsync -> 9014 with all loggers
// connected. The loggers are a process of their own.
func benchHJ212(ctx context.Context, args []string) error {
	f, err := readHJ212Flags(args)
	if err != nil {
		return err
	}
	if f.send != "" {
		return sendAsLoggers(ctx, f)
	}
	return withSpool(ctx, f.dir, func(ctx context.Context, log *spool.Log) error {
		h, err := hj212.New(hj212.Config{Address: "127.0.0.1:0"})
		if err != nil {
			return err
		}
		if err := h.Update(loggerClients(f.loggers)); err != nil {
			return err
		}
		sink := &loggerSink{log: log}
		ctx, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		running.Go(func() { _ = h.Run(ctx, sink) })
		<-h.Ready()
		return measureHJ212(ctx, f, h, sink)
	})
}

// loggerSink is the durable log alone, as the pipeline hands deliveries to it.
type loggerSink struct {
	log              *spool.Log
	stored, readings atomic.Int64
}

func (s *loggerSink) Accept(d devices.Delivery, done func(error)) {
	n := len(d.Readings)
	s.log.Append(d, func(err error) {
		if err == nil {
			s.stored.Add(1)
			s.readings.Add(int64(n))
		}
		done(err)
	})
}

func (s *loggerSink) Report(devices.Report) {}

func loggerMN(i int) string { return fmt.Sprintf("BENCH%07d", i) }

func loggerClients(n int) []hj212.Client {
	clients := make([]hj212.Client, n)
	for i := range clients {
		id := fmt.Sprintf("logger-%d", i)
		c := hj212.Client{Device: devices.Device{ID: id, Driver: devices.DriverHJ212, Password: "123456", HJ212: &devices.HJ212Settings{MN: loggerMN(i)}}}
		for _, code := range loggerFactors {
			point := id + "." + code
			c.Bounds = append(c.Bounds, devices.Bound{
				Site: "bench", Point: devices.Point{ID: point},
				Binding: devices.Binding{ID: id + "-" + code, Device: id, Point: point, Factor: &devices.FactorPlace{Code: code}},
			})
		}
		clients[i] = c
	}
	return clients
}

func measureHJ212(ctx context.Context, f hj212Flags, h *hj212.Host, sink *loggerSink) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.CommandContext(ctx, self, "hj212", "-send", h.Addr().String(), "-loggers", strconv.Itoa(f.loggers), "-seconds", strconv.Itoa(f.seconds))
	child.Stderr = os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	in, err := child.StdinPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() { // all its connections are there
		return child.Wait()
	}
	before, began := cpuTime(syscall.RUSAGE_SELF), time.Now()
	_ = in.Close()
	var p50, p99, late string
	if lines.Scan() {
		_, _ = fmt.Sscan(lines.Text(), &p50, &p99, &late)
	}
	took, cpu := time.Since(began), cpuTime(syscall.RUSAGE_SELF)-before
	if err := child.Wait(); err != nil {
		return err
	}
	n := int64(f.loggers) * int64(f.seconds)
	if c := h.Counts(); sink.stored.Load() != n || sink.readings.Load() != n*int64(len(loggerFactors)) || c.Refused+c.Deaf+c.Disconnected != 0 {
		return fmt.Errorf("%d of %d packets are on disk with %d values; counts %+v", sink.stored.Load(), n, sink.readings.Load(), c)
	}
	fmt.Printf("bench=hj212 n=%d loggers=%d seconds=%.2f rate_per_s=%.0f cpu_us_per_unit=%.2f cpu_cores=%.3f rss_peak_mib=%.0f p50_ms=%s p99_ms=%s late_over_1s=%s\n",
		n, f.loggers, took.Seconds(), float64(n)/took.Seconds(), float64(cpu.Nanoseconds())/1e3/float64(n), cpu.Seconds()/took.Seconds(), peakMemory(), p50, p99, late)
	return nil
}

// sendAsLoggers is the child process: so many connections that each send a
// packet a second, their beginnings spread over the second. It prints a line
// when all are connected, begins when its input ends, and prints the median and
// the 99th percentile from a packet to its answer in milliseconds and how many
// answers took more than a second.
func sendAsLoggers(ctx context.Context, f hj212Flags) error {
	g, ctx := errgroup.WithContext(ctx)
	begin := make(chan struct{})
	var all delays
	var late atomic.Int64
	for i := range f.loggers {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", f.send)
		if err != nil {
			return err
		}
		g.Go(func() error {
			defer func() { _ = conn.Close() }()
			<-begin
			return sendPackets(conn, i, f, &all, &late)
		})
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	close(begin)
	if err := g.Wait(); err != nil {
		return err
	}
	fmt.Println(all.percentile(0.50), all.percentile(0.99), late.Load())
	return nil
}

// sendPackets sends one logger's packets, each when its second has come, and
// waits for the answer of each.
func sendPackets(conn net.Conn, i int, f hj212Flags, all *delays, late *atomic.Int64) error {
	next := time.Now().Add(time.Second * time.Duration(i) / time.Duration(f.loggers))
	answer := make([]byte, 256)
	for k := range f.seconds {
		time.Sleep(time.Until(next)) // the pace is what is measured
		sent := time.Now()
		if _, err := conn.Write(loggerPacket(i, k, sent)); err != nil {
			return err
		}
		for got := 0; ; {
			n, err := conn.Read(answer[got:])
			if err != nil {
				return fmt.Errorf("logger %d after %d answers: %w", i, k, err)
			}
			if got += n; bytes.HasSuffix(answer[:got], []byte("\r\n")) {
				break
			}
		}
		took := time.Since(sent)
		if took > time.Second {
			late.Add(1)
		}
		if k%16 == i%16 {
			all.add(took)
		}
		next = next.Add(time.Second)
	}
	return nil
}

func loggerPacket(i, k int, now time.Time) []byte {
	stamp := now.In(devices.Beijing).Format("20060102150405.000")
	b := fmt.Appendf(nil, "QN=%s%s;ST=32;CN=2011;PW=123456;MN=%s;Flag=5;CP=&&DataTime=%s", stamp[:14], stamp[15:], loggerMN(i), stamp[:14])
	for j, code := range loggerFactors {
		b = fmt.Appendf(b, ";%s-Rtd=%d.%02d,%s-Flag=N", code, 10+j, (i+k)%100, code)
	}
	b = append(b, "&&"...)
	return wire.AppendFrame(nil, b, wire.CRC(b))
}
