package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pion/webrtc/v4"
	"golang.org/x/sync/errgroup"

	"offsite/streams"
	"offsite/streams/whep"
)

// webrtcViewers measures what each WebRTC viewer of one camera of 1080p25
// 2 Mbit/s costs the gateway: encryption is each viewer's own, all else ought to
// be shared. The viewers are pion clients in a process of their own.
func webrtcViewers(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("viewers-webrtc", flag.ContinueOnError)
	most := flags.Int("n", 200, "viewers of the last round; the first has a tenth")
	seconds := flags.Float64("seconds", 8, "measured time of each round")
	at := flags.String("watch", "", "be the viewers of this address instead")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *at != "" {
		return watchWebRTC(ctx, *at, *most)
	}
	clip, err := shownClip(ctx)
	if err != nil {
		return err
	}
	for _, n := range []int{max(1, *most/10), *most} {
		if err := viewByWebRTC(ctx, clip, n, time.Duration(*seconds*float64(time.Second))); err != nil {
			return err
		}
	}
	return nil
}

// viewByWebRTC lets n viewers watch for length, once all have joined.
func viewByWebRTC(ctx context.Context, clip []*streams.Frame, n int, length time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	track := whep.NewTrack(feed)
	cfg := whep.Defaults()
	cfg.PerCamera, cfg.Sessions = n, n
	server := whep.New(cfg, nil)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		offer, _ := io.ReadAll(r.Body)
		answer, err := server.Open(r.Context(), whep.Viewing{Track: track, Offer: string(offer)})
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, answer.SDP)
	}))
	defer web.Close()
	var g errgroup.Group
	g.Go(func() error { return server.Run(ctx, nil) })
	g.Go(func() error { return broadcast(ctx, feed, clip, func(time.Duration) bool { return false }) })
	child := exec.CommandContext(ctx, os.Args[0], "viewers-webrtc", "-watch", web.URL, "-n", strconv.Itoa(n)) //nolint:gosec // this program
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // all have joined
		return fmt.Errorf("viewers: %w", err)
	}
	time.Sleep(time.Second)
	began, cpu := time.Now(), cpuTime(syscall.RUSAGE_SELF)
	time.Sleep(length)
	took, used := time.Since(began), cpuTime(syscall.RUSAGE_SELF)-cpu
	pictures := took.Seconds() * 25 * float64(server.Sessions())
	fmt.Printf("bench=viewers-webrtc n=%d seconds=%.1f rate_per_s=%.0f cpu_us_per_unit=%.1f rss_peak_mib=%.0f sessions=%d lost=%d\n",
		n, took.Seconds(), pictures/took.Seconds(), float64(used.Microseconds())/pictures, peakMemory(), server.Sessions(), feed.State().Lost)
	cancel()
	_ = child.Wait()
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// watchWebRTC is n viewers that throw away what they get. It writes a line once
// all have joined.
func watchWebRTC(ctx context.Context, at string, n int) error {
	joined := make(chan struct{}, n)
	var g errgroup.Group
	g.SetLimit(16)
	for range n {
		g.Go(func() error { return joinWebRTC(ctx, at, joined) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for range n {
		select {
		case <-joined:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	fmt.Println("joined")
	<-ctx.Done()
	return context.Cause(ctx)
}

func joinWebRTC(ctx context.Context, at string, joined chan<- struct{}) error {
	peer, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	peer.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		joined <- struct{}{}
		for buffer := make([]byte, 1500); ; {
			if _, _, err := track.Read(buffer); err != nil {
				return
			}
		}
	})
	if _, err := peer.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		return err
	}
	offer, err := peer.CreateOffer(nil)
	if err != nil {
		return err
	}
	if err := peer.SetLocalDescription(offer); err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(offer.SDP))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("offer: %s %s, %w", resp.Status, answer, err)
	}
	return peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)})
}
