package lettering

import (
	"bytes"
	"compress/gzip"
	_ "embed" // for the glyphs
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

//go:embed glyphs/glyphs.gz
var packed []byte

// letters are unpacked when something is first written: 300 KB.
var letters = sync.OnceValues(func() (*face, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack glyphs: %w", err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("unpack glyphs: %w", err)
	}
	return parse(data)
})

// face is the patterns by character.
type face struct {
	runes  []rune // in order
	starts []int  // of each one's pattern in dots, and the end of the last one
	dots   []byte
}

// glyph is a pattern of 16 rows; without rows it is a blank.
type glyph struct {
	width int // 8 or 16 dots
	rows  []byte
}

// dot says whether the dot is set.
func (g glyph) dot(x, y int) bool {
	return g.rows != nil && g.rows[y*g.width/8+x/8]>>(7-x%8)&1 == 1
}

// missing stands for a character without a pattern.
var missing = glyph{16, []byte{
	0x00, 0x00, 0x7F, 0xFE, 0x60, 0x06, 0x50, 0x0A, 0x48, 0x12, 0x44, 0x22, 0x42, 0x42, 0x41, 0x82,
	0x41, 0x82, 0x42, 0x42, 0x44, 0x22, 0x48, 0x12, 0x50, 0x0A, 0x60, 0x06, 0x7F, 0xFE, 0x00, 0x00,
}}

func (f *face) glyph(r rune) glyph {
	i, found := slices.BinarySearch(f.runes, r)
	if !found {
		return missing
	}
	rows := f.dots[f.starts[i]:f.starts[i+1]]
	return glyph{len(rows) * 8 / height, rows}
}

var errGlyphs = errors.New("glyphs are not as the package says")

func parse(data []byte) (*face, error) {
	rest, ok := bytes.CutPrefix(data, []byte("OSL1"))
	count, n := binary.Uvarint(rest)
	if !ok || n <= 0 || count > uint64(len(rest)) {
		return nil, errGlyphs
	}
	rest = rest[n:]
	f := &face{starts: []int{0}}
	last, end := rune(0), 0
	for range count {
		v, n := binary.Uvarint(rest)
		if n <= 0 || v>>1 > 0x10FFFF {
			return nil, errGlyphs
		}
		rest = rest[n:]
		last += rune(v >> 1) //nolint:gosec // a code point
		end += height << (v & 1)
		f.runes, f.starts = append(f.runes, last), append(f.starts, end)
	}
	if len(rest) != end {
		return nil, errGlyphs
	}
	f.dots = rest
	return f, nil
}
