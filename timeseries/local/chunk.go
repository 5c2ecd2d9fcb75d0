package local

import (
	"encoding/binary"
	"errors"
	"math"
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
