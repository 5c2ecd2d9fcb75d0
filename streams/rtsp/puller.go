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
)

var (
	errNoVideo = errors.New("no video track that is understood")
	errStalled = errors.New("no picture came")
)

// clockRate of video over RTP, in Hz.
const clockRate = 90000

// puller is one connection. Its packet callbacks run on gortsplib's one reader
// goroutine; only last, lastKey and report are shared.
type puller struct {
	client *gortsplib.Client
	feed   *streams.Feed
	cfg    Config
	log    *slog.Logger
	track  *track

	unit    unit // being gathered
	before  unit // that of the packet before
	gap     bool // packets were lost; what was gathered is not whole
	stamps  stamps
	clock   clock
	meter   meter
	flood   flood
	told    map[string]bool // warnings, by code; guarded by telling
	telling sync.Mutex

	began   time.Time    // of playing; durations since it do not follow the wall clock's jumps
	last    atomic.Int64 // of the newest frame, nanoseconds since began
	lastKey atomic.Int64 // of the newest key frame
	report  atomic.Pointer[report]
}

// unit is when an access unit is to be shown and was captured.
type unit struct {
	pts   time.Duration
	timed bool      // pts is known
	taken time.Time // zero if no sender report has come
}

// packet takes one RTP packet in order.
func (p *puller) packet(pkt *rtp.Packet) {
	now := time.Now()
	if p.flood.drops(len(pkt.Payload), now, p.cfg.Rate) {
		p.gap = true
		p.warn(floods(p.cfg.Rate))
		return
	}
	if p.gap {
		// What was gathered before the gap may lack its end, and what comes may
		// lack its beginning: the assembler refuses a unit without its first
		// slice, so that a picture with a hole is never published.
		p.gap = false
		p.track.gap()
		if err := p.track.fresh(); err != nil {
			return
		}
	}
	p.before = p.unit
	p.time(pkt)
	units, err := p.track.gather(pkt)
	switch {
	case errors.Is(err, errMore):
	case err != nil:
		p.damaged(err)
	case pkt.Marker:
		p.publish(units, p.unit, now)
	default: // the camera sets no marks: pkt begins the unit after this one
		p.publish(units, p.before, now)
	}
}

// time notes when the unit of pkt is to be shown and was captured.
func (p *puller) time(pkt *rtp.Packet) {
	pts, ok := p.client.PacketPTS2(p.track.media, pkt) // begins with a packet of a key frame
	if !ok {
		return
	}
	at := time.Duration(pts/clockRate)*time.Second + time.Duration(pts%clockRate)*time.Second/clockRate
	if p.unit.timed && p.unit.pts == at {
		return
	}
	p.unit = unit{pts: at, timed: true}
	if r := p.report.Load(); r != nil {
		p.unit.taken = r.time(pkt.Timestamp)
	}
}

// publish makes a frame of a whole unit.
func (p *puller) publish(units [][]byte, u unit, now time.Time) {
	if !u.timed {
		return
	}
	leaps := p.stamps.leaps
	frame, err := p.track.frame(units, p.stamps.place(u.pts, now), now)
	if p.stamps.leaps > leaps {
		p.track.gap() // the distance to what came before says nothing
		p.warn(leapt())
	}
	if err != nil {
		p.damaged(err)
		return
	}
	if frame == nil {
		return
	}
	frame.Taken, frame.Source = now, streams.ArrivalTime
	if !u.taken.IsZero() {
		frame.Taken, frame.Source = u.taken, streams.CameraTime
		if c, news := p.clock.note(u.taken, now); news {
			p.feed.Tick(c)
		}
	}
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

func (p *puller) damaged(err error) {
	p.feed.Damaged(1)
	p.log.Debug("access unit dropped", "err", err)
}

// control takes an RTCP packet.
func (p *puller) control(pkt rtcp.Packet) {
	if sr, ok := pkt.(*rtcp.SenderReport); ok {
		p.report.Store(newReport(sr))
	}
}

func (p *puller) packetsLost(n uint64) {
	p.gap = true
	p.feed.Damaged(1)
	p.log.Debug("packets lost", "count", n)
}

func (p *puller) decodeError(err error) {
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
