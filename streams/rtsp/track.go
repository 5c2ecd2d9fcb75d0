package rtsp

import (
	"bytes"
	"errors"
	"fmt"
	"image/jpeg"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph265"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmjpeg"
	"github.com/pion/rtp"

	"offsite/streams"
)

// track makes frames of the packets of one video track.
type track struct {
	codec  streams.Codec
	media  *description.Media
	format format.Format
	fresh  func() error                        // makes a new gather, forgetting what it has gathered
	gather func(*rtp.Packet) ([][]byte, error) // an access unit's NAL units, or errMore
	frame  func(units [][]byte, pts time.Duration, at time.Time) (*streams.Frame, error)
	gap    func() // tells that units were lost
}

// errMore means that the access unit is not complete yet.
var errMore = errors.New("more packets needed")

// find takes the description's video track.
func find(session *description.Session) (*track, error) {
	var h264 *format.H264
	var h265 *format.H265
	var mjpeg *format.MJPEG
	t := &track{}
	switch {
	case t.finds(session, &h264):
		t.ofH264(h264)
	case t.finds(session, &h265):
		t.ofH265(h265)
	case t.finds(session, &mjpeg):
		t.ofMJPEG(mjpeg)
	default:
		return nil, errNoVideo
	}
	return t, t.fresh()
}

func (t *track) finds(session *description.Session, f any) bool {
	t.media = session.FindFormat(f)
	return t.media != nil
}

func (t *track) assemble(codec streams.Codec, vps, sps, pps []byte) {
	a := streams.NewAssembler(codec, vps, sps, pps)
	t.codec, t.frame, t.gap = codec, a.Frame, a.Gap
}

func (t *track) ofH264(f *format.H264) {
	t.format = f
	sps, pps := f.SafeParams()
	t.assemble(streams.H264, nil, sps, pps)
	t.fresh = func() error {
		d, err := f.CreateDecoder()
		t.gather = func(pkt *rtp.Packet) ([][]byte, error) {
			units, err := d.Decode(pkt)
			if errors.Is(err, rtph264.ErrMorePacketsNeeded) || errors.Is(err, rtph264.ErrNonStartingPacketAndNoPrevious) {
				err = errMore
			}
			return units, err
		}
		return err
	}
}

func (t *track) ofH265(f *format.H265) {
	t.format = f
	vps, sps, pps := f.SafeParams()
	t.assemble(streams.H265, vps, sps, pps)
	t.fresh = func() error {
		d, err := f.CreateDecoder()
		t.gather = func(pkt *rtp.Packet) ([][]byte, error) {
			units, err := d.Decode(pkt)
			if errors.Is(err, rtph265.ErrMorePacketsNeeded) || errors.Is(err, rtph265.ErrNonStartingPacketAndNoPrevious) {
				err = errMore
			}
			return units, err
		}
		return err
	}
}

func (t *track) ofMJPEG(f *format.MJPEG) {
	t.format = f
	t.codec, t.gap = streams.MJPEG, func() {}
	var pictures pictures
	t.frame = pictures.frame
	t.fresh = func() error {
		d, err := f.CreateDecoder()
		t.gather = func(pkt *rtp.Packet) ([][]byte, error) {
			picture, err := d.Decode(pkt)
			if errors.Is(err, rtpmjpeg.ErrMorePacketsNeeded) || errors.Is(err, rtpmjpeg.ErrNonStartingPacketAndNoPrevious) {
				err = errMore
			}
			return [][]byte{picture}, err
		}
		return err
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
