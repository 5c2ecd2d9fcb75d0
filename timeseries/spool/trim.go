package spool

import (
	"context"
	"encoding/binary"
	"math"
	"sort"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	tendEvery = time.Second
	trimBytes = 8 << 20     // worth a range delete
	trimEvery = time.Minute // else the little there is goes this often
)

// tend stores cursors and trims, once a second.
func (l *Log) tend(ctx context.Context) error {
	t := time.NewTicker(tendEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return l.storeCursors()
		case <-t.C:
		}
		if err := l.trim(false); err != nil {
			return err
		}
		if err := l.shed(); err != nil {
			return err
		}
		l.mu.Lock()
		l.repeats.forget()
		l.mu.Unlock()
	}
}

// moved is a cursor that is to be stored.
type moved struct {
	c   *cursor
	seq uint64
}

// dirty puts the cursors that have moved into b and gives what was put there.
func (l *Log) dirty(b *pebble.Batch) ([]moved, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ms []moved
	for name, c := range l.cursors {
		if c.seq == c.stored {
			continue
		}
		if err := b.Set(l.cursorKey(name), binary.BigEndian.AppendUint64(nil, c.seq), nil); err != nil {
			return nil, storageFailed(err)
		}
		ms = append(ms, moved{c, c.seq})
	}
	return ms, nil
}

func (l *Log) stored(ms []moved) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range ms {
		m.c.stored = m.seq
	}
}

func (l *Log) storeCursors() error {
	b := l.db.NewBatch()
	ms, err := l.dirty(b)
	if err != nil || len(ms) == 0 {
		_ = b.Close()
		return err
	}
	if err := l.Commit(b); err != nil {
		return err
	}
	l.stored(ms)
	return nil
}

// trim deletes what every follower has passed, except for the end of the log
// that a restart searches for repeats. It stores the cursors in the same
// batch: were one to fall back behind what is deleted, sequences would be used
// twice.
func (l *Log) trim(now bool) error {
	l.mu.Lock()
	least := l.leastCursor("")
	to := least
	if len(l.recent) > 0 && least < math.MaxUint64 {
		to = min(least+1, l.recent[0].first)
	}
	idle := len(l.cfg.Followers) == 0 || to <= l.first || len(l.recent) == 0
	if l.trimmed.IsZero() {
		l.trimmed = time.Now()
	}
	due := now || time.Since(l.trimmed) >= trimEvery
	cut := l.cut
	l.mu.Unlock()
	if idle {
		return l.storeCursors()
	}
	first, h, ok, err := l.groupAt(to)
	if err != nil {
		return err
	}
	if !ok || (!due && h.bytesBefore-cut < trimBytes) {
		return l.storeCursors()
	}
	return l.delete(first, h)
}

// delete removes the groups before first, whose head is h.
func (l *Log) delete(first uint64, h head) error {
	b := l.db.NewBatch()
	ms, err := l.dirty(b)
	if err != nil {
		return err
	}
	if err := b.DeleteRange(l.groupKey(0), l.groupKey(first), nil); err != nil {
		return storageFailed(err)
	}
	if err := l.Commit(b); err != nil {
		return err
	}
	l.stored(ms)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first, l.cut, l.trimmed = max(l.first, first), max(l.cut, h.bytesBefore), time.Now()
	return nil
}

// groupAt gives the group that holds record seq, else the one before it, else
// the first.
func (l *Log) groupAt(seq uint64) (first uint64, h head, ok bool, err error) {
	it, err := l.groups(0, math.MaxUint64)
	if err != nil {
		return 0, head{}, false, storageFailed(err)
	}
	defer closing(it, &err)
	if !it.SeekLT(l.groupKey(seq+1)) && !it.First() {
		return 0, head{}, false, it.Error()
	}
	h, err = parseHead(it.Value())
	return l.seqOf(it.Key()), h, err == nil, err
}

// shed cuts the remote follower off from the oldest records while the log
// holds more than its backlog. Nothing goes that another follower still needs.
func (l *Log) shed() error {
	l.mu.Lock()
	remote := l.cursors[l.cfg.Remote]
	over := remote != nil && l.cfg.Backlog > 0 && int64(l.endBytes-l.cut) > l.cfg.Backlog && len(l.recent) > 0
	if !over {
		l.mu.Unlock()
		return nil
	}
	// A little more than needed goes at once, not a sliver a second.
	want := l.endBytes - uint64(l.cfg.Backlog/10*9)
	low, high := l.first, l.recent[0].first
	if least := l.leastCursor(l.cfg.Remote); least < math.MaxUint64 {
		high = min(high, least+1)
	}
	passed := remote.seq
	l.mu.Unlock()

	first, h, err := l.groupBehind(want, low, high)
	if err != nil || first <= low {
		return err
	}
	if first > passed+1 {
		loss, err := l.lossOf(passed, first, h)
		if err != nil {
			return err
		}
		if err := l.cfg.Lost(loss); err != nil {
			l.cfg.Log.Error("loss could not be recorded; the log keeps growing", "follower", l.cfg.Remote, "err", err)
			return nil
		}
		l.mu.Lock()
		remote.seq = max(remote.seq, first-1)
		l.mu.Unlock()
	}
	return l.delete(first, h)
}

// groupBehind finds the first group of [low, high] before which at least bytes
// were ever written, or the one that holds high.
func (l *Log) groupBehind(bytes, low, high uint64) (first uint64, h head, err error) {
	if high < low {
		return 0, head{}, nil
	}
	n := sort.Search(int(high-low), func(i int) bool {
		_, h, ok, e := l.groupAt(low + uint64(i))
		if e != nil {
			err = e
		}
		return !ok || h.bytesBefore >= bytes
	})
	if err != nil {
		return 0, head{}, err
	}
	first, h, _, err = l.groupAt(low + uint64(n))
	return first, h, err
}

// lossOf describes the records above passed and below first, where the group
// with head h begins.
func (l *Log) lossOf(passed, first uint64, h head) (loss Loss, err error) {
	it, err := l.groups(0, first)
	if err != nil {
		return Loss{}, storageFailed(err)
	}
	defer closing(it, &err)
	loss = Loss{Follower: l.cfg.Remote, From: passed + 1, To: first - 1}
	if !it.SeekLT(l.groupKey(passed+2)) && !it.First() {
		return loss, it.Error()
	}
	start := l.seqOf(it.Key())
	from, err := parseHead(it.Value())
	if err != nil {
		return loss, err
	}
	loss.From = max(loss.From, start)
	loss.Deliveries = first - loss.From
	recs, skipped, err := readGroup(nil, start, it.Value(), passed, 1)
	if err != nil {
		return loss, err
	}
	loss.Readings = h.readingsBefore - from.readingsBefore - uint64(skipped)
	if len(recs) > 0 {
		loss.Since = recs[0].Received
	}
	if it.Last() {
		last, err := parseHead(it.Value())
		if err != nil {
			return loss, err
		}
		loss.Until = time.UnixMilli(last.received).UTC()
	}
	return loss, it.Error()
}

// bounds spans all keys that begin with prefix.
func bounds(prefix []byte) *pebble.IterOptions {
	upper := append([]byte(nil), prefix...)
	upper[len(upper)-1]++
	return &pebble.IterOptions{LowerBound: prefix, UpperBound: upper}
}
