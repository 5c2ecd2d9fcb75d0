package outbox

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/state"
)

// TestMain lets the model test run 20 times: each opens databases of its own.
// -rapid.checks asks for more.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("20") // a number
	}
	goleak.VerifyTestMain(m)
}

// bench is an outbox inside a synctest bubble, with what was delivered.
type bench struct {
	t   *testing.T
	dir string
	db  *state.DB
	o   *Outbox
	cfg Config

	mu   sync.Mutex
	sent []delivery
}

type delivery struct {
	Key   string
	After time.Duration // since the start of the test
}

func newBench(t *testing.T, cfg Config) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), cfg: cfg}
	b.open()
	return b
}

func (b *bench) open() {
	b.t.Helper()
	db, err := state.Open(context.Background(), state.Config{Dir: b.dir})
	if err != nil {
		b.t.Fatal(err)
	}
	b.db = db
	if b.o, err = Open(b.t.Context(), db, b.cfg); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) close() {
	b.t.Helper()
	if err := b.db.Close(); err != nil {
		b.t.Error(err)
	}
}

func (b *bench) put(ms ...Message) {
	b.t.Helper()
	err := b.db.Update(b.t.Context(), func(tx *sql.Tx) error {
		for _, m := range ms {
			if err := b.o.Put(b.t.Context(), tx, m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// run delivers for a span of time and notes each try.
func (b *bench) run(span time.Duration, deliver func(context.Context, Message) Verdict) {
	b.t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(b.t.Context(), span)
	defer cancel()
	err := b.o.Run(ctx, func(ctx context.Context, m Message) Verdict {
		b.mu.Lock()
		b.sent = append(b.sent, delivery{m.Key, time.Since(start)})
		b.mu.Unlock()
		return deliver(ctx, m)
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		b.t.Fatalf("Run: %v", err)
	}
}

func (b *bench) keys() []string {
	var out []string
	for _, d := range b.sent {
		out = append(out, d.Key)
	}
	return out
}

func (b *bench) depth() Depth {
	b.t.Helper()
	d, err := b.o.Depth(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

// bubble runs f in a synctest bubble with an outbox of its own.
func bubble(t *testing.T, cfg Config, f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, cfg)
		defer b.close()
		f(t, b)
	})
}

func done(context.Context, Message) Verdict { return Verdict{Class: Done} }

func msg(key, lane string) Message { return Message{Key: key, Lane: lane} }

var refusal = devices.Invalid("value", "bad_value", "数值无效", "the value is not valid")

func TestALaneIsDeliveredInOrder(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		b.put(msg("a1", "a"), msg("a2", "a"), msg("a3", "a"))
		b.put(msg("a2", "a")) // again: still one
		b.run(time.Second, done)
		if diff := cmp.Diff([]string{"a1", "a2", "a3"}, b.keys()); diff != "" {
			t.Error(diff)
		}
		b.run(time.Second, done)
		if len(b.sent) != 3 {
			t.Errorf("delivered again after a restart: %v", b.keys())
		}
	})
}

func TestNothingWaitsForATick(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		go func() {
			time.Sleep(3 * time.Second)
			b.put(msg("a1", "a"), msg("a2", "a"))
		}()
		b.run(4*time.Second, done)
		want := []delivery{{"a1", 3 * time.Second}, {"a2", 3 * time.Second}}
		if diff := cmp.Diff(want, b.sent); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAMessageIsWhole(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		want := Message{
			Key: "gw:al-1:1", Lane: "al-1", After: "gw:al-0:1", Kind: "event", Event: "al-1", Body: []byte(`{"id":"al-1"}`),
			Blobs: []string{"ab", "cd"}, Created: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC),
		}
		b.put(want)
		b.run(time.Second, func(_ context.Context, m Message) Verdict {
			if diff := cmp.Diff(want, m); diff != "" {
				t.Error(diff)
			}
			return Verdict{Class: Done}
		})
		if len(b.sent) != 1 {
			t.Errorf("delivered %d times", len(b.sent))
		}
	})
}

func TestRetryHasNoEndAndBoundedPauses(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		b.put(msg("a1", "a"), msg("a2", "a"))
		b.run(6*time.Hour, func(context.Context, Message) Verdict { return Verdict{} })
		for i := 1; i < len(b.sent); i++ {
			if pause := b.sent[i].After - b.sent[i-1].After; pause > longestPause+time.Second {
				t.Fatalf("try %d came after %s", i, pause)
			}
			if b.sent[i].Key != "a1" {
				t.Fatal("a2 went before a1")
			}
		}
		if n := len(b.sent); n < 6*12 || n > 6*60 {
			t.Errorf("%d tries in 6 hours", n)
		}
		b.sent = nil
		b.run(time.Second, done)
		if diff := cmp.Diff([]string{"a1", "a2"}, b.keys()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	tests := []struct {
		name        string
		asked, want time.Duration
	}{
		{"as asked", 20 * time.Minute, 20 * time.Minute},
		{"at most an hour", 20 * time.Hour, time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, b *bench) {
				b.put(msg("a1", "a"))
				b.run(2*time.Hour, func(context.Context, Message) Verdict {
					if len(b.sent) == 1 {
						return Verdict{Class: Retry, After: tt.asked}
					}
					return Verdict{Class: Done}
				})
				if diff := cmp.Diff([]delivery{{"a1", 0}, {"a1", tt.want}}, b.sent); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestLanesDoNotHoldEachOther(t *testing.T) {
	bubble(t, Config{Workers: 3}, func(t *testing.T, b *bench) {
		b.put(msg("slow", "s"), msg("failing", "f"), msg("a1", "a"), msg("b1", "b"), msg("c1", "c"))
		var most, now int
		b.run(10*time.Second, func(_ context.Context, m Message) Verdict {
			b.mu.Lock()
			now++
			most = max(most, now)
			b.mu.Unlock()
			defer func() {
				b.mu.Lock()
				now--
				b.mu.Unlock()
			}()
			time.Sleep(time.Millisecond)
			switch m.Key {
			case "slow":
				time.Sleep(9 * time.Second)
			case "failing":
				return Verdict{Class: Retry}
			}
			return Verdict{Class: Done}
		})
		late := map[string]time.Duration{}
		for _, d := range b.sent {
			if _, ok := late[d.Key]; !ok {
				late[d.Key] = d.After
			}
		}
		for _, key := range []string{"a1", "b1", "c1"} {
			if after, ok := late[key]; !ok || after > 10*time.Millisecond {
				t.Errorf("%s was delivered after %s", key, after)
			}
		}
		if most != 3 {
			t.Errorf("%d at the same time, want 3", most)
		}
	})
}

func TestRefusedThreeTimesIsADeadLetter(t *testing.T) {
	var buried []string
	cfg := Config{Buried: func(_ context.Context, tx *sql.Tx, m Message, why *devices.Problem) error {
		if tx == nil || why.Code != "bad_value" {
			return errors.New("no transaction or no reason")
		}
		buried = append(buried, m.Key)
		return nil
	}}
	bubble(t, cfg, func(t *testing.T, b *bench) {
		b.put(msg("a1", "a"), msg("a2", "a"), Message{Key: "e1", Lane: "e", After: "a1", Blobs: []string{"ff"}})
		deliver := func(_ context.Context, m Message) Verdict {
			if m.Key == "a1" {
				return Verdict{Class: Refused, Reason: refusal}
			}
			return Verdict{Class: Done}
		}
		b.run(time.Millisecond/2, deliver) // the first refusal
		b.close()
		b.open() // refusals are remembered
		b.run(time.Hour, deliver)
		tried := 0
		for _, d := range b.sent {
			if d.Key == "a1" {
				tried++
			}
		}
		if tried != 3 || len(b.sent) != 5 {
			t.Errorf("tries %v", b.keys())
		}
		if diff := cmp.Diff([]string{"a1"}, buried); diff != "" {
			t.Error(diff)
		}
		dead, err := b.o.Dead(t.Context(), 0, 10)
		if err != nil || len(dead) != 1 {
			t.Fatal(dead, err)
		}
		if d := dead[0]; d.Key != "a1" || d.Refusals != 3 || d.Reason.ZH != "数值无效" || d.Reason.Field != "value" {
			t.Errorf("got %+v", d)
		}
		if more, err := b.o.Dead(t.Context(), dead[0].Seq, 10); err != nil || len(more) != 0 {
			t.Error(more, err)
		}
		if d := b.depth(); d.Waiting != 0 || d.Dead != 1 {
			t.Errorf("depth %+v", d)
		}
	})
}

func TestAfterHoldsBackItsOwnLaneOnly(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		b.put(
			Message{Key: "picture", Lane: "a/evidence", After: "opened"}, msg("opened", "a"), msg("closed", "a"),
			Message{Key: "orphan", Lane: "o", After: "delivered long ago"},
		)
		b.run(time.Hour, func(_ context.Context, m Message) Verdict {
			if m.Key == "opened" && time.Since(m.Created) < time.Minute {
				return Verdict{Class: Retry, After: time.Minute}
			}
			if m.Key == "picture" {
				time.Sleep(time.Minute)
			}
			return Verdict{Class: Done}
		})
		at := map[string]time.Duration{}
		for _, d := range b.sent {
			at[d.Key] = d.After // the last try
		}
		want := map[string]time.Duration{"orphan": 0, "opened": time.Minute, "picture": time.Minute, "closed": time.Minute}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPauseHoldsTheDestination(t *testing.T) {
	var told []Status
	bubble(t, Config{Pause: 10 * time.Minute, Report: func(s Status) { told = append(told, s) }}, func(t *testing.T, b *bench) {
		start := time.Now()
		for i := range 20 {
			b.put(msg(fmt.Sprintf("m%02d", i), fmt.Sprintf("lane-%02d", i)))
		}
		why := devices.Invalid("key_id", "unknown_key", "密钥未登记", "the key is not enrolled")
		var probes atomic.Int32
		b.run(2*time.Hour, func(context.Context, Message) Verdict {
			if time.Since(start) < 35*time.Minute {
				if time.Since(start) > time.Minute {
					probes.Add(1)
				}
				return Verdict{Class: Pause, Reason: why}
			}
			return Verdict{Class: Done}
		})
		if d := b.depth(); d.Waiting != 0 || !d.Status.Until.IsZero() {
			t.Errorf("depth %+v", d)
		}
		if n := probes.Load(); n != 3 { // at 10, 20 and 30 minutes, one message each
			t.Errorf("%d probes in 35 minutes", n)
		}
		if n := len(told); n < 5 || told[0].Reason != why || !told[n-1].Until.IsZero() {
			t.Errorf("told %+v", told)
		}
		for _, d := range b.sent {
			if d.After > 41*time.Minute {
				t.Errorf("%s only after %s", d.Key, d.After)
			}
		}
	})
}

func TestOneMessageThatPausesDoesNotStarveTheRest(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		b.put(msg("poison", "p"))
		for i := range 50 {
			b.put(msg(fmt.Sprint(i), fmt.Sprint(i)))
		}
		b.run(time.Hour, func(_ context.Context, m Message) Verdict {
			if m.Key == "poison" {
				return Verdict{Class: Pause}
			}
			return Verdict{Class: Done}
		})
		if d := b.depth(); d.Waiting != 1 {
			t.Errorf("%d wait", d.Waiting)
		}
	})
}

func TestResumeEndsAPause(t *testing.T) {
	bubble(t, Config{Pause: time.Hour}, func(t *testing.T, b *bench) {
		b.put(msg("a1", "a"))
		var enrolled atomic.Bool
		go func() {
			time.Sleep(time.Minute)
			enrolled.Store(true)
			b.o.Resume()
		}()
		b.run(2*time.Minute, func(context.Context, Message) Verdict {
			if !enrolled.Load() {
				return Verdict{Class: Pause}
			}
			return Verdict{Class: Done}
		})
		if diff := cmp.Diff([]delivery{{"a1", 0}, {"a1", time.Minute}}, b.sent); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAfterAnOutageAllLanesAreCalled(t *testing.T) {
	for _, spread := range []time.Duration{0, 30 * time.Second} {
		t.Run(spread.String(), func(t *testing.T) {
			bubble(t, Config{Spread: spread}, func(t *testing.T, b *bench) {
				const outage = time.Hour
				start := time.Now()
				for i := range 40 {
					b.put(msg(fmt.Sprintf("old-%d", i), fmt.Sprint(i)))
				}
				go func() {
					time.Sleep(outage + time.Second)
					b.put(msg("new", "new"))
				}()
				b.run(outage+10*time.Minute, func(context.Context, Message) Verdict {
					if time.Since(start) < outage {
						return Verdict{}
					}
					return Verdict{Class: Done}
				})
				if d := b.depth(); d.Waiting != 0 {
					t.Errorf("%d wait", d.Waiting)
				}
				late := b.sent[len(b.sent)-1].After - outage
				if late > spread+time.Second {
					t.Errorf("the last came %s after the end of the outage", late)
				}
				if first := b.sent[39].After; (first > 0) != (spread > 0) {
					t.Errorf("first tries of a start lay within %s", first)
				}
			})
		})
	}
}

func TestDepthAndRetention(t *testing.T) {
	bubble(t, Config{Keep: 48 * time.Hour}, func(t *testing.T, b *bench) {
		created := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
		b.put(Message{Key: "a1", Lane: "a", Created: created}, msg("b1", "b"))
		if diff := cmp.Diff(Depth{Waiting: 2, Oldest: created}, b.depth()); diff != "" {
			t.Error(diff)
		}
		rows := func() (n int) {
			t.Helper()
			if err := b.db.Read().QueryRowContext(t.Context(), `SELECT COUNT(*) FROM outbox`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		b.run(47*time.Hour, done)
		if n := rows(); n != 2 {
			t.Errorf("%d rows kept, want 2", n)
		}
		b.run(3*time.Hour, done)
		if n := rows(); n != 0 {
			t.Errorf("%d rows kept, want none", n)
		}
	})
}

func TestMoreLanesThanFitInMemory(t *testing.T) {
	bubble(t, Config{Lanes: 100}, func(t *testing.T, b *bench) {
		var ms []Message
		for i := range 700 { // one lane of 350 and 350 lanes of one, over two pages
			lane := "long"
			if i%2 == 0 {
				lane = fmt.Sprint(i)
			}
			ms = append(ms, msg(fmt.Sprintf("m%04d", i), lane))
		}
		b.put(ms...)
		b.run(time.Minute, done)
		if d := b.depth(); d.Waiting != 0 || len(b.sent) != len(ms) {
			t.Errorf("%d delivered, %d wait", len(b.sent), d.Waiting)
		}
		last := ""
		for _, key := range b.keys() {
			if n := key[len(key)-1]; n%2 == 1 {
				if key < last {
					t.Fatalf("%s after %s", key, last)
				}
				last = key
			}
		}
	})
}

func TestPutRefusesWhatCouldNeverGo(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		for _, m := range []Message{{Lane: "a"}, {Key: "a"}, {Key: "a", Lane: "a", After: "a"}} {
			err := b.db.Update(t.Context(), func(tx *sql.Tx) error { return b.o.Put(t.Context(), tx, m) })
			if err == nil {
				t.Errorf("%+v was put", m)
			}
		}
	})
}

func TestAStorageErrorEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{})
		b.put(msg("a1", "a"))
		err := b.o.Run(t.Context(), func(context.Context, Message) Verdict {
			b.close()
			return Verdict{Class: Done}
		})
		// A worker that writes or the schedule that reads may be the first to meet it.
		if err == nil || !errors.Is(err, devices.ErrUnavailable) && !strings.Contains(err.Error(), "sql: database is closed") {
			t.Errorf("Run: %v", err)
		}
	})
}
