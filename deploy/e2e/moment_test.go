package e2e

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"offsite/edge/dispatch/wire"
	"offsite/streams"
	"offsite/streams/rtsp/rtsptest"
	"offsite/streams/snapshot"
)

// TestStillsAreOfTheirMomentsWithoutFFmpeg measures how far stills are from the moments
// that they are of, where the camera sends a key frame every two seconds and the
// gateway finds no ffmpeg. Half a second is promised for 95 of 100.
func TestStillsAreOfTheirMomentsWithoutFFmpeg(t *testing.T) {
	const breaches, promised = 8, 500 * time.Millisecond
	clip, err := rtsptest.NewClip(streams.H264, slowKeys(t), 25)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := programBinary(); err != nil { // builds with what is on the PATH
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	p := startProgram(t, "")
	if _, ready := p.ready(); !strings.Contains(ready, "stills: "+snapshot.StepSandbox+"\n") {
		t.Fatalf("readyz: %s", ready)
	}
	yard := p.watched(t, "yard", thing{"url": rtspCameras(t, rtsptest.Config{Clip: clip}).URL("cam")})
	began := time.Now()
	p.await("pictures of five seconds", func() error { return since(began, 8*time.Second) }) // the first key frame comes within two
	for range breaches {
		yard.begin()
		ended := time.Now()
		p.await("the next breach", func() error { return since(ended, 730*time.Millisecond) }) // elsewhere in a group
	}
	var away []time.Duration
	p.await("all evidence", func() error {
		away = away[:0]
		for _, e := range p.told("yard.v", wire.EventStepEvidence) {
			if e.Evidence.Complete == nil || !*e.Evidence.Complete {
				continue
			}
			for _, it := range e.Evidence.Items {
				if it.Kind != "still" {
					continue
				}
				if it.DistanceMS == nil || it.Step != snapshot.StepSandbox {
					t.Fatalf("still %+v", it)
				}
				away = append(away, (time.Duration(*it.DistanceMS-it.MomentMS) * time.Millisecond).Abs())
			}
		}
		return wantCount(away, 3*breaches)
	})
	slices.Sort(away)
	p95 := away[len(away)*95/100]
	t.Logf("%d stills: p50 %s, p95 %s, most %s", len(away), away[len(away)/2], p95, away[len(away)-1])
	if p95 > promised {
		t.Errorf("95 of 100 stills are within %s of their moment, want %s", p95, promised)
	}
}

// slowKeys gives twelve seconds of 720p25 with a key frame every two seconds.
func slowKeys(t *testing.T) []byte {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is absent, which makes the clip: apt-get install ffmpeg")
	}
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25", "-t", "12",
		"-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-b:v", "2M", "-f", "h264", "pipe:1").Output()
	if err != nil {
		t.Fatal(errors.Join(errors.New("ffmpeg"), err))
	}
	return out
}
