package whep

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/pion/rtp"

	"offsite/streams"
)

const (
	paceRate  = 8 << 20                // bytes a second, of a group that is caught up and of a large picture
	keyPause  = 500 * time.Millisecond // between two groups that are sent again
	badLoss   = 0.10                   // share of packets from which a line counts as full
	goodLoss  = 0.02
	leastRest = time.Second
	mostRest  = 8 * time.Second
)

// sending is the state of one viewer's stream.
type sending struct {
	*session
	clock    *streams.RTPClock
	sequence uint16
	pace     *streams.Pace
	rest     rest

	until   uint64 // Seq up to which frames are old: the group is being caught up
	begun   bool   // a key frame has been sent
	again   time.Time
	skipped uint64 // Lost of readers that were given up
}

// send sends the feed's frames until ctx or the feed ends.
func (s *session) send(ctx context.Context) error {
	sn := &sending{session: s, sequence: uint16(rand.Uint32()), clock: streams.NewRTPClock(), pace: streams.NewPace(paceRate)} //nolint:gosec // nothing depends on it
	sn.rejoin()
	for {
		sn.heed()
		f, err := s.reader.Next(ctx)
		if err != nil {
			return err
		}
		if err := sn.frame(ctx, f); err != nil {
			return err
		}
		s.lost.Store(int64(sn.skipped+s.reader.Lost()) + sn.rest.left) //nolint:gosec // a count
	}
}

// heed does what the viewer's reports ask for.
func (s *sending) heed() {
	select {
	case <-s.keys:
		if time.Since(s.again) > keyPause {
			s.rejoin()
		}
	default:
	}
	select {
	case share := <-s.loss:
		s.rest.report(share, time.Now())
	default:
	}
}

// rejoin begins again with the current group.
func (s *sending) rejoin() {
	feed := s.track.feed
	old := s.reader
	s.reader = feed.Subscribe()
	s.skipped += old.Lost()
	old.Close()
	s.until, s.begun, s.again = feed.State().Frames, false, time.Now()
}

// frame sends f unless the viewer rests.
func (s *sending) frame(ctx context.Context, f *streams.Frame) error {
	switch {
	case f.Params.Codec != s.params.Codec:
		return notOffered(f.Params.Codec)
	case f.PTS != f.DTS:
		return reordered()
	case s.rest.skips(f):
		return nil
	case !f.Key && !s.begun:
		return nil
	}
	s.begun = true
	now := time.Now()
	stamp := s.clock.Stamp(f, f.Seq < s.until, now)
	payloads := s.track.payloads(f)
	for i, payload := range payloads {
		h := &rtp.Header{Version: 2, SequenceNumber: s.sequence, Timestamp: stamp, Marker: i == len(payloads)-1}
		s.sequence++
		// A packet that cannot be sent is one that is lost: the viewer asks for it
		// again, and a connection that is over is told by its state.
		_ = s.line.write(h, payload)
		s.bytes.Add(int64(len(payload) + h.MarshalSize()))
		if err := s.pace.Sent(ctx, len(payload)); err != nil {
			return err
		}
	}
	s.frames.Add(1)
	return nil
}

// rest keeps a full line free: while it lasts nothing is sent, and then the next
// key frame is waited for. Each report of loss makes it longer, and quiet ones
// shorter again.
type rest struct {
	length time.Duration
	until  time.Time
	on     bool
	left   int64 // frames that were left out
}

// report notes the share of packets that was lost.
func (r *rest) report(share float64, now time.Time) {
	switch {
	case share >= badLoss && !r.on && now.After(r.until.Add(leastRest)):
		// Reports of the first second after a rest speak of before it.
		r.length = min(max(2*r.length, leastRest), mostRest)
		r.until, r.on = now.Add(r.length), true
	case share <= goodLoss && !r.on:
		r.length /= 2
	}
}

// skips says whether f is left out.
func (r *rest) skips(f *streams.Frame) bool {
	if r.on && f.Key && !f.At.Before(r.until) {
		r.on = false
	}
	if r.on {
		r.left++
	}
	return r.on
}
