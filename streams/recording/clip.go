package recording

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"offsite/devices"
	"offsite/streams"
)

// LongestClip bounds a clip, and so the memory of its index.
const LongestClip = 6 * time.Hour

const seam = time.Second // between two segments: a shorter one is no hole

// Clip is an interval of a camera's recording as one MP4.
type Clip struct {
	Camera   string
	From, To time.Time // of its first picture, a key frame, and when its last one ends
	Size     int64     // bytes
	Tag      string    // another content has another one
	Codec    streams.Codec
	Width    int // of its first picture, as all that follow
	Height   int
	Holes    []Hole // of which nothing was recorded: the picture before stands

	archive *Archive
	head    []byte
	parts   []part
	files   []Segment
}

// Hole is a time within a clip of which nothing was recorded.
type Hole struct{ From, To time.Time }

// part is a run of bytes of a segment.
type part struct {
	begin  int64 // in the clip
	file   int   // of Clip.files
	offset int64 // in the file
	length int64
}

// CheckInterval says why an interval is no clip's; nil: it may be one.
func CheckInterval(from, to time.Time) error {
	switch {
	case !to.After(from):
		return devices.Invalid("to", "before_from", "结束时间须晚于开始时间", "the end must come after the beginning")
	case to.Sub(from) > LongestClip:
		return devices.Invalid("to", "too_long", "一次最长 6 小时，请分段", "take at most six hours at once")
	}
	return nil
}

// Clip lays out what was recorded of [from, to), from the key frame at or before
// from on. It returns ErrNotFound where nothing was, and ErrInvalid for an
// interval that is empty or longer than LongestClip. Where another codec begins
// the clip ends.
func (a *Archive) Clip(camera string, from, to time.Time) (*Clip, error) {
	if err := CheckInterval(from, to); err != nil {
		return nil, err
	}
	segments, err := a.Segments(camera, from, to)
	if err != nil {
		return nil, err
	}
	l := &layout{clip: &Clip{Camera: camera, archive: a}, want: from}
	for i, s := range segments {
		l.until = to
		if i+1 < len(segments) && segments[i+1].From.Before(to) {
			l.until = segments[i+1].From // who begins to record again may repeat some pictures
		}
		more, err := l.take(s)
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
	}
	if l.samples == 0 {
		return nil, Nothing()
	}
	return l.finish(), nil
}

// layout puts a clip together.
type layout struct {
	clip        *Clip
	want, until time.Time // until is that of the segment at hand
	head        head
	parts       []part // begin counts from the first payload byte
	bytes       int64
	samples     uint32
	last        int64 // decoding time of the newest sample, ticks
	final       int64 // ticks that the newest sample stands
	shown       int64 // until when a picture is shown, ticks
	tables
}

// timed is a sample with its place.
type timed struct {
	sample
	at     int64 // decoded, ticks since the segment's beginning
	offset int64 // in the file
}

// take adds what is wanted of s; more is false when the clip ends here.
func (l *layout) take(s Segment) (more bool, err error) {
	f, err := l.clip.archive.open(s)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // deleted meanwhile
	}
	if err != nil {
		return false, storageProblem(err)
	}
	defer f.Close()
	h, list, err := samplesOf(f, s.Bytes)
	if err != nil {
		return false, storageProblem(err)
	}
	if len(list) == 0 {
		return true, nil
	}
	if l.samples > 0 && h.codec != l.head.codec {
		return false, nil
	}
	if l.samples == 0 {
		list = list[beginning(list, ticks(l.want.Sub(s.From))):]
		l.head = h
		l.clip.From = s.From.Add(duration(list[0].at))
	}
	l.hole(s)
	l.clip.files = append(l.clip.files, s)
	zero, end := ticks(s.From.Sub(l.clip.From)), ticks(l.until.Sub(s.From))
	for _, one := range list {
		if one.at >= end && l.samples > 0 {
			break
		}
		l.add(one, zero+one.at)
	}
	return true, nil
}

// hole notes what lies between the segment before and s, if something does.
func (l *layout) hole(s Segment) {
	if before := l.clip.From.Add(duration(l.last + l.final)); l.samples > 0 && s.From.Sub(before) >= seam {
		l.clip.Holes = append(l.clip.Holes, Hole{before, s.From})
	}
}

// beginning is the index of the last key frame at or before at, or of the first.
func beginning(list []timed, at int64) int {
	begin := 0
	for i, s := range list {
		if s.at > at {
			break
		}
		if s.key {
			begin = i
		}
	}
	return begin
}

// samplesOf gives the samples of the first end bytes of a file. What is torn at
// its end is left out.
func samplesOf(r io.ReaderAt, end int64) (head, []timed, error) {
	h, err := readHead(r, end)
	if errors.Is(err, errTorn) || errors.Is(err, io.EOF) {
		return head{}, nil, nil
	}
	if err != nil {
		return head{}, nil, err
	}
	var list []timed
	var buf []byte
	for off := h.length; ; {
		var f fragment
		f, buf, err = readFragment(r, off, end, buf)
		if errors.Is(err, errTorn) || errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return head{}, nil, err
		}
		at, offset := f.base, f.payload
		for _, s := range f.samples {
			list = append(list, timed{s, at, offset})
			at += int64(s.duration)
			offset += int64(s.size)
		}
		off = f.end
	}
	if len(list) > 0 && !list[0].key {
		return head{}, nil, nil // no file of ours
	}
	return h, list, nil
}

// add adds one sample, which is decoded at ticks after the clip's beginning.
func (l *layout) add(s timed, at int64) {
	if l.samples > 0 {
		at = max(at, l.last+1)
		l.stand(at - l.last)
	}
	l.samples++
	l.last, l.final = at, int64(s.duration)
	l.shown = max(l.shown, at+int64(s.sample.offset)+l.final)
	l.list(s.sample, l.samples)
	file := len(l.clip.files) - 1
	if n := len(l.parts); n > 0 {
		if p := &l.parts[n-1]; p.file == file && p.offset+p.length == s.offset {
			p.length += int64(s.size)
			l.bytes += int64(s.size)
			l.chunks[n-1]++
			return
		}
	}
	l.parts = append(l.parts, part{begin: l.bytes, file: file, offset: s.offset, length: int64(s.size)})
	l.chunks = append(l.chunks, 1)
	l.bytes += int64(s.size)
}

// finish gives the clip.
func (l *layout) finish() *Clip {
	l.stand(l.final)
	c := l.clip
	c.To = c.From.Add(duration(l.last + l.final))
	c.Codec, c.Width, c.Height = codecOf(l.head), int(l.head.size>>48), int(l.head.size>>16&0xffff) //nolint:gosec // 16 bits each
	c.head = l.file(0)
	c.head = l.file(int64(len(c.head))) // offsets count from the file's beginning
	c.Size = int64(len(c.head)) + l.bytes
	for i := range l.parts {
		l.parts[i].begin += int64(len(c.head))
	}
	c.parts = l.parts
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %d ", c.Camera, c.From.UnixMilli())
	sum.Write(c.head)
	c.Tag = hex.EncodeToString(sum.Sum(nil)[:16])
	return c
}
