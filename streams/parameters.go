package streams

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"offsite/devices"
)

// Codec names how pictures are coded.
type Codec string

// The codecs that are understood.
const (
	H264  Codec = "h264"  // ITU-T H.264, AVC
	H265  Codec = "h265"  // ITU-T H.265, HEVC
	MJPEG Codec = "mjpeg" // ITU-T T.81 pictures one by one; no parameter sets
)

// maxSide bounds width and height: twice 8K, beyond any camera.
const maxSide = 16384

// Parameters are the parameter sets that a decoder needs before a key frame,
// and what they say of the picture. They never change.
type Parameters struct {
	Codec         Codec
	VPS           []byte // H.265 only
	SPS, PPS      []byte
	Width, Height int // pixels, after cropping
}

// maxParameterSet bounds one parameter set; real ones have some tens of bytes, and
// the heads of files have room for 64 KiB of them.
const maxParameterSet = 4096

// CodeParameters is that of the Problem of a camera whose parameter sets are too
// large.
const CodeParameters = "camera_parameters"

func parametersTooLarge(n int) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: CodeParameters,
		ZH: fmt.Sprintf("摄像机的编码参数集有 %d 字节，超过 %d 字节，画面无法使用；请检查摄像机或升级其固件", n, maxParameterSet),
		EN: fmt.Sprintf("the camera sends a parameter set of %d bytes, more than %d: its pictures cannot be used; check the camera or update its firmware", n, maxParameterSet),
	}
}

// NewParameters reads the parameter sets; vps is nil for H.264. It returns an
// error when one is missing, too large (a Problem) or cannot be read.
func NewParameters(codec Codec, vps, sps, pps []byte) (*Parameters, error) {
	p := &Parameters{Codec: codec, VPS: vps, SPS: sps, PPS: pps}
	if len(sps) == 0 || len(pps) == 0 || (codec == H265 && len(vps) == 0) {
		return nil, errors.New("parameter set missing")
	}
	for _, set := range [][]byte{vps, sps, pps} {
		if len(set) > maxParameterSet {
			return nil, parametersTooLarge(len(set))
		}
	}
	var err error
	switch codec {
	case H264:
		var s h264.SPS
		err = s.Unmarshal(sps)
		if err == nil {
			p.Width, p.Height = s.Width(), s.Height()
		}
	case H265:
		var s h265.SPS
		err = s.Unmarshal(sps)
		if err == nil {
			p.Width, p.Height = s.Width(), s.Height()
		}
	default:
		return nil, fmt.Errorf("codec %q", codec)
	}
	if err != nil {
		return nil, fmt.Errorf("sequence parameter set: %w", err)
	}
	if p.Width < 1 || p.Height < 1 || p.Width > maxSide || p.Height > maxSide {
		return nil, fmt.Errorf("sequence parameter set: picture of %dx%d", p.Width, p.Height)
	}
	return p, nil
}

// NewPictureParameters are those of MJPEG pictures of this size.
func NewPictureParameters(width, height int) (*Parameters, error) {
	if width < 1 || height < 1 || width > maxSide || height > maxSide {
		return nil, fmt.Errorf("picture of %dx%d", width, height)
	}
	return &Parameters{Codec: MJPEG, Width: width, Height: height}, nil
}

// Sets gives the parameter sets in the order in which a decoder wants them; nil
// for MJPEG.
func (p *Parameters) Sets() [][]byte {
	switch p.Codec {
	case H265:
		return [][]byte{p.VPS, p.SPS, p.PPS}
	case MJPEG:
		return nil
	}
	return [][]byte{p.SPS, p.PPS}
}

// Equal says whether both need the same decoder; nil is equal to nil only.
func (p *Parameters) Equal(other *Parameters) bool {
	if p == nil || other == nil {
		return p == other
	}
	return p.Codec == other.Codec && p.sameSets(other.VPS, other.SPS, other.PPS) && p.Width == other.Width && p.Height == other.Height
}

// sameSets says whether other holds the same bytes.
func (p *Parameters) sameSets(vps, sps, pps []byte) bool {
	return p != nil && bytes.Equal(p.VPS, vps) && bytes.Equal(p.SPS, sps) && bytes.Equal(p.PPS, pps)
}
