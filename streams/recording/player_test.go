package recording_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/recording"
)

// given is a picture that a player gave, and when.
type given struct {
	frame *streams.Frame
	late  bool
	after time.Duration // since the first one that is to be seen
}

// watch takes all that a player gives.
func watch(t *testing.T, p *recording.Player, most int) []given {
	t.Helper()
	var list []given
	began := time.Time{}
	for len(list) < most {
		f, late, err := p.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if began.IsZero() && !late {
			began = time.Now()
		}
		list = append(list, given{f, late, time.Since(began)})
	}
	return list
}

// TestARecordingIsPlayedAtItsPace records 10 s, a gap and 5 s more, and plays it
// from the middle of a group on.
func TestARecordingIsPlayedAtItsPace(t *testing.T) {
	a := archive(t, t.TempDir(), recording.Config{Segment: 4 * time.Second})
	clip := pictures(t)
	synctest.Test(t, func(t *testing.T) {
		zero := time.Now()
		feed := streams.NewFeed(streams.FeedConfig{})
		record(t, a, feed, func() {
			feed.Connected()
			play(feed, clip, 10*time.Second)
			feed.Disconnected(&devices.Problem{Code: "camera_silent"})
			time.Sleep(20 * time.Second)
			feed.Connected()
			play(feed, clip, 5*time.Second)
		})
		p, err := a.Play("cam-1", zero.Add(3120*time.Millisecond), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if first, _, err := p.Next(t.Context()); err != nil || !first.Key {
			t.Fatalf("begins with %+v, %v", first, err)
		}
		time.Sleep(3 * time.Second) // of a negotiation
		p.Again()
		list := watch(t, p, 1000)
		lates := 0
		for i, g := range list {
			if g.late {
				lates++
			}
			if i > 0 && g.frame.PTS <= list[i-1].frame.PTS {
				t.Errorf("picture %d of %v comes after %v", i, g.frame.PTS, list[i-1].frame.PTS)
			}
			if n := 75 + i; n < 250 && !bytes.Equal(g.frame.NALUs[0], clip[n%len(clip)].NALUs[0]) {
				t.Errorf("picture %d is another one", i)
			}
		}
		if len(list) != 300 || !list[0].frame.Key || lates != 3 {
			t.Fatalf("%d pictures, %d late", len(list), lates)
		}
		for i, want := range map[int]time.Duration{3: 0, 28: time.Second, 174: 6840 * time.Millisecond, 175: 6840 * time.Millisecond, 200: 7840 * time.Millisecond, 299: 11800 * time.Millisecond} {
			if got := list[i].after; got != want {
				t.Errorf("picture %d comes after %v, want %v", i, got, want)
			}
		}
		if list[174].frame.Connection == list[175].frame.Connection {
			t.Error("the gap is not told")
		}
	})
}

func TestAPlayerGoesBackToItsKeyFrame(t *testing.T) {
	a := archive(t, t.TempDir(), recording.Config{Segment: 4 * time.Second})
	clip := pictures(t)
	synctest.Test(t, func(t *testing.T) {
		zero := time.Now()
		feed := streams.NewFeed(streams.FeedConfig{})
		feed.Connected()
		record(t, a, feed, func() { play(feed, clip, 10*time.Second) })
		p, err := a.Play("cam-1", zero.Add(time.Second), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		first := watch(t, p, 8) // the third of its second group
		p.Again()
		again := watch(t, p, 4)
		if !again[0].frame.Key || again[0].frame.PTS != first[5].frame.PTS || !again[0].late || !again[1].late || again[2].late || again[2].frame.PTS != first[7].frame.PTS {
			t.Errorf("%+v after %+v", again, first)
		}
		if _, err := a.Play("cam-1", zero.Add(time.Minute), time.Time{}); devices.AllProblems(err)[0].Code != "no_recording" {
			t.Errorf("nothing plays: %v", err)
		}
	})
}

// TestAPlayerFollowsWhatIsBeingWritten plays half a minute behind a recording that
// goes on, and stops with it.
func TestAPlayerFollowsWhatIsBeingWritten(t *testing.T) {
	a := archive(t, t.TempDir(), recording.Config{})
	clip := pictures(t)
	synctest.Test(t, func(t *testing.T) {
		zero := time.Now()
		feed := streams.NewFeed(streams.FeedConfig{})
		feed.Connected()
		played := make(chan int)
		record(t, a, feed, func() {
			go func() {
				time.Sleep(5 * time.Second)
				p, err := a.Play("cam-1", zero, time.Time{})
				if err != nil {
					t.Error(err)
					close(played)
					return
				}
				defer p.Close()
				n := 0
				for {
					_, _, err := p.Next(context.WithoutCancel(t.Context()))
					if err != nil {
						break
					}
					n++
				}
				played <- n
			}()
			play(feed, clip, 30*time.Second)
		})
		if n := <-played; n != 750 {
			t.Errorf("%d pictures of 750", n)
		}
	})
}
