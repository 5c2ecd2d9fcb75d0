package streams

import "sync"

const (
	pieceBytes = 256 << 10      // half a group of 2 Mbit/s: smaller ones end more often where no frame fits
	largeBytes = pieceBytes / 2 // of a frame that has memory for itself
	slabFrames = 4              // that are allocated at once
	leastSpare = 4              // pieces
	spareShare = 16             // and one more for so many in rings: a group of two seconds in a ring of thirty
)

// Spare is memory that rings have let go and may fill again. Feeds with the same one
// share it: while one lets a group of pictures go, another begins one. Its mutex may be
// locked under a feed's.
type Spare struct {
	mu     sync.Mutex
	pieces []*piece
	used   int // pieces that rings have
}

// piece is memory that frames of one ring lie in, one behind the other: with a piece
// for each of them the garbage collector would have tens of thousands to look at.
//
// What none but the ring ever had is filled again when all of it has left the ring. A
// piece of which a frame was given away is never written again: the garbage collector
// frees it when nobody has it any more.
type piece struct {
	bytes []byte // filled up to its length
	slabs []*[slabFrames]held
	count int // frames that were put into it
	live  int // those of them that are in the ring
	given bool
}

// held is a frame of a ring, with the list of its units, which mostly are one slice.
type held struct {
	Frame
	units [1][]byte
	in    *piece // nil for a large frame, which has memory for itself
}

// take gives an empty piece.
func (s *Spare) take() *piece {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used++
	last := len(s.pieces) - 1
	if last < 0 {
		return &piece{bytes: make([]byte, 0, pieceBytes)}
	}
	p := s.pieces[last]
	s.pieces[last] = nil
	s.pieces = s.pieces[:last]
	return p
}

// leave takes a piece of which nothing is in a ring any more.
func (s *Spare) leave(p *piece) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	if p.given || len(s.pieces) >= leastSpare+s.used/spareShare {
		return
	}
	for _, frames := range p.slabs {
		clear(frames[:])
	}
	p.bytes, p.count = p.bytes[:0], 0
	s.pieces = append(s.pieces, p)
}

// next gives the place of the next frame.
func (p *piece) next() *held {
	if p.count == len(p.slabs)*slabFrames {
		p.slabs = append(p.slabs, new([slabFrames]held))
	}
	h := &p.slabs[p.count/slabFrames][p.count%slabFrames]
	h.in = p
	p.count++
	p.live++
	return h
}

// keep copies fr into the feed's memory; f.mu is held.
func (f *Feed) keep(fr *Frame) *held {
	n := fr.Size()
	if n >= largeBytes {
		return apart(fr)
	}
	if f.filling == nil || n > cap(f.filling.bytes)-len(f.filling.bytes) {
		f.fill(f.cfg.Spare.take())
	}
	p := f.filling
	h := p.next()
	h.Frame = *fr
	at := len(p.bytes)
	p.bytes = p.bytes[:at+n]
	h.NALUs = join(p.bytes[at:at:at+n], h.units[:0], fr.NALUs)
	return h
}

// fill goes on in another piece; f.mu is held.
func (f *Feed) fill(next *piece) {
	before := f.filling
	f.filling = next
	if before != nil && before.live == 0 {
		f.cfg.Spare.leave(before)
	}
}

// apart copies fr into memory of its own.
func apart(fr *Frame) *held {
	h := &held{Frame: *fr}
	h.NALUs = join(make([]byte, 0, fr.Size()), h.units[:0], fr.NALUs)
	return h
}

// join copies units behind one another into memory and adds them to list.
func join(memory []byte, list, units [][]byte) [][]byte {
	for _, u := range units {
		at := len(memory)
		memory = append(memory, u...)
		list = append(list, memory[at:len(memory):len(memory)])
	}
	return list
}

// release tells that frames are not in the ring any more; f.mu is held.
func (f *Feed) release(frames ...*held) {
	for _, h := range frames {
		p := h.in
		if p == nil {
			continue
		}
		if p.live--; p.live == 0 && p != f.filling {
			f.cfg.Spare.leave(p)
		}
	}
}

// give gives the frame away. All that leave the feed go through it, because from then
// on the memory must not be written again. The feed's mutex is held.
func (h *held) give() *Frame {
	if h.in != nil {
		h.in.given = true
	}
	return &h.Frame
}
