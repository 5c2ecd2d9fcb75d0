package rtsp

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph265"
	"github.com/pion/rtp"

	"offsite/streams"
)

var (
	errNoVideo = errors.New("no H.264 or H.265 track")
	errStalled = errors.New("no picture came")
)

// clockRate of H.264 and H.265 over RTP, in Hz.
const clockRate = 90000

// puller is one connection. Its packet callbacks run on gortsplib's one reader
// goroutine; only last is shared.
type puller struct {
	client *gortsplib.Client
	feed   *streams.Feed
	log    *slog.Logger

	media  *description.Media
	format format.Format
	codec  streams.Codec
	decode func(*rtp.Packet) ([][]byte, error)
	fresh  func() error // makes a new decode, forgetting what it has gathered
	units  *streams.Assembler
	pts    time.Duration // of the newest packet
	timed  bool          // pts is known
	gap    bool          // packets were lost; what was gathered is not whole

	began time.Time    // of playing; durations since it do not follow the wall clock's jumps
	last  atomic.Int64 // of the newest frame, nanoseconds since began
}

// choose takes the first H.264 track, else the first H.265 track.
func (p *puller) choose(session *description.Session) error {
	var h264 *format.H264
	if m := session.FindFormat(&h264); m != nil {
		p.media, p.format, p.codec = m, h264, streams.H264
		sps, pps := h264.SafeParams()
		p.units = streams.NewAssembler(streams.H264, nil, sps, pps)
		p.fresh = func() error {
			d, err := h264.CreateDecoder()
			if err == nil {
				p.decode = gatherH264(d)
			}
			return err
		}
		return p.fresh()
	}
	var h265 *format.H265
	if m := session.FindFormat(&h265); m != nil {
		p.media, p.format, p.codec = m, h265, streams.H265
		vps, sps, pps := h265.SafeParams()
		p.units = streams.NewAssembler(streams.H265, vps, sps, pps)
		p.fresh = func() error {
			d, err := h265.CreateDecoder()
			if err == nil {
				p.decode = gatherH265(d)
			}
			return err
		}
		return p.fresh()
	}
	return errNoVideo
}

// errMore means that the access unit is not complete yet.
var errMore = errors.New("more packets needed")

func gatherH264(d *rtph264.Decoder) func(*rtp.Packet) ([][]byte, error) {
	return func(pkt *rtp.Packet) ([][]byte, error) {
		units, err := d.Decode(pkt)
		if errors.Is(err, rtph264.ErrMorePacketsNeeded) || errors.Is(err, rtph264.ErrNonStartingPacketAndNoPrevious) {
			err = errMore
		}
		return units, err
	}
}

func gatherH265(d *rtph265.Decoder) func(*rtp.Packet) ([][]byte, error) {
	return func(pkt *rtp.Packet) ([][]byte, error) {
		units, err := d.Decode(pkt)
		if errors.Is(err, rtph265.ErrMorePacketsNeeded) || errors.Is(err, rtph265.ErrNonStartingPacketAndNoPrevious) {
			err = errMore
		}
		return units, err
	}
}

// packet takes one RTP packet in order.
func (p *puller) packet(pkt *rtp.Packet) {
	if p.gap {
		// What was gathered before the gap may lack its end, and what comes may
		// lack its beginning: the assembler refuses a unit without its first
		// slice, so that a picture with a hole is never published.
		p.gap = false
		if err := p.fresh(); err != nil {
			return
		}
	}
	before, known := p.pts, p.timed
	if pts, ok := p.client.PacketPTS2(p.media, pkt); ok { // begins with a packet of a key frame
		p.pts, p.timed = time.Duration(pts)*time.Second/clockRate, true
	}
	units, err := p.decode(pkt)
	if errors.Is(err, errMore) {
		return
	}
	if err != nil {
		p.feed.Damaged(1)
		p.log.Debug("access unit dropped", "err", err)
		return
	}
	pts, timed := p.pts, p.timed
	if !pkt.Marker { // the camera sets no marks: pkt begins the unit after this one
		pts, timed = before, known
	}
	now := time.Now()
	frame, err := p.units.Frame(units, pts, now)
	if err != nil {
		p.feed.Damaged(1)
		p.log.Debug("access unit dropped", "err", err)
		return
	}
	if frame != nil && timed {
		p.last.Store(int64(now.Sub(p.began)))
		p.feed.Publish(frame)
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

// watch returns errStalled once no frame has come for the time of stall.
func (p *puller) watch(ctx context.Context, stall time.Duration) error {
	for {
		silent := time.Since(p.began) - time.Duration(p.last.Load())
		if silent >= stall {
			return errStalled
		}
		timer := time.NewTimer(stall - silent)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// wideConn reads a camera's burst with one system call: gortsplib's own buffer
// holds less than three packets.
type wideConn struct {
	net.Conn
	r *bufio.Reader
}

const wideBuffer = 64 << 10

func newWideConn(c net.Conn) net.Conn {
	return &wideConn{Conn: c, r: bufio.NewReaderSize(c, wideBuffer)}
}

func (c *wideConn) Read(b []byte) (int, error) { return c.r.Read(b) }
