package live_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/gateway/live"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// browser is the far end of a stream. A stuck one takes nothing until its
// deadline has passed.
type browser struct {
	header http.Header

	mu       sync.Mutex
	text     strings.Builder
	stuck    bool
	deadline time.Time
	freed    chan struct{}
}

func newBrowser() *browser { return &browser{header: http.Header{}, freed: make(chan struct{})} }

func (b *browser) Header() http.Header { return b.header }

func (b *browser) WriteHeader(int) {}

func (b *browser) Flush() {}

func (b *browser) SetWriteDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	return nil
}

var errSlow = errors.New("deadline passed")

func (b *browser) Write(p []byte) (int, error) {
	b.mu.Lock()
	stuck, deadline := b.stuck, b.deadline
	b.mu.Unlock()
	if stuck {
		select {
		case <-b.freed:
		case <-time.After(time.Until(deadline)):
			return 0, errSlow
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *browser) stick() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stuck = true
}

func (b *browser) free() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stuck = false
	close(b.freed)
}

// messages gives "name data" of each message so far, and ":" for heartbeats.
func (b *browser) messages() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []string
	for _, m := range strings.Split(strings.TrimSuffix(b.text.String(), "\n\n"), "\n\n") {
		name, data, _ := strings.Cut(strings.TrimPrefix(m, "event: "), "\ndata: ")
		list = append(list, strings.TrimSpace(name+" "+data))
	}
	return list
}

func everything(string) bool { return true }

func always() bool { return true }

func still(context.Context) (any, error) { return "all", nil }

// listen starts a listener inside a synctest bubble; end waits for it.
func listen(ctx context.Context, h *live.Hub, b *browser, l live.Listener) (end func() error) {
	if l.Sees == nil {
		l.Sees = everything
	}
	if l.State == nil {
		l.State = still
	}
	if l.Holds == nil {
		l.Holds = always
	}
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx, b, l) }()
	synctest.Wait()
	return func() error { return <-done }
}

func tell(t *testing.T, h *live.Hub, name, site string, data any) {
	t.Helper()
	if err := h.Tell(live.Message{Name: name, Site: site, Data: data}); err != nil {
		t.Fatal(err)
	}
}

func value(t *testing.T, h *live.Hub, site, key string, v any) {
	t.Helper()
	h.Value(site, key, v)
}

func TestValuesAreCoalescedAndMessagesKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		h, b := live.New(live.Config{}), newBrowser()
		end := listen(ctx, h, b, live.Listener{})
		for i := range 1000 {
			value(t, h, "a", "p1", i)
			value(t, h, "a", "p2", -i)
		}
		tell(t, h, "event", "a", 1)
		tell(t, h, "event", "a", 2)
		time.Sleep(199 * time.Millisecond)
		if got := b.messages(); len(got) != 1 {
			t.Errorf("too early: %q", got)
		}
		time.Sleep(2 * time.Millisecond)
		value(t, h, "a", "p1", 7)
		time.Sleep(time.Second)
		stop()
		if err := end(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		want := []string{`state "all"`, "event 1", "event 2", `readings {"items":[999,-999]}`, `readings {"items":[7]}`}
		if diff := cmp.Diff(want, b.messages()); diff != "" {
			t.Error(diff)
		}
		if h.Subscribers() != 0 || h.Lost() != 0 {
			t.Errorf("%d subscribers, %d lost", h.Subscribers(), h.Lost())
		}
	})
}

func TestEachHearsOfItsSites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		h, b := live.New(live.Config{}), newBrowser()
		end := listen(ctx, h, b, live.Listener{Sees: func(site string) bool { return site == "a" }})
		value(t, h, "b", "p", 1)
		tell(t, h, "event", "b", 1)
		tell(t, h, "notices", "", 2)
		value(t, h, "a", "p", 3)
		time.Sleep(time.Second)
		stop()
		_ = end()
		if diff := cmp.Diff([]string{`state "all"`, "notices 2", `readings {"items":[3]}`}, b.messages()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSlowListenerLosesAndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		h := live.New(live.Config{Queue: 4})
		slow, quick := newBrowser(), newBrowser()
		states := 0
		endSlow := listen(ctx, h, slow, live.Listener{State: func(context.Context) (any, error) { states++; return states, nil }})
		endQuick := listen(ctx, h, quick, live.Listener{})
		slow.stick()
		for i := range 20 {
			tell(t, h, "event", "a", i)
			value(t, h, "a", "p", i)
			time.Sleep(300 * time.Millisecond)
		}
		slow.free()
		time.Sleep(time.Second)
		tell(t, h, "event", "a", "after")
		time.Sleep(time.Second)
		stop()
		_, _ = endSlow(), endQuick()
		got := slow.messages()
		at := slices.IndexFunc(got, func(m string) bool { return strings.HasPrefix(m, "lost") })
		if at < 0 || got[at+1] != "state 2" || got[len(got)-1] != `event "after"` {
			t.Errorf("the slow one got %q", got)
		}
		var count int64
		if _, err := fmt.Sscanf(got[at], `lost {"count":%d}`, &count); err != nil || count != h.Lost() || count < 10 {
			t.Errorf("told %q, lost %d", got[at], h.Lost())
		}
		events := 0
		for _, m := range quick.messages() {
			if strings.HasPrefix(m, "event") {
				events++
			}
		}
		if events != 21 {
			t.Errorf("the quick one got %d events, want 21", events)
		}
	})
}

func TestDeafListenerIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, b := live.New(live.Config{}), newBrowser()
		end := listen(t.Context(), h, b, live.Listener{})
		b.stick()
		tell(t, h, "event", "a", 1)
		began := time.Now()
		if err := end(); !errors.Is(err, errSlow) {
			t.Error(err)
		}
		if took := time.Since(began); took > 16*time.Second {
			t.Errorf("took %v", took)
		}
		if h.Subscribers() != 0 {
			t.Error("it is still subscribed")
		}
	})
}

func TestHeartbeatAndTheEndOfRights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, b := live.New(live.Config{}), newBrowser()
		until := time.Now().Add(12 * time.Second)
		end := listen(t.Context(), h, b, live.Listener{Holds: func() bool { return time.Now().Before(until) }})
		if err := end(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{`state "all"`, ":", ":"}, b.messages()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRenewGivesTheStateAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		h, b := live.New(live.Config{}), newBrowser()
		end := listen(ctx, h, b, live.Listener{})
		h.Renew(3)
		time.Sleep(time.Second)
		stop()
		_ = end()
		if diff := cmp.Diff([]string{`state "all"`, `lost {"count":3}`, `state "all"`}, b.messages()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		h := live.New(live.Config{Most: 1})
		end := listen(ctx, h, newBrowser(), live.Listener{})
		b := newBrowser()
		if err := listen(ctx, h, b, live.Listener{})(); !errors.Is(err, devices.ErrUnavailable) {
			t.Errorf("one too many: %v", err)
		}
		stop()
		_ = end()
		broken := errors.New("no state")
		err := listen(t.Context(), h, b, live.Listener{State: func(context.Context) (any, error) { return nil, broken }})()
		if !errors.Is(err, broken) || len(b.header) != 0 {
			t.Errorf("without a state: %v, header %v", err, b.header)
		}
	})
}
