package rtsp

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"offsite/streams"
	"offsite/streams/rtsp/payload"
)

// track makes frames of the packets of one video track.
type track struct {
	codec  streams.Codec
	media  *description.Media
	format format.Format
	gather gatherer
	frame  func(units [][]byte, pts time.Duration, at time.Time) (*streams.Frame, error)
	gap    func() // tells that the distance to the unit before says nothing
	lost   func() // tells that units were lost
}

// gatherer makes access units of packets.
type gatherer interface {
	Take(p *payload.Packet) error
	Lost()
}

// find takes the description's video track; done gets its access units.
func find(session *description.Session, done payload.Done) (*track, error) {
	var h264 *format.H264
	var h265 *format.H265
	var mjpeg *format.MJPEG
	t := &track{}
	switch {
	case t.finds(session, &h264):
		sps, pps := h264.SafeParams()
		t.format = h264
		t.assemble(streams.H264, nil, sps, pps, done)
	case t.finds(session, &h265):
		vps, sps, pps := h265.SafeParams()
		t.format = h265
		t.assemble(streams.H265, vps, sps, pps, done)
	case t.finds(session, &mjpeg):
		var pictures pictures
		t.format, t.codec, t.frame, t.gap, t.lost = mjpeg, streams.MJPEG, pictures.frame, func() {}, func() {}
		t.gather = payload.NewPictures(done)
	default:
		return nil, errNoVideo
	}
	return t, nil
}

func (t *track) finds(session *description.Session, f any) bool {
	t.media = session.FindFormat(f)
	return t.media != nil
}

func (t *track) assemble(codec streams.Codec, vps, sps, pps []byte, done payload.Done) {
	a := streams.NewAssembler(codec, vps, sps, pps)
	t.codec, t.frame, t.gap, t.lost = codec, a.Frame, a.Gap, a.Lost
	t.gather = payload.NewUnits(codec, done)
}

// unpacked gives a packet of gortsplib's.
func unpacked(p *rtp.Packet) *payload.Packet {
	return &payload.Packet{
		Type: p.PayloadType, Marked: p.Marker, Sequence: p.SequenceNumber, Stamp: p.Timestamp, Source: p.SSRC, Payload: p.Payload,
	}
}

// pictures makes frames of JPEGs.
type pictures struct {
	params *streams.Parameters
	last   time.Duration
	begun  bool
}

func (p *pictures) frame(units [][]byte, pts time.Duration, at time.Time) (*streams.Frame, error) {
	size, err := jpeg.DecodeConfig(bytes.NewReader(units[0]))
	if err != nil {
		return nil, fmt.Errorf("read JPEG: %w", err)
	}
	if p.params == nil || p.params.Width != size.Width || p.params.Height != size.Height {
		if p.params, err = streams.NewPictureParameters(size.Width, size.Height); err != nil {
			return nil, err
		}
	}
	dts := pts
	if p.begun {
		dts = max(dts, p.last+time.Second/clockRate)
	}
	p.begun, p.last = true, dts
	return &streams.Frame{Params: p.params, NALUs: units, PTS: dts, DTS: dts, At: at, Key: true}, nil
}
