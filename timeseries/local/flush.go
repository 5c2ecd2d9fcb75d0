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
	shape  shape // of its chunk, once the batch is on disk
}

// flush writes the head in one batch with the sequence it reaches to. The
// caller holds writing, so nobody else changes the head; queries go on reading
// it until the batch is on disk.
func (s *Store) flush() error {
	if s.written == s.durable && s.weight == 0 {
		return nil
	}
	b := s.db.NewBatch()
	hours, err := s.fill(b)
	if err != nil {
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
	for _, h := range hours { // in order: the newest hour of a series stays
		h.series.chunk = h.shape
	}
	s.weight, s.durable = 0, s.written
	return nil
}

func (s *Store) fill(b *pebble.Batch) (hours []dirtyHour, err error) {
	if hours, err = s.dirtyHours(b); err != nil {
		return nil, err
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: s.key(kindChunk), UpperBound: s.key(kindChunk + 1)})
	if err != nil {
		return nil, err
	}
	defer closing(it, &err)
	var key []byte
	for i := range hours {
		h := &hours[i]
		key = s.chunkKey(key, h.series.id, h.bucket.hour)
		h.shape = h.series.chunk
		if h.shape.hour != h.bucket.hour || h.shape.blocks == 0 {
			h.shape = shape{hour: h.bucket.hour}
			if it.SeekGE(key) && bytes.Equal(it.Key(), key) {
				h.shape, err = chunkShape(it.Value(), h.bucket.hour)
			}
		}
		if err == nil && h.shape.takes(h.bucket) {
			err = s.extend(b, key, h)
		} else {
			err = s.rewrite(b, it, key, h, err)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := it.Error(); err != nil {
		return nil, err
	}
	return hours, b.Set(s.key(kindMeta), binary.LittleEndian.AppendUint64([]byte{1}, s.written), nil)
}

// dirtyHours gives what the head holds in order of its keys, and puts the
// names of new series into b.
func (s *Store) dirtyHours(b *pebble.Batch) (hours []dirtyHour, err error) {
	for _, p := range s.series {
		if !p.named {
			name := append(append([]byte(p.key.Site), 0), p.key.Point...)
			if err := b.Set(s.seriesKey(p.id), name, nil); err != nil {
				return nil, err
			}
		}
		for _, bucket := range p.open {
			day, hour := dayOf(bucket.hour)
			hours = append(hours, dirtyHour{day: day, hour: hour, series: p, bucket: bucket})
		}
	}
	slices.SortFunc(hours, func(a, b dirtyHour) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.series.id, b.series.id), cmp.Compare(a.hour, b.hour))
	})
	return hours, nil
}

// extend puts a bucket behind a chunk without reading or writing what stands
// there: Pebble concatenates what is merged into a key.
func (s *Store) extend(b *pebble.Batch, key []byte, h *dirtyHour) error {
	s.block = s.block[:0]
	if h.shape.blocks == 0 {
		s.block = append(s.block, chunkVersion)
	}
	s.block = s.encoder.appendBlock(s.block, &h.bucket.columns)
	fresh := h.shape.blocks == 0
	h.shape.blocks++
	h.shape.last = h.bucket.at[len(h.bucket.at)-1]
	if fresh {
		return b.Set(key, s.block, nil)
	}
	return b.Merge(key, s.block, nil)
}

// rewrite joins a bucket and the chunk of its hour into one block. A chunk
// that cannot be read is moved aside; it must not stop the history.
func (s *Store) rewrite(b *pebble.Batch, it *pebble.Iterator, key []byte, h *dirtyHour, damage error) error {
	s.decoded.reset()
	var old []byte
	if it.SeekGE(key) && bytes.Equal(it.Key(), key) {
		old = it.Value()
	}
	if damage == nil && old != nil {
		damage = decodeChunk(&s.decoded, old)
	}
	if damage != nil {
		s.cfg.Log.Error("chunk of history is damaged and was moved aside", "key", key, "err", damage)
		aside := append([]byte(nil), key...)
		aside[len(s.prefix)] = kindCorrupt
		if err := b.Set(aside, old, nil); err != nil {
			return err
		}
		s.decoded.reset()
	}
	s.merged.reset()
	s.merged.merge(&s.decoded, &h.bucket.columns)
	s.block = s.encoder.appendBlock(append(s.block[:0], chunkVersion), &s.merged)
	h.shape = shape{hour: h.bucket.hour, blocks: 1, last: s.merged.at[len(s.merged.at)-1]}
	return b.Set(key, s.block, nil)
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
		if p.chunk.hour < hour {
			p.chunk = shape{}
		}
		if p.lastKnown && p.any && p.last.at < start {
			p.any, p.last = false, sample{}
		}
	}
	s.weight = max(s.weight, 0)
	return nil
}
