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
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/edge/memory"
	"offsite/streams"
	"offsite/streams/rtsp"
	"offsite/streams/rtsp/rtsptest"
)

// pull measures what it costs to pull cameras that nobody watches: network to
// access units to ring. The cameras run in a child process. besides_rings_mib is the
// most that the process had of its own besides what was in the rings at that moment;
// program_mib, on top, is what it had mapped of its file, which holds the whole gateway.
func pull(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("pull", flag.ContinueOnError)
	n := flags.Int("n", 20, "cameras")
	seconds := flags.Float64("seconds", 40, "measured time; the ring of 30 s fills in it")
	transport := flags.String("transport", "tcp", "tcp or udp")
	cpu := flags.String("cpuprofile", "", "write a CPU profile of the measured time to this file")
	memory := flags.String("memprofile", "", "write a profile of what was allocated to this file")
	together := flags.Bool("together", false, "let all cameras send their key frames at the same moment, as real ones do not")
	serve := flags.String("serve", "", "run the cameras with this clip (used by the measurements themselves)")
	rate := flags.Int("rate", 25, "pictures a second of that clip")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *serve != "" {
		return serveCameras(ctx, *serve, *n, *rate, *together)
	}
	clip, remove, err := cameraClip(ctx)
	if err != nil {
		return err
	}
	defer remove()
	addr, stop, err := startCameras(ctx, clip, *n, 25, "-together="+strconv.FormatBool(*together))
	if err != nil {
		return err
	}
	defer stop()
	return profiled(*cpu, *memory, func() error {
		return pullAll(ctx, addr, *n, *transport, time.Duration(*seconds*float64(time.Second)))
	})
}

// profiled runs and writes profiles to the files that are named.
func profiled(cpu, memory string, run func() error) error {
	if memory == "" {
		runtime.MemProfileRate = 0 // the gateway keeps none
	}
	if cpu != "" {
		f, err := os.Create(cpu) //nolint:gosec // whoever measures names it
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if err := run(); err != nil || memory == "" {
		return err
	}
	f, err := os.Create(memory) //nolint:gosec // as above
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}

func pullAll(ctx context.Context, addr string, n int, transport string, length time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	feeds, spare := make([]*streams.Feed, n), new(streams.Spare)
	for i := range feeds {
		cam := devices.Camera{ID: "cam-" + strconv.Itoa(i), Site: "bench", Name: "bench", URL: fmt.Sprintf("rtsp://%s/cam-%d", addr, i), Transport: transport}
		source, err := rtsp.Open(cam, rtsp.Config{})
		if err != nil {
			return err
		}
		feed := streams.NewFeed(streams.FeedConfig{Spare: spare})
		feeds[i] = feed
		g.Go(func() error { return source.Run(ctx, feed) })
	}
	g.Go(func() error {
		return memory.Headroom(ctx, func() (bytes int64) { // as the gateway does
			for _, f := range feeds {
				bytes += f.State().RingBytes
			}
			return bytes
		})
	})
	g.Go(func() error {
		defer cancel()
		return measurePull(ctx, feeds, length)
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func measurePull(ctx context.Context, feeds []*streams.Feed, length time.Duration) error {
	for _, f := range feeds { // all play before the clock starts
		r := f.Subscribe()
		_, err := r.Next(ctx)
		r.Close()
		if err != nil {
			return err
		}
	}
	frames := func() (n, bytes, damaged uint64, ring int64) {
		for _, f := range feeds {
			s := f.State()
			n, bytes, damaged, ring = n+s.Frames, bytes+s.Bytes, damaged+s.Damaged, ring+s.RingBytes
		}
		return n, bytes, damaged, ring
	}
	first, firstBytes, _, _ := frames()
	began, cpu := time.Now(), cpuTime(syscall.RUSAGE_SELF)
	var besides, program int64
	look := time.NewTicker(2 * time.Second) // reading it costs the process measured
	defer look.Stop()
	for time.Since(began) < length {
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		_, _, _, ring := frames()
		private, file := residentMemory()
		besides, program = max(besides, private-ring), max(program, file)
	}
	took, used := time.Since(began), cpuTime(syscall.RUSAGE_SELF)-cpu
	last, lastBytes, damaged, ring := frames()
	n := last - first
	fmt.Printf("bench=pull n=%d seconds=%.1f rate_per_s=%.0f cpu_us_per_unit=%.1f rss_peak_mib=%.0f cameras=%d mbit_per_camera=%.2f core_percent=%.2f ring_mib=%.1f besides_rings_mib=%.1f program_mib=%.1f damaged=%d\n",
		n, took.Seconds(), float64(n)/took.Seconds(), float64(used.Microseconds())/float64(n), peakMemory(),
		len(feeds), float64(lastBytes-firstBytes)*8/1e6/took.Seconds()/float64(len(feeds)), 100*used.Seconds()/took.Seconds(), float64(ring)/(1<<20), float64(besides)/(1<<20), float64(program)/(1<<20), damaged)
	return nil
}

// residentMemory gives the process's own memory, and how much of its program is in
// memory, where the page cache has it anyway; in bytes.
func residentMemory() (private, file int64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		var kilobytes int64
		if n, _ := fmt.Sscanf(line, "RssAnon: %d kB", &kilobytes); n == 1 {
			private = kilobytes << 10
		}
		if n, _ := fmt.Sscanf(line, "RssFile: %d kB", &kilobytes); n == 1 {
			file = kilobytes << 10
		}
	}
	return private, file
}

// cameraClip encodes 10 s of 1080p at 25 pictures a second and 2 Mbit/s.
func cameraClip(ctx context.Context) (path string, remove func(), err error) {
	return encodeClip(ctx, "1920x1080", 25, "2M")
}

// encodeClip encodes 10 s of H.264 with a key frame every two seconds, as
// cameras send it.
func encodeClip(ctx context.Context, size string, rate int, bits string) (path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "offsite-bench-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	path = filepath.Join(dir, "clip.h264")
	said, err := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", //nolint:gosec // a file of our own
		"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%s:rate=%d:duration=10", size, rate), "-vf", "noise=alls=8:allf=t",
		"-c:v", "libx264", "-profile:v", "main", "-preset", "ultrafast", "-bf", "0", "-g", strconv.Itoa(2*rate), "-sc_threshold", "0", "-pix_fmt", "yuv420p",
		"-b:v", bits, "-maxrate", bits, "-bufsize", bits, "-f", "h264", path).CombinedOutput()
	if err != nil {
		remove()
		return "", nil, fmt.Errorf("encode the clip: %w: %s", err, said)
	}
	return path, remove, nil
}

// startCameras runs n cameras in a child process, with further flags of pull's, and gives
// their host:port.
func startCameras(ctx context.Context, clip string, n, rate int, flags ...string) (addr string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"pull", "-serve", clip, "-n", strconv.Itoa(n), "-rate", strconv.Itoa(rate)}, flags...)...) //nolint:gosec // this program
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = in.Close() // the child ends with its input
		_ = cmd.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("cameras: %w", err)
	}
	return strings.TrimSpace(line), stop, nil
}

// serveCameras is the child: cameras until standard input ends.
func serveCameras(ctx context.Context, path string, n, rate int, together bool) error {
	data, err := os.ReadFile(path) //nolint:gosec // the parent's file
	if err != nil {
		return err
	}
	clip, err := rtsptest.NewClip(streams.H264, data, float64(rate))
	if err != nil {
		return err
	}
	paths := make([]string, n)
	for i := range paths {
		paths[i] = "cam-" + strconv.Itoa(i)
	}
	server, err := rtsptest.Listen(rtsptest.Config{Paths: paths, Clip: clip, UDP: true, Apart: !together})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { _ = os.Stdin.Close() })
	fmt.Println(server.Addr())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Run(ctx) })
	g.Go(func() error {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
		return nil
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// cpuTime is what the process, or its ended children, have used.
func cpuTime(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMemory is the process's largest resident set, in MiB.
func peakMemory() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Maxrss) / 1024 // Linux tells kilobytes
}
