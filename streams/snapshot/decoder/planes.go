package decoder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"strings"
	"time"
)

// header is the length of what stands before the planes.
const header = 32

var errContract = errors.New("decoder module broke its contract")

// planes takes the module's standard output. What it writes is not to be
// trusted: sizes are checked before anything is allocated, and an excess is an
// error of its write.
type planes struct {
	pixels int

	head   []byte
	data   []byte // luma and both chroma planes; allocated whole by the header
	want   int
	width  int
	height int
	ratio  image.YCbCrSubsampleRatio
	gray   bool
	time   time.Duration
}

// Write takes p over into the planes.
func (o *planes) Write(p []byte) (int, error) {
	n := len(p)
	if missing := header - len(o.head); missing > 0 {
		take := min(missing, len(p))
		o.head = append(o.head, p[:take]...)
		p = p[take:]
		if len(o.head) == header {
			if err := o.open(); err != nil {
				return 0, err
			}
		}
	}
	if len(o.data)+len(p) > o.want {
		return 0, fmt.Errorf("%w: more than %d bytes", errContract, o.want)
	}
	o.data = append(o.data, p...)
	return n, nil
}

// ratios by log2 of how much narrower and lower the colour planes are.
var ratios = map[[2]uint32]image.YCbCrSubsampleRatio{
	{0, 0}: image.YCbCrSubsampleRatio444, {1, 0}: image.YCbCrSubsampleRatio422, {1, 1}: image.YCbCrSubsampleRatio420,
	{0, 1}: image.YCbCrSubsampleRatio440, {2, 0}: image.YCbCrSubsampleRatio411, {2, 1}: image.YCbCrSubsampleRatio410,
}

func (o *planes) open() error {
	var field [5]uint32
	for i := range field {
		field[i] = binary.LittleEndian.Uint32(o.head[4+4*i:])
	}
	w, h, count := field[0], field[1], field[2]
	ratio, known := ratios[[2]uint32{field[3], field[4]}]
	if string(o.head[:4]) != "OSP2" || w == 0 || h == 0 || uint64(w)*uint64(h) > uint64(o.pixels) || (count != 1 && count != 3) || !known { //nolint:gosec // positive
		return fmt.Errorf("%w: header % x", errContract, o.head)
	}
	o.width, o.height, o.ratio, o.gray = int(w), int(h), ratio, count == 1
	o.time = time.Duration(binary.LittleEndian.Uint64(o.head[24:])) //nolint:gosec // signed, as the module was given it
	o.want = o.width * o.height
	if !o.gray {
		cw, ch := o.colour()
		o.want += 2 * cw * ch
	}
	o.data = make([]byte, 0, o.want)
	return nil
}

// colour gives the size of a colour plane.
func (o *planes) colour() (w, h int) {
	narrower := int(binary.LittleEndian.Uint32(o.head[16:]))
	lower := int(binary.LittleEndian.Uint32(o.head[20:]))
	return (o.width + 1<<narrower - 1) >> narrower, (o.height + 1<<lower - 1) >> lower
}

// picture gives the image and its time once all has been written.
func (o *planes) picture() (image.Image, time.Duration, error) {
	if o.want == 0 || len(o.data) != o.want {
		return nil, 0, fmt.Errorf("%w: %d of %d bytes of the picture", errContract, len(o.data), o.want)
	}
	rect := image.Rect(0, 0, o.width, o.height)
	luma := o.width * o.height
	if o.gray {
		return &image.Gray{Pix: o.data, Stride: o.width, Rect: rect}, o.time, nil
	}
	cw, ch := o.colour()
	return &image.YCbCr{
		Y: o.data[:luma:luma], Cb: o.data[luma : luma+cw*ch : luma+cw*ch], Cr: o.data[luma+cw*ch:],
		YStride: o.width, CStride: cw, SubsampleRatio: o.ratio, Rect: rect,
	}, o.time, nil
}

// line keeps the beginning of what the module says on standard error.
type line struct{ b []byte }

// Write drops what is too long.
func (l *line) Write(p []byte) (int, error) {
	l.b = append(l.b, p[:min(len(p), 200-len(l.b))]...)
	return len(p), nil
}

// String gives the first line, printable.
func (l *line) String() string {
	s, _, _ := strings.Cut(string(l.b), "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
}

// firstLine leaves a trap's stack out of the error.
func firstLine(err error) error {
	s, _, cut := strings.Cut(err.Error(), "\n")
	if !cut {
		return err
	}
	return errors.New(s)
}
