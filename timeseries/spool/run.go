package spool

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sync/errgroup"

	"offsite/timeseries"
)

// A group that follows a busy one is left open for a moment: the sync costs
// the same for 20 messages and for 200. A quiet log writes at once, so that a
// device which waits for each acknowledgement waits for one sync only.
const (
	busyGroup = 48                   // waiters
	gather    = 2 * time.Millisecond // with the sync well below the promised 5 ms
)

// Run writes what is appended and trims what all followers have passed, until
// ctx ends or the storage fails. At the end of ctx it writes what waits and
// returns the cause; afterwards Append refuses. After a storage error, which it
// returns as a Problem of kind ErrUnavailable, every waiting delivery has been
// refused and the log is of no more use: close the store, open it again, and
// read again, for an error does not mean "not stored".
func (l *Log) Run(ctx context.Context) error {
	l.checkRoom()
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return l.write(inner) })
	g.Go(func() error { return l.tend(inner) })
	g.Go(func() error { return l.watch(inner) })
	err := g.Wait()
	_ = l.finish(errEnded)
	if broken := l.failure(); broken != nil {
		return broken
	}
	return err
}

// watch looks after the disk. It is a task of its own because tend, too, may
// be the one who waits for Pebble.
func (l *Log) watch(ctx context.Context) error {
	t := time.NewTicker(tendEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
		}
		l.checkRoom()
		l.checkStuck()
	}
}

// failure is the storage error, once there is one.
func (l *Log) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

// write commits group after group; what arrives during one sync is the next.
// At the end of ctx it goes on until nothing waits.
func (l *Log) write(ctx context.Context) error {
	var last time.Time
	busy := false
	for {
		if rest := gather - time.Since(last); busy && rest > 0 {
			pause(ctx, rest)
		}
		if err := l.failure(); err != nil {
			return l.finish(err)
		}
		g := l.take()
		if g == nil {
			busy = false
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-l.wake:
			}
			continue
		}
		last = time.Now()
		busy = len(g.waiters) >= busyGroup
		if err := l.commitGroup(g); err != nil {
			return l.finish(err)
		}
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// take gives the oldest group, and closes it if it is the open one; nil when
// nothing waits.
func (l *Log) take() *group {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil
	}
	g := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	return g
}

// commitGroup puts a group on disk, publishes it and calls its waiters.
func (l *Log) commitGroup(g *group) error {
	if g.head.count == 0 {
		for _, w := range g.waiters {
			w.call(nil)
		}
		return nil
	}
	l.mu.Lock()
	l.writing, l.since = g, time.Now()
	l.mu.Unlock()
	err := l.commitRecords(g)
	l.mu.Lock()
	waiters, stuck := g.waiters, l.stuck != nil
	l.writing, l.stuck = nil, nil
	l.mu.Unlock()
	if stuck && err == nil {
		l.cfg.Log.Info("the disk writes again")
	}
	for _, w := range waiters {
		w.call(err)
	}
	if err == nil {
		l.checkRoom()
	}
	return err
}

func (l *Log) commitRecords(g *group) error {
	g.head.put(g.buf)
	b := l.db.NewBatchWithSize(len(g.buf) + 64)
	if err := b.Set(l.groupKey(g.first), g.buf, nil); err != nil {
		return storageFailed(err)
	}
	if err := l.Commit(b); err != nil {
		return err
	}
	l.publish(g)
	return nil
}

// Commit puts a batch of any owner of the same Pebble on disk and closes it;
// every write to that Pebble goes through here. One write at a time stands
// between memtable and sync, and none follows a failed one: Pebble v2.1.7
// panics, holding its own lock, when it is given a write after its WAL has
// failed. The error is a Problem of kind ErrUnavailable and ends Run.
func (l *Log) Commit(b *pebble.Batch) error {
	l.gate.Lock()
	defer l.gate.Unlock()
	if broken := l.failure(); broken != nil {
		_ = b.Close()
		return broken
	}
	err := l.db.ApplyNoSyncWait(b, pebble.Sync)
	if err == nil {
		err = b.SyncWait()
	}
	if err != nil {
		problem := storageFailed(err)
		l.mu.Lock()
		l.broken = problem
		l.mu.Unlock()
		select { // the writer may be asleep
		case l.wake <- struct{}{}:
		default:
		}
		return problem
	}
	_ = b.Close() // gives the batch's memory back, and cannot fail once it is synced
	return nil
}

// publish lets readers see a group that is on disk.
func (l *Log) publish(g *group) {
	last := g.recs[len(g.recs)-1].Seq
	l.mu.Lock()
	defer l.mu.Unlock()
	l.durable, l.endBytes = last, g.head.bytesBefore+uint64(len(g.buf))
	l.waiting -= int64(len(g.buf) - headSize)
	l.stats.Groups++
	l.tail.add(g.recs, len(g.buf))
	l.recent = append(l.recent, mark{first: g.first, received: g.head.received})
	for len(l.recent) > 1 && g.head.received-l.recent[0].received > restartWindow.Milliseconds() {
		l.recent = l.recent[1:]
	}
	if len(l.spare) < 4 {
		l.spare = append(l.spare, g.buf)
	}
	g.buf = nil
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
}

// finish refuses all that waits, in order, and then closes the log to Append.
func (l *Log) finish(err error) error {
	for {
		l.mu.Lock()
		groups := l.queue
		l.queue = nil
		if len(groups) == 0 {
			if l.err == nil {
				l.err = err
			}
			if l.grown != nil {
				close(l.grown)
				l.grown = nil
			}
			l.mu.Unlock()
			return err
		}
		l.mu.Unlock()
		for _, g := range groups {
			for _, w := range g.waiters {
				w.call(err)
			}
		}
	}
}

// Stats gives the counters since Open.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// tail keeps the newest durable records as they were appended, so that
// followers that keep up decode nothing and read no disk.
type tail struct {
	groups [][]timeseries.Record
	sizes  []int
	bytes  int
	count  int
}

// What the tail may hold: a follower further behind than this reads the disk.
const (
	tailRecords = 16384
	tailBytes   = 8 << 20 // as encoded
)

func (t *tail) add(recs []timeseries.Record, size int) {
	t.groups, t.sizes = append(t.groups, recs), append(t.sizes, size)
	t.bytes += size
	t.count += len(recs)
	for len(t.groups) > 1 && (t.count > tailRecords || t.bytes > tailBytes) {
		t.bytes -= t.sizes[0]
		t.count -= len(t.groups[0])
		t.groups[0] = nil
		t.groups, t.sizes = t.groups[1:], t.sizes[1:]
	}
}
