package spool

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"sort"

	"offsite/devices"
	"offsite/timeseries"
)

// readBytes bounds what one Read takes from disk: dead letters are large.
const readBytes = 16 << 20

// Durable is the sequence up to which records are on disk and can be read.
func (l *Log) Durable() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable
}

// First is the sequence of the oldest record that the log still holds, or of
// the next one when it holds none.
func (l *Log) First() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

// Bytes is the size of the log's records on disk, before compression.
func (l *Log) Bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(l.endBytes - l.cut)
}

// Wait returns when Durable lies above after, when ctx ends, or, with the
// reason, when the log takes no more.
func (l *Log) Wait(ctx context.Context, after uint64) error {
	for {
		l.mu.Lock()
		if l.durable > after {
			l.mu.Unlock()
			return nil
		}
		if err := l.err; err != nil {
			l.mu.Unlock()
			return err
		}
		if l.grown == nil {
			l.grown = make(chan struct{})
		}
		grown := l.grown
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-grown:
		}
	}
}

// Read gives durable records above after, in order, at most `most` of them. It may give
// fewer though there are more; it gives none only when there are none. Where
// the log begins later, so does the answer. The records are shared with other
// readers: nothing in them may be changed.
func (l *Log) Read(after uint64, most int) ([]timeseries.Record, error) {
	if most <= 0 {
		return nil, nil
	}
	l.mu.Lock()
	durable := l.durable
	after = max(after, l.first-1)
	recs, ok := l.tail.read(after, most)
	l.mu.Unlock()
	if ok || after >= durable {
		return recs, nil
	}
	recs, err := l.readDisk(after, durable, most)
	if err != nil {
		return recs, fmt.Errorf("read log of readings after %d: %w", after, err)
	}
	return recs, nil
}

// read answers from memory, if the record behind after is there.
func (t *tail) read(after uint64, max int) ([]timeseries.Record, bool) {
	if len(t.groups) == 0 || t.groups[0][0].Seq > after+1 {
		return nil, false
	}
	i := sort.Search(len(t.groups), func(i int) bool {
		g := t.groups[i]
		return g[len(g)-1].Seq > after
	})
	if i == len(t.groups) {
		return nil, true
	}
	last := t.groups[len(t.groups)-1]
	recs := make([]timeseries.Record, 0, min(uint64(max), last[len(last)-1].Seq-after))
	for ; i < len(t.groups) && len(recs) < max; i++ {
		g := t.groups[i]
		if g[0].Seq <= after {
			g = g[after-g[0].Seq+1:]
		}
		recs = append(recs, g[:min(len(g), max-len(recs))]...)
	}
	return recs, true
}

func (l *Log) readDisk(after, durable uint64, max int) (recs []timeseries.Record, err error) {
	it, err := l.groups(0, durable+1)
	if err != nil {
		return nil, err
	}
	defer closing(it, &err)
	size := 0
	ok := it.SeekLT(l.groupKey(after + 2))
	if !ok {
		ok = it.First()
	}
	for ; ok && len(recs) < max && size < readBytes; ok = it.Next() {
		value := it.Value()
		if recs, _, err = readGroup(recs, l.seqOf(it.Key()), value, after, max); err != nil {
			return recs, err
		}
		size += len(value)
	}
	return recs, it.Error()
}

// Cursor is the sequence that the follower has passed last; 0 if it never did.
func (l *Log) Cursor(follower string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.cursors[follower]; c != nil {
		return c.seq
	}
	return 0
}

// Advance notes that the follower is done with everything up to seq. It is
// stored within a second or so; an advance lost in a crash only makes the
// follower see records again. A cursor never goes back.
func (l *Log) Advance(follower string, seq uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.cursors[follower]
	if c == nil {
		return devices.Invalid("follower", "unknown_follower", "没有名为 "+follower+" 的日志读者", "the log has no follower "+follower)
	}
	if seq > l.durable {
		return devices.Invalid("seq", "out_of_range", "读者位置超出日志末尾", fmt.Sprintf("sequence %d lies beyond the durable %d", seq, l.durable))
	}
	c.seq = max(c.seq, seq)
	return nil
}

func (l *Log) loadCursors() (err error) {
	it, err := l.db.NewIter(bounds(l.cursorKey("")))
	if err != nil {
		return err
	}
	defer closing(it, &err)
	for ok := it.First(); ok; ok = it.Next() {
		name, value := string(it.Key()[len(l.prefix)+1:]), it.Value()
		if len(value) != 8 {
			return fmt.Errorf("cursor of %q has %d bytes", name, len(value))
		}
		seq := binary.BigEndian.Uint64(value)
		if c := l.cursors[name]; c != nil {
			c.seq, c.stored = seq, seq
			continue
		}
		// A follower of earlier days holds nothing, but its cursor still
		// bounds where the log goes on.
		l.cfg.Above = max(l.cfg.Above, seq)
	}
	return it.Error()
}

// leastCursor is the least cursor, on disk after the next persisted batch, of
// the followers other than without. l.mu is held.
func (l *Log) leastCursor(without string) uint64 {
	least := uint64(math.MaxUint64)
	for _, name := range l.cfg.Followers {
		if name != without {
			least = min(least, l.cursors[name].seq)
		}
	}
	return least
}
