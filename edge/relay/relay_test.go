package relay

import (
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clip is the frames of the demonstration's clip, 12.5 a second.
func clip(t *testing.T) []*streams.Frame {
	t.Helper()
	data, err := os.ReadFile("../../streams/rtsp/rtsptest/demo.h264")
	if err != nil {
		t.Fatal(err)
	}
	a := streams.NewAssembler(streams.H264, nil, nil, nil)
	var out []*streams.Frame
	for _, u := range streams.CutUnits(streams.H264, streams.SplitAnnexB(data)) {
		f, err := a.Frame(u, 0, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// play shows the clip on feed until ctx ends; paused holds it.
func play(ctx context.Context, t *testing.T, feed *streams.Feed, paused func() bool) {
	frames := clip(t)
	tick := time.NewTicker(80 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if paused() {
			continue
		}
		f := *frames[i%len(frames)]
		f.PTS = time.Duration(i) * 80 * time.Millisecond
		f.DTS, f.At = f.PTS, time.Now()
		feed.Publish(&f)
	}
}

// world is a camera, a receiver and a relay.
type world struct {
	*Relay
	feed *streams.Feed

	mu     sync.Mutex
	paused bool
	fail   error // of the receiver
	mute   bool  // the receiver never takes a frame
	got    []*streams.Frame
	ends   []End
	shown  int
}

func (w *world) publish(ctx context.Context, to streams.Receiver, p *streams.Parameters, from streams.Publication) error {
	if w.mute {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	for {
		f, _, err := from.Next(ctx)
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.got = append(w.got, f)
		err = w.fail
		w.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// inWorld runs test with a relay that runs, inside a bubble of time.
func inWorld(t *testing.T, cfg Config, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{feed: streams.NewFeed(streams.FeedConfig{})}
		cfg.Publish = map[string]Publisher{"rtsps": w.publish}
		cfg.Ended = func(e End) {
			w.mu.Lock()
			w.ends = append(w.ends, e)
			w.mu.Unlock()
		}
		cfg.Changed = func() { w.mu.Lock(); w.shown++; w.mu.Unlock() }
		w.Relay = New(cfg)
		w.feed.Connected()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = w.Run(ctx) })
		wg.Go(func() {
			play(ctx, t, w.feed, func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.paused })
		})
		synctest.Wait()
		test(t, w)
		cancel()
		wg.Wait()
	})
}

func (w *world) order(id string, lasts time.Duration) Order {
	return Order{
		ID: id, Camera: "cam-1", Feed: w.feed, For: lasts, Officer: "李明 (17)", Purpose: "夜间施工检查",
		To: streams.Receiver{URL: &url.URL{Scheme: "rtsps", Host: "media.example.cn"}},
	}
}

func (w *world) reasons() []Reason {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []Reason
	for _, e := range w.ends {
		list = append(list, e.Reason)
	}
	return list
}

func code(err error) string {
	var p *devices.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

func TestAllEndWhenMemoryIsShort(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		if _, err := w.Open(t.Context(), w.order("one", time.Minute)); err != nil {
			t.Fatal(err)
		}
		why := &devices.Problem{Kind: devices.ErrUnavailable, Code: "memory_short", ZH: "内存不足", EN: "memory is short"}
		w.Shed(why)
		synctest.Wait()
		if diff := cmp.Diff([]Reason{MemoryShort}, w.reasons()); diff != "" || w.ends[0].Problem != why {
			t.Errorf("%s, %+v", diff, w.ends)
		}
		if _, err := w.Open(t.Context(), w.order("two", time.Minute)); code(err) != "memory_short" {
			t.Errorf("who came then: %v", err)
		}
		w.Shed(nil)
		if _, err := w.Open(t.Context(), w.order("two", time.Minute)); err != nil {
			t.Error(err)
		}
	})
}

func TestASessionEndsForOneReason(t *testing.T) {
	gone := &devices.Problem{Kind: devices.ErrUnavailable, Code: "push_lost", ZH: "中断", EN: "broke"}
	tests := []struct {
		name    string
		do      func(t *testing.T, w *world)
		want    Reason
		after   time.Duration // since the opening, to 100 ms
		problem string
	}{
		{"its time is up", func(*testing.T, *world) { time.Sleep(2 * time.Minute) }, Expired, time.Minute, ""},
		{"renewed once", func(t *testing.T, w *world) {
			time.Sleep(50 * time.Second)
			if s, err := w.Renew("s-1", time.Minute); err != nil || time.Until(s.Expires) != time.Minute {
				t.Errorf("renewed until %v, %v", s.Expires, err)
			}
			time.Sleep(2 * time.Minute)
		}, Expired, 110 * time.Second, ""},
		{"renewed beyond the most", func(t *testing.T, w *world) {
			if s, err := w.Renew("s-1", 3*time.Hour); err != nil || time.Until(s.Expires) != time.Hour {
				t.Errorf("renewed until %v, %v", s.Expires, err)
			}
			time.Sleep(2 * time.Hour)
		}, Expired, time.Hour, ""},
		{"closed", func(t *testing.T, w *world) {
			time.Sleep(10 * time.Second)
			e, err := w.Close(t.Context(), "s-1")
			if err != nil || e.Reason != Closed || e.Frames < 100 || e.Bytes == 0 {
				t.Errorf("closed %+v, %v", e, err)
			}
			if _, err := w.Close(t.Context(), "s-1"); code(err) != "no_stream" {
				t.Errorf("closed again: %v", err)
			}
		}, Closed, 10 * time.Second, ""},
		{"the camera falls silent and comes back in time", func(_ *testing.T, w *world) {
			w.set(func() { w.paused = true })
			time.Sleep(15 * time.Second)
			w.set(func() { w.paused = false })
			time.Sleep(time.Minute)
		}, Expired, time.Minute, ""},
		{"the camera is lost", func(_ *testing.T, w *world) {
			time.Sleep(5 * time.Second)
			w.set(func() { w.paused = true })
			w.feed.Disconnected(&devices.Problem{Code: "camera_unreachable", ZH: "无法连接", EN: "away"})
			time.Sleep(30 * time.Second)
		}, CameraLost, 25 * time.Second, "camera_unreachable"},
		{"the camera is retired", func(_ *testing.T, w *world) {
			w.feed.Close()
			time.Sleep(time.Second)
		}, CameraLost, 0, "camera_retired"},
		{"the receiver goes", func(_ *testing.T, w *world) {
			time.Sleep(5 * time.Second)
			w.set(func() { w.fail = gone })
			time.Sleep(time.Second)
		}, PeerGone, 5 * time.Second, "push_lost"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, Config{}, func(t *testing.T, w *world) {
				s, err := w.Open(t.Context(), w.order("s-1", time.Minute))
				if err != nil {
					t.Fatal(err)
				}
				if s.Codec != streams.H264 || s.Width == 0 || s.FirstFrame <= 0 || len(w.List()) != 1 {
					t.Errorf("opened %+v", s)
				}
				tt.do(t, w)
				synctest.Wait()
				if diff := cmp.Diff([]Reason{tt.want}, w.reasons()); diff != "" {
					t.Fatal(diff)
				}
				e := w.ends[0]
				if late := e.At.Sub(s.Opened) - s.FirstFrame - tt.after; late < -s.FirstFrame-time.Millisecond || late > 200*time.Millisecond {
					t.Errorf("ended after %v, want %v", e.At.Sub(s.Opened), tt.after)
				}
				if e.Problem == nil && tt.problem != "" || e.Problem != nil && e.Problem.Code != tt.problem {
					t.Errorf("problem %v, want %q", e.Problem, tt.problem)
				}
				if len(w.List()) != 0 || w.shown != 2 {
					t.Errorf("%d listed, %d changes shown", len(w.List()), w.shown)
				}
			})
		})
	}
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func TestASessionIsNotOpened(t *testing.T) {
	tests := []struct {
		name  string
		do    func(w *world, o *Order)
		limit time.Duration
		want  string
	}{
		{"no picture", func(w *world, _ *Order) { w.set(func() { w.paused = true }) }, time.Minute, "camera_silent"},
		{"the receiver refuses", func(w *world, _ *Order) {
			w.fail = &devices.Problem{Kind: devices.ErrUnavailable, Code: "push_refused", ZH: "拒绝", EN: "refused"}
		}, time.Minute, "push_refused"},
		{"the receiver does nothing", func(w *world, _ *Order) { w.mute = true }, 45 * time.Second, "stream_late"},
		{"no such way", func(_ *world, o *Order) { o.To.URL.Scheme = "srt" }, time.Minute, "push_scheme"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, Config{}, func(t *testing.T, w *world) {
				o := w.order("s-1", time.Minute)
				tt.do(w, &o)
				ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
				defer cancel()
				if _, err := w.Open(ctx, o); code(err) != tt.want {
					t.Errorf("got %v, want %s", err, tt.want)
				}
				if len(w.ends) != 0 || len(w.List()) != 0 || w.shown != 0 {
					t.Errorf("told of %+v", w.ends)
				}
			})
		})
	}
}

// tape is a past of some pictures.
type tape struct {
	frames []*streams.Frame
	next   int
	closed int
}

func (t *tape) Next(context.Context) (*streams.Frame, bool, error) {
	if t.next == len(t.frames) {
		return nil, false, io.EOF
	}
	t.next++
	time.Sleep(80 * time.Millisecond)
	f := *t.frames[t.next-1]
	return &f, t.next <= 2, nil
}

func (t *tape) Again() { t.next = 0 }

func (t *tape) Close() error {
	t.closed++
	return nil
}

func TestThePastIsSentToItsEnd(t *testing.T) {
	inWorld(t, Config{Sessions: 1}, func(t *testing.T, w *world) {
		of := func(id string) (Order, *tape) {
			tape := &tape{frames: clip(t)[:20]}
			o := w.order(id, time.Minute)
			o.Feed, o.Past = nil, tape
			return o, tape
		}
		o, first := of("s-1")
		if _, err := w.Open(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		o, second := of("s-2")
		if _, err := w.Open(t.Context(), o); code(err) != "streams_full" || second.closed != 1 {
			t.Errorf("%v, closed %d times", err, second.closed)
		}
		time.Sleep(10 * time.Second)
		if diff := cmp.Diff([]Reason{RecordingOver}, w.reasons()); diff != "" {
			t.Fatal(diff)
		}
		if e := w.ends[0]; e.Frames != 20 || e.Problem.Code != "recording_over" || first.closed != 1 {
			t.Errorf("%+v, closed %d times", e, first.closed)
		}
	})
}

func TestSessionsAreBounded(t *testing.T) {
	inWorld(t, Config{Sessions: 2}, func(t *testing.T, w *world) {
		var codes []string
		for _, id := range []string{"a", "a", "b", "c"} {
			_, err := w.Open(t.Context(), w.order(id, time.Minute))
			codes = append(codes, code(err))
		}
		if diff := cmp.Diff([]string{"", "stream_open", "", "streams_full"}, codes); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAStopEndsAllAndIsTold(t *testing.T) {
	var w *world
	inWorld(t, Config{}, func(t *testing.T, in *world) {
		w = in
		if _, err := w.Open(t.Context(), w.order("a", time.Minute)); err != nil {
			t.Fatal(err)
		}
	})
	if diff := cmp.Diff([]Reason{Stopped}, w.reasons()); diff != "" {
		t.Error(diff)
	}
	if _, err := w.Open(t.Context(), w.order("b", time.Minute)); code(err) != "gateway_stopping" {
		t.Errorf("opened after the stop: %v", err)
	}
}

// TestTheUploadIsKept sends three streams through an upload that has room for
// one: the sum stays within it, and all that is sent can be decoded.
func TestTheUploadIsKept(t *testing.T) {
	const rate = 400_000 // bits a second
	inWorld(t, Config{Upload: rate}, func(t *testing.T, w *world) {
		for _, id := range []string{"a", "b", "c"} {
			if _, err := w.Open(t.Context(), w.order(id, 10*time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		time.Sleep(2 * time.Minute)
		var sent, left int64
		for _, id := range []string{"a", "b", "c"} {
			e, err := w.Close(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			sent += e.Bytes
			left += e.LeftOut
		}
		got := float64(sent*8) / time.Since(began).Seconds()
		if got > rate*1.05 || got < rate*0.5 || left == 0 {
			t.Errorf("%.0f bit/s were sent of %d, %d frames left out", got, rate, left)
		}
	})
}

func TestWholeGroupsAreLeftOut(t *testing.T) {
	inWorld(t, Config{Upload: 100_000}, func(t *testing.T, w *world) {
		if _, err := w.Open(t.Context(), w.order("a", 10*time.Minute)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.mu.Lock()
		got := slices.Clone(w.got)
		w.mu.Unlock()
		for i, f := range got {
			if !f.Key && (i == 0 || got[i-1].Seq != f.Seq-1) {
				t.Fatalf("frame %d came without the one before it", f.Seq)
			}
		}
		if len(got) == 0 || len(got) > 600 {
			t.Errorf("%d frames were sent", len(got))
		}
	})
}

func TestAnUploadThatIsAlwaysFullEndsTheSession(t *testing.T) {
	inWorld(t, Config{Upload: 8_000, Starved: 5 * time.Second}, func(t *testing.T, w *world) {
		if _, err := w.Open(t.Context(), w.order("a", 10*time.Minute)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if diff := cmp.Diff([]Reason{UploadFull}, w.reasons()); diff != "" {
			t.Error(diff)
		}
	})
}
