package streams

import (
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
)

// tick is the step of H.264 and H.265 over RTP, which the extractors count in.
const tick = time.Second / 90000

// order finds when pictures are decoded. RTP tells only when they are shown,
// which is another order where there are B-frames.
type order struct {
	codec  Codec
	h264   h264.DTSExtractor
	h265   h265.DTSExtractor
	follow bool // the order is known since the last key frame
	begun  bool
	last   time.Duration // DTS of the newest frame
}

// decoded gives f's decoding time. It grows with every frame. Where the stream's
// order cannot be followed a picture is decoded when it is shown, which is right
// for every stream without B-frames.
func (o *order) decoded(f *Frame) time.Duration {
	units := f.NALUs
	if f.Key {
		if !o.follow || o.codec != f.Params.Codec {
			o.codec, o.follow = f.Params.Codec, true
			o.h264, o.h265 = h264.DTSExtractor{}, h265.DTSExtractor{}
			o.h264.Initialize()
			o.h265.Initialize()
		}
		units = append(f.Params.Sets(), units...)
	}
	at := f.PTS
	if o.follow {
		at = o.extract(units, f.PTS)
	}
	if o.begun && at <= o.last {
		at = o.last + tick
	}
	o.begun, o.last = true, at
	return at
}

func (o *order) extract(units [][]byte, pts time.Duration) time.Duration {
	shown := int64(pts/time.Second)*90000 + (int64(pts%time.Second)*90000+int64(time.Second)/2)/int64(time.Second)
	var t int64
	var err error
	if o.codec == H265 {
		t, err = o.h265.Extract(units, shown)
	} else {
		t, err = o.h264.Extract(units, shown)
	}
	if err != nil {
		o.follow = false
		return pts
	}
	return pts - time.Duration(shown-t)*time.Second/90000
}
