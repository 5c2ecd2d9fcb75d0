package recording

import (
	"fmt"
	"io"
	"math"
	"time"

	"offsite/streams"
)

// sample is one picture of a file.
type sample struct {
	size     uint32 // bytes
	duration uint32 // ticks until the next is decoded
	offset   int32  // ticks from decoding to showing
	key      bool
}

// Flags of samples (ISO 14496-12, 8.8.3.1) and of the boxes that list them.
const (
	flagsKey   = 0x02000000 // depends on no other
	flagsOther = 0x01010000 // depends on others, no sync sample
	notSync    = 0x00010000

	baseIsMoof = 0x020000
	runFlags   = 0x000f01 // data offset; duration, size, flags and composition offset of each sample

	longestStep = 10 * timeScale // that a picture may stand within a connection
	largestRun  = 1 << 20        // bytes of a moof
	runEntry    = 16             // bytes
)

func ticks(d time.Duration) int64 {
	whole := d / time.Second
	return int64(whole)*timeScale + int64(math.Round((d-whole*time.Second).Seconds()*timeScale))
}

func duration(ticks int64) time.Duration {
	whole := ticks / timeScale
	return time.Duration(whole)*time.Second + time.Duration(ticks-whole*timeScale)*time.Second/timeScale
}

// payloadSize is the size of f in a file: its NAL units behind their lengths, a
// key frame's parameter sets first; of MJPEG the JPEG.
func payloadSize(f *streams.Frame) int {
	if f.Params.Codec == streams.MJPEG {
		return len(f.NALUs[0])
	}
	n := f.Size() + 4*len(f.NALUs)
	if f.Key {
		for _, u := range f.Params.Sets() {
			n += 4 + len(u)
		}
	}
	return n
}

func appendPayload(b []byte, f *streams.Frame) []byte {
	if f.Params.Codec == streams.MJPEG {
		return append(b, f.NALUs[0]...)
	}
	if f.Key {
		b = appendUnits(b, f.Params.Sets())
	}
	return appendUnits(b, f.NALUs)
}

func appendUnits(b []byte, units [][]byte) []byte {
	for _, u := range units {
		b = append(be.AppendUint32(b, uint32(len(u))), u...) //nolint:gosec // an access unit is bounded by the source
	}
	return b
}

// appendFragment appends moof and mdat of frames, which decode base ticks after
// the segment's beginning; last is how many ticks the last of them stands.
func appendFragment(b []byte, serial uint32, base int64, frames []*streams.Frame, last int64) []byte {
	at := len(b)
	size := 0
	b = box(b, "moof", func(b []byte) []byte {
		b = full(b, "mfhd", 0, 0, func(b []byte) []byte { return words(b, serial) })
		return box(b, "traf", func(b []byte) []byte {
			b = full(b, "tfhd", 0, baseIsMoof, func(b []byte) []byte { return words(b, trackID) })
			b = full(b, "tfdt", 1, 0, func(b []byte) []byte { return be.AppendUint64(b, uint64(base)) }) //nolint:gosec // not negative
			return full(b, "trun", 1, runFlags, func(b []byte) []byte {
				b = words(b, uint32(len(frames)), 0) //nolint:gosec // few; the data offset comes below
				for i, f := range frames {
					step := last
					if i+1 < len(frames) {
						step = stepBetween(f, frames[i+1])
					}
					flags := uint32(flagsOther)
					if f.Key {
						flags = flagsKey
					}
					n := payloadSize(f)
					size += n
					shown := min(max(ticks(f.PTS-f.DTS), -longestStep), longestStep)
					b = words(b, uint32(step), uint32(n), flags, uint32(int32(shown))) //nolint:gosec // bounded
				}
				return b
			})
		})
	})
	entries := len(frames) * runEntry
	be.PutUint32(b[len(b)-entries-4:], uint32(len(b)-at+8))   //nolint:gosec // where mdat's content begins
	b = append(be.AppendUint32(b, uint32(size+8)), "mdat"...) //nolint:gosec // a second of video
	for _, f := range frames {
		b = appendPayload(b, f)
	}
	return b
}

// stepBetween is how many ticks f stands until next is decoded.
func stepBetween(f, next *streams.Frame) int64 {
	return min(max(ticks(next.DTS)-ticks(f.DTS), 1), longestStep)
}

// fragment is a moof as it is read, and where its pictures lie.
type fragment struct {
	base    int64 // ticks
	samples []sample
	payload int64 // offset in the file
	end     int64 // offset behind it
}

func (f *fragment) ticks() int64 {
	n := int64(0)
	for _, s := range f.samples {
		n += int64(s.duration)
	}
	return n
}

// readFragment reads the fragment at off of a file of end bytes. buf is room for
// its moof, which is given back for the next call. The error is errTorn for
// everything that is not a whole fragment of ours.
func readFragment(r io.ReaderAt, off, end int64, buf []byte) (fragment, []byte, error) {
	kind, size, err := header(r, off, end)
	if err != nil {
		return fragment{}, buf, err
	}
	if kind != "moof" || size > largestRun {
		return fragment{}, buf, errTorn
	}
	if int64(cap(buf)) < size {
		buf = make([]byte, size+size/2)
	}
	buf = buf[:size]
	if _, err := r.ReadAt(buf, off); err != nil {
		return fragment{}, buf, fmt.Errorf("read fragment: %w", err)
	}
	f, bytes, err := parseMoof(buf[8:])
	if err != nil {
		return fragment{}, buf, err
	}
	kind, data, err := header(r, off+size, end)
	if err != nil {
		return fragment{}, buf, err
	}
	if kind != "mdat" || data != bytes+8 {
		return fragment{}, buf, errTorn
	}
	f.payload = off + size + 8
	f.end = off + size + data
	return f, buf, nil
}

// parseMoof reads the content of a moof and gives the bytes of its samples.
func parseMoof(b []byte) (f fragment, bytes int64, err error) {
	traf, _, err := child(b, "traf")
	if err != nil {
		return f, 0, err
	}
	tfdt, _, err := child(traf, "tfdt")
	if err != nil || len(tfdt) != 12 || be.Uint64(tfdt[4:]) > math.MaxInt64/2 {
		return f, 0, errTorn
	}
	f.base = int64(be.Uint64(tfdt[4:])) //nolint:gosec // bounded above
	run, _, err := child(traf, "trun")
	if err != nil || len(run) < 12 || be.Uint32(run) != 1<<24|runFlags {
		return f, 0, errTorn
	}
	entries := run[12:]
	if n := int64(be.Uint32(run[4:])); n == 0 || n*runEntry != int64(len(entries)) {
		return f, 0, errTorn
	}
	f.samples = make([]sample, 0, len(entries)/runEntry)
	for ; len(entries) > 0; entries = entries[runEntry:] {
		s := sample{
			duration: be.Uint32(entries), size: be.Uint32(entries[4:]), key: be.Uint32(entries[8:])&notSync == 0,
			offset: int32(be.Uint32(entries[12:])), //nolint:gosec // signed by its definition
		}
		if s.size == 0 || s.duration > longestStep {
			return f, 0, errTorn
		}
		bytes += int64(s.size)
		f.samples = append(f.samples, s)
	}
	return f, bytes, nil
}
