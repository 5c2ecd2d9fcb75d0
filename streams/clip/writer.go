package clip

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"time"

	"offsite/streams"
)

const (
	videoTrack, videoScale = 1, 90000
	textTrack, textScale   = 2, 1000

	headSpace   = 8 << 10 // for everything before the first fragment; more where one set needs it
	leastFree   = 8       // bytes of a free box
	mostEntries = 16      // sample descriptions; further parameter sets share the last one
	usualStep   = videoScale / 25
	mostSpan    = 2 * videoScale // of a fragment without a key frame
	mostPending = 4 << 20        // bytes of such a fragment
)

// errCrowded says that the head has no room for a frame's parameter sets.
var errCrowded = errors.New("no room in the head for further parameter sets")

// sample is a frame with its place on the clip's axis.
type sample struct {
	*streams.Frame
	dts    int64 // ticks
	shift  int64 // from decoding to showing, ticks
	entry  uint32
	inBand [][]byte // parameter sets that go before the frame
}

func (s *sample) size() int {
	if s.Params.Codec == streams.MJPEG {
		return s.Size()
	}
	n := s.Size() + 4*len(s.NALUs)
	for _, u := range s.inBand {
		n += 4 + len(u)
	}
	return n
}

// writer writes the file.
type writer struct {
	out     io.WriteSeeker
	buf     *bufio.Writer
	caption func(time.Time) string
	pos     int64
	serial  uint32

	space   int // of the head
	first   *streams.Frame
	delay   int64 // shift of the first frame
	entries [][]byte
	params  []*streams.Parameters // of the entries
	offset  int64                 // from the connection's axis to the clip's, ticks
	step    int64
	end     int64 // of what is written, ticks
	pending []sample
	bytes   int
}

func newWriter(out io.WriteSeeker, cfg Config) *writer {
	return &writer{out: out, buf: bufio.NewWriterSize(out, 64<<10), caption: cfg.Caption, step: usualStep}
}

func ticks(d time.Duration) int64 {
	whole := d / time.Second
	return int64(whole)*videoScale + int64(math.Round((d-whole*time.Second).Seconds()*videoScale))
}

// wall gives the gateway's time at a place of the clip's axis.
func (w *writer) wall(at int64) time.Time {
	return w.first.At.Add(time.Duration(at) * time.Second / videoScale)
}

// add puts a frame into the fragment under way, and writes that where f begins
// the next one. At errCrowded it has not, and the clip can only be finished.
func (w *writer) add(f *streams.Frame) error {
	if w.first == nil {
		if err := w.begin(f); err != nil {
			return err
		}
	}
	s := w.place(f)
	if len(w.pending) > 0 && (f.Key || s.dts-w.pending[0].dts >= mostSpan || w.bytes >= mostPending) {
		if err := w.flush(s.dts); err != nil {
			return err
		}
	}
	var err error
	if s.entry, err = w.describe(f); err != nil {
		return err
	}
	if f.Key && len(w.entries) > 1 {
		s.inBand = f.Params.Sets()
	}
	w.pending = append(w.pending, s)
	w.bytes += s.size()
	return nil
}

func (w *writer) begin(f *streams.Frame) error {
	e, err := sampleEntry(f.Params)
	if err != nil {
		return err
	}
	w.first, w.delay, w.offset = f, ticks(f.PTS-f.DTS), -ticks(f.DTS)
	w.entries, w.params = [][]byte{e}, []*streams.Parameters{f.Params}
	w.space = max(headSpace, len(w.head().boxes())+leastFree)
	w.pos = int64(w.space)
	_, err = w.buf.Write(make([]byte, w.space))
	return err
}

// place finds the frame's time. A new connection's axis begins at its first
// frame's arrival, but behind all that there is.
func (w *writer) place(f *streams.Frame) sample {
	last := int64(-1)
	if n := len(w.pending); n > 0 {
		last = w.pending[n-1].dts
		if w.pending[n-1].Connection != f.Connection {
			w.offset = max(ticks(f.At.Sub(w.first.At)), last+w.step) - ticks(f.DTS)
		}
	}
	dts := max(ticks(f.DTS)+w.offset, last+1)
	return sample{Frame: f, dts: dts, shift: ticks(f.PTS) + w.offset - dts}
}

// describe gives the number of the frame's sample description, from 1, or
// errCrowded.
func (w *writer) describe(f *streams.Frame) (uint32, error) {
	for i, p := range w.params {
		if p == f.Params || p.Equal(f.Params) {
			return uint32(i + 1), nil //nolint:gosec // at most mostEntries
		}
	}
	if len(w.entries) < mostEntries {
		e, err := sampleEntry(f.Params)
		if err != nil {
			return 0, err
		}
		if len(w.head().boxes())+len(e)+leastFree > w.space {
			return 0, errCrowded
		}
		w.entries, w.params = append(w.entries, e), append(w.params, f.Params)
	}
	return uint32(len(w.entries)), nil //nolint:gosec // at most mostEntries
}

// flush writes the fragment under way, which lasts until next.
func (w *writer) flush(next int64) error {
	if n := len(w.pending); n > 1 {
		w.step = min(w.pending[n-1].dts-w.pending[n-2].dts, mostSpan)
	}
	begin := w.pending[0].dts
	var lines []line
	if w.caption != nil {
		lines = w.lines(begin, next)
	}
	w.serial++
	fragment := fragment{serial: w.serial, samples: w.pending, next: next, lines: lines}
	front := fragment.boxes()
	if _, err := w.buf.Write(front); err != nil {
		return err
	}
	w.pos += int64(len(front))
	for i := range w.pending {
		if err := w.payload(&w.pending[i]); err != nil {
			return err
		}
	}
	for _, l := range lines {
		if _, err := w.buf.Write(l.sample()); err != nil {
			return err
		}
		w.pos += int64(len(l.sample()))
	}
	w.end, w.bytes = next, 0
	clear(w.pending)
	w.pending = w.pending[:0]
	return nil
}

func (w *writer) payload(s *sample) error {
	units := s.NALUs
	var size [4]byte
	for _, list := range [][][]byte{s.inBand, units} {
		for _, u := range list {
			if s.Params.Codec != streams.MJPEG {
				binary.BigEndian.PutUint32(size[:], uint32(len(u))) //nolint:gosec // an access unit has at most 8 MiB
				if _, err := w.buf.Write(size[:]); err != nil {
					return err
				}
			}
			if _, err := w.buf.Write(u); err != nil {
				return err
			}
		}
	}
	w.pos += int64(s.size())
	return nil
}

func (w *writer) head() head {
	return head{
		entries: w.entries, width: w.params[0].Width, height: w.params[0].Height,
		at: w.first.At, duration: w.end, delay: w.delay, captions: w.caption != nil,
	}
}

// finish writes what is left, and the head into its place.
func (w *writer) finish() error {
	if n := len(w.pending); n > 0 {
		step := w.step
		if n > 1 {
			step = min(w.pending[n-1].dts-w.pending[n-2].dts, mostSpan)
		}
		if err := w.flush(w.pending[n-1].dts + step); err != nil {
			return err
		}
	}
	if err := w.buf.Flush(); err != nil {
		return err
	}
	if len(w.entries) > 1 {
		for _, e := range w.entries {
			allowInBand(e)
		}
	}
	x := boxes{w.head().boxes()}
	rest := w.space - len(x.b)
	x.box("free", func() { x.zeros(rest - leastFree) })
	if _, err := w.out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := w.out.Write(x.b)
	return err
}
