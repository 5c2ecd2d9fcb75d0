package clip

import "time"

// line is one sample of the captions.
type line struct {
	text     string
	from, to int64 // ticks of textScale
}

// sample is the line as it is stored: its length in bytes and its text.
func (l line) sample() []byte {
	var x boxes
	x.u16(uint16(len(l.text))) //nolint:gosec // lines cuts it
	x.text(l.text)
	return x.b
}

// longestLine bounds a caption, in bytes.
const longestLine = 1000

// lines gives the captions of a fragment: a new one with every whole second.
func (w *writer) lines(from, to int64) []line {
	var list []line
	stop := to * textScale / videoScale
	for at := from * textScale / videoScale; at < stop; {
		when := w.first.At.Add(time.Duration(at) * time.Millisecond)
		next := min(stop, at+when.Truncate(time.Second).Add(time.Second).Sub(when).Milliseconds()+1)
		text := w.caption(when)
		if len(text) > longestLine {
			text = ""
		}
		list = append(list, line{text, at, next})
		at = next
	}
	return list
}

// fragment is one fragment to be written.
type fragment struct {
	serial  uint32
	samples []sample
	next    int64 // when it ends, ticks of videoScale
	lines   []line
}

// Flags of samples: others depend on nothing before a key frame (ISO 14496-12, 8.8.3.1).
const (
	keyFlags   = 0x02000000
	otherFlags = 0x01010000
)

// boxes gives all that comes before the samples themselves.
func (f *fragment) boxes() []byte {
	var x boxes
	first := f.samples[0]
	x.full("prft", 1, 24, func() { x.u32(videoTrack); x.u64(ntp(first.At)); x.u64(uint64(first.dts)) }) //nolint:gosec // not negative
	video := 0
	for i := range f.samples {
		video += f.samples[i].size()
	}
	// The offsets are counted from moof, whose size does not depend on them.
	size := f.moof(&boxes{}, 0, 0)
	f.moof(&x, size+8, size+8+video)
	all := video
	for _, l := range f.lines {
		all += len(l.sample())
	}
	x.u32(uint32(all + 8)) //nolint:gosec // bounded by mostPending and one frame
	x.text("mdat")
	return x.b
}

// moof writes the box with the places of the samples, and gives its size.
func (f *fragment) moof(x *boxes, video, text int) int {
	start := len(x.b)
	x.box("moof", func() {
		x.full("mfhd", 0, 0, func() { x.u32(f.serial) })
		x.box("traf", func() { f.pictures(x, video) })
		if len(f.lines) > 0 {
			x.box("traf", func() { f.captions(x, text) })
		}
	})
	return len(x.b) - start
}

func (f *fragment) pictures(x *boxes, at int) {
	const baseIsMoof, ownDescription = 0x020000, 0x000002
	const offset, duration, size, flags, shift = 0x1, 0x100, 0x200, 0x400, 0x800
	x.full("tfhd", 0, baseIsMoof|ownDescription, func() { x.u32(videoTrack, f.samples[0].entry) })
	x.full("tfdt", 1, 0, func() { x.u64(uint64(f.samples[0].dts)) }) //nolint:gosec // not negative
	x.full("trun", 1, offset|duration|size|flags|shift, func() {
		x.u32(uint32(len(f.samples)), uint32(at)) //nolint:gosec // bounded by mostPending and one frame
		for i := range f.samples {
			s := &f.samples[i]
			next := f.next
			if i+1 < len(f.samples) {
				next = f.samples[i+1].dts
			}
			kind := uint32(otherFlags)
			if s.Key {
				kind = keyFlags
			}
			x.u32(uint32(next-s.dts), uint32(s.size()), kind, uint32(int32(s.shift))) //nolint:gosec // a clip lasts minutes at most
		}
	})
}

func (f *fragment) captions(x *boxes, at int) {
	const baseIsMoof, offset, duration, size = 0x020000, 0x1, 0x100, 0x200
	x.full("tfhd", 0, baseIsMoof, func() { x.u32(textTrack) })
	x.full("tfdt", 1, 0, func() { x.u64(uint64(f.lines[0].from)) }) //nolint:gosec // not negative
	x.full("trun", 0, offset|duration|size, func() {
		x.u32(uint32(len(f.lines)), uint32(at)) //nolint:gosec // some lines
		for _, l := range f.lines {
			x.u32(uint32(l.to-l.from), uint32(len(l.sample()))) //nolint:gosec // some seconds
		}
	})
}
