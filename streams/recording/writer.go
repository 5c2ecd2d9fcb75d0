package recording

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"offsite/streams"
)

// jump is how far the arrival of pictures may stray from their own clock before
// the segments' times follow it.
const jump = 500 * time.Millisecond

// writer writes one camera's segments.
type writer struct {
	a      *Archive
	camera string

	file    *os.File // nil between segments
	seg     Segment
	params  *streams.Parameters
	began   int64 // DTS of the segment's first picture, ticks
	end     int64 // ticks written since began
	serial  uint32
	synced  time.Time
	dirty   bool
	pending []*streams.Frame // not written yet; how long the last of them stands is not known
	held    int64            // ticks that the last but one stood

	connection uint64
	anchor     time.Time // when DTS was zero, by the gateway's clock
}

// add takes the next frame and writes what has come together.
func (w *writer) add(f *streams.Frame) error {
	est := f.At.Add(-f.DTS)
	if off := est.Sub(w.anchor); f.Connection != w.connection || off > jump || off < -jump || w.file == nil {
		w.anchor = est
	}
	if n := len(w.pending); n > 0 && f.Connection == w.connection && f.Seq != w.pending[n-1].Seq+1 {
		w.a.cfg.Missed(w.camera, w.pending[n-1].At, f.At)
	}
	if w.file != nil && w.cuts(f) {
		if err := w.finish(f); err != nil {
			return err
		}
	}
	if w.file == nil {
		if !f.Key {
			return nil
		}
		if err := w.begin(f); err != nil {
			return err
		}
	}
	if n := len(w.pending); n > 0 {
		w.held = stepBetween(w.pending[n-1], f)
		if f.DTS-w.pending[0].DTS >= w.a.cfg.Fragment {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	w.pending = append(w.pending, f)
	return nil
}

// cuts says whether f begins another segment.
func (w *writer) cuts(f *streams.Frame) bool {
	if !f.Key {
		return false
	}
	last := w.pending[len(w.pending)-1]
	return f.Connection != w.connection || f.Seq != last.Seq+1 || !f.Params.Equal(w.params) ||
		duration(ticks(f.DTS)-w.began) >= w.a.cfg.Segment
}

// begin makes the file of the segment that f begins.
func (w *writer) begin(f *streams.Frame) error {
	head, err := newHead(f.Params)
	if err != nil {
		return err
	}
	from := w.anchor.Add(f.DTS).UTC().Truncate(time.Millisecond)
	if prev := w.seg.To; f.Connection == w.connection && from.Before(prev) && prev.Sub(from) < jump {
		from = prev.Add(time.Millisecond).Truncate(time.Millisecond) // the gateway's clock was set back a little
	}
	for w.file == nil {
		day := w.camera + "/" + from.Format(dayForm)
		if err := w.a.root.MkdirAll(day, 0o700); err != nil {
			return storageProblem(err)
		}
		name := day + "/" + from.Format(timeForm) + partEnd
		w.file, err = w.a.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) { // the clock was set back
			from = from.Add(time.Millisecond)
			continue
		}
		if err != nil {
			w.file = nil
			return storageProblem(err)
		}
		w.seg = Segment{Camera: w.camera, From: from, To: from, Open: true, name: name}
		if err := w.a.syncDirs(w.camera, day); err != nil {
			return w.broken(err)
		}
	}
	w.params, w.connection = f.Params, f.Connection
	w.began, w.end, w.serial, w.held = ticks(f.DTS), 0, 0, timeScale/25
	w.synced, w.dirty = time.Now(), true
	return w.write(head)
}

// write appends b, which is whole; a file that takes only part of it is cut back.
func (w *writer) write(b []byte) error {
	n, err := w.file.Write(b)
	if err != nil {
		if n > 0 {
			err = errors.Join(err, w.file.Truncate(w.seg.Bytes))
		}
		return w.broken(err)
	}
	w.seg.Bytes += int64(n)
	w.a.mu.Lock()
	w.a.counts.Bytes += uint64(n) //nolint:gosec // not negative
	w.a.mu.Unlock()
	return nil
}

// flush writes all that is pending as one fragment.
func (w *writer) flush() error {
	if len(w.pending) == 0 {
		return nil
	}
	room := w.a.room.Get().(*[]byte) //nolint:forcetypeassert // the pool's New
	defer w.a.room.Put(room)
	base := max(ticks(w.pending[0].DTS)-w.began, w.end)
	w.serial++
	*room = appendFragment((*room)[:0], w.serial, base, w.pending, w.held)
	last := ticks(w.pending[len(w.pending)-1].DTS) - w.began + w.held
	clear(w.pending)
	w.pending = w.pending[:0]
	if err := w.write(*room); err != nil {
		return err
	}
	w.end, w.dirty = max(last, base+1), true
	w.seg.To = w.seg.From.Add(duration(w.end))
	w.a.mu.Lock()
	w.a.writing[w.camera] = w.seg
	w.a.mu.Unlock()
	return nil
}

// sync makes what is written durable when it is time.
func (w *writer) sync(now time.Time) error {
	if w.file == nil || !w.dirty || now.Sub(w.synced) < w.a.cfg.Sync {
		return nil
	}
	if err := w.file.Sync(); err != nil {
		return w.broken(err)
	}
	w.synced, w.dirty = now, false
	return nil
}

// finish writes the rest and ends the segment. next is the frame that follows,
// nil if none does.
func (w *writer) finish(next *streams.Frame) error {
	if w.file == nil {
		return nil
	}
	if n := len(w.pending); n > 0 && next != nil && next.Connection == w.connection && next.Seq == w.pending[n-1].Seq+1 {
		w.held = stepBetween(w.pending[n-1], next)
	}
	if err := w.flush(); err != nil {
		return err
	}
	if w.end == 0 {
		return w.broken(nil)
	}
	if err := w.file.Sync(); err != nil {
		return w.broken(err)
	}
	if err := w.close(); err != nil {
		return storageProblem(err)
	}
	return nil
}

// broken gives the file up as far as it is whole. What its disk has not taken
// Load finds out at the next start, unless its name can be given now.
func (w *writer) broken(err error) error {
	w.pending = w.pending[:0]
	if w.end == 0 {
		_ = w.a.root.Remove(w.seg.name)
	}
	closing := w.close()
	if err == nil && closing == nil {
		return nil
	}
	return storageProblem(errors.Join(err, closing))
}

// close closes the file and gives it its name, if there is a picture in it.
func (w *writer) close() error {
	err := w.file.Close()
	w.file = nil
	s := w.seg
	s.Open = false
	if w.end > 0 && err == nil {
		s.name = w.camera + "/" + s.From.Format(dayForm) + "/" + wholeName(s.From, s.To.Sub(s.From), s.Bytes)
		err = w.a.root.Rename(w.seg.name, s.name)
	}
	if w.end > 0 && err == nil {
		w.a.count(s, s.Bytes)
	}
	w.a.mu.Lock()
	delete(w.a.writing, w.camera)
	w.a.counts.Segments++
	w.a.mu.Unlock()
	return err
}

// syncDirs makes a new file's name durable, and that of a new day.
func (a *Archive) syncDirs(dirs ...string) error {
	for _, dir := range append(dirs, ".") {
		d, err := a.root.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Tape writes pictures that do not come from a feed, such as those that another
// recorder has kept. It is for one goroutine.
type Tape struct{ w writer }

// Tape begins to write under a camera's name. Nothing else records under it.
func (a *Archive) Tape(camera string) *Tape { return &Tape{writer{a: a, camera: camera}} }

// Add writes the next picture. Its At, DTS, Seq and Connection are read as those of a
// feed; who gives it blocks while the disk takes it.
func (t *Tape) Add(f *streams.Frame) error { return t.w.add(f) }

// Close ends the segment that is being written.
func (t *Tape) Close() error { return t.w.finish(nil) }
