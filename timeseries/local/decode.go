package local

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// shape is what must be known of a chunk to put another block behind it.
type shape struct {
	hour   int64
	last   int32 // time of the last sample
	blocks int   // 0: there is no chunk, or it has not been looked at
}

// takes says whether b can stand behind the chunk as another block.
func (s shape) takes(b *bucket) bool {
	return s.blocks == 0 || (s.blocks < maxBlocks && s.last < b.at[0])
}

// chunkShape finds the shape of a chunk without decoding it.
func chunkShape(chunk []byte, hour int64) (shape, error) {
	s := shape{hour: hour}
	err := eachBlock(chunk, func(block []byte) error {
		d := decoder{b: block}
		_, first, span := d.uvarint(), d.uvarint(), d.uvarint()
		if d.failed || first >= hourMilli || span >= hourMilli-first {
			return errCorrupt
		}
		s.blocks++
		s.last = int32(first + span)
		return nil
	})
	if err == nil && s.blocks == 0 {
		err = errCorrupt
	}
	return s, err
}

func eachBlock(chunk []byte, fn func(block []byte) error) error {
	if len(chunk) == 0 {
		return errCorrupt
	}
	if chunk[0] != chunkVersion {
		return fmt.Errorf("%w: version %d; this program reads version %d", errCorrupt, chunk[0], chunkVersion)
	}
	for b := chunk[1:]; len(b) > 0; {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return errCorrupt
		}
		if err := fn(b[n : n+int(size)]); err != nil {
			return err
		}
		b = b[n+int(size):]
	}
	return nil
}

// decodeChunk puts the samples of a chunk behind those of c.
func decodeChunk(c *columns, chunk []byte) error {
	return eachBlock(chunk, func(block []byte) error {
		d := decoder{b: block}
		return d.block(c)
	})
}

// decoder takes a block apart. After a fault it gives zeros.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) uvarint() uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 {
		v := d.b[0]
		d.b = d.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b, d.failed = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.failed = true
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) block(c *columns) error {
	count, first, span := d.uvarint(), d.uvarint(), d.uvarint()
	mode := d.byte()
	if d.failed || count == 0 || count > hourMilli || first >= hourMilli || span >= hourMilli-first {
		return errCorrupt
	}
	if n := len(c.at); n > 0 && c.at[n-1] >= int32(first) {
		return errCorrupt
	}
	from := len(c.at)
	if !d.qualities(c, int(count)) || !d.times(c, int(count), int32(first), int32(first+span)) {
		return errCorrupt
	}
	ok := false
	switch mode & 15 {
	case modeRaw:
		ok = d.raw(c, int(count))
	case modeDivide, modeMultiply, modeFloat32:
		ok = d.integers(c, int(count), mode&15, int(mode>>4))
	}
	if !ok || d.failed || len(d.b) != 0 || len(c.v)-from != int(count) {
		return errCorrupt
	}
	return nil
}

func (d *decoder) qualities(c *columns, count int) bool {
	runs := d.uvarint()
	if runs == 0 {
		if c.q != nil {
			c.q = append(c.q, make([]uint8, count)...)
		}
		return !d.failed
	}
	if c.q == nil {
		c.q = make([]uint8, len(c.at), len(c.at)+count)
	}
	left := uint64(count)
	for ; runs > 0 && !d.failed; runs-- {
		q, n := d.byte(), d.uvarint()
		if n == 0 || n > left {
			return false
		}
		for range n {
			c.q = append(c.q, q)
		}
		left -= n
	}
	return left == 0
}

func (d *decoder) times(c *columns, count int, first, last int32) bool {
	at, delta, left := int64(first), int64(0), count-1
	c.at = append(slices.Grow(c.at, count), first)
	for left > 0 {
		t := d.uvarint()
		n := 1
		if t&1 == 1 {
			if t>>1 == 0 || t>>1 > uint64(left) {
				return false
			}
			n = int(t >> 1)
		} else {
			delta += int64(t>>2) ^ -int64(t>>1&1)
		}
		if d.failed || delta <= 0 || delta >= hourMilli || at+delta*int64(n) > int64(last) {
			return false
		}
		for range n {
			at += delta
			c.at = append(c.at, int32(at))
		}
		left -= n
	}
	return at == int64(last)
}

func (d *decoder) raw(c *columns, count int) bool {
	if len(d.b) != 8*count {
		return false
	}
	for i := 0; i < len(d.b); i += 8 {
		c.v = append(c.v, math.Float64frombits(binary.LittleEndian.Uint64(d.b[i:])))
	}
	d.b = nil
	return true
}

// integers is where queries spend their time, hence the local variables and
// the one-byte token taken apart in place.
func (d *decoder) integers(c *columns, count int, mode byte, scale int) bool {
	if scale > maxScale {
		return false
	}
	from := len(c.v)
	c.v = slices.Grow(c.v, count)[:from+count]
	out, b := c.v[from:], d.b
	n, v, at := int64(0), toValue(0, mode, scale), 0
	for k := 0; k < len(out); {
		if at >= len(b) {
			return false
		}
		t := uint64(b[at])
		if at++; t >= 0x80 {
			size := 0
			if t, size = binary.Uvarint(b[at-1:]); size <= 0 {
				return false
			}
			at += size - 1
		}
		if t&1 == 0 {
			n += int64(t>>2) ^ -int64(t>>1&1)
			v = toValue(n, mode, scale)
			out[k] = v
			k++
			continue
		}
		zeros := t >> 1
		if zeros == 0 || zeros > uint64(len(out)-k) {
			return false
		}
		for ; zeros > 0; zeros-- {
			out[k] = v
			k++
		}
	}
	d.b = b[at:]
	return true
}

func toValue(n int64, mode byte, scale int) float64 {
	switch mode {
	case modeDivide:
		return float64(n) / powers[scale]
	case modeMultiply:
		return float64(n) * inverses[scale]
	default:
		return float64(math.Float32frombits(uint32(ordered(int32(n)))))
	}
}
