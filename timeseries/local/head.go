package local

import (
	"sort"

	"offsite/devices"
	"offsite/timeseries"
)

// series is one point's place in the store: its number, what is not yet
// flushed, and its newest sample.
type series struct {
	key   timeseries.Series
	id    uint32
	named bool      // its name is on disk
	open  []*bucket // by hour
	spare *bucket   // an emptied one, to be filled again
	chunk shape     // of the chunk that was written last

	lastKnown bool // last says what Last answers; else the disk must be asked
	last      sample
	any       bool // there is a last
}

type sample struct {
	at int64 // Unix ms
	v  float64
	q  uint8
}

func (s sample) sample() timeseries.Sample {
	return timeseries.Sample{At: milliTime(s.at), Value: s.v, Quality: devices.Quality(s.q)}
}

// bucket is an hour of a series in memory.
type bucket struct {
	hour int64 // hours since 1970-01-01 UTC
	columns
}

// bucketCost is what an hour that was opened weighs in samples.
const bucketCost = 8

// put keeps a sample, replacing one of the same time, and gives how many
// samples heavier the head has become.
func (s *series) put(p sample) int {
	hour, off := split(p.at)
	s.noteLast(p)
	grown := 0
	b := s.bucket(hour)
	if b == nil {
		b = s.openBucket(hour)
		grown = bucketCost
	}
	if n := len(b.at); n == 0 || b.at[n-1] < off {
		b.add(off, p.v, p.q)
		return grown + 1
	}
	i := sort.Search(len(b.at), func(i int) bool { return b.at[i] >= off })
	if b.at[i] == off {
		b.v[i] = p.v
		if b.q == nil && p.q != 0 {
			b.q = make([]uint8, len(b.at))
		}
		if b.q != nil {
			b.q[i] = p.q
		}
		return grown
	}
	b.add(0, 0, p.q)
	copy(b.at[i+1:], b.at[i:])
	copy(b.v[i+1:], b.v[i:])
	b.at[i], b.v[i] = off, p.v
	if b.q != nil {
		copy(b.q[i+1:], b.q[i:])
		b.q[i] = p.q
	}
	return grown + 1
}

func (s *series) bucket(hour int64) *bucket {
	if n := len(s.open); n > 0 && s.open[n-1].hour == hour {
		return s.open[n-1]
	}
	i := sort.Search(len(s.open), func(i int) bool { return s.open[i].hour >= hour })
	if i < len(s.open) && s.open[i].hour == hour {
		return s.open[i]
	}
	return nil
}

func (s *series) openBucket(hour int64) *bucket {
	b := s.spare
	if s.spare = nil; b == nil {
		b = &bucket{}
	}
	b.hour = hour
	i := sort.Search(len(s.open), func(i int) bool { return s.open[i].hour >= hour })
	s.open = append(s.open, nil)
	copy(s.open[i+1:], s.open[i:])
	s.open[i] = b
	return b
}

// noteLast keeps the newest sample whose clock can be trusted.
func (s *series) noteLast(p sample) {
	switch {
	case !s.lastKnown:
	case devices.Quality(p.q) == devices.BadClock:
		if s.any && p.at == s.last.at {
			s.lastKnown = false // what was newest is no longer to be trusted
		}
	case !s.any || p.at >= s.last.at:
		s.last, s.any = p, true
	}
}

// flushed empties the head of a series and keeps one bucket's memory.
func (s *series) flushed() {
	if n := len(s.open); n > 0 {
		s.spare = s.open[n-1]
		s.spare.reset()
	}
	clear(s.open)
	s.open = s.open[:0]
}

// clip copies the samples of b in [from, to), in Unix ms.
func (b *bucket) clip(from, to int64) *bucket {
	start := b.hour * hourMilli
	i := sort.Search(len(b.at), func(i int) bool { return start+int64(b.at[i]) >= from })
	j := sort.Search(len(b.at), func(i int) bool { return start+int64(b.at[i]) >= to })
	if i >= j {
		return nil
	}
	c := &bucket{hour: b.hour, columns: columns{at: append([]int32(nil), b.at[i:j]...), v: append([]float64(nil), b.v[i:j]...)}}
	if b.q != nil {
		c.q = append([]uint8(nil), b.q[i:j]...)
	}
	return c
}

// find gives the sample at off, if c has one.
func (c *columns) find(off int32) (v float64, q uint8, ok bool) {
	i := sort.Search(len(c.at), func(i int) bool { return c.at[i] >= off })
	if i == len(c.at) || c.at[i] != off {
		return 0, 0, false
	}
	return c.v[i], c.quality(i), true
}
