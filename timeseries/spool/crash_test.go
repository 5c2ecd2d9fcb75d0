package spool

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"offsite/devices"
)

// cuts is set by -cuts.
var cuts = flag.Uint64("cuts", 8, "how often TestPowerCut cuts the power")

// TestPowerCut cuts the power at random instants under load. Whatever was
// acknowledged before the cut stands in the log afterwards, under its own
// sequence, and no reader had seen a record that is not there.
func TestPowerCut(t *testing.T) {
	for seed := range *cuts {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { cutPower(t, seed) })
	}
}

func cutPower(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	fs := vfs.NewCrashableMem()
	// Writes and syncs take their time, as on a disk: who acknowledges early is found out.
	slow := errorfs.RandomLatency(errorfs.Writes, 500*time.Microsecond, int64(seed), 0)
	r := start(t, errorfs.Wrap(fs, slow), Config{Followers: []string{"history"}})
	stop := 200 + rng.IntN(3000)
	var acked sync.Map
	var count atomic.Int64
	reached := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	var load sync.WaitGroup
	for device := range 4 {
		load.Go(func() {
			window := make(chan struct{}, 20)
			for n := 0; ctx.Err() == nil; n++ {
				window <- struct{}{}
				d := delivery(n)
				d.Origin.Device = fmt.Sprint("dev-", device)
				r.Append(d, func(err error) {
					if err == nil {
						acked.Store(fmt.Sprint(d.Origin.Device, "/", d.Origin.ID), true)
						if count.Add(1) == int64(stop) {
							close(reached)
						}
					}
					<-window
				})
				if n%100 == 99 {
					_ = r.Advance("history", r.Durable()*3/4)
					_ = r.trim(true)
				}
			}
		})
	}
	<-reached
	// The account is taken before the cut: later acknowledgements prove nothing.
	var before []string
	acked.Range(func(k, _ any) bool { before = append(before, k.(string)); return true })
	seen, cursor := r.Durable(), r.Cursor("history")
	unsynced := 0
	if seed%2 == 1 {
		unsynced = rng.IntN(100)
	}
	after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rng})
	cancel()
	load.Wait()
	r.close()

	r = start(t, after, Config{Followers: []string{"history"}})
	defer r.close()
	if r.Durable() < seen {
		t.Errorf("readers had seen record %d; the log ends at %d", seen, r.Durable())
	}
	there := map[string]int{}
	next := r.First()
	for _, rec := range stored(t, r.Log) {
		if rec.Seq != next {
			t.Fatalf("record %d follows %d", rec.Seq, next-1)
		}
		next++
		there[rec.Origin.Device+"/"+rec.Origin.ID]++
	}
	if next != r.Durable()+1 {
		t.Errorf("the log ends at %d and claims %d", next-1, r.Durable())
	}
	if c := r.Cursor("history"); c+1 < r.First() {
		t.Errorf("the cursor fell back to %d, the log begins at %d", c, r.First())
	}
	trimmed := 0
	for _, k := range before {
		if there[k] == 0 {
			trimmed++
		}
	}
	if uint64(trimmed) > cursor {
		t.Errorf("%d acknowledged messages are gone, only %d were passed", trimmed, cursor)
	}
	if r.First() == 1 && trimmed > 0 {
		t.Errorf("%d acknowledged messages are lost", trimmed)
	}
}

// failing injects an error into writes and syncs while it is on.
type failing struct {
	on  atomic.Bool
	err error
}

func (f *failing) inject(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		if f.on.Load() {
			return f.err
		}
	}
	return nil
}

func TestStorageErrors(t *testing.T) {
	tests := []struct {
		name string
		err  error
		code string
	}{
		{"disk full", syscall.ENOSPC, "disk_full"},
		{"failing sync", syscall.EIO, "storage_failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mem := vfs.NewMem()
			f := &failing{err: tt.err}
			r := start(t, errorfs.Wrap(mem, errorfs.InjectorFunc(f.inject)), Config{})
			if err := r.put(delivery(1), delivery(2)); err != nil {
				t.Fatal(err)
			}
			f.on.Store(true)
			check := func(what string, err error) {
				t.Helper()
				var p *devices.Problem
				if !errors.As(err, &p) || p.Code != tt.code || !errors.Is(err, devices.ErrUnavailable) || !errors.Is(err, tt.err) {
					t.Errorf("%s = %v, want %s", what, err, tt.code)
				}
			}
			failed := make(chan error, 400)
			for i := range cap(failed) {
				r.Append(delivery(10+i), func(err error) { failed <- err })
			}
			for range cap(failed) {
				check("done", <-failed)
			}
			run := <-r.end
			check("Run", run)
			check("Append afterwards", r.put(delivery(1000)))
			check("Wait", r.Wait(t.Context(), r.Durable()))
			b := r.db.NewBatch()
			check("Commit", r.Commit(b))
			if d := r.Durable(); d != 2 {
				t.Errorf("durable %d, want 2", d)
			}
			_ = r.db.Close() // it complains of the failure once more

			f.on.Store(false)
			r = start(t, mem, Config{})
			defer r.close()
			recs := stored(t, r.Log)
			if len(recs) < 2 || recs[0].Origin.ID != "1" || recs[1].Origin.ID != "2" {
				t.Errorf("after reopening: %d records", len(recs))
			}
			if err := r.put(delivery(2000)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOthersWriteThroughTheLog checks that a batch of a neighbour in the same
// store is kept, and that its failure ends the log too.
func TestOthersWriteThroughTheLog(t *testing.T) {
	f := &failing{err: syscall.ENOSPC}
	r := start(t, errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(f.inject)), Config{})
	write := func(key string) error {
		b := r.db.NewBatch()
		if err := b.Set([]byte(key), []byte("v"), nil); err != nil {
			t.Fatal(err)
		}
		return r.Commit(b)
	}
	if err := write("x1"); err != nil {
		t.Fatal(err)
	}
	if _, closer, err := r.db.Get([]byte("x1")); err != nil {
		t.Error(err)
	} else {
		closer.Close()
	}
	f.on.Store(true)
	if err := write("x2"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Commit = %v", err)
	}
	if err := <-r.end; !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Run = %v: it must end when a neighbour's write failed", err)
	}
	_ = r.db.Close()
}

var _ pebble.Logger = quiet{}
