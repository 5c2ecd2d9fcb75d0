package rtsp

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/rtsp/payload"
	"offsite/streams/rtsp/wire"
)

var (
	errNoVideo = errors.New("no video track that is understood")
	errStalled = errors.New("no picture came")
	errForeign = errors.New("of another payload type or source")
)

// clockRate of video over RTP, in Hz.
const clockRate = 90000

// puller is one connection. Its packets come on one goroutine of gortsplib's;
// only last, lastKey and report are shared.
type puller struct {
	client *gortsplib.Client
	wire   *wire.Conn
	feed   *streams.Feed
	cfg    Config
	log    *slog.Logger
	track  *track

	begun    bool // a packet has come
	source   uint32
	other    successor      // of source, perhaps
	rootless bool           // no key frame has come since the source is another one
	sequence uint16         // of the next packet
	taken    payload.Packet // over TCP, one in the place of the other: it costs no memory
	arrived  time.Time      // the packet that is taken
	timeline timeline
	stamps   stamps
	clock    clock
	meter    meter
	flood    flood
	told     map[string]bool // warnings, by code; guarded by telling
	telling  sync.Mutex

	began   time.Time    // of playing; durations since it do not follow the wall clock's jumps
	last    atomic.Int64 // of the newest frame, nanoseconds since began
	lastKey atomic.Int64 // of the newest key frame
	report  atomic.Pointer[report]
}

// interleaved takes a packet that came over TCP.
func (p *puller) interleaved(b []byte, at time.Time) {
	var err error
	if p.taken, err = payload.Read(b); err != nil {
		p.dropped(err)
		return
	}
	p.packet(&p.taken, at)
}

// datagram takes a packet that came over UDP, in order.
func (p *puller) datagram(pkt *rtp.Packet) {
	now := time.Now()
	if p.flood.drops(len(pkt.Payload), now, p.cfg.Rate) {
		p.warn(floods(p.cfg.Rate))
		return
	}
	p.packet(unpacked(pkt), now)
}

// packet takes an RTP packet. Those of another kind or source are none of ours, unless
// the source has become another one.
func (p *puller) packet(pkt *payload.Packet, at time.Time) {
	if pkt.Type != p.track.format.PayloadType() || p.begun && pkt.Source != p.source && !p.succeeds(pkt, at) {
		p.dropped(errForeign)
		return
	}
	if p.begun && pkt.Sequence != p.sequence {
		// What was gathered before the gap may lack its end, and what comes may
		// lack its beginning: the assembler refuses a unit without its first
		// slice, so that a picture with a hole is never published.
		p.feed.Damaged(1)
		p.log.Debug("packets lost", "count", pkt.Sequence-p.sequence)
		p.track.lost()
		p.track.gather.Lost()
	}
	p.begun, p.source, p.sequence, p.arrived = true, pkt.Source, pkt.Sequence+1, at
	if err := p.track.gather.Take(pkt); err != nil {
		p.track.lost()
		p.damaged(err)
	}
}

// successor is a source that may have taken the place of ours.
type successor struct {
	source uint32
	next   uint16    // sequence
	since  time.Time // of its first packet in order
}

// succession is how long our source has to be silent, and another one to send without a gap, until that
// takes its place.
const succession = time.Second

// succeeds says whether a packet of another source is ours from now on: a camera whose encoder starts
// anew may go on in the same session with another SSRC (RFC 3550, 8), where numbers and stamps begin
// anew. Only over TCP do such packets come here: over UDP gortsplib drops them, so that the connection stalls and is made anew.
func (p *puller) succeeds(pkt *payload.Packet, at time.Time) bool {
	o := &p.other
	if pkt.Source != o.source || pkt.Sequence != o.next || o.since.IsZero() {
		*o = successor{source: pkt.Source, since: at}
	}
	o.next = pkt.Sequence + 1
	if at.Sub(p.arrived) < succession || at.Sub(o.since) < succession {
		return false
	}
	p.source, p.sequence, p.other, p.rootless = pkt.Source, pkt.Sequence, successor{}, true
	p.timeline = timeline{}
	p.stamps.anew()
	p.report.Store(nil) // of the former source: it says nothing of these stamps
	p.feed.Damaged(1)
	p.track.lost()
	p.track.gather.Lost()
	p.warn(anotherSource())
	return true
}

// gathered makes a frame of an access unit.
func (p *puller) gathered(units [][]byte, stamp uint32) {
	now, leaps := p.arrived, p.stamps.leaps
	frame, err := p.track.frame(units, p.stamps.place(p.timeline.at(stamp), now), now)
	if p.stamps.leaps > leaps {
		p.track.gap() // the distance to what came before says nothing
		p.warn(leapt())
	}
	if err != nil {
		p.damaged(err)
		return
	}
	if frame == nil || p.rootless && !frame.Key { // it depends on what has not come
		return
	}
	p.rootless = false
	p.capture(frame, stamp)
	since := int64(now.Sub(p.began))
	p.last.Store(since)
	if frame.Key {
		p.lastKey.Store(since)
	}
	size := frame.Size()
	p.feed.Publish(frame)
	if p.meter.note(size, now) {
		if p.meter.excess {
			p.warn(muchMoreThanUsual())
		} else {
			p.unwarn(CodeExcess)
		}
	}
}

// capture notes when the picture was taken: when it came, until the camera tells
// by a sender report.
func (p *puller) capture(f *streams.Frame, stamp uint32) {
	f.Taken, f.Source = f.At, streams.ArrivalTime
	r := p.report.Load()
	if r == nil {
		return
	}
	f.Taken, f.Source = r.time(stamp), streams.CameraTime
	if c, news := p.clock.note(f.Taken, f.At); news {
		p.feed.Tick(c)
	}
}

func (p *puller) damaged(err error) {
	p.feed.Damaged(1)
	p.log.Debug("access unit dropped", "err", err)
	if w, ok := errors.AsType[*devices.Problem](err); ok {
		p.warn(w)
	}
}

// control takes an RTCP packet.
func (p *puller) control(pkt rtcp.Packet) {
	if sr, ok := pkt.(*rtcp.SenderReport); ok {
		p.report.Store(newReport(sr))
	}
}

func (p *puller) dropped(err error) {
	p.log.Debug("packet dropped", "err", err)
}

// watch tells when no key frame comes, and returns errStalled once no frame has
// come for the time of stall.
func (p *puller) watch(ctx context.Context) error {
	ticker := time.NewTicker(min(p.cfg.Stall, p.cfg.KeyFrames) / 4)
	defer ticker.Stop()
	missing := false
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		since := time.Since(p.began)
		if since-time.Duration(p.last.Load()) >= p.cfg.Stall {
			return errStalled
		}
		switch key := since - time.Duration(p.lastKey.Load()); {
		case key >= p.cfg.KeyFrames:
			missing = true
			p.warn(noKeyFrame(p.cfg.KeyFrames))
		case missing:
			missing = false
			p.unwarn(CodeNoKey)
		}
	}
}

// flood bounds what is taken of a camera over UDP; over TCP wire does it.
type flood struct {
	second time.Time
	bytes  int64
}

// drops says that a packet of n bytes is beyond rate, in bytes a second.
func (f *flood) drops(n int, now time.Time, rate int64) bool {
	if now.Sub(f.second) >= time.Second {
		f.second, f.bytes = now, 0
	}
	f.bytes += int64(n)
	return f.bytes > rate
}

// warn tells it once, however often it is said.
func (p *puller) warn(w *devices.Problem) {
	p.telling.Lock()
	defer p.telling.Unlock()
	if !p.told[w.Code] {
		p.told[w.Code] = true
		p.feed.Warn(w)
		p.log.Warn("camera is odd", "code", w.Code)
	}
}

func (p *puller) unwarn(code string) {
	p.telling.Lock()
	defer p.telling.Unlock()
	delete(p.told, code)
	p.feed.Unwarn(code)
}
