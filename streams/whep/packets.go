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
// pictures and the one before it are kept. It is safe for several goroutines.
type Track struct {
	feed *streams.Feed

	mu      sync.Mutex
	viewers int
	newest  uint64            // group
	cut     map[uint64]packed // by Seq
}

// packed is a frame's packets, which nobody may change.
type packed struct {
	group    uint64
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
		clear(t.cut)
	}
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
			}
		}
		t.newest = f.Group
	}
	p := packed{group: f.Group, payloads: cut(f)}
	t.cut[f.Seq] = p
	return p.payloads
}

// cut cuts a frame, a key frame with its parameter sets before it. NAL units
// that fit into a packet are one, and share the frame's memory.
func cut(f *streams.Frame) [][]byte {
	units := f.NALUs
	if f.Key {
		units = append(f.Params.Sets(), units...)
	}
	var out [][]byte
	for _, u := range units {
		switch {
		case len(u) <= 2:
		case len(u) <= mostPayload:
			out = append(out, u)
		case f.Params.Codec == streams.H265:
			// FU of RFC 7798, 4.4.3: the unit's header with type 49, then its type.
			out = fragment(out, []byte{u[0]&0x81 | 49<<1, u[1], u[0] >> 1 & 0x3f}, u[2:])
		default:
			// FU-A of RFC 6184, 5.8: the unit's header with type 28, then its type.
			out = fragment(out, []byte{u[0]&0xe0 | 28, u[0] & 0x1f}, u[1:])
		}
	}
	return out
}

// fragment cuts the body of a unit into parts that begin with head, whose last
// byte also marks the first and the last of them.
func fragment(out [][]byte, head, body []byte) [][]byte {
	const begins, ends = 0x80, 0x40
	for mark := byte(begins); len(body) > 0; mark = 0 {
		n := min(len(body), mostPayload-len(head))
		if n == len(body) {
			mark |= ends
		}
		p := append(make([]byte, 0, len(head)+n), head...)
		p[len(head)-1] |= mark
		out = append(out, append(p, body[:n]...))
		body = body[n:]
	}
	return out
}
