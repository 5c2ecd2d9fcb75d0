package spool

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/timeseries"
)

// TestMain lets the model test run 25 times: each opens a store again and again.
// -rapid.checks asks for more.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("25") // a number
	}
	goleak.VerifyTestMain(m)
}

// quiet keeps Pebble's reports out of the test's output; Fatalf must not end
// the test program unseen.
type quiet struct{ t testing.TB }

func (quiet) Infof(string, ...any)             {}
func (quiet) Errorf(string, ...any)            {}
func (q quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

func openDB(t testing.TB, fs vfs.FS) *pebble.DB {
	t.Helper()
	db, err := pebble.Open("readings", &pebble.Options{FS: fs, Logger: quiet{t}, MemTableSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// running is a log with its Run.
type running struct {
	*Log
	t    testing.TB
	db   *pebble.DB
	stop context.CancelFunc
	end  chan error
}

func start(t testing.TB, fs vfs.FS, cfg Config) *running {
	t.Helper()
	db := openDB(t, fs)
	l, err := Open(db, []byte("l"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Log: l, t: t, db: db, stop: stop, end: make(chan error, 1)}
	go func() { r.end <- l.Run(ctx) }()
	return r
}

// close ends Run and the store and gives Run's error.
func (r *running) close() error {
	r.stop()
	err := <-r.end
	if e := r.db.Close(); e != nil && err == nil {
		r.t.Error(e)
	}
	return err
}

// put appends and waits for done.
func (r *running) put(ds ...devices.Delivery) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, d := range ds {
		wg.Add(1)
		r.Append(d, func(err error) {
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
			wg.Done()
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

var base = time.Date(2026, 3, 1, 8, 0, 0, 123456789, time.UTC)

// delivery is message n of a device, received n milliseconds after base.
func delivery(n int) devices.Delivery {
	at := base.Add(time.Duration(n) * time.Millisecond)
	return devices.Delivery{
		Origin:   devices.Origin{Device: "dev-1", ID: fmt.Sprint(n), Hash: uint64(n) * 77},
		Received: at,
		Readings: []devices.Reading{
			{Site: "site-1", Point: "out.a", Value: float64(n), At: at},
			{Site: "site-1", Point: "out.b", Value: -float64(n) / 3, At: at.Add(-time.Hour), Mark: "N", Quality: devices.BadClock, Claimed: at.Add(time.Hour), Stamped: true},
		},
	}
}

func stored(t testing.TB, l *Log) []timeseries.Record {
	t.Helper()
	var all []timeseries.Record
	for after := uint64(0); ; after = all[len(all)-1].Seq {
		recs, err := l.Read(after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(recs) == 0 {
			return all
		}
		all = append(all, recs...)
	}
}

func TestRecordsComeBackTheSameFromMemoryAndDisk(t *testing.T) {
	fs := vfs.NewMem()
	r := start(t, fs, Config{})
	letter := devices.Delivery{
		Origin: devices.Origin{Device: "dev-2"}, Received: base,
		Letter: &devices.DeadLetter{Topic: "a/b", Payload: []byte("{"), Problem: devices.Invalid("v", "no_path", "没有该路径", "no such path")},
	}
	other := devices.Delivery{Received: base, Letter: &devices.DeadLetter{Topic: "a/c", Problem: &devices.Problem{Kind: devices.ErrConflict, Cause: errors.New("dropped")}}}
	if err := r.put(delivery(1), letter, delivery(2), other, devices.Delivery{Received: base}, delivery(3)); err != nil {
		t.Fatal(err)
	}
	before := stored(t, r.Log)
	if len(before) != 5 {
		t.Fatalf("%d records, want 5: an empty delivery takes no place", len(before))
	}
	if err := r.close(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	r = start(t, fs, Config{})
	defer r.close()
	after := stored(t, r.Log)
	words := cmp.Transformer("words", func(p *devices.Problem) []string {
		return []string{fmt.Sprint(p.Kind), p.Code, p.Field, p.ZH, p.EN, fmt.Sprint(p.Cause)}
	})
	if diff := cmp.Diff(before, after, words); diff != "" {
		t.Error(diff)
	}
	want := delivery(1)
	normalise(&want)
	if diff := cmp.Diff(timeseries.Record{Seq: 1, Delivery: want}, after[0]); diff != "" {
		t.Error(diff)
	}
}

func TestDoneComesInOrder(t *testing.T) {
	r := start(t, vfs.NewMem(), Config{})
	defer r.close()
	const n = 5000
	got := make(chan int, n)
	for i := range n {
		d := delivery(i)
		if i%5 == 0 {
			d = devices.Delivery{Received: base} // nothing to keep, and still in its turn
		}
		r.Append(d, func(err error) {
			if err != nil {
				t.Error(err)
			}
			got <- i
		})
	}
	for i := range n {
		if g := <-got; g != i {
			t.Fatalf("callback %d came as number %d", g, i)
		}
	}
}

func TestDurableBeforeDone(t *testing.T) {
	r := start(t, vfs.NewMem(), Config{})
	defer r.close()
	for i := range 200 {
		seen := make(chan uint64, 1)
		r.Append(delivery(i), func(error) { seen <- r.Durable() })
		if d := <-seen; d < uint64(i+1) {
			t.Fatalf("record %d acknowledged while durable stands at %d", i+1, d)
		}
	}
}

func TestWaitFollowsTheLog(t *testing.T) {
	r := start(t, vfs.NewMem(), Config{})
	ctx, cancel := context.WithCancel(context.Background())
	woken := make(chan error, 1)
	go func() { woken <- r.Wait(ctx, 0) }()
	if err := r.put(delivery(1)); err != nil {
		t.Fatal(err)
	}
	if err := <-woken; err != nil {
		t.Error(err)
	}
	go func() { woken <- r.Wait(ctx, 1) }()
	cancel()
	if err := <-woken; !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v, want canceled", err)
	}
	go func() { woken <- r.Wait(context.Background(), 1) }()
	r.close()
	if err := <-woken; !errors.Is(err, devices.ErrUnavailable) {
		t.Errorf("Wait on an ended log = %v", err)
	}
	if err := r.put(delivery(2)); !errors.Is(err, devices.ErrUnavailable) {
		t.Errorf("Append on an ended log = %v", err)
	}
}

func TestSlowDiskRefusesInsteadOfGrowing(t *testing.T) {
	db := openDB(t, vfs.NewMem())
	defer db.Close()
	l, err := Open(db, nil, Config{Pending: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var order []int
	refused := 0
	for i := range 100 {
		l.Append(delivery(i), func(err error) {
			order = append(order, i)
			if errors.Is(err, devices.ErrUnavailable) {
				refused++
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if len(order) != 100 || order[99] != 99 {
		t.Errorf("callbacks %v", order)
	}
	if refused == 0 || refused == 100 || uint64(100-refused) != l.Durable() {
		t.Errorf("%d refused, durable %d", refused, l.Durable())
	}
}

func TestRepeatsAreAcknowledgedOnce(t *testing.T) {
	again := func(n int) devices.Delivery {
		d := delivery(n)
		d.Origin.Resent = true
		return d
	}
	late := again(1)
	late.Received = base.Add(2 * time.Minute)
	otherPayload := again(2)
	otherPayload.Origin.Hash++
	nameless := again(3)
	nameless.Origin.ID = ""
	unsent := delivery(2)
	tests := []struct {
		name string
		d    devices.Delivery
		want int // records in the log of three
	}{
		{"same message", again(2), 3},
		{"not marked as sent again", unsent, 4},
		{"same packet id, other payload", otherPayload, 4},
		{"message never seen", again(9), 4},
		{"no id of the device's own", nameless, 4},
		{"after the window", late, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, vfs.NewMem(), Config{})
			defer r.close()
			if err := r.put(delivery(1), delivery(2), delivery(3)); err != nil {
				t.Fatal(err)
			}
			if err := r.put(tt.d); err != nil {
				t.Fatal(err)
			}
			if got := len(stored(t, r.Log)); got != tt.want {
				t.Errorf("%d records, want %d", got, tt.want)
			}
		})
	}
}

func TestRepeatsAreKnownAfterRestart(t *testing.T) {
	fs := vfs.NewMem()
	r := start(t, fs, Config{})
	old, fresh := delivery(0), delivery(10_000)
	for _, d := range []devices.Delivery{old, delivery(6000), fresh} {
		if err := r.put(d); err != nil {
			t.Fatal(err)
		}
	}
	r.close()
	r = start(t, fs, Config{})
	defer r.close()
	now := time.Now()
	for _, d := range []*devices.Delivery{&old, &fresh} {
		d.Origin.Resent, d.Received = true, now
	}
	if err := r.put(fresh); err != nil {
		t.Fatal(err)
	}
	if d := r.Durable(); d != 3 {
		t.Errorf("durable %d: the last 5 s must be known", d)
	}
	if err := r.put(old); err != nil {
		t.Fatal(err)
	}
	if d := r.Durable(); d != 4 {
		t.Errorf("durable %d: older messages were acknowledged long ago", d)
	}
}
