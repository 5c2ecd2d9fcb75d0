package streams

import (
	"errors"
	"sync"
	"time"
)

// ErrClosed ends a reader: the camera is retired or the gateway stops.
var ErrClosed = errors.New("feed closed")

// ErrReplaced ends a reader that follows one camera: what comes next is another's.
var ErrReplaced = errors.New("the feed shows another camera")

// FeedConfig bounds what a feed remembers.
type FeedConfig struct {
	Ring      time.Duration // length of the ring of last seconds; 30 s
	RingBytes int64         // most that the ring holds; 32 MiB
	Spare     *Spare        // memory that is used again; nil: none is shared with other feeds
}

func (c *FeedConfig) setDefaults() {
	if c.Ring <= 0 {
		c.Ring = 30 * time.Second
	}
	if c.RingBytes <= 0 {
		c.RingBytes = 32 << 20
	}
	if c.Spare == nil {
		c.Spare = new(Spare)
	}
}

// Feed is one camera's pictures for all who want them. A source publishes;
// readers, stills and clips take from it. Publishing never waits for anyone.
//
// The feed holds whole groups of pictures, the current one and those of the
// last seconds before it. Reader positions are numbers, not pointers, so that
// a forgotten reader holds no memory.
type Feed struct {
	cfg FeedConfig

	mu      sync.Mutex
	groups  []*group // oldest first; the last is the current one
	bytes   int64
	filling *piece // that the next frame is put into; nil at first
	readers map[*Reader]struct{}
	watches map[chan struct{}]struct{}
	holds   int // see Hold
	closed  bool
	state   State
	lastKey [2]time.Duration // the last two distances between key frames
	forgot  int              // how often Forget was called
	openAt  time.Time
}

// group is a key frame and the frames that depend on it, in order.
type group struct {
	frames []*held
	bytes  int64
	cut    bool // grew past the bounds: only the key frame is kept
}

// NewFeed gives a feed that is not connected and has no frames.
func NewFeed(cfg FeedConfig) *Feed {
	cfg.setDefaults()
	now := time.Now()
	return &Feed{cfg: cfg, readers: map[*Reader]struct{}{}, watches: map[chan struct{}]struct{}{}, openAt: now, state: State{Since: now}}
}

// Publish numbers fr and gives a copy of it to all. It never blocks. A frame that
// depends on a key frame nobody has is dropped.
func (f *Feed) Publish(fr *Frame) {
	f.mu.Lock()
	defer f.mu.Unlock()
	current := f.current()
	if f.closed || (!fr.Key && (current == nil || current.frames[0].Connection != f.state.Connections)) {
		return
	}
	f.state.Frames++
	f.state.Bytes += uint64(fr.Size())
	f.state.LastFrame = fr.At
	if f.state.Params != fr.Params {
		if !f.state.Params.Equal(fr.Params) {
			defer f.changed()
		}
		f.state.Params = fr.Params
	}
	fr.Seq = f.state.Frames
	fr.Connection = f.state.Connections
	if fr.Key {
		f.noteInterval(current, fr)
		current = &group{}
		f.groups = append(f.groups, current)
		fr.Group = fr.Seq
	} else {
		fr.Group = current.frames[0].Seq
	}
	f.hold(current, f.keep(fr))
	f.trim(fr.At)
	for r := range f.readers {
		signal(r.wake)
	}
}

func (f *Feed) current() *group {
	if len(f.groups) == 0 {
		return nil
	}
	return f.groups[len(f.groups)-1]
}

func (f *Feed) noteInterval(before *group, key *Frame) {
	if before == nil || before.frames[0].Connection != key.Connection {
		f.lastKey = [2]time.Duration{}
		f.state.KeyInterval = 0
		return
	}
	d := key.At.Sub(before.frames[0].At)
	f.lastKey = [2]time.Duration{d, f.lastKey[0]}
	f.state.KeyInterval = max(f.lastKey[0], f.lastKey[1])
}

// hold puts fr into its group. A single group that outgrows the ring would
// break its bound, so from then on only its key frame is held: joining viewers
// wait for the next key frame, those at the live end go on.
func (f *Feed) hold(g *group, fr *held) {
	n := int64(fr.Size())
	if len(g.frames) > 0 && g.bytes+n > f.cfg.RingBytes {
		key := g.frames[0]
		f.release(g.frames[1:]...)
		f.bytes -= g.bytes - int64(key.Size())
		g.bytes = int64(key.Size())
		g.frames = []*held{key, nil}[:1]
		g.cut = true
	}
	if g.cut {
		// The newest frame alone stands behind the key frame for live readers.
		if len(g.frames) == 2 {
			old := int64(g.frames[1].Size())
			g.bytes -= old
			f.bytes -= old
			f.release(g.frames[1])
			g.frames = g.frames[:1]
		}
	}
	g.frames = append(g.frames, fr)
	g.bytes += n
	f.bytes += n
}

// trim forgets the oldest groups, but never the current one.
func (f *Feed) trim(now time.Time) {
	for len(f.groups) > 1 {
		next := f.groups[1].frames[0]
		if f.bytes <= f.cfg.RingBytes && now.Sub(next.At) <= f.cfg.Ring {
			return
		}
		f.bytes -= f.groups[0].bytes
		f.release(f.groups[0].frames...)
		f.groups[0] = nil
		f.groups = f.groups[1:]
	}
}

// Key gives the newest key frame, of whatever connection; nil if there is none.
func (f *Feed) Key() *Frame {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g := f.current(); g != nil {
		return g.frames[0].give()
	}
	return nil
}

// Group gives the current group of pictures, key frame first; nil when the
// source is not connected, has sent no key frame on this connection, or the
// group is too large to be kept whole.
func (f *Feed) Group() []*Frame {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.current()
	if g == nil || g.cut || !f.state.Connected || g.frames[0].Connection != f.state.Connections {
		return nil
	}
	out := make([]*Frame, len(g.frames))
	for i, fr := range g.frames {
		out[i] = fr.give()
	}
	return out
}

// Ring gives what is left of the frames that arrived in [from, to), whole
// groups, so that it begins with a key frame at or before from where there is
// one. A group that was too large gives its key frame only.
func (f *Feed) Ring(from, to time.Time) []*Frame {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*Frame
	for _, g := range f.since(from) {
		frames := g.frames
		if g.cut {
			frames = frames[:1]
		}
		for _, fr := range frames {
			if !fr.At.Before(to) {
				return out
			}
			out = append(out, fr.give())
		}
	}
	return out
}

// Keys gives copies of the key frames of the groups that Ring gives frames of: who looks
// at them again and again leaves the ring its memory.
func (f *Feed) Keys(from, to time.Time) []*Frame {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*Frame
	for _, g := range f.since(from) {
		if key := g.frames[0]; key.At.Before(to) {
			out = append(out, &apart(&key.Frame).Frame)
		}
	}
	return out
}

// since gives the groups of the frames that arrived since from.
func (f *Feed) since(from time.Time) []*group {
	groups := f.groups
	for len(groups) > 1 && !groups[1].frames[0].At.After(from) {
		groups = groups[1:]
	}
	return groups
}

// Forget drops all frames and what is known by them: what comes next is not of the
// same camera. Readers that show what is now go on with the next key frame; those of
// Follow, whose frames belong together, end with ErrReplaced.
func (f *Feed) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.empty()
	f.lastKey = [2]time.Duration{}
	f.state.Params, f.state.LastFrame, f.state.KeyInterval = nil, time.Time{}, 0
	f.forgot++
	f.changed()
	for r := range f.readers {
		signal(r.wake)
	}
}

// empty lets all frames go; f.mu is held.
func (f *Feed) empty() {
	for _, g := range f.groups {
		f.release(g.frames...)
	}
	f.groups, f.bytes = nil, 0
	f.fill(nil)
}

// MostBytes is the most that the ring holds, and so the largest group that is
// kept whole.
func (f *Feed) MostBytes() int64 { return f.cfg.RingBytes }

// Opened is when the feed was made.
func (f *Feed) Opened() time.Time { return f.openAt }

// Close ends all readers and drops all frames. Publishing to a closed feed does
// nothing.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.empty()
	f.state.Connected = false
	f.changed()
	for r := range f.readers {
		signal(r.wake)
	}
}
