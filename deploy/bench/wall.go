package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The sub-streams of the wall: small, because a browser without a graphics card
// decodes all of them on the processor that the gateway runs on, too.
const (
	wallSize = "320x180"
	wallRate = 10 // pictures a second
	wallBits = "150k"
)

// What a wall may grow by over its measured time, whatever that is.
const (
	mostHeapGrowth = 8   // MiB of the page's own heap, collected before each look
	mostNodeGrowth = 200 // nodes of its document
)

// wall shows cameras on the console's wall in Chromium, driven by
// deploy/e2e/console/wall.mjs, and fails where a picture stands still for two
// seconds or the page grows. The cameras run in a process of their own.
func wall(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("wall", flag.ContinueOnError)
	n := flags.Int("n", 16, "cameras, at most 16")
	minutes := flags.Float64("minutes", 10, "measured time")
	chromium := flags.String("chromium", "chromium", "the browser")
	if err := flags.Parse(args); err != nil {
		return err
	}
	clip, remove, err := encodeClip(ctx, wallSize, wallRate, wallBits)
	if err != nil {
		return err
	}
	defer remove()
	addr, stop, err := startCameras(ctx, clip, 2**n, wallRate)
	if err != nil {
		return err
	}
	defer stop()
	demo, err := startDemo(ctx, "--http", "127.0.0.1:0", "--cameras", "0")
	if err != nil {
		return err
	}
	defer demo.stop()
	for i := range *n {
		camera := map[string]any{
			"id": fmt.Sprintf("wall-%d", i+1), "site": "hengyuan-plot-7", "name": fmt.Sprintf("wall %d", i+1), "pull": "demand",
			"url": fmt.Sprintf("rtsp://%s/cam-%d", addr, 2*i), "sub_url": fmt.Sprintf("rtsp://%s/cam-%d", addr, 2*i+1),
		}
		if i == 0 { // one shows readings and alarms; were it all, the demo's platform would keep the stills of all in the same memory
			camera["outlets"] = []string{"gate-dust"}
		}
		if err := demo.box.Do(ctx, "POST", "/cameras", camera, nil); err != nil {
			return err
		}
	}
	return demo.watchWall(ctx, *chromium, *n, time.Duration(*minutes*float64(time.Minute)))
}

// wallReport is what the browser saw.
type wallReport struct {
	Failure    string
	Complaints []string
	Playing    int
	Stalls     int      // pictures that stood still for two seconds
	Stalled    []string // which and when
	LongestMS  float64  // that any stood still
	LagMS      float64  // the longest, between the newest that has come and what is shown
	Frames     int
	Dropped    int
	Heap       [2]float64 // MiB after a collection, at the beginning and the end
	Nodes      [2]int
	Listeners  [2]int
}

func (d *demoProcess) watchWall(ctx context.Context, chromium string, n int, length time.Duration) error {
	stdout, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "offsite").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	root := strings.TrimSpace(string(stdout))
	if chromium, err = exec.LookPath(chromium); err != nil {
		return err
	}
	task, err := json.Marshal(map[string]any{
		"name": "wall", "chromium": chromium, "modules": filepath.Join(root, "gateway/console/web"), "artefacts": d.dir,
		"url": d.link, "cameras": n, "seconds": length.Seconds(),
	})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "node", filepath.Join(root, "deploy/e2e/console/wall.mjs")) //nolint:gosec // our own script
	cmd.Env = append(os.Environ(), "OFFSITE_TASK="+string(task))
	cmd.Stderr = os.Stderr
	var out bytes.Buffer
	cmd.Stdout = &out
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	// The demo tells of its events on a channel that nobody reads here.
	watched := make(chan error, 1)
	go func() { watched <- cmd.Wait() }()
	first, peak := d.resident(), 0.0
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for began := time.Now(); ; {
		select {
		case <-d.events:
		case <-ticker.C:
			if peak = max(peak, d.resident()); time.Since(began) < 20*time.Second {
				first = d.resident() // it has not settled before
			}
		case err := <-watched:
			if err != nil {
				return fmt.Errorf("wall.mjs: %w", err)
			}
			return tellWall(out.Bytes(), n, length, first, d.resident(), peak)
		}
	}
}

func tellWall(out []byte, n int, length time.Duration, rss, rssEnd, rssPeak float64) error {
	var r wallReport
	if err := json.Unmarshal(out, &r); err != nil {
		return fmt.Errorf("wall.mjs: %w in %s", err, out)
	}
	if r.Failure != "" {
		return fmt.Errorf("wall.mjs: %s", r.Failure)
	}
	fmt.Printf("bench=wall n=%d seconds=%.0f size=%s rate=%d bits=%s stalls=%d longest_still_ms=%.0f lag_ms=%.0f frames=%d dropped=%d "+
		"heap_mib=%.1f heap_end_mib=%.1f nodes=%d nodes_end=%d listeners=%d listeners_end=%d gateway_rss_mib=%.0f gateway_rss_end_mib=%.0f rss_peak_mib=%.0f\n",
		n, length.Seconds(), wallSize, wallRate, wallBits, r.Stalls, r.LongestMS, r.LagMS, r.Frames, r.Dropped,
		r.Heap[0], r.Heap[1], r.Nodes[0], r.Nodes[1], r.Listeners[0], r.Listeners[1], rss, rssEnd, rssPeak)
	var faults []error
	if r.Playing != n || r.Stalls > 0 {
		faults = append(faults, fmt.Errorf("%d of %d pictures play, and these stood still: %v", r.Playing, n, r.Stalled))
	}
	if r.Heap[1] > r.Heap[0]+mostHeapGrowth || r.Nodes[1] > r.Nodes[0]+mostNodeGrowth {
		faults = append(faults, errors.New("the page grows"))
	}
	for _, c := range r.Complaints {
		faults = append(faults, fmt.Errorf("the browser complains: %s", c))
	}
	return errors.Join(faults...)
}

var residentLine = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// resident is what the gateway holds in memory, in MiB; the demo's simulated
// instruments and platform are in it.
func (d *demoProcess) resident() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	found := residentLine.FindSubmatch(text)
	if err != nil || found == nil {
		return 0
	}
	kilobytes, _ := strconv.ParseFloat(string(found[1]), 64) // the expression takes digits alone
	return kilobytes / 1024
}
