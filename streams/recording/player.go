package recording

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"offsite/devices"
	"offsite/streams"
)

const (
	playAhead  = 24 * time.Hour  // within which the next picture is looked for
	playGap    = 2 * time.Second // longer ones are passed over
	playBehind = time.Second     // that a slow receiver may be behind before the rest comes later too
	playGrows  = time.Second     // between two looks at a segment that is being written
	playLive   = time.Minute     // that a segment is taken to be written after its last picture
)

// Player gives the pictures of a recording at the pace at which they were taken;
// what was not recorded is passed over. It is for one goroutine.
type Player struct {
	From time.Time // of the first picture that is to be seen

	archive *Archive
	camera  string
	until   time.Time // there is no more from then on; zero: to the end
	zero    time.Time // of the stamps
	late    time.Time // pictures before it are decoded, not seen

	file      *os.File
	seg       Segment
	head      head
	list      []timed // of seg
	next      int     // of list
	assembler *streams.Assembler
	gaps      uint64 // passed over, and one more
	at        time.Time

	tied, tiedAt time.Time // the picture of tiedAt was given at tied
}

// Play gives a player of what was recorded of a camera since from, until until if
// that is not zero; close it. The error is ErrNotFound where nothing was for a day.
func (a *Archive) Play(camera string, from, until time.Time) (*Player, error) {
	p := &Player{archive: a, camera: camera, until: until, late: from, gaps: 1, at: from}
	if err := p.turn(from); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if p.file == nil {
		return nil, Nothing()
	}
	p.next = beginning(p.list, ticks(from.Sub(p.seg.From)))
	p.From = from
	if first := p.when(p.next); first.After(from) {
		p.From = first
	}
	p.zero = p.From
	return p, nil
}

// Follow has the stamps go on from those of another player, whose pictures come
// before the ones of this, and tells that there is a break between them.
func (p *Player) Follow(before *Player) { p.zero, p.gaps = before.zero, before.gaps+1 }

// Codec is that of the pictures at hand.
func (p *Player) Codec() streams.Codec { return codecOf(p.head) }

// Nothing says that there is no recording.
func Nothing() *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrNotFound, Code: "no_recording", ZH: "该时段没有录像", EN: "nothing was recorded in this interval",
	}
}

// when is when picture i of the segment was taken, by the gateway's clock.
func (p *Player) when(i int) time.Time { return p.seg.From.Add(duration(p.list[i].at)) }

// turn opens the first segment with a picture after at, and leaves next at that
// picture. Where there is none it leaves no file.
func (p *Player) turn(after time.Time) error {
	segments, err := p.archive.Segments(p.camera, after, after.Add(playAhead))
	if err != nil {
		return err
	}
	for _, s := range segments {
		f, err := p.archive.open(s)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return storageProblem(err)
		}
		h, list, err := samplesOf(f, s.Bytes)
		if err != nil {
			return errors.Join(storageProblem(err), f.Close())
		}
		i := slices.IndexFunc(list, func(t timed) bool { return s.From.Add(duration(t.at)).After(after) })
		if i < 0 && len(list) > 0 && p.file == nil && s.To.After(after) { // its last picture stands
			i = len(list) - 1
		}
		if i < 0 {
			if err := f.Close(); err != nil {
				return storageProblem(err)
			}
			continue
		}
		another := !s.From.Equal(p.seg.From)
		if err := p.Close(); err != nil {
			return storageProblem(err)
		}
		if p.file, p.seg, p.head, p.list, p.next = f, s, h, list, i; another {
			p.assembler = streams.NewAssembler(codecOf(h), nil, nil, nil)
		}
		return nil
	}
	return nil
}

func codecOf(h head) streams.Codec {
	switch h.codec {
	case "hvc1", "hev1":
		return streams.H265
	case "mp4v":
		return streams.MJPEG
	}
	return streams.H264
}

// Next gives the next picture when it is due. late says that it is to be decoded
// rather than seen. It returns [io.EOF] where nothing more was recorded.
func (p *Player) Next(ctx context.Context) (f *streams.Frame, late bool, err error) {
	for {
		if err := p.reach(ctx); err != nil {
			return nil, false, err
		}
		at := p.when(p.next)
		if !p.until.IsZero() && !at.Before(p.until) {
			return nil, false, io.EOF
		}
		late = at.Before(p.late)
		if err := p.pace(ctx, at, late); err != nil {
			return nil, false, err
		}
		f, err = p.read(p.list[p.next])
		if err != nil {
			return nil, false, err
		}
		p.next++
		p.at = at
		if f != nil {
			return f, late, nil
		}
	}
}

// reach makes next that of a picture, for which it waits where it is still being
// written.
func (p *Player) reach(ctx context.Context) error {
	for p.next >= len(p.list) {
		before := p.seg.From
		if err := p.turn(p.at); err != nil {
			return err
		}
		if p.next < len(p.list) {
			if !p.seg.From.Equal(before) {
				p.join()
			}
			return nil
		}
		if !p.seg.Open || time.Since(p.at) > playLive {
			return io.EOF
		}
		if err := wait(ctx, playGrows); err != nil {
			return err
		}
	}
	return nil
}

// join goes on in another segment. One that repeats pictures is decoded from its
// key frame on.
func (p *Player) join() {
	first := p.when(p.next)
	if p.next > 0 {
		p.late = first
		p.back()
	}
	if first.Sub(p.at) > playGap {
		p.gaps++
		p.tied = time.Time{}
	}
}

// back goes to the key frame of the picture that is next.
func (p *Player) back() {
	for p.next > 0 && !p.list[p.next].key {
		p.next--
	}
}

// pace waits until a picture is due.
func (p *Player) pace(ctx context.Context, at time.Time, late bool) error {
	if late {
		p.tied = time.Time{}
		return nil
	}
	now := time.Now()
	due := p.tied.Add(at.Sub(p.tiedAt))
	if p.tied.IsZero() || now.Sub(due) > playBehind {
		p.tied, p.tiedAt = now, at
		return nil
	}
	return wait(ctx, due.Sub(now))
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// read gives the frame of a sample; nil where nothing can be made of it.
func (p *Player) read(t timed) (*streams.Frame, error) {
	data := make([]byte, t.size)
	if _, err := p.file.ReadAt(data, t.offset); err != nil {
		return nil, storageProblem(err)
	}
	decoded := p.seg.From.Sub(p.zero) + duration(t.at)
	shown := decoded + duration(int64(t.sample.offset))
	f := &streams.Frame{NALUs: [][]byte{data}, Key: true}
	var err error
	if p.head.codec == "mp4v" {
		f.Params, err = streams.NewPictureParameters(int(p.head.size>>48), int(p.head.size>>16&0xffff)) //nolint:gosec // 16 bits each
	} else {
		f, err = p.assembler.Frame(cutUnits(data), shown, time.Time{})
	}
	if err != nil || f == nil {
		return nil, nil //nolint:nilerr // a damaged picture is passed over
	}
	f.PTS, f.DTS, f.At, f.Connection = shown, decoded, time.Now(), p.gaps
	return f, nil
}

// cutUnits gives the units of a sample, as far as they are whole.
func cutUnits(b []byte) [][]byte {
	var units [][]byte
	for len(b) > 4 && int64(be.Uint32(b)) <= int64(len(b)-4) {
		n := 4 + int(be.Uint32(b))
		if n > 4 {
			units = append(units, b[4:n])
		}
		b = b[n:]
	}
	return units
}

// Again goes back to the key frame of the picture that was given last, for a
// receiver that has lost its way; up to that picture all is late.
func (p *Player) Again() {
	if p.at.After(p.late) {
		p.late = p.at
	}
	p.tied = time.Time{}
	if p.next > 0 && p.when(p.next-1).Equal(p.at) {
		p.next--
	}
	p.back()
}

// Close closes the file that is open.
func (p *Player) Close() error {
	if p.file == nil {
		return nil
	}
	f := p.file
	p.file = nil
	return f.Close()
}
