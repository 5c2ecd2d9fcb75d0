package snapshot

import (
	"bytes"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"

	"offsite/streams"
)

// packFrame makes an MP4 (ISO 14496-12) of one sample, shown for one second:
// every player opens it.
func packFrame(f *streams.Frame) ([]byte, error) {
	payload, err := h264.AVCC(f.NALUs).Marshal() // four-byte lengths, as H.265 wants them too
	if err != nil {
		return nil, fmt.Errorf("pack frame: %w", err)
	}
	var codec codecs.Codec = &codecs.H264{SPS: f.Params.SPS, PPS: f.Params.PPS}
	if f.Params.Codec == streams.H265 {
		codec = &codecs.H265{VPS: f.Params.VPS, SPS: f.Params.SPS, PPS: f.Params.PPS}
	}
	var out bytes.Buffer
	err = pmp4.Presentation{Tracks: []*pmp4.Track{{
		ID: 1, TimeScale: 1000, Codec: codec,
		Samples: []*pmp4.Sample{{
			Duration: 1000, PayloadSize: uint32(len(payload)), //nolint:gosec // an access unit has at most 8 MiB
			GetPayload: func() ([]byte, error) { return payload, nil },
		}},
	}}}.Marshal(&out)
	if err != nil {
		return nil, fmt.Errorf("pack frame: %w", err)
	}
	return out.Bytes(), nil
}
