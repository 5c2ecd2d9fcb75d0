package snapshot

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"

	"offsite/streams"
	"offsite/streams/snapshot/decoder"
)

const (
	maxPixels = 16 << 20 // of a JPEG that is decoded here, as of a key frame by the module
	quality   = 90       // of JPEGs that are made here, 1 to 100
)

// widths are the sizes in which stills are kept, so that a few serve all who
// ask; heights follow from the picture.
var widths = [...]int{160, 320, 480, 640, 960, 1280, 1920, 2560}

// atLeast gives the smallest of widths that is not below width. It gives zero,
// the whole picture of full pixels, for zero and where that is no wider.
func atLeast(width, full int) int {
	for _, w := range widths {
		if width > 0 && w >= width && w < full {
			return w
		}
	}
	return 0
}

// decodeJPEG decodes a JPEG whole, within bounds. It returns decoder.ErrRefused for
// one that is too large.
func decodeJPEG(picture []byte) (image.Image, error) {
	c, err := jpeg.DecodeConfig(bytes.NewReader(picture))
	if err != nil {
		return nil, fmt.Errorf("read JPEG: %w", err)
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxPixels/c.Height {
		return nil, fmt.Errorf("%w: JPEG of %dx%d, more than %d pixels or none", decoder.ErrRefused, c.Width, c.Height, maxPixels)
	}
	img, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		return nil, fmt.Errorf("read JPEG: %w", err)
	}
	return img, nil
}

func encodeJPEG(img image.Image) ([]byte, error) {
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: quality}); err != nil {
		return nil, fmt.Errorf("make JPEG: %w", err)
	}
	return out.Bytes(), nil
}

// check says why a decoded picture is no evidence: it has another size than the
// stream says, or holes.
func check(img image.Image, want *streams.Parameters) error {
	if b := img.Bounds(); b.Dx() != want.Width || b.Dy() != want.Height {
		return fmt.Errorf("%w: picture of %dx%d, stream of %dx%d", errDamaged, b.Dx(), b.Dy(), want.Width, want.Height)
	}
	if at, found := hole(img); found {
		return fmt.Errorf("%w: nothing was decoded at %v", errDamaged, at)
	}
	return nil
}

// hole finds a place that no slice covered. libavcodec's H.265 decoder does not
// miss a slice that is missing whole, whatever its error detection says (measured
// with 5.1): its blocks stay zero in brightness and both colours, which no real
// colour is, since black has its colours in the middle. Blocks have 16 pixels
// at least (H.265, 7.4.3.2.1).
func hole(img image.Image) (at image.Point, found bool) {
	const block, zero = 16, 12 // a JPEG's rounding leaves some noise
	p, ok := img.(*image.YCbCr)
	if !ok {
		return image.Point{}, false
	}
	for y := p.Rect.Min.Y + block/2; y < p.Rect.Max.Y; y += block {
		for x := p.Rect.Min.X + block/2; x < p.Rect.Max.X; x += block {
			c := p.COffset(x, y)
			if p.Y[p.YOffset(x, y)] <= zero && p.Cb[c] <= zero && p.Cr[c] <= zero {
				return image.Pt(x, y), true
			}
		}
	}
	return image.Point{}, false
}

// shrink gives the picture width pixels wide, each the mean of those that it
// stands for. Pictures that are neither YCbCr nor grey stay as they are, and so
// do narrower ones.
func shrink(img image.Image, width int) image.Image {
	b := img.Bounds()
	if width < 1 || width >= b.Dx() {
		return img
	}
	height := max(1, (b.Dy()*width+b.Dx()/2)/b.Dx())
	to := image.Rect(0, 0, width, height)
	switch p := img.(type) {
	case *image.Gray:
		out := image.NewGray(to)
		shrinkPlane(plane{out.Pix, out.Stride, width, height}, plane{p.Pix, p.Stride, b.Dx(), b.Dy()})
		return out
	case *image.YCbCr:
		out := image.NewYCbCr(to, image.YCbCrSubsampleRatio420)
		shrinkPlane(plane{out.Y, out.YStride, width, height}, plane{p.Y, p.YStride, b.Dx(), b.Dy()})
		w, h := (width+1)/2, (height+1)/2
		fromW, fromH := colourSize(p)
		shrinkPlane(plane{out.Cb, out.CStride, w, h}, plane{p.Cb, p.CStride, fromW, fromH})
		shrinkPlane(plane{out.Cr, out.CStride, w, h}, plane{p.Cr, p.CStride, fromW, fromH})
		return out
	}
	return img
}

// colourSize gives the size of the colour planes of a picture that begins at 0,0.
func colourSize(p *image.YCbCr) (w, h int) {
	last := p.COffset(p.Rect.Max.X-1, p.Rect.Max.Y-1)
	return last%p.CStride + 1, last/p.CStride + 1
}

// plane is one component of a picture.
type plane struct {
	pix                   []byte
	stride, width, height int
}

func shrinkPlane(to, from plane) {
	for y := range to.height {
		y0 := y * from.height / to.height
		y1 := max(y0+1, (y+1)*from.height/to.height)
		for x := range to.width {
			x0 := x * from.width / to.width
			x1 := max(x0+1, (x+1)*from.width/to.width)
			sum := 0
			for v := y0; v < y1; v++ {
				for _, s := range from.pix[v*from.stride+x0 : v*from.stride+x1] {
					sum += int(s)
				}
			}
			n := (y1 - y0) * (x1 - x0)
			to.pix[y*to.stride+x] = byte((sum + n/2) / n) //nolint:gosec // a mean of bytes
		}
	}
}
