package clip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4/seekablebuffer"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"offsite/streams"
)

// boxes are MP4 boxes being written (ISO 14496-12, 4.2).
type boxes struct{ b []byte }

func (x *boxes) u8(v ...byte) { x.b = append(x.b, v...) }
func (x *boxes) u16(v uint16) { x.b = binary.BigEndian.AppendUint16(x.b, v) }
func (x *boxes) u32(v ...uint32) {
	for _, n := range v {
		x.b = binary.BigEndian.AppendUint32(x.b, n)
	}
}
func (x *boxes) u64(v uint64)  { x.b = binary.BigEndian.AppendUint64(x.b, v) }
func (x *boxes) text(s string) { x.b = append(x.b, s...) }
func (x *boxes) zeros(n int)   { x.b = append(x.b, make([]byte, n)...) }

// box writes a box around what fill writes.
func (x *boxes) box(kind string, fill func()) {
	start := len(x.b)
	x.u32(0)
	x.text(kind)
	fill()
	binary.BigEndian.PutUint32(x.b[start:], uint32(len(x.b)-start)) //nolint:gosec // bounded by the head or a fragment
}

// full writes a box with version and flags.
func (x *boxes) full(kind string, version byte, flags uint32, fill func()) {
	x.box(kind, func() {
		x.u32(uint32(version)<<24 | flags)
		fill()
	})
}

// matrix is the one that changes nothing.
func (x *boxes) matrix() { x.u32(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000) }

// undetermined is the language "und" and no more (ISO 639-2/T, packed).
const undetermined = 0x55c40000

// since1904 gives t as MP4 counts time.
func since1904(t time.Time) uint64 {
	return uint64(max(0, t.Unix()+2082844800)) //nolint:gosec // not negative
}

// ntp gives t in the format of RFC 5905: seconds since 1900 and their fraction.
func ntp(t time.Time) uint64 {
	seconds := uint64(t.Unix() + 2208988800) //nolint:gosec // our clock is not before 1900
	return seconds<<32 | uint64(t.Nanosecond())<<32/1e9
}

// sampleEntry gives the sample description of the parameters.
func sampleEntry(p *streams.Parameters) ([]byte, error) {
	var codec codecs.Codec
	switch p.Codec {
	case streams.H264:
		codec = &codecs.H264{SPS: p.SPS, PPS: p.PPS}
	case streams.H265:
		codec = &codecs.H265{VPS: p.VPS, SPS: p.SPS, PPS: p.PPS}
	case streams.MJPEG:
		codec = &codecs.MJPEG{Width: p.Width, Height: p.Height}
	default:
		return nil, fmt.Errorf("codec %q", p.Codec)
	}
	var out seekablebuffer.Buffer
	if err := (fmp4.Init{Tracks: []*fmp4.InitTrack{{ID: 1, TimeScale: videoScale, Codec: codec}}}).Marshal(&out); err != nil {
		return nil, fmt.Errorf("sample description: %w", err)
	}
	b := out.Bytes()
	for _, kind := range []string{"moov", "trak", "mdia", "minf", "stbl", "stsd"} {
		if b = inside(b, kind); b == nil {
			return nil, errors.New("sample description: no " + kind)
		}
	}
	return append([]byte(nil), b[8:]...), nil // behind version, flags and the number of entries
}

// allowInBand has a sample description say that parameter sets may be in the
// samples too. ffmpeg reads none of a kind other than the first's.
func allowInBand(entry []byte) {
	if kind := map[string]string{"avc1": "avc3", "hvc1": "hev1"}[string(entry[4:8])]; kind != "" {
		copy(entry[4:8], kind)
	}
}

// inside gives the contents of the first box of a kind; nil where there is none.
func inside(b []byte, kind string) []byte {
	for len(b) >= 8 {
		size := int(binary.BigEndian.Uint32(b))
		if size < 8 || size > len(b) {
			return nil
		}
		if string(b[4:8]) == kind {
			return b[8:size]
		}
		b = b[size:]
	}
	return nil
}

// head is what the file says before the first fragment.
type head struct {
	entries       [][]byte
	width, height int
	at            time.Time // of the first frame
	duration      int64     // ticks of videoScale
	delay         int64     // from decoding to showing the first frame, ticks
	captions      bool
}

func (h head) boxes() []byte {
	var x boxes
	x.box("ftyp", func() { x.text("iso6"); x.u32(512); x.text("iso6isommp41") })
	x.box("moov", func() {
		x.full("mvhd", 1, 0, func() {
			x.u64(since1904(h.at))
			x.u64(since1904(h.at))
			x.u32(1000)
			x.u64(0)
			x.u32(0x10000, 0x01000000, 0, 0)
			x.matrix()
			x.zeros(24)
			x.u32(3)
		})
		h.video(&x)
		if h.captions {
			h.text(&x)
		}
		x.box("mvex", func() {
			x.full("mehd", 1, 0, func() { x.u64(uint64(h.duration * 1000 / videoScale)) }) //nolint:gosec // not negative
			x.full("trex", 0, 0, func() { x.u32(videoTrack, 1, 0, 0, 0) })
			if h.captions {
				x.full("trex", 0, 0, func() { x.u32(textTrack, 1, 0, 0, 0) })
			}
		})
	})
	return x.b
}

func (h head) video(x *boxes) {
	x.box("trak", func() {
		h.track(x, videoTrack, 0)
		if h.delay > 0 {
			x.box("edts", func() { x.full("elst", 1, 0, func() { x.u32(1); x.u64(0); x.u64(uint64(h.delay)); x.u32(0x10000) }) }) //nolint:gosec // positive
		}
		x.box("mdia", func() {
			h.media(x, videoScale, "vide", "VideoHandler")
			x.box("minf", func() {
				x.full("vmhd", 0, 1, func() { x.zeros(8) })
				tables(x, h.entries)
			})
		})
	})
}

func (h head) text(x *boxes) {
	x.box("trak", func() {
		h.track(x, textTrack, 0)
		x.box("mdia", func() {
			h.media(x, textScale, "sbtl", "SubtitleHandler")
			x.box("minf", func() {
				x.full("nmhd", 0, 0, func() {})
				tables(x, [][]byte{captionEntry()})
			})
		})
	})
}

func (h head) track(x *boxes, id uint32, group uint16) {
	x.full("tkhd", 1, 3, func() {
		x.u64(since1904(h.at))
		x.u64(since1904(h.at))
		x.u32(id, 0)
		x.u64(0)
		x.zeros(8)
		x.u16(0)
		x.u16(group)
		x.u32(0)
		x.matrix()
		x.u32(uint32(h.width)<<16, uint32(h.height)<<16) //nolint:gosec // at most 16,384
	})
}

func (h head) media(x *boxes, scale uint32, kind, name string) {
	x.full("mdhd", 1, 0, func() {
		x.u64(since1904(h.at))
		x.u64(since1904(h.at))
		x.u32(scale)
		x.u64(0)
		x.u32(undetermined)
	})
	x.full("hdlr", 0, 0, func() { x.u32(0); x.text(kind); x.zeros(12); x.text(name); x.u8(0) })
}

// tables are those of a track whose samples are all in fragments.
func tables(x *boxes, entries [][]byte) {
	x.box("dinf", func() { x.full("dref", 0, 0, func() { x.u32(1); x.full("url ", 0, 1, func() {}) }) })
	x.box("stbl", func() {
		x.full("stsd", 0, 0, func() {
			x.u32(uint32(len(entries))) //nolint:gosec // at most mostEntries
			for _, e := range entries {
				x.u8(e...)
			}
		})
		for _, kind := range []string{"stts", "stsc", "stco"} {
			x.full(kind, 0, 0, func() { x.u32(0) })
		}
		x.full("stsz", 0, 0, func() { x.u32(0, 0) })
	})
}

// captionEntry is the description of timed text: white on a half-transparent
// band at the lower edge (3GPP TS 26.245, 5.16).
func captionEntry() []byte {
	var x boxes
	x.box("tx3g", func() {
		x.zeros(6)
		x.u16(1)
		x.u32(0)
		x.u8(1, 0xff)       // centred, at the bottom
		x.u8(0, 0, 0, 0x80) // background
		x.zeros(8)          // the whole picture
		x.zeros(4)          // style of all characters
		x.u16(1)            // font
		x.u8(0, 18)         // plain, its size
		x.u32(0xffffffff)   // white
		x.box("ftab", func() {
			x.u16(1)
			x.u16(1)
			x.u8(10)
			x.text("Sans-Serif")
		})
	})
	return x.b
}
