package streams

import (
	"context"
	"time"
)

// leastLag is the lag that every reader is granted.
const leastLag = time.Second

// Reader takes a feed's frames in order. One goroutine may use it.
type Reader struct {
	feed *Feed
	wake chan struct{} // one pending wake at most

	// Guarded by feed.mu.
	next     uint64 // Seq wanted next
	inGroup  uint64 // Group of the frame given last; 0: begin with a key frame
	joined   bool   // has had a frame: what it misses from now on is lost
	lost     uint64
	patient  bool // takes all that the ring still holds, however late
	forgot   int  // as the feed's when it began: a patient one ends with another
	finished bool
}

// Subscribe gives a reader that begins with the current group of pictures
// whole, or with the next key frame when there is none. Close it.
func (f *Feed) Subscribe() *Reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &Reader{feed: f, wake: make(chan struct{}, 1), next: f.state.Frames + 1}
	g := f.current()
	if g != nil && !g.cut && f.state.Connected && g.frames[0].Connection == f.state.Connections {
		r.next = g.frames[0].Seq
	}
	f.admit(r)
	return r
}

// Follow gives a reader that begins with the oldest key frame from which all
// that arrived since from can be decoded, or the oldest there is, and then takes
// every frame that the ring still holds, however late: for recordings and clips,
// which want all rather than the newest. What it misses it misses in whole
// groups, and Lost counts it. It ends with ErrReplaced once the feed forgets: what comes then
// is of another camera. Close it.
func (f *Feed) Follow(from time.Time) *Reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &Reader{feed: f, wake: make(chan struct{}, 1), next: f.state.Frames + 1, patient: true, forgot: f.forgot}
	for i := len(f.groups) - 1; i >= 0; i-- {
		key := f.groups[i].frames[0]
		r.next = key.Seq
		if !key.At.After(from) {
			break
		}
	}
	f.admit(r)
	return r
}

// admit notes a reader; f.mu is held.
func (f *Feed) admit(r *Reader) {
	f.readers[r] = struct{}{}
	if len(f.readers) == 1 {
		f.changed()
	}
}

// Next gives the next frame; it waits until there is one. A reader that is
// more than one group (and more than a second) behind gets the newest key
// frame instead. It returns ErrClosed when the feed is closed, and ErrReplaced as Follow says.
func (r *Reader) Next(ctx context.Context) (*Frame, error) {
	for {
		fr, err := r.take()
		if fr != nil || err != nil {
			return fr, err
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// take gives the next frame if it is there.
func (r *Reader) take() (*Frame, error) {
	f := r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || r.finished {
		return nil, ErrClosed
	}
	if r.patient && r.forgot != f.forgot {
		return nil, ErrReplaced
	}
	if len(f.groups) == 0 || r.next > f.state.Frames {
		return nil, nil
	}
	fr := f.find(r.next)
	if f.mustSkip(r, fr) {
		key := f.newestWhole()
		if r.patient {
			key = f.oldestWhole(r.next)
		}
		if key == nil || key.Seq < r.next {
			// Nothing to begin with: wait for the next key frame.
			r.lose(f.state.Frames + 1)
			r.inGroup = 0
			return nil, nil
		}
		r.lose(key.Seq)
		fr = key
	}
	r.next = fr.Seq + 1
	r.inGroup = fr.Group
	r.joined = true
	return fr.give(), nil
}

// lose moves the reader to frame seq and counts what lies between.
func (r *Reader) lose(seq uint64) {
	if r.joined && seq > r.next {
		r.lost += seq - r.next
		r.feed.state.Lost += seq - r.next
	}
	r.next = seq
}

// find gives frame seq if the ring still has it.
func (f *Feed) find(seq uint64) *held {
	for i := len(f.groups) - 1; i >= 0; i-- {
		g := f.groups[i]
		first := g.frames[0].Seq
		if seq < first {
			continue
		}
		if g.cut {
			for _, fr := range g.frames {
				if fr.Seq == seq {
					return fr
				}
			}
			return nil
		}
		if k := seq - first; k < uint64(len(g.frames)) {
			return g.frames[k]
		}
		return nil
	}
	return nil
}

// mustSkip says that fr cannot or may not be given to r: it is gone, it depends
// on a key frame that r has not had, or r is too far behind.
func (f *Feed) mustSkip(r *Reader, fr *held) bool {
	if fr == nil || (!fr.Key && fr.Group != r.inGroup) {
		return true
	}
	newest := f.current().frames[0]
	if r.patient || fr.Group == newest.Group {
		return false
	}
	return f.state.LastFrame.Sub(fr.At) > max(leastLag, f.state.KeyInterval)
}

// newestWhole gives the key frame of the current group if all of it is there.
func (f *Feed) newestWhole() *held {
	g := f.current()
	if g == nil || g.cut {
		return nil
	}
	return g.frames[0]
}

// oldestWhole gives the first key frame from seq on whose group is there whole.
func (f *Feed) oldestWhole(seq uint64) *held {
	for _, g := range f.groups {
		if key := g.frames[0]; key.Seq >= seq && !g.cut {
			return key
		}
	}
	return nil
}

// Lost is how many frames this reader missed.
func (r *Reader) Lost() uint64 {
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	return r.lost
}

// Close gives the reader up; Next then returns ErrClosed.
func (r *Reader) Close() {
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	if _, open := r.feed.readers[r]; !open {
		return
	}
	r.finished = true
	delete(r.feed.readers, r)
	signal(r.wake)
	if len(r.feed.readers) == 0 {
		r.feed.changed()
	}
}
