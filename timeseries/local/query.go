package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"offsite/devices"
	"offsite/timeseries"
)

var errStop = errors.New("enough")

// Range gives the samples of [from, to), oldest first.
func (s *Store) Range(ctx context.Context, key timeseries.Series, from, to time.Time, most int) ([]timeseries.Sample, error) {
	var out []timeseries.Sample
	err := s.visit(ctx, key, from.UnixMilli(), to.UnixMilli(), func(start int64, c *columns, i, j int) error {
		for ; i < j; i++ {
			out = append(out, sample{start + int64(c.at[i]), c.v[i], c.quality(i)}.sample())
			if len(out) == most {
				return errStop
			}
		}
		return nil
	})
	return out, err
}

// Windows sums up the usable samples of [from, to).
func (s *Store) Windows(ctx context.Context, key timeseries.Series, from, to time.Time, every time.Duration) ([]timeseries.Window, error) {
	if err := timeseries.CheckWindow(every); err != nil {
		return nil, err
	}
	w := windows{every: every.Milliseconds()}
	err := s.visit(ctx, key, from.UnixMilli(), to.UnixMilli(), func(start int64, c *columns, i, j int) error {
		w.add(start, c, i, j)
		return nil
	})
	w.close()
	return w.out, err
}

// windows gathers samples that come in order of time.
type windows struct {
	every, end int64
	sum        float64
	now        timeseries.Window
	out        []timeseries.Window
}

// add takes the usable samples of [i, j) in c, counted from start.
func (w *windows) add(start int64, c *columns, i, j int) {
	for i < j {
		if c.q != nil && !devices.Quality(c.q[i]).Usable() {
			i++
			continue
		}
		if at := start + int64(c.at[i]); w.now.Count == 0 || at >= w.end {
			w.open(at, c.v[i])
		}
		// No time lies further off in the hour than 32 bits reach.
		end := int32(min(w.end-start, hourMilli))
		i = w.fill(c, i, j, end)
	}
}

func (w *windows) open(at int64, first float64) {
	w.close()
	start := timeseries.AlignMilli(at, w.every)
	w.end, w.sum = start+w.every, 0
	w.now = timeseries.Window{Start: milliTime(start), Min: first, Max: first, First: first}
}

// fill takes usable samples into the open window as long as they lie before
// end, and gives where it stopped.
func (w *windows) fill(c *columns, i, j int, end int32) int {
	sum, low, high, last, n := w.sum, w.now.Min, w.now.Max, w.now.Last, int64(0)
	at, vs := c.at[:j], c.v[:j]
	for ; i < len(at) && at[i] < end; i++ {
		if c.q != nil && !devices.Quality(c.q[i]).Usable() {
			continue
		}
		last = vs[i]
		sum += last
		if last < low {
			low = last
		}
		if last > high {
			high = last
		}
		n++
	}
	w.sum, w.now.Min, w.now.Max, w.now.Last = sum, low, high, last
	w.now.Count += n
	return i
}

func (w *windows) close() {
	if w.now.Count == 0 {
		return
	}
	w.now.Mean = w.sum / float64(w.now.Count)
	w.out = append(w.out, w.now)
	w.now.Count = 0
}

// view is what one query sees: chunks and head of the same instant.
type view struct {
	it   *pebble.Iterator
	id   uint32
	head []*bucket // clipped copies, by hour
}

// look gives a view of a series, nil when there is no such series.
func (s *Store) look(key timeseries.Series, from, to int64) (*view, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := s.series[key]
	if p == nil {
		return nil, nil
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: s.key(kindChunk), UpperBound: s.key(kindChunk + 1)})
	if err != nil {
		return nil, unavailable("be read", err)
	}
	v := &view{it: it, id: p.id}
	for _, b := range p.open {
		if c := b.clip(from, to); c != nil {
			v.head = append(v.head, c)
		}
	}
	return v, nil
}

// visit calls fn for every hour of the series in [from, to) that has samples
// there, in order of time: those of [i, j) in c, counted from start.
func (s *Store) visit(ctx context.Context, key timeseries.Series, from, to int64, fn func(start int64, c *columns, i, j int) error) (err error) {
	if from >= to {
		return nil
	}
	v, err := s.look(key, from, to)
	if err != nil || v == nil {
		return err
	}
	defer closing(v.it, &err)
	w := walk{from: from, to: to, fn: fn}
	err = s.eachChunk(ctx, v, from, to, func(hour int64, chunk []byte) error {
		for len(v.head) > 0 && v.head[0].hour < hour {
			if err := w.emit(v.head[0].hour, &v.head[0].columns); err != nil {
				return err
			}
			v.head = v.head[1:]
		}
		w.chunk.reset()
		if err := decodeChunk(&w.chunk, chunk); err != nil {
			return unavailable("be read", fmt.Errorf("%s at %s: %w", key.Point, milliTime(hour*hourMilli), err))
		}
		if len(v.head) > 0 && v.head[0].hour == hour {
			w.both.reset()
			w.both.merge(&w.chunk, &v.head[0].columns)
			v.head = v.head[1:]
			return w.emit(hour, &w.both)
		}
		return w.emit(hour, &w.chunk)
	})
	for ; err == nil && len(v.head) > 0; v.head = v.head[1:] {
		err = w.emit(v.head[0].hour, &v.head[0].columns)
	}
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// walk hands the hours of a query on, cut to its span.
type walk struct {
	from, to    int64
	fn          func(start int64, c *columns, i, j int) error
	chunk, both columns
}

func (w *walk) emit(hour int64, c *columns) error {
	start := hour * hourMilli
	i, j := 0, len(c.at)
	if start < w.from {
		i = sort.Search(j, func(i int) bool { return start+int64(c.at[i]) >= w.from })
	}
	if start+hourMilli > w.to {
		j = sort.Search(j, func(i int) bool { return start+int64(c.at[i]) >= w.to })
	}
	if i >= j {
		return nil
	}
	return w.fn(start, c, i, j)
}

// eachChunk calls fn for the chunks of a series that may hold samples of
// [from, to), skipping days without any.
func (s *Store) eachChunk(ctx context.Context, v *view, from, to int64, fn func(hour int64, chunk []byte) error) error {
	firstHour, _ := split(from)
	lastHour, _ := split(to - 1)
	day, _ := dayOf(firstHour)
	lastDay, _ := dayOf(lastHour)
	day, lastDay = clampDay(day), clampDay(lastDay)
	var key []byte
	for day <= lastDay {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		key = s.chunkKey(key, v.id, max(firstHour, hourOf(day, 0)))
		landed := int64(0)
		ok := v.it.SeekGE(key)
		for ; ok; ok = v.it.Next() {
			at, id, h, valid := s.parseChunkKey(v.it.Key())
			if !valid {
				return unavailable("be read", errCorrupt)
			}
			if landed = at; at != day || id != v.id || hourOf(at, h) > lastHour {
				break
			}
			if err := fn(hourOf(at, h), v.it.Value()); err != nil {
				return err
			}
		}
		if !ok {
			break
		}
		day = max(day+1, landed)
	}
	return unavailable("be read", v.it.Error())
}

// Last gives the newest sample, those of quality bad/clock apart.
func (s *Store) Last(ctx context.Context, key timeseries.Series) (timeseries.Sample, error) {
	s.mu.RLock()
	p := s.series[key]
	if p == nil || p.lastKnown {
		defer s.mu.RUnlock()
		return p.answer(key)
	}
	s.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.findLast(ctx, p); err != nil {
		return timeseries.Sample{}, err
	}
	return p.answer(key)
}

// answer is that of Last, once it is known; p may be nil.
func (p *series) answer(key timeseries.Series) (timeseries.Sample, error) {
	if p == nil || !p.any {
		return timeseries.Sample{}, timeseries.NoSample(key)
	}
	return p.last.sample(), nil
}

// findLast searches head and chunks backwards for the newest sample. s.mu is held.
func (s *Store) findLast(ctx context.Context, p *series) error {
	var newest sample
	found := false
	for i := len(p.open) - 1; i >= 0 && !found; i-- {
		newest, found = newestOf(p.open[i].hour, &p.open[i].columns)
	}
	err := s.backwards(ctx, p, func(hour int64, chunk []byte) (stop bool, err error) {
		if found && hour < floorDiv(newest.at, hourMilli) {
			return true, nil
		}
		var c, both columns
		if err := decodeChunk(&c, chunk); err != nil {
			return false, err
		}
		if b := p.bucket(hour); b != nil { // the head may have taken a time's trust away
			both.merge(&c, &b.columns)
			c = both
		}
		if n, ok := newestOf(hour, &c); ok && (!found || n.at >= newest.at) {
			newest, found = n, true
		}
		return found, nil
	})
	if err != nil {
		return err
	}
	p.last, p.any, p.lastKnown = newest, found, true
	return nil
}

func newestOf(hour int64, c *columns) (sample, bool) {
	for i := len(c.at) - 1; i >= 0; i-- {
		if devices.Quality(c.quality(i)) != devices.BadClock {
			return sample{hour*hourMilli + int64(c.at[i]), c.v[i], c.quality(i)}, true
		}
	}
	return sample{}, false
}

// backwards calls fn for the chunks of a series, newest first.
func (s *Store) backwards(ctx context.Context, p *series, fn func(hour int64, chunk []byte) (stop bool, err error)) (err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: s.key(kindChunk), UpperBound: s.key(kindChunk + 1)})
	if err != nil {
		return unavailable("be read", err)
	}
	defer closing(it, &err)
	var key []byte
	for ok := it.Last(); ok; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		day, id, h, valid := s.parseChunkKey(it.Key())
		if !valid {
			return unavailable("be read", errCorrupt)
		}
		if id == p.id {
			if stop, err := fn(hourOf(day, h), it.Value()); stop || err != nil {
				return unavailable("be read", err)
			}
			ok = it.Prev()
			continue
		}
		if id < p.id { // passed over it in this day
			day--
		}
		key = s.chunkKey(key, p.id, hourOf(day, dayHours-1))
		ok = it.SeekLT(append(key, 0))
	}
	return unavailable("be read", it.Error())
}

// At gives what stands at exactly these times.
func (s *Store) At(ctx context.Context, key timeseries.Series, at []time.Time) (_ map[int64]timeseries.Sample, err error) {
	found := map[int64]timeseries.Sample{}
	missing := s.atHead(key, at, found)
	if len(missing) == 0 {
		return found, nil
	}
	// What the head did not have may have been flushed meanwhile, but is never
	// gone: the chunks are looked at afterwards.
	v, err := s.look(key, 0, 0)
	if err != nil || v == nil {
		return found, err
	}
	defer closing(v.it, &err)
	var c columns
	var k []byte
	for i := 0; i < len(missing); {
		if ctx.Err() != nil {
			return found, context.Cause(ctx)
		}
		hour, _ := split(missing[i])
		k = s.chunkKey(k, v.id, hour)
		c.reset()
		if v.it.SeekGE(k) && bytes.Equal(v.it.Key(), k) {
			if err := decodeChunk(&c, v.it.Value()); err != nil {
				return found, unavailable("be read", fmt.Errorf("%s at %s: %w", key.Point, milliTime(missing[i]), err))
			}
		}
		for ; i < len(missing) && floorDiv(missing[i], hourMilli) == hour; i++ {
			_, off := split(missing[i])
			if value, q, ok := c.find(off); ok {
				found[missing[i]] = sample{missing[i], value, q}.sample()
			}
		}
	}
	return found, unavailable("be read", v.it.Error())
}

// atHead answers from memory what it can and gives the rest, in order of time.
func (s *Store) atHead(key timeseries.Series, at []time.Time, found map[int64]timeseries.Sample) (missing []int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := s.series[key]
	if p == nil {
		return nil
	}
	for _, t := range at {
		ms := t.UnixMilli()
		hour, off := split(ms)
		if b := p.bucket(hour); b != nil {
			if v, q, ok := b.find(off); ok {
				found[ms] = sample{ms, v, q}.sample()
				continue
			}
		}
		missing = append(missing, ms)
	}
	sort.Slice(missing, func(i, j int) bool { return missing[i] < missing[j] })
	return missing
}
