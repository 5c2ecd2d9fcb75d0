package streams_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/streams"
)

// play publishes groups of pictures of size frames, one frame each 100 ms,
// each of n bytes.
func play(feed *streams.Feed, groups, size, n int) {
	for range groups {
		for i := range size {
			feed.Publish(&streams.Frame{NALUs: [][]byte{make([]byte, n)}, At: time.Now(), Key: i == 0})
			time.Sleep(100 * time.Millisecond) // of the bubble's clock
		}
	}
}

func seqs(frames []*streams.Frame) []uint64 {
	var out []uint64
	for _, f := range frames {
		out = append(out, f.Seq)
	}
	return out
}

// drain takes what is there at once.
func drain(t *testing.T, r *streams.Reader) []uint64 {
	t.Helper()
	var out []uint64
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		f, err := r.Next(ctx)
		cancel()
		if err != nil {
			return out
		}
		out = append(out, f.Seq)
	}
}

func TestForgottenFramesComeToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := streams.NewFeed(streams.FeedConfig{})
		feed.Connected()
		live, all, began := feed.Subscribe(), feed.Follow(time.Now()), time.Now()
		defer live.Close()
		defer all.Close()
		play(feed, 2, 3, 10)
		before := drain(t, live)
		feed.Forget()
		if s := feed.State(); feed.Key() != nil || feed.Group() != nil || feed.Ring(began, time.Now()) != nil || s.RingBytes != 0 || !s.LastFrame.IsZero() {
			t.Errorf("%d bytes are held, state %+v", s.RingBytes, s)
		}
		if _, err := all.Next(t.Context()); !errors.Is(err, streams.ErrReplaced) {
			t.Errorf("who follows one camera: %v", err)
		}
		feed.Publish(&streams.Frame{NALUs: [][]byte{{1}}, At: time.Now()}) // depends on what is forgotten
		feed.Connected()
		play(feed, 1, 2, 10)
		late := feed.Follow(began)
		defer late.Close()
		want := []uint64{7, 8}
		if diff := cmp.Diff([][]uint64{{1, 2, 3, 4, 5, 6}, want, nil, want}, [][]uint64{before, drain(t, live), drain(t, all), drain(t, late)}); diff != "" {
			t.Error(diff)
		}
	})
}

func TestJoiningReaderGetsTheCurrentGroupWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := streams.NewFeed(streams.FeedConfig{})
		feed.Connected()
		play(feed, 1, 5, 10)
		play(feed, 1, 3, 10)
		r := feed.Subscribe()
		defer r.Close()
		if diff := cmp.Diff([]uint64{6, 7, 8}, drain(t, r)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]uint64{6, 7, 8}, seqs(feed.Group())); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSlowReaderLosesWholeGroupsAndIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := streams.NewFeed(streams.FeedConfig{})
		feed.Connected()
		slow, quick := feed.Subscribe(), feed.Subscribe()
		defer slow.Close()
		defer quick.Close()
		play(feed, 1, 1, 10)
		first, _ := slow.Next(t.Context())
		var all []uint64
		for range 5 {
			play(feed, 1, 10, 10)
			all = append(all, drain(t, quick)...)
		}
		got := drain(t, slow)
		// Frames 1..51; key frames 1, 2, 12, 22, 32, 42.
		if diff := cmp.Diff([]uint64{42, 43, 44, 45, 46, 47, 48, 49, 50, 51}, got); diff != "" || first.Seq != 1 {
			t.Error(diff)
		}
		if slow.Lost() != 40 || quick.Lost() != 0 || len(all) != 51 || feed.State().Lost != 40 {
			t.Errorf("lost %d and %d, quick got %d, feed says %d", slow.Lost(), quick.Lost(), len(all), feed.State().Lost)
		}
	})
}

func TestReaderLessThanAGroupBehindLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := streams.NewFeed(streams.FeedConfig{})
		feed.Connected()
		play(feed, 2, 20, 10) // groups of 2 s
		r := feed.Subscribe()
		defer r.Close()
		drain(t, r)
		play(feed, 1, 15, 10)
		if got := drain(t, r); len(got) != 15 || r.Lost() != 0 {
			t.Errorf("got %v, lost %d", got, r.Lost())
		}
	})
}

func TestRingIsBounded(t *testing.T) {
	tests := []struct {
		name   string
		cfg    streams.FeedConfig
		frames int
	}{
		{"by time", streams.FeedConfig{Ring: 3 * time.Second}, 40},
		{"by bytes", streams.FeedConfig{RingBytes: 2500}, 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				feed := streams.NewFeed(tt.cfg)
				feed.Connected()
				play(feed, 10, 10, 100)
				s := feed.State()
				if s.RingFrames != tt.frames || s.RingBytes != int64(tt.frames*100) {
					t.Errorf("ring of %d frames, %d bytes, want %d frames", s.RingFrames, s.RingBytes, tt.frames)
				}
			})
		})
	}
}

func TestEndlessGroupKeepsItsBoundAndItsLiveReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := streams.NewFeed(streams.FeedConfig{RingBytes: 1000})
		feed.Connected()
		r := feed.Subscribe()
		defer r.Close()
		play(feed, 1, 1, 100)
		got := drain(t, r)
		for range 50 {
			feed.Publish(&streams.Frame{NALUs: [][]byte{make([]byte, 100)}, At: time.Now()})
			got = append(got, drain(t, r)...)
		}
		if s := feed.State(); len(got) != 51 || s.RingBytes > 1000 {
			t.Errorf("reader got %d of 51 frames, ring holds %d bytes", len(got), s.RingBytes)
		}
		late := feed.Subscribe()
		defer late.Close()
		if got := drain(t, late); got != nil || feed.Group() != nil {
			t.Errorf("joining viewer got %v of a group that is not whole", got)
		}
		play(feed, 1, 2, 100)
		if got := drain(t, late); len(got) != 2 || late.Lost() != 0 {
			t.Errorf("got %v at the next key frame, lost %d", got, late.Lost())
		}
	})
}

func TestRingGivesWholeGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := streams.NewFeed(streams.FeedConfig{})
		feed.Connected()
		began := time.Now()
		play(feed, 5, 10, 10) // a key frame each second
		got := seqs(feed.Ring(began.Add(1500*time.Millisecond), began.Add(2500*time.Millisecond)))
		if len(got) != 15 || got[0] != 11 || got[14] != 25 {
			t.Errorf("got %v", got)
		}
	})
}

func TestOldConnectionDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := streams.NewFeed(streams.FeedConfig{})
		feed.Connected()
		play(feed, 2, 5, 10)
		if got := feed.State().KeyInterval; got != 500*time.Millisecond {
			t.Errorf("key frame interval %v", got)
		}
		why := &devices.Problem{Code: "x"}
		feed.Disconnected(why)
		if s := feed.State(); s.Connected || s.Problem != why || feed.Group() != nil {
			t.Errorf("state %+v", s)
		}
		feed.Connected()
		feed.Publish(&streams.Frame{NALUs: [][]byte{{1}}, At: time.Now()}) // depends on a key frame of before
		if s := feed.State(); s.Frames != 10 || feed.Group() != nil {
			t.Errorf("state %+v", s)
		}
		play(feed, 1, 1, 10)
		if g := feed.Group(); len(g) != 1 || g[0].Connection != 2 {
			t.Errorf("group %v", g)
		}
	})
}

func TestCloseEndsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := streams.NewFeed(streams.FeedConfig{})
		r := feed.Subscribe()
		ended := make(chan error)
		go func() {
			_, err := r.Next(t.Context())
			ended <- err
		}()
		synctest.Wait()
		feed.Close()
		if err := <-ended; !errors.Is(err, streams.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

func TestPublishDoesNotWaitForReaders(t *testing.T) {
	feed := streams.NewFeed(streams.FeedConfig{RingBytes: 1 << 16})
	feed.Connected()
	for range 100 {
		defer feed.Subscribe().Close()
	}
	for i := range 10000 {
		feed.Publish(&streams.Frame{NALUs: [][]byte{make([]byte, 100)}, At: time.Now(), Key: i%25 == 0})
	}
	if s := feed.State(); s.Frames != 10000 || s.Readers != 100 {
		t.Errorf("state %+v", s)
	}
}
