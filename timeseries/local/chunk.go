package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

const (
	chunkVersion = 1
	hourMilli    = 3_600_000
	maxBlocks    = 64 // beyond it a chunk is written anew as one block
)

// Modes of a block's values.
const (
	modeRaw = iota
	modeDivide
	modeMultiply
	modeFloat32
)

const (
	maxScale   = 9
	maxInteger = 1 << 53 // up to here float64 holds every integer
)

var (
	powers   = [maxScale + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}
	inverses = [maxScale + 1]float64{1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9}
)

var errCorrupt = errors.New("corrupt chunk")

// columns are samples of one hour, in order of time, no time twice.
type columns struct {
	at []int32 // ms after the hour's start
	v  []float64
	q  []uint8 // nil while all are good
}

func (c *columns) reset() { c.at, c.v, c.q = c.at[:0], c.v[:0], nil }

func (c *columns) quality(i int) uint8 {
	if c.q == nil {
		return 0
	}
	return c.q[i]
}

// add puts a sample behind all others.
func (c *columns) add(at int32, v float64, q uint8) {
	if q != 0 && c.q == nil {
		c.q = make([]uint8, len(c.at), cap(c.at)+1)
	}
	c.at, c.v = append(c.at, at), append(c.v, v)
	if c.q != nil {
		c.q = append(c.q, q)
	}
}

func (c *columns) addAll(o *columns, from, to int) {
	for i := from; i < to; i++ {
		c.add(o.at[i], o.v[i], o.quality(i))
	}
}

// merge puts a and b together into c, which is empty; where both have a time, b wins.
func (c *columns) merge(a, b *columns) {
	i, j := 0, 0
	for i < len(a.at) && j < len(b.at) {
		if a.at[i] < b.at[j] {
			c.add(a.at[i], a.v[i], a.quality(i))
			i++
			continue
		}
		if a.at[i] == b.at[j] {
			i++
		}
		c.add(b.at[j], b.v[j], b.quality(j))
		j++
	}
	c.addAll(a, i, len(a.at))
	c.addAll(b, j, len(b.at))
}

// encoder turns columns into blocks; it keeps its buffers.
type encoder struct {
	ints  []int64
	block []byte
}

// appendBlock puts c, which is not empty, behind a chunk.
func (e *encoder) appendBlock(chunk []byte, c *columns) []byte {
	n := len(c.at)
	b := binary.AppendUvarint(e.block[:0], uint64(n))
	b = binary.AppendUvarint(b, uint64(c.at[0]))
	b = binary.AppendUvarint(b, uint64(c.at[n-1]-c.at[0]))
	mode, scale := e.integers(c.v)
	b = append(b, byte(mode|scale<<4))
	b = appendQualities(b, c.q)
	b = appendTimes(b, c.at)
	if mode == modeRaw {
		for _, v := range c.v {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		}
	} else {
		b = appendValues(b, e.ints)
	}
	e.block = b
	return append(binary.AppendUvarint(chunk, uint64(len(b))), b...)
}

// integers finds the cheapest mode that gives every value back as it was, and
// fills e.ints for it.
func (e *encoder) integers(vs []float64) (mode, scale int) {
	if scale, ok := e.scaled(vs, divided); ok {
		return modeDivide, scale
	}
	if scale, ok := e.scaled(vs, multiplied); ok {
		return modeMultiply, scale
	}
	e.ints = e.ints[:0]
	for _, v := range vs {
		f := float32(v)
		if float64(f) != v {
			return modeRaw, 0
		}
		e.ints = append(e.ints, int64(ordered(int32(math.Float32bits(f)))))
	}
	return modeFloat32, 0
}

func divided(n float64, scale int) float64    { return n / powers[scale] }
func multiplied(n float64, scale int) float64 { return n * inverses[scale] }

// scaled looks for the least scale at which every value is an integer. Raising
// the scale keeps what was found for earlier values only in principle, so the
// integers are made, and checked, in a second pass.
func (e *encoder) scaled(vs []float64, back func(float64, int) float64) (scale int, ok bool) {
	for _, v := range vs {
		for !isInteger(v, scale, back) {
			if scale++; scale > maxScale {
				return 0, false
			}
		}
	}
	e.ints = e.ints[:0]
	for _, v := range vs {
		n := math.RoundToEven(v * powers[scale])
		if math.Abs(n) >= maxInteger || back(n, scale) != v {
			return 0, false
		}
		e.ints = append(e.ints, int64(n))
	}
	return scale, true
}

func isInteger(v float64, scale int, back func(float64, int) float64) bool {
	return back(math.RoundToEven(v*powers[scale]), scale) == v
}

// ordered makes the bits of a float32 rise with its value, and back again.
func ordered(bits int32) int32 {
	if bits < 0 {
		return bits ^ math.MaxInt32
	}
	return bits
}

func appendQualities(b []byte, q []uint8) []byte {
	runs := 0
	for i := range q {
		if i == 0 || q[i] != q[i-1] {
			runs++
		}
	}
	if runs == 0 || (runs == 1 && q[0] == 0) {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(runs))
	for i := 0; i < len(q); {
		j := i + 1
		for j < len(q) && q[j] == q[i] {
			j++
		}
		b = binary.AppendUvarint(append(b, q[i]), uint64(j-i))
		i = j
	}
	return b
}

// tokens writes integers, runs of zeros in one.
type tokens struct {
	b     []byte
	zeros uint64
}

func (t *tokens) put(d int64) {
	if d == 0 {
		t.zeros++
		return
	}
	t.flush()
	t.b = binary.AppendUvarint(t.b, uint64(d<<1^d>>63)<<1)
}

func (t *tokens) flush() {
	if t.zeros > 0 {
		t.b = binary.AppendUvarint(t.b, t.zeros<<1|1)
		t.zeros = 0
	}
}

func appendTimes(b []byte, at []int32) []byte {
	t := tokens{b: b}
	delta := int32(0)
	for i := 1; i < len(at); i++ {
		d := at[i] - at[i-1]
		t.put(int64(d - delta))
		delta = d
	}
	t.flush()
	return t.b
}

func appendValues(b []byte, ints []int64) []byte {
	t := tokens{b: b}
	last := int64(0)
	for _, n := range ints {
		t.put(n - last)
		last = n
	}
	t.flush()
	return t.b
}

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
