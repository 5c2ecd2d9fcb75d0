package local

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"offsite/devices"
	"offsite/timeseries"
)

// dirtyHour is a bucket on its way to disk.
type dirtyHour struct {
	day    int64
	hour   uint8
	series *series
	bucket *bucket
}

// flush writes the head in one batch with the sequence it reaches to. The
// caller holds writing, so nobody else changes the head; queries go on reading
// it until the batch is on disk.
func (s *Store) flush() error {
	if s.written == s.durable && s.weight == 0 {
		return nil
	}
	b := s.db.NewBatch()
	if err := s.fill(b); err != nil {
		_ = b.Close()
		return unavailable("be written", err)
	}
	if err := s.cfg.Commit(b); err != nil {
		if p, ok := errors.AsType[*devices.Problem](err); ok {
			return p
		}
		return unavailable("be written", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.series {
		p.flushed()
		p.named = true
	}
	s.weight, s.durable = 0, s.written
	return nil
}

func (s *Store) fill(b *pebble.Batch) (err error) {
	var hours []dirtyHour
	for _, p := range s.series {
		if !p.named {
			name := append(append([]byte(p.key.Site), 0), p.key.Point...)
			if err := b.Set(s.seriesKey(p.id), name, nil); err != nil {
				return err
			}
		}
		for _, bucket := range p.open {
			day, hour := dayOf(bucket.hour)
			hours = append(hours, dirtyHour{day, hour, p, bucket})
		}
	}
	slices.SortFunc(hours, func(a, b dirtyHour) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.series.id, b.series.id), cmp.Compare(a.hour, b.hour))
	})
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: s.key(kindChunk), UpperBound: s.key(kindChunk + 1)})
	if err != nil {
		return err
	}
	defer closing(it, &err)
	var key, chunk []byte
	for _, h := range hours {
		key = s.chunkKey(key, h.series.id, h.bucket.hour)
		chunk = append(chunk[:0], chunkVersion)
		if it.SeekGE(key) && bytes.Equal(it.Key(), key) {
			if chunk, err = s.join(b, chunk, key, it.Value(), h.bucket); err != nil {
				return err
			}
		} else {
			chunk = s.encoder.appendBlock(chunk, &h.bucket.columns)
		}
		if err := b.Set(key, chunk, nil); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return err
	}
	return b.Set(s.key(kindMeta), binary.LittleEndian.AppendUint64([]byte{1}, s.written), nil)
}

// join puts a bucket into the chunk that stands already: behind it, where it
// is newer and the chunk has few blocks, else by writing the hour anew. A
// chunk that cannot be read is moved aside; it must not stop the history.
func (s *Store) join(b *pebble.Batch, chunk, key, old []byte, add *bucket) ([]byte, error) {
	blocks, last, err := chunkShape(old)
	if err == nil && last < add.at[0] && blocks < maxBlocks {
		return s.encoder.appendBlock(append(chunk[:0], old...), &add.columns), nil
	}
	s.decoded.reset()
	if err == nil {
		err = decodeChunk(&s.decoded, old)
	}
	if err != nil {
		s.cfg.Log.Error("chunk of history is damaged and was moved aside", "key", key, "err", err)
		aside := append([]byte(nil), key...)
		aside[len(s.prefix)] = kindCorrupt
		return s.encoder.appendBlock(chunk, &add.columns), b.Set(aside, old, nil)
	}
	s.merged.reset()
	s.merged.merge(&s.decoded, &add.columns)
	return s.encoder.appendBlock(chunk, &s.merged), nil
}

// Retain deletes the days of Beijing time that ended by before.
func (s *Store) Retain(ctx context.Context, before time.Time) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	start := timeseries.Day(before).UnixMilli()
	hour, _ := split(start)
	day, _ := dayOf(hour)
	b := s.db.NewBatch()
	if err := b.DeleteRange(s.dayKey(math.MinInt32), s.dayKey(day), nil); err != nil {
		_ = b.Close()
		return unavailable("be trimmed", err)
	}
	if err := s.cfg.Commit(b); err != nil {
		return unavailable("be trimmed", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.series {
		n := 0
		for n < len(p.open) && p.open[n].hour < hour {
			s.weight -= len(p.open[n].at) + bucketCost
			n++
		}
		p.open = slices.Delete(p.open, 0, n)
		if p.lastKnown && p.any && p.last.at < start {
			p.any, p.last = false, sample{}
		}
	}
	s.weight = max(s.weight, 0)
	return nil
}
