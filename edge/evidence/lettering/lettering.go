// Package lettering writes words onto a picture, in Chinese as in Latin, so that they
// can be read on a light ground as on a dark one: white with a black outline, along the lower
// edge, and no larger than a still needs.
//
// # Glyphs
//
// glyphs/glyphs.gz holds a dot pattern for each character of GB 2312-80, Latin, Greek, Cyrillic,
// units and punctuation, 8,401 in all, 16 dots high and 8 or 16 wide, of GNU Unifont under the SIL
// Open Font License (glyphs/NOTICE); glyphs/build makes it. Unpacked: the bytes "OSL1"; the count as an unsigned
// varint (as of encoding/binary); of each, in the order of code points, a varint of twice the
// distance from the code point before it, plus one where it is wide; then the patterns in the same
// order, rows from the top, 8 dots a byte, the highest bit on the left. A character without
// a pattern is written as a crossed box.
package lettering

import (
	"image"
	"image/color"
	"image/draw"
	"strings"
	"unicode"
)

const (
	height  = 16  // of a glyph, dots
	leading = 20  // from line to line, dots
	margin  = 4   // from the picture's edges, dots
	gap     = 16  // between two words, dots
	perDot  = 480 // lines of picture for each line of a dot: 1 up to 719, 2 up to 1199
)

// Write writes the words along the lower edge of img. A line that is full is broken, between
// words where that is possible; no more than the lower half is written on, and what has no room
// there is left out at the end.
func Write(img draw.Image, words []string) error {
	f, err := letters()
	if err != nil {
		return err
	}
	b := img.Bounds()
	scale := max(1, (b.Dy()+perDot/2)/perDot)
	lines := f.lines(words, b.Dx()/scale-2*margin)
	for scale > 1 && len(lines)*leading*scale > b.Dy()/2 {
		scale--
		lines = f.lines(words, b.Dx()/scale-2*margin)
	}
	most := max(1, (b.Dy()/2/scale-margin)/leading)
	lines = lines[:min(len(lines), most)]
	at := image.Pt(b.Min.X+margin*scale, b.Max.Y-(margin+len(lines)*leading)*scale)
	for i, line := range lines {
		corner := at.Add(image.Pt(0, (i*leading+leading-height)*scale))
		write(img, line, corner, scale, scale, color.Black)
		write(img, line, corner, scale, 0, color.White)
	}
	return nil
}

// lines sets the words in lines of at most width dots.
func (f *face) lines(words []string, width int) [][]glyph {
	var lines [][]glyph
	var line []glyph
	used := 0
	end := func() {
		if len(line) > 0 {
			lines, line, used = append(lines, line), nil, 0
		}
	}
	for _, word := range words {
		glyphs, long := f.set(word)
		if len(glyphs) == 0 {
			continue
		}
		if used > 0 && used+gap+long > width {
			end()
		}
		if used > 0 {
			line = append(line, glyph{width: gap})
			used += gap
		}
		for _, g := range glyphs {
			if used+g.width > width {
				end()
			}
			line = append(line, g)
			used += g.width
		}
	}
	end()
	return lines
}

// set gives a word's glyphs and how many dots they are long.
func (f *face) set(word string) (glyphs []glyph, long int) {
	for _, r := range strings.TrimFunc(word, unicode.IsSpace) {
		if unicode.IsSpace(r) {
			r = ' '
		}
		g := f.glyph(r)
		glyphs = append(glyphs, g)
		long += g.width
	}
	return glyphs, long
}

// write draws the dots of a line in squares of scale pixels that are larger by edge on
// each side.
func write(img draw.Image, line []glyph, at image.Point, scale, edge int, c color.Color) {
	ink := image.NewUniform(c)
	for _, g := range line {
		for y := range height {
			for x := range g.width {
				if !g.dot(x, y) {
					continue
				}
				dot := image.Rect(x*scale-edge, y*scale-edge, (x+1)*scale+edge, (y+1)*scale+edge).Add(at)
				draw.Draw(img, dot, ink, image.Point{}, draw.Src)
			}
		}
		at.X += g.width * scale
	}
}
