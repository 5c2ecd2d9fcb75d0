package fmp4_test

import (
	"testing"
	"time"

	"offsite/streams"
	"offsite/streams/fmp4"
)

// A camera that sends a key frame once and never again makes one group without
// end; who watches it must not make the gateway keep all of it.
func TestGroupWithoutEndIsNotKept(t *testing.T) {
	const most = 64 << 10
	feed := streams.NewFeed(streams.FeedConfig{RingBytes: most})
	m := fmp4.New(feed, fmp4.Config{})
	params := frames(t, streams.H264, load(t, "../rtsp/testdata/small.h264"), nil)[0].Params
	frame := func(seq uint64) *streams.Frame {
		at := time.Duration(seq) * 40 * time.Millisecond
		return &streams.Frame{Seq: seq, Group: 1, Key: seq == 1, Params: params, NALUs: [][]byte{make([]byte, 1000)}, PTS: at, DTS: at, At: time.Now()}
	}
	for seq := uint64(1); seq <= 1000; seq++ {
		if _, err := m.Fragment(frame(seq)); err != nil {
			t.Fatalf("frame %d: %v", seq, err)
		}
		if held := m.Held(); held > most*3/2 {
			t.Fatalf("%d bytes are kept after %d frames", held, seq)
		}
	}
	if _, err := m.Fragment(frame(2)); err == nil {
		t.Error("a viewer that lags by the whole group was given a frame that is no longer kept")
	}
}
