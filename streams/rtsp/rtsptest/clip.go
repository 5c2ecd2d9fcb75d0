package rtsptest

import (
	_ "embed"
	"errors"
	"fmt"
	"time"

	"offsite/streams"
)

// demo is made by demo.sh.
//
//go:embed demo.h264
var demo []byte

// demoRate is that of demo.h264, in pictures a second.
const demoRate = 15

// Clip is what a camera plays, over and over.
type Clip struct {
	codec  streams.Codec
	params *streams.Parameters // of its beginning
	units  [][][]byte          // access units, each its NAL units, parameter sets among them
	keys   []bool
	every  time.Duration // between two pictures
}

// Demo is the embedded clip: 12 s of a running clock and moving shapes,
// 640x360, H.264, a key frame each second.
func Demo() *Clip {
	c, err := NewClip(streams.H264, demo, demoRate)
	if err != nil {
		panic("rtsptest: demo.h264: " + err.Error()) // the file is part of the program
	}
	return c
}

// NewClip reads an Annex B byte stream of rate pictures a second. It must begin
// with a key frame and its parameter sets and be without B-frames.
func NewClip(codec streams.Codec, annexB []byte, rate float64) (*Clip, error) {
	if rate <= 0 || rate > 1000 {
		return nil, fmt.Errorf("%g pictures a second", rate)
	}
	c := &Clip{codec: codec, every: time.Duration(float64(time.Second) / rate)}
	assembler := streams.NewAssembler(codec, nil, nil, nil)
	for i, unit := range streams.CutUnits(codec, streams.SplitAnnexB(annexB)) {
		f, err := assembler.Frame(unit, 0, time.Time{})
		if err != nil {
			return nil, fmt.Errorf("picture %d: %w", i, err)
		}
		if f == nil || (i == 0 && !f.Key) {
			return nil, errors.New("the clip does not begin with a key frame and its parameter sets")
		}
		if i == 0 {
			c.params = f.Params
		}
		c.units = append(c.units, unit)
		c.keys = append(c.keys, f.Key)
	}
	if len(c.units) == 0 {
		return nil, errors.New("the clip holds no pictures")
	}
	return c, nil
}

// Length is the time of one round.
func (c *Clip) Length() time.Duration { return time.Duration(len(c.units)) * c.every }

// Size gives width and height in pixels.
func (c *Clip) Size() (width, height int) { return c.params.Width, c.params.Height }
