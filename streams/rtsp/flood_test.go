package rtsp_test

import (
	"context"
	"os"
	"testing"
	"time"

	"offsite/streams"
	"offsite/streams/rtsp"
	"offsite/streams/rtsp/rtsptest"
)

func TestNeighboursDoNotNoticeAFlood(t *testing.T) {
	t.Parallel()
	flooded, _ := pull(t, raw(t, rtsptest.Raw{Faster: 50}), rtsp.Config{Rate: 64 << 10})
	hall := serve(t, rtsptest.Config{Paths: []string{"cam"}, UDP: true})
	tests := []struct{ name, transport string }{{"tcp", "tcp"}, {"udp", "udp"}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cam := camera(hall)
			cam.Transport = tt.transport
			feed, _ := pull(t, cam, rtsp.Config{})
			const n = 45 // three seconds of pictures
			got := frames(t, feed, n)
			for i, f := range got[1:] {
				if f.Seq != got[i].Seq+1 {
					t.Errorf("picture %d follows %d", f.Seq, got[i].Seq)
				}
			}
			if took := got[n-1].At.Sub(got[0].At); took > 6*time.Second {
				t.Errorf("%d pictures took %v", n, took)
			}
			if s := feed.State(); s.Damaged != 0 || s.Connections != 1 || len(s.Warnings) != 0 {
				t.Errorf("state %+v", s)
			}
		})
	}
	t.Cleanup(func() {
		if w := flooded.State().Warnings; len(w) != 1 || w[0].Code != rtsp.CodeFlood {
			t.Errorf("the camera that floods is marked with %v", w)
		}
	})
}

// A picture of 8K is handed on: viewers say themselves what they can show. The ring
// stays within its bound, and the next one is judged by its own size.
func TestPictureOf8KIsBounded(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../snapshot/decoder/testdata/8k.h264")
	if err != nil {
		t.Fatal(err)
	}
	large := streams.SplitAnnexB(data)
	cam := raw(t, rtsptest.Raw{Faster: 10, Units: func(i int, unit [][]byte) [][]byte {
		if i < 15 {
			return unit
		}
		return large
	}})
	src, err := rtsp.Open(cam, rtsp.Config{})
	if err != nil {
		t.Fatal(err)
	}
	const most = 64 << 10
	feed := streams.NewFeed(streams.FeedConfig{RingBytes: most})
	background(t, func(ctx context.Context) { _ = src.Run(ctx, feed) })
	got := frames(t, feed, 60)
	if first, last := got[0].Params, got[len(got)-1].Params; first.Width != 640 || last.Width != 7680 || last.Height != 4320 {
		t.Errorf("pictures of %dx%d, then %dx%d", first.Width, first.Height, last.Width, last.Height)
	}
	if s := feed.State(); s.RingBytes > most || s.Damaged != 0 {
		t.Errorf("state %+v", s)
	}
}
