package recording

import (
	"fmt"
	"io"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4/seekablebuffer"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"offsite/streams"
)

// newHead gives ftyp and moov of a segment.
func newHead(p *streams.Parameters) ([]byte, error) {
	var codec codecs.Codec
	switch p.Codec {
	case streams.H265:
		codec = &codecs.H265{VPS: p.VPS, SPS: p.SPS, PPS: p.PPS}
	case streams.MJPEG:
		codec = &codecs.MJPEG{Width: p.Width, Height: p.Height}
	default:
		codec = &codecs.H264{SPS: p.SPS, PPS: p.PPS}
	}
	var out seekablebuffer.Buffer
	err := fmp4.Init{Tracks: []*fmp4.InitTrack{{ID: trackID, TimeScale: timeScale, Codec: codec}}}.Marshal(&out)
	if err != nil {
		return nil, fmt.Errorf("head of a segment: %w", err)
	}
	return out.Bytes(), nil
}

// head is what a segment says of itself before its first fragment.
type head struct {
	stsd   []byte // the box, which says how to decode
	size   uint64 // width and height as tkhd has them, 16.16 each
	codec  string // of the sample entry: avc1, hvc1, mp4v
	length int64  // bytes; the first fragment begins there
}

const largestHead = 64 << 10

// readHead reads the head of a file of end bytes.
func readHead(r io.ReaderAt, end int64) (head, error) {
	off := int64(0)
	for {
		kind, size, err := header(r, off, end)
		if err != nil {
			return head{}, err
		}
		if size > largestHead || off > largestHead {
			return head{}, errTorn
		}
		if kind != "moov" {
			off += size
			continue
		}
		b := make([]byte, size)
		if _, err := r.ReadAt(b, off); err != nil {
			return head{}, fmt.Errorf("read head: %w", err)
		}
		return parseMoov(b[8:], off+size)
	}
}

func parseMoov(b []byte, length int64) (head, error) {
	tkhd, _, err := descend(b, "trak", "tkhd")
	if err != nil || len(tkhd) < 8 {
		return head{}, errTorn
	}
	content, stsd, err := descend(b, "trak", "mdia", "minf", "stbl", "stsd")
	if err != nil || len(content) < 16 {
		return head{}, errTorn
	}
	return head{stsd: stsd, size: be.Uint64(tkhd[len(tkhd)-8:]), codec: string(content[12:16]), length: length}, nil
}
