// Package scene finds out from small pictures, taken now and then, whether a camera
// still shows what it ought to: that its picture is not frozen, black, covered, or of
// another place than it was.
//
// A picture is looked at as a [View] of 64 by 36 blocks, of which a [Watch] for each
// camera judges brightness, structure and, against a reference, whether the structure
// is still in its place. What a finding must hold for, and its thresholds, are
// [Config]. A camera that turns is told where it stands ([Watch.Stand]), and has references
// for each place. Day and night (colour and infrared) have a reference each, and only the
// strength of edges is compared, so that lamps, shadows and the switch to infrared do not
// look like a turned camera.
package scene

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"math"
)

// Size of a View.
const (
	Width  = 64
	Height = 36
)

// View is a picture made small.
type View struct {
	Luma   [Width * Height]byte // mean brightness of each block, full range
	Colour float64              // mean distance of the colours from grey, 0 to 128
}

// colourless is the Colour below which a picture is one of infrared.
const colourless = 3

// ViewOf reads a JPEG of at least 64 by 36 pixels.
func ViewOf(picture []byte) (View, error) {
	img, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		return View{}, fmt.Errorf("read JPEG: %w", err)
	}
	return viewOf(img)
}

func viewOf(img image.Image) (View, error) {
	b := img.Bounds()
	if b.Dx() < Width || b.Dy() < Height {
		return View{}, fmt.Errorf("picture of %dx%d", b.Dx(), b.Dy())
	}
	var v View
	colour, dots := 0.0, 0
	for y := range Height {
		for x := range Width {
			sum, n := 0, 0
			for py := b.Min.Y + y*b.Dy()/Height; py < b.Min.Y+(y+1)*b.Dy()/Height; py++ {
				for px := b.Min.X + x*b.Dx()/Width; px < b.Min.X+(x+1)*b.Dx()/Width; px++ {
					luma, cb, cr := components(img, px, py)
					sum += int(luma)
					colour += math.Abs(float64(cb)-128) + math.Abs(float64(cr)-128)
					n++
				}
			}
			v.Luma[y*Width+x] = byte(sum / n) //nolint:gosec // a mean of bytes
			dots += n
		}
	}
	v.Colour = colour / float64(2*dots)
	return v, nil
}

func components(img image.Image, x, y int) (luma, cb, cr byte) {
	switch p := img.(type) {
	case *image.YCbCr:
		c := p.COffset(x, y)
		return p.Y[p.YOffset(x, y)], p.Cb[c], p.Cr[c]
	case *image.Gray:
		return p.GrayAt(x, y).Y, 128, 128
	}
	r, g, b, _ := img.At(x, y).RGBA()
	return byte((299*r + 587*g + 114*b) / 1000 >> 8), 128, 128 //nolint:gosec // at most 255
}

// Night says that the picture has no colours.
func (v *View) Night() bool { return v.Colour < colourless }

// brightness gives mean and standard deviation.
func (v *View) brightness() (mean, deviation float64) {
	for _, l := range v.Luma {
		mean += float64(l)
	}
	mean /= Width * Height
	for _, l := range v.Luma {
		deviation += (float64(l) - mean) * (float64(l) - mean)
	}
	return mean, math.Sqrt(deviation / (Width * Height))
}

// edges are the strengths of the edges in a View.
type edges [Width * Height]float64

func (v *View) edges() *edges {
	var e edges
	for y := range Height - 1 {
		for x := range Width - 1 {
			here := float64(v.Luma[y*Width+x])
			e[y*Width+x] = math.Abs(float64(v.Luma[y*Width+x+1])-here) + math.Abs(float64(v.Luma[(y+1)*Width+x])-here)
		}
	}
	return &e
}

// step is the smallest strength that is written.
const step = 1.0 / 64

// write gives 2 bytes for each block, little-endian, in units of 1/64.
func (e *edges) write() []byte {
	out := make([]byte, 0, 2*len(e))
	for _, strength := range e {
		out = binary.LittleEndian.AppendUint16(out, uint16(strength/step+0.5)) // at most 510
	}
	return out
}

func readEdges(data []byte) (*edges, error) {
	var e edges
	if len(data) != 2*len(e) {
		return nil, fmt.Errorf("reference of %d bytes, want %d", len(data), 2*len(e))
	}
	for i := range e {
		e[i] = step * float64(binary.LittleEndian.Uint16(data[2*i:]))
	}
	return &e, nil
}

// Reference gives v as the reference of its mode, for [Watch.Restore]: a person says
// that the camera stands as it should. It is nil where v has too little structure to
// recognise anything by.
func (v *View) Reference() []byte {
	e := v.edges()
	if _, _, tiles := e.compare(e); tiles < leastTiles {
		return nil
	}
	return e.write()
}

// Tiles are what edges are compared by.
const (
	tileWidth, tileHeight = 16, 12
	textured              = 3.0  // mean strength of the edges of a tile that can be recognised
	familiar              = 0.35 // correlation of a tile that is still in its place
	faded                 = 0.2  // of the reference's strength: nothing of a tile is left
)

// compare gives the shares of the reference's textured tiles that are not where
// they were, and of which nothing is left; tiles is how many are textured.
func (e *edges) compare(reference *edges) (elsewhere, faint float64, tiles int) {
	for y := 0; y < Height; y += tileHeight {
		for x := 0; x < Width; x += tileWidth {
			strength, now, correlation := e.tile(reference, x, y)
			if strength < textured {
				continue
			}
			tiles++
			if correlation < familiar {
				elsewhere++
			}
			if now < faded*strength {
				faint++
			}
		}
	}
	if tiles > 0 {
		elsewhere, faint = elsewhere/float64(tiles), faint/float64(tiles)
	}
	return elsewhere, faint, tiles
}

// tile compares one tile: the mean strength of edges then and now, and how well the
// two fit.
func (e *edges) tile(reference *edges, x0, y0 int) (then, now, correlation float64) {
	const n = tileWidth * tileHeight
	for y := y0; y < y0+tileHeight; y++ {
		for x := x0; x < x0+tileWidth; x++ {
			then += reference[y*Width+x]
			now += e[y*Width+x]
		}
	}
	then, now = then/n, now/n
	var both, first, second float64
	for y := y0; y < y0+tileHeight; y++ {
		for x := x0; x < x0+tileWidth; x++ {
			a, b := reference[y*Width+x]-then, e[y*Width+x]-now
			both, first, second = both+a*b, first+a*a, second+b*b
		}
	}
	if first == 0 || second == 0 {
		return then, now, 0
	}
	return then, now, both / math.Sqrt(first*second)
}
