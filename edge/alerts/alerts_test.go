package alerts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/streams/onvif"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ledger is a book that notes what is written into it.
type ledger struct {
	mu     sync.Mutex
	began  time.Time
	told   []string
	broken bool
	over   map[string]bool // by the teller's id: events that ended before a restart
	stood  map[string]Alert
}

func (l *ledger) note(what string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return &devices.Problem{Kind: devices.ErrUnavailable, Code: "full", ZH: "满", EN: "full"}
	}
	l.told = append(l.told, time.Since(l.began).String()+" "+what)
	return nil
}

func (l *ledger) Open(_ context.Context, a Alert) (string, bool, error) {
	if l.over[a.ID] {
		return "ev-" + a.ID, false, nil
	}
	return "ev-" + a.ID, true, l.note("open " + a.Type + " " + a.ID)
}

func (l *ledger) Close(_ context.Context, event string, why Reason, at time.Time) error {
	what := "close " + event + " as of " + at.Sub(l.began).String()
	if why != Recovered {
		what += " " + string(why)
	}
	return l.note(what)
}

func (l *ledger) Standing(context.Context) (map[string]Alert, error) { return l.stood, nil }

// inRoom runs the deciding part of a room with one camera in a bubble.
func inRoom(t *testing.T, cfg Config, book *ledger, test func(ctx context.Context, r *Room)) {
	t.Helper()
	inYard(t, cfg, book, func(ctx context.Context, r *Room, _ func(*devices.Camera)) { test(ctx, r) })
}

// inYard is inRoom with a way to register the camera otherwise; nil retires it.
func inYard(t *testing.T, cfg Config, book *ledger, test func(ctx context.Context, r *Room, become func(*devices.Camera))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		book.began = time.Now()
		cfg.Book = book
		r := New(cfg)
		var registered atomic.Pointer[map[string]*devices.Camera]
		registered.Store(&map[string]*devices.Camera{"cam": {ID: "cam"}})
		r.cameras = func() map[string]*devices.Camera { return *registered.Load() }
		wake := make(chan struct{}, 1)
		for event, a := range book.stood {
			r.alerts[key{a.Camera, a.Type}] = &alert{first: a, event: event, since: time.Now(), off: time.Now()}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.decide(ctx, wake) }()
		test(ctx, r, func(cam *devices.Camera) {
			now := map[string]*devices.Camera{}
			if cam != nil {
				now["cam"] = cam
			}
			registered.Store(&now)
			wake <- struct{}{}
			synctest.Wait()
		})
		cancel()
		<-ended
	})
}

func (l *ledger) want(t *testing.T, told ...string) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if diff := cmp.Diff(told, l.told); diff != "" {
		t.Error(diff)
	}
}

func on(id string) Alert  { return Alert{Camera: "cam", Type: "smoke", ID: id, On: true} }
func off(id string) Alert { return Alert{Camera: "cam", Type: "smoke", ID: id} }

func TestRepeatsAreOneEvent(t *testing.T) {
	t.Parallel()
	book := &ledger{}
	inRoom(t, Config{}, book, func(ctx context.Context, r *Room) {
		tell := func(a Alert) string {
			t.Helper()
			event, err := r.Tell(ctx, a)
			if err != nil {
				t.Error(err)
			}
			return event
		}
		if tell(off("0")) != "" || tell(on("1")) != "ev-1" || tell(on("1")) != "ev-1" || tell(on("2")) != "ev-1" {
			t.Error("the wrong event")
		}
		time.Sleep(10 * time.Second)
		tell(off("3"))
		time.Sleep(20 * time.Second)
		tell(on("4")) // it flickers
		time.Sleep(time.Minute)
		tell(off("5"))
		time.Sleep(10 * time.Second)
		tell(off("6")) // does not begin the delay anew
		time.Sleep(time.Hour)
		if tell(on("4")) != "" || tell(on("1")) != "" { // late repeats
			t.Error("a repeat opened an event")
		}
		tell(Alert{Camera: "cam", Type: "line_crossing", ID: "7", On: true, Once: true})
		time.Sleep(10 * time.Second)
		tell(Alert{Camera: "cam", Type: "line_crossing", ID: "8", On: true, Once: true})
		time.Sleep(time.Hour)
		book.want(t, "0s open smoke 1", "2m0s close ev-1 as of 1m30s", "1h1m40s open line_crossing 7", "1h2m20s close ev-7 as of 1h1m50s")
	})
}

func TestShortAlertsAreLeftOut(t *testing.T) {
	t.Parallel()
	book := &ledger{}
	inRoom(t, Config{OnDelay: 5 * time.Second}, book, func(ctx context.Context, r *Room) {
		_, _ = r.Tell(ctx, on("1"))
		time.Sleep(4 * time.Second)
		_, _ = r.Tell(ctx, off("2"))
		time.Sleep(time.Minute)
		_, _ = r.Tell(ctx, on("3"))
		time.Sleep(time.Minute)
		book.want(t, "1m9s open smoke 3")
	})
}

func TestWhatStoodBeforeARestartEnds(t *testing.T) {
	t.Parallel()
	book := &ledger{stood: map[string]Alert{"ev-0": on("0")}, over: map[string]bool{"9": true}}
	inRoom(t, Config{}, book, func(ctx context.Context, r *Room) {
		time.Sleep(time.Minute)
		if event, err := r.Tell(ctx, on("9")); event != "" || err != nil { // sent again
			t.Error(event, err)
		}
		time.Sleep(time.Minute)
		book.want(t, "30s close ev-0 as of 0s")
	})
}

func TestAFullDiskLosesNothing(t *testing.T) {
	t.Parallel()
	book := &ledger{}
	inRoom(t, Config{}, book, func(ctx context.Context, r *Room) {
		fill := func(broken bool) {
			book.mu.Lock()
			defer book.mu.Unlock()
			book.broken = broken
		}
		fill(true)
		if _, err := r.Tell(ctx, on("1")); err == nil {
			t.Error("it was told as stored")
		}
		time.Sleep(7 * time.Second)
		fill(false)
		time.Sleep(10 * time.Second)
		if event, err := r.Tell(ctx, on("1")); event != "ev-1" || err != nil { // sent again
			t.Error(event, err)
		}
		_, _ = r.Tell(ctx, off("2"))
		fill(true)
		time.Sleep(32 * time.Second)
		fill(false)
		time.Sleep(time.Minute)
		book.want(t, "10s open smoke 1", "52s close ev-1 as of 17s")
	})
}

func TestAFloodIsRefused(t *testing.T) {
	t.Parallel()
	book := &ledger{}
	inRoom(t, Config{}, book, func(ctx context.Context, r *Room) {
		refused := 0
		for i := range 100 {
			if _, err := r.Tell(ctx, on(fmt.Sprint(i))); err != nil {
				refused++
			}
		}
		if refused != 100-mostAtOnce {
			t.Errorf("%d refused", refused)
		}
		time.Sleep(2 * time.Second)
		if _, err := r.Tell(ctx, off("x")); err != nil {
			t.Error(err)
		}
	})
}

// TestWhatEndedUnheardEnds has a camera that was away tell at the beginning what
// does not hold any more, of one of its two rules and of both.
func TestWhatEndedUnheardEnds(t *testing.T) {
	t.Parallel()
	book := &ledger{}
	cam := devices.Camera{ID: "cam", Alerts: []string{"smoke"}}
	smoke := func(rule string, on bool) onvif.Event {
		return onvif.Event{Type: onvif.Smoke, Topic: "smoke", Rule: rule, On: on}
	}
	inRoom(t, Config{}, book, func(ctx context.Context, r *Room) {
		listened := func(told ...onvif.Event) {
			holds := holding{}
			for _, e := range told {
				r.heard(ctx, cam, holds, e)
			}
			time.Sleep(time.Minute)
		}
		listened(smoke("roof", true), smoke("yard", true), smoke("yard", false))
		listened(smoke("roof", true), smoke("yard", false))
		listened(smoke("yard", false), smoke("roof", true))
		book.want(t, "0s open smoke ")
		listened(smoke("roof", false), smoke("yard", false))
		book.want(t, "0s open smoke ", "3m30s close ev- as of 3m0s")
	})
}

func TestRetiredCamera(t *testing.T) {
	t.Parallel()
	book := &ledger{stood: map[string]Alert{"ev-0": {Camera: "cam", Type: "tamper"}}}
	inYard(t, Config{}, book, func(ctx context.Context, r *Room, become func(*devices.Camera)) {
		if _, err := r.Tell(ctx, on("1")); err != nil {
			t.Error(err)
		}
		if _, err := r.Tell(ctx, Alert{Camera: "cam", Type: "tamper", ID: "2", On: true}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		book.mu.Lock()
		book.broken = true
		book.mu.Unlock()
		become(nil)
		book.mu.Lock()
		book.broken = false
		book.mu.Unlock()
		time.Sleep(again)
		synctest.Wait()
		if len(r.alerts)+len(r.ids)+len(r.tokens) != 0 {
			t.Errorf("remembered: %v %v %v", r.alerts, r.ids, r.tokens)
		}
		var p *devices.Problem
		if _, err := r.Tell(ctx, on("3")); !errors.As(err, &p) || p.Code != "no_camera" {
			t.Errorf("got %v", err)
		}
		slices.Sort(book.told[1:])
		book.want(t, "0s open smoke 1", "1m5s close ev-0 as of 1m0s camera_retired", "1m5s close ev-1 as of 1m0s camera_retired")
	})
}

// TestACameraThatIsNotListenedTo has a camera that told of smoke by ONVIF, and a box
// beside it that pushed fire, lose what they were listened to by.
func TestACameraThatIsNotListenedTo(t *testing.T) {
	t.Parallel()
	listened := devices.Camera{ID: "cam", ONVIF: "http://cam/", Alerts: []string{"smoke", "fire"}}
	tests := []struct {
		name   string
		become func(c *devices.Camera)
		want   []string
	}{
		{"renamed", func(c *devices.Camera) { c.Name = "other" }, nil},
		{"another alert is left out", func(c *devices.Camera) { c.Alerts = []string{"smoke"} }, nil},
		{"the alert is left out", func(c *devices.Camera) { c.Alerts = []string{"fire"} }, []string{"1m0s close ev-1 as of 1m0s not_listened"}},
		{"without ONVIF", func(c *devices.Camera) { c.ONVIF = "" }, []string{"1m0s close ev-1 as of 1m0s not_listened"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			book := &ledger{}
			inYard(t, Config{}, book, func(ctx context.Context, r *Room, become func(*devices.Camera)) {
				cam := listened
				become(&cam)
				heard := on("1")
				heard.Heard = true
				for _, a := range []Alert{heard, {Camera: "cam", Type: "fire", ID: "2", On: true}} {
					if _, err := r.Tell(ctx, a); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(time.Minute)
				other := listened
				tt.become(&other)
				become(&other)
				time.Sleep(time.Hour)
				book.want(t, append([]string{"0s open smoke 1", "0s open fire 2"}, tt.want...)...)
			})
		})
	}
}
