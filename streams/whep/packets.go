package whep

import (
	"sync"

	"offsite/streams"
)

// mostPayload is what a packet carries: with the RTP header (12) and what the
// encryption adds (16) it stays within 1,200 bytes, which pass every network.
const mostPayload = 1200 - 12 - 16

// Track is one feed cut into packets, for all who watch it by WebRTC. A frame is
// cut when the first viewer wants it; the packets of the current group of
// pictures and the one before it are kept, but never more than the feed's ring
// holds. It is safe for several goroutines.
type Track struct {
	feed *streams.Feed

	mu      sync.Mutex
	viewers int
	newest  uint64            // group
	cut     map[uint64]packed // by Seq
	bytes   int64             // of the frames in cut
}

// packed is a frame's packets, which nobody may change.
type packed struct {
	group    uint64
	bytes    int64 // of the frame
	payloads [][]byte
}

// NewTrack gives the track of feed.
func NewTrack(feed *streams.Feed) *Track {
	return &Track{feed: feed, cut: map[uint64]packed{}}
}

// enter takes a place among the most that may watch.
func (t *Track) enter(most int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.viewers >= most {
		return false
	}
	t.viewers++
	return true
}

// leave gives it back; with the last viewer all packets are forgotten.
func (t *Track) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.viewers--; t.viewers == 0 {
		t.forget()
	}
}

// forget drops all packets; who wants one has it cut again.
func (t *Track) forget() {
	clear(t.cut)
	t.bytes = 0
}

// Viewers is how many watch, or are about to.
func (t *Track) Viewers() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.viewers
}

// payloads gives the packets of f without their headers.
func (t *Track) payloads(f *streams.Frame) [][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p, ok := t.cut[f.Seq]; ok {
		return p.payloads
	}
	if f.Group > t.newest {
		for seq, p := range t.cut {
			if p.group < t.newest {
				delete(t.cut, seq)
				t.bytes -= p.bytes
			}
		}
		t.newest = f.Group
	}
	p := packed{group: f.Group, bytes: int64(f.Size()), payloads: f.Packets(mostPayload)}
	if t.bytes += p.bytes; t.bytes > t.feed.MostBytes() { // a group without end
		t.forget()
		t.bytes = p.bytes
	}
	t.cut[f.Seq] = p
	return p.payloads
}
