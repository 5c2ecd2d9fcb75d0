package recording

import (
	"math"
	"time"
)

// tables are those of a clip's samples (ISO 14496-12, 8.6 and 8.7), grown sample
// by sample in the form in which they are written.
type tables struct {
	durations, offsets runs
	keys               []byte // stss: numbers of the key frames
	sizes              []byte // stsz
	chunks             []uint32
	early              bool // some picture is shown before it is decoded, by its numbers
}

// runs is a table of (count, value).
type runs struct {
	list []byte
	n    uint32
}

func (r *runs) add(v uint32) {
	if n := len(r.list); n > 0 && be.Uint32(r.list[n-4:]) == v {
		be.PutUint32(r.list[n-8:], be.Uint32(r.list[n-8:])+1)
		return
	}
	r.list = words(r.list, 1, v)
	r.n++
}

// list notes the sample of this number, counted from 1; stand follows for each.
func (t *tables) list(s sample, number uint32) {
	t.offsets.add(uint32(s.offset)) //nolint:gosec // signed by version 1 of its box
	t.early = t.early || s.offset < 0
	t.sizes = words(t.sizes, s.size)
	if s.key {
		t.keys = words(t.keys, number)
	}
}

// stand notes how long the newest sample stands.
func (t *tables) stand(ticks int64) {
	t.durations.add(uint32(min(ticks, math.MaxUint32))) //nolint:gosec // bounded
}

// epoch is the zero of times in MP4, 1904-01-01, in Unix seconds.
const epoch = -2082844800

// file gives all that stands before the pictures; the chunks lie base bytes
// behind where they are counted from.
func (l *layout) file(base int64) []byte {
	b := box(nil, "ftyp", func(b []byte) []byte {
		return append(words(append(b, "isom"...), 0x200), "isomiso2avc1mp41"...)
	})
	made := uint64(l.clip.From.Unix() - epoch)           //nolint:gosec // after 1904
	length := uint64(l.last + l.final)                   //nolint:gosec // not negative
	delay := int64(int32(be.Uint32(l.offsets.list[4:]))) //nolint:gosec // signed by its definition
	shown := uint64(max(l.shown-delay, 1))               //nolint:gosec // positive
	b = box(b, "moov", func(b []byte) []byte {
		b = full(b, "mvhd", 1, 0, func(b []byte) []byte {
			b = be.AppendUint64(be.AppendUint64(b, made), made)
			b = be.AppendUint64(words(b, timeScale), shown)
			b = words(b, 0x10000, 0x1000000, 0, 0) // rate, volume
			b = matrix(b)
			return words(b, 0, 0, 0, 0, 0, 0, trackID+1)
		})
		return box(b, "trak", func(b []byte) []byte {
			b = full(b, "tkhd", 1, 3, func(b []byte) []byte {
				b = be.AppendUint64(be.AppendUint64(b, made), made)
				b = be.AppendUint64(words(b, trackID, 0), shown)
				b = matrix(words(b, 0, 0, 0, 0)) // layer, volume
				return be.AppendUint64(b, l.head.size)
			})
			if delay > 0 { // the clip's time begins with its first picture, not with its decoding
				b = box(b, "edts", func(b []byte) []byte {
					return full(b, "elst", 1, 0, func(b []byte) []byte {
						return words(be.AppendUint64(be.AppendUint64(words(b, 1), shown), uint64(delay)), 0x10000)
					})
				})
			}
			return box(b, "mdia", func(b []byte) []byte { return l.media(b, made, length, base) })
		})
	})
	return be.AppendUint64(append(words(b, 1), "mdat"...), uint64(l.bytes+16)) //nolint:gosec // not negative
}

func matrix(b []byte) []byte { return words(b, 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000) }

func (l *layout) media(b []byte, made, length uint64, base int64) []byte {
	b = full(b, "mdhd", 1, 0, func(b []byte) []byte {
		b = be.AppendUint64(be.AppendUint64(b, made), made)
		return words(be.AppendUint64(words(b, timeScale), length), 0x55c40000) // language und
	})
	b = full(b, "hdlr", 0, 0, func(b []byte) []byte {
		return append(words(append(words(b, 0), "vide"...), 0, 0, 0), "VideoHandler\x00"...)
	})
	return box(b, "minf", func(b []byte) []byte {
		b = full(b, "vmhd", 0, 1, func(b []byte) []byte { return words(b, 0, 0) })
		b = box(b, "dinf", func(b []byte) []byte {
			return full(b, "dref", 0, 0, func(b []byte) []byte { return full(words(b, 1), "url ", 0, 1, nil) })
		})
		return box(b, "stbl", func(b []byte) []byte { return l.table(b, base) })
	})
}

func (l *layout) table(b []byte, base int64) []byte {
	b = append(b, l.head.stsd...)
	b = full(b, "stts", 0, 0, func(b []byte) []byte { return append(words(b, l.durations.n), l.durations.list...) })
	if l.offsets.n > 1 || be.Uint32(l.offsets.list[4:]) != 0 {
		version := byte(0)
		if l.early {
			version = 1
		}
		b = full(b, "ctts", version, 0, func(b []byte) []byte { return append(words(b, l.offsets.n), l.offsets.list...) })
	}
	b = full(b, "stss", 0, 0, func(b []byte) []byte {
		return append(words(b, uint32(len(l.keys)/4)), l.keys...) //nolint:gosec // fewer than samples
	})
	b = full(b, "stsz", 0, 0, func(b []byte) []byte { return append(words(b, 0, l.samples), l.sizes...) })
	b = full(b, "stsc", 0, 0, func(b []byte) []byte {
		at := len(b)
		n, before := uint32(0), uint32(0)
		b = words(b, 0)
		for i, count := range l.chunks {
			if count != before {
				b = words(b, uint32(i+1), count, 1) //nolint:gosec // fewer than samples
				n, before = n+1, count
			}
		}
		be.PutUint32(b[at:], n)
		return b
	})
	return full(b, "co64", 0, 0, func(b []byte) []byte {
		b = words(b, uint32(len(l.parts))) //nolint:gosec // fewer than samples
		for _, p := range l.parts {
			b = be.AppendUint64(b, uint64(base+p.begin)) //nolint:gosec // not negative
		}
		return b
	})
}

// Length is how long the clip plays.
func (c *Clip) Length() time.Duration { return c.To.Sub(c.From) }
