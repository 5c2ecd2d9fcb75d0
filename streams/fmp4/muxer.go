// Package fmp4 serves live pictures as fragmented MP4 (ISO 14496-12, 14496-15)
// over WebSocket, for Media Source Extensions in a browser. Each fragment holds
// one access unit and is made once per feed, however many watch; nothing is
// made while nobody watches.
//
// The messages of a session, gateway to viewer:
//
//	text    {"mode":"live","codec":"avc1.42c01e","width":640,"height":360}
//	        what follows; "codec" is the codecs parameter of RFC 6381
//	binary  the initialisation segment (ftyp, moov), right behind each text of mode live
//	binary  fragments (moof, mdat), the first of them a key frame
//	text    {"mode":"mjpeg","width":640,"height":360}
//	        the camera sends JPEGs: the binaries that follow are one each
//	text    {"mode":"lag","ms":240,"lost":0}
//	        about once a second: how old the newest picture is on arrival at most,
//	        and how many were left out because the line is slow
//	text    {"mode":"wait","code":"camera_silent","zh":"…","en":"…"}
//	        no pictures at present and why; the next thing is a text of mode live
//
// A text of mode live or mjpeg comes at the beginning, when the parameter sets change and
// after a wait; a text of unknown mode is to be skipped. A joining viewer gets
// the current group of pictures whole and should seek to the end of what is
// buffered. Times only grow, but leap over what a slow viewer missed: its lag is
// at most the longer one of a second and a group of pictures.
package fmp4

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4/seekablebuffer"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"offsite/streams"
)

const (
	timeScale = 90000 // ticks a second
	trackID   = 1
	usualStep = timeScale / 25 // a picture's duration as long as nothing is known
	mostStep  = 5 * timeScale
	keepIdle  = 5 * time.Second // that a group is kept after its last use
)

// Muxer makes the fragments of one feed. It is safe for use by several goroutines.
type Muxer struct {
	feed  *streams.Feed
	cfg   Config
	epoch time.Time

	mu      sync.Mutex
	viewers int
	head    *header
	groups  []*group         // those in use, in the order in which they were begun
	offsets map[uint64]int64 // of each connection: from its clock to ours, ticks
	end     int64            // of the newest fragment, ticks
	serial  uint32
}

// header is what comes before the fragments of one parameter set.
type header struct {
	params  *streams.Parameters
	message []byte // JSON
	init    []byte
}

// group gathers the fragments of one group of pictures.
type group struct {
	id     uint64 // streams.Frame.Group
	first  uint64 // Seq of the first fragment that is kept, at first that of the key frame
	head   *header
	frags  [][]byte
	bytes  int64 // of their frames
	offset int64
	used   time.Time

	last int64 // decoding time of the newest fragment, ticks
	step int64 // distance of the newest two
}

// New gives the muxer of feed.
func New(feed *streams.Feed, cfg Config) *Muxer {
	cfg.setDefaults()
	return &Muxer{feed: feed, cfg: cfg, epoch: time.Now(), offsets: map[uint64]int64{}}
}

// errOutOfOrder asks the viewer to begin again with a key frame.
var errOutOfOrder = errors.New("frame out of order")

// message gives what is sent of f and the header that must come before it.
func (m *Muxer) message(f *streams.Frame) (*header, []byte, error) {
	if f.Params.Codec != streams.MJPEG {
		return m.fragment(f)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.head == nil || !m.head.params.Equal(f.Params) {
		text, err := json.Marshal(live{Mode: "mjpeg", Width: f.Params.Width, Height: f.Params.Height})
		if err != nil {
			return nil, nil, err
		}
		m.head = &header{params: f.Params, message: text}
	}
	return m.head, f.NALUs[0], nil
}

// fragment gives the fragment of f and the header that must come before it.
// Frames of one group are asked for in order, beginning with its key frame.
func (m *Muxer) fragment(f *streams.Frame) (*header, []byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.group(f.Group)
	if g == nil {
		if !f.Key {
			return nil, nil, errOutOfOrder
		}
		var err error
		if g, err = m.begin(f); err != nil {
			return nil, nil, err
		}
	}
	g.used = time.Now()
	i := f.Seq - g.first
	if i < uint64(len(g.frags)) {
		return g.head, g.frags[i], nil
	}
	if i > uint64(len(g.frags)) { // also of what is no longer kept
		return nil, nil, errOutOfOrder
	}
	frag, err := m.build(g, f)
	if err != nil {
		return nil, nil, err
	}
	g.frags = append(g.frags, frag)
	g.bytes += int64(f.Size())
	if g.bytes > m.feed.MostBytes() {
		// The feed keeps no such group either: nobody joins it any more, and who
		// lags behind begins again with the next one.
		g.first, g.frags, g.bytes = f.Seq, [][]byte{frag}, int64(f.Size())
	}
	return g.head, frag, nil
}

func (m *Muxer) group(id uint64) *group {
	for i := len(m.groups) - 1; i >= 0; i-- {
		if m.groups[i].id == id {
			return m.groups[i]
		}
	}
	return nil
}

// begin makes the group of a key frame and forgets those that nobody uses.
func (m *Muxer) begin(key *streams.Frame) (*group, error) {
	if m.head == nil || !m.head.params.Equal(key.Params) {
		h, err := newHeader(key.Params)
		if err != nil {
			return nil, err
		}
		m.head = h
	}
	g := &group{id: key.Group, first: key.Seq, head: m.head, step: usualStep}
	now := time.Now()
	kept := m.groups[:0]
	for _, old := range m.groups {
		if old.first+uint64(len(old.frags)) == key.Seq && old.head == g.head {
			g.step = old.step // it follows without a gap
		}
		if now.Sub(old.used) < keepIdle {
			kept = append(kept, old)
		}
	}
	clear(m.groups[len(kept):])
	kept = append(kept, g)
	m.groups = kept
	offset, known := m.offsets[key.Connection]
	if !known {
		// A new connection's clock begins anew: place its first frame at its
		// arrival, but behind all that was shown.
		offset = max(ticks(key.At.Sub(m.epoch)), m.end+1) - ticks(key.DTS)
		m.offsets[key.Connection] = offset
		for c := range m.offsets {
			if c+4 < key.Connection { // no viewer is that far behind
				delete(m.offsets, c)
			}
		}
	}
	g.offset = offset
	g.last = -1
	return g, nil
}

func ticks(d time.Duration) int64 {
	whole := d / time.Second
	return int64(whole)*timeScale + int64(math.Round((d-whole*time.Second).Seconds()*timeScale))
}

// build makes the fragment of the group's next frame.
func (m *Muxer) build(g *group, f *streams.Frame) ([]byte, error) {
	payload, err := h264.AVCC(f.NALUs).Marshal() // four-byte lengths, as H.265 wants them too
	if err != nil {
		return nil, fmt.Errorf("frame %d: %w", f.Seq, err)
	}
	decoded, shown := max(ticks(f.DTS)+g.offset, 0), ticks(f.PTS)+g.offset
	if g.last >= 0 {
		decoded = max(decoded, g.last+1)
		g.step = min(decoded-g.last, mostStep)
	}
	g.last = decoded
	m.end = max(m.end, decoded+g.step, shown)
	m.serial++
	var out seekablebuffer.Buffer
	err = fmp4.Part{SequenceNumber: m.serial, Tracks: []*fmp4.PartTrack{{
		ID: trackID, BaseTime: uint64(decoded), //nolint:gosec // not negative
		Samples: []*fmp4.Sample{{
			// The next frame is not here yet: its distance is guessed from the
			// last one, and its own base time corrects the guess.
			Duration:        uint32(g.step),                                      //nolint:gosec // at most mostStep
			PTSOffset:       int32(min(max(shown-decoded, -mostStep), mostStep)), //nolint:gosec // bounded
			IsNonSyncSample: !f.Key,
			Payload:         payload,
		}},
	}}}.Marshal(&out)
	if err != nil {
		return nil, fmt.Errorf("frame %d: %w", f.Seq, err)
	}
	return out.Bytes(), nil
}

func newHeader(p *streams.Parameters) (*header, error) {
	h := &header{params: p}
	var codec codecs.Codec = &codecs.H264{SPS: p.SPS, PPS: p.PPS}
	if p.Codec == streams.H265 {
		codec = &codecs.H265{VPS: p.VPS, SPS: p.SPS, PPS: p.PPS}
	}
	var out seekablebuffer.Buffer
	err := fmp4.Init{Tracks: []*fmp4.InitTrack{{ID: trackID, TimeScale: timeScale, Codec: codec}}}.Marshal(&out)
	if err != nil {
		return nil, fmt.Errorf("initialisation segment: %w", err)
	}
	h.init = out.Bytes()
	h.message, err = json.Marshal(live{Mode: "live", Codec: CodecString(p), Width: p.Width, Height: p.Height})
	return h, err
}

func (m *Muxer) join() {
	m.mu.Lock()
	m.viewers++
	m.mu.Unlock()
}

// leave forgets all fragments with the last viewer.
func (m *Muxer) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.viewers--
	if m.viewers == 0 {
		m.groups = nil
	}
}

// Viewers is how many watch.
func (m *Muxer) Viewers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.viewers
}
