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

func woken(wake <-chan struct{}) bool {
	select {
	case <-wake:
		return true
	default:
		return false
	}
}

func TestWatchTellsChangesAlone(t *testing.T) {
	feed := streams.NewFeed(streams.FeedConfig{})
	wake, stop := feed.Watch()
	defer stop()
	params := &streams.Parameters{Codec: streams.H264, Width: 640, Height: 360}
	same, other := *params, *params
	other.Width = 320
	frame := func(p *streams.Parameters) {
		feed.Publish(&streams.Frame{Params: p, NALUs: [][]byte{{1}}, At: time.Now(), Key: true})
	}
	var reader *streams.Reader
	tests := []struct {
		name string
		do   func()
		want bool
	}{
		{"connected", feed.Connected, true},
		{"first parameters", func() { frame(params) }, true},
		{"a further frame", func() { frame(params) }, false},
		{"equal parameters", func() { frame(&same) }, false},
		{"new parameters", func() { frame(&other) }, true},
		{"first reader", func() { reader = feed.Subscribe() }, true},
		{"second reader", func() { feed.Subscribe().Close() }, false},
		{"last reader leaves", func() { reader.Close() }, true},
		{"it leaves again", func() { reader.Close() }, false},
		{"warning", func() { feed.Warn(&devices.Problem{Code: "odd"}) }, true},
		{"no such warning", func() { feed.Unwarn("even") }, false},
		{"warning taken back", func() { feed.Unwarn("odd") }, true},
		{"lost", func() { feed.Disconnected(nil) }, true},
		{"halted", func() { feed.Halt(true) }, true},
		{"rest", feed.Rest, true},
		{"closed", feed.Close, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.do()
			if got := woken(wake); got != tt.want {
				t.Errorf("woken %v, want %v", got, tt.want)
			}
		})
	}
}

func TestWarningsEndWithTheConnection(t *testing.T) {
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	feed.Warn(&devices.Problem{Code: "b"})
	feed.Warn(&devices.Problem{Code: "a"})
	feed.Warn(&devices.Problem{Code: "b", EN: "again"})
	before := feed.State().Warnings
	if len(before) != 2 || before[0].Code != "a" || before[1].EN != "again" {
		t.Errorf("warnings %v", before)
	}
	feed.Disconnected(nil)
	if got := feed.State().Warnings; got != nil || len(before) != 2 {
		t.Errorf("warnings %v, before %v", got, before)
	}
}

func TestDemandHasAGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := streams.NewFeed(streams.FeedConfig{})
		const grace = 30 * time.Second
		came, idle := make(chan error, 1), make(chan error, 1)
		go func() { came <- feed.AwaitReader(t.Context()) }()
		synctest.Wait()
		one := feed.Subscribe()
		if err := <-came; err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		go func() { idle <- feed.AwaitIdle(t.Context(), grace) }()
		time.Sleep(10 * time.Second) // of the bubble's clock
		one.Close()
		time.Sleep(20 * time.Second)
		two := feed.Subscribe() // within the grace
		time.Sleep(time.Minute)
		two.Close()
		if err := <-idle; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 2*time.Minute {
			t.Errorf("idle after %v, want 10 s + 20 s + 60 s + the grace", took)
		}
	})
}

func TestAwaitEndsWithContextAndFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := streams.NewFeed(streams.FeedConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := feed.AwaitReader(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if err := feed.AwaitIdle(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		feed.Close()
		if err := feed.AwaitIdle(t.Context(), time.Hour); !errors.Is(err, streams.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFollowerTakesAllThatTheRingHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := streams.NewFeed(streams.FeedConfig{Ring: 10 * time.Second})
		feed.Connected()
		began := time.Now()
		play(feed, 5, 10, 10) // a key frame each second
		r := feed.Follow(began.Add(2500 * time.Millisecond))
		defer r.Close()
		if got := drain(t, r); len(got) != 30 || got[0] != 21 || r.Lost() != 0 {
			t.Errorf("got %v", got)
		}
		play(feed, 9, 10, 10) // 9 s late, all of it still held
		if got := drain(t, r); len(got) != 90 || r.Lost() != 0 {
			t.Errorf("got %d, lost %d", len(got), r.Lost())
		}
		play(feed, 20, 10, 10) // later than the ring is long
		got := drain(t, r)
		if len(got)%10 != 0 || got[0]%10 != 1 || uint64(len(got))+r.Lost() != 200 {
			t.Errorf("got %v, lost %d", got, r.Lost())
		}
		early := feed.Follow(began)
		defer early.Close()
		if diff := cmp.Diff(seqs(feed.Ring(began, time.Now())), drain(t, early)); diff != "" {
			t.Error(diff)
		}
	})
}
