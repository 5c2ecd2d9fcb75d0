package rtsp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"golang.org/x/sync/errgroup"

	"offsite/streams"
)

// Past is an interval of what a recorder keeps.
type Past struct {
	From, To time.Time // by the recorder's clock
	Clock    bool      // the recorder is asked for it as the ONVIF Streaming Specification, 6, says; else the address names it
	Bytes    int64     // most that is taken; 512 MiB
}

// Replayed says what came of a Past.
type Replayed struct {
	First, Last time.Time // of the pictures, by the recorder's clock; zero where there was none
	Stamped     bool      // the recorder has told when each picture was taken, else the first is taken for that of Past.From
	Cut         error     // why it ended before its end, a *devices.Problem; nil: it came whole
}

const (
	usualBytes = 512 << 20
	mostLead   = 2 * time.Minute // that the first picture may lie before the interval: its key frame
	mostStray  = 1500            // pictures outside of the interval until the recorder is given up
	breakAfter = 2 * time.Second // between pictures: nothing was recorded there
)

// Replay fetches the pictures of an interval from the recorder at the source's address
// and gives each to take, in the order in which they are decoded, from the key frame
// at or before past.From on. At and Taken are when it was taken by the recorder's clock,
// Connection grows behind each gap, Seq with each picture. It ends with the interval,
// with ctx, with an error of take, or when the recorder sends nothing, too much or
// something else; what came until then stands. The error is a *devices.Problem, that of take, or ctx's
// cause.
func (s *Source) Replay(ctx context.Context, past Past, take func(*streams.Frame) error) (Replayed, error) {
	if past.Bytes <= 0 {
		past.Bytes = usualBytes
	}
	r := &replay{past: past, take: take, over: make(chan error, 1)}
	r.client = s.replayClient(r)
	err := r.fetch(ctx, s)
	switch {
	case errors.Is(err, errWhole):
		err = nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case r.refused != nil:
		err = r.refused
	case err != nil && r.count > 0:
		r.told.Cut, err = s.explainReplay(err), nil
	case err != nil:
		err = s.explainReplay(err)
	}
	if err == nil && r.count == 0 {
		err = nothingReplayed()
	}
	return r.told, err
}

var (
	errWhole   = errors.New("the interval is over")
	errOutside = errors.New("pictures outside of the interval")
	errMany    = errors.New("more bytes than are taken")
)

// replay is one connection to a recorder. Its packet callbacks run on gortsplib's one
// reader goroutine; fetch reads what they leave once the connection is closed.
type replay struct {
	client *gortsplib.Client
	past   Past
	take   func(*streams.Frame) error
	track  *track

	unit, before moment // of the packet at hand, and that of the one before
	begun        bool   // a packet has come
	stamp        uint32 // of the newest packet
	ticks        int64  // since the first packet, by stamps
	lost         bool   // packets: what was gathered is not whole
	connection   uint64
	last         time.Time // of the newest picture
	bytes        int64
	count, stray int
	told         Replayed
	refused      error // by take

	heard atomic.Int64 // of the newest packet, nanoseconds since began
	began time.Time
	over  chan error // has room for the first reason to end
}

// moment is when a picture was taken.
type moment struct {
	at       time.Time
	stamped  bool
	terminal bool // no picture follows
}

// fetch connects, plays and waits for the end, which TEARDOWN follows.
func (r *replay) fetch(ctx context.Context, s *Source) error {
	if err := r.client.Start2(); err != nil {
		return err
	}
	defer r.client.Close()
	defer context.AfterFunc(ctx, r.client.Close)()
	session, _, err := r.client.Describe(s.url)
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	if r.track, err = find(session, r.gathered); err != nil {
		return err
	}
	if _, err = r.client.Setup(session.BaseURL, r.track.media, 0, 0); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	r.client.OnPacketRTP(r.track.media, r.track.format, r.packet)
	r.client.OnPacketRTCP(r.track.media, r.control)
	r.began = time.Now()
	if _, err := r.client.Play(nil); err != nil {
		return fmt.Errorf("play: %w", err)
	}
	g, watching := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := r.client.Wait(); err != nil {
			return err
		}
		return errEnded
	})
	g.Go(func() error { return r.watch(watching, s.cfg.Stall) })
	defer context.AfterFunc(watching, r.client.Close)()
	return g.Wait()
}

// watch waits for the end of what was asked for, and ends a recorder that has
// fallen silent.
func (r *replay) watch(ctx context.Context, stall time.Duration) error {
	tick := time.NewTicker(stall / 4)
	defer tick.Stop()
	for {
		select {
		case err := <-r.over:
			return err
		case <-tick.C:
			if time.Since(r.began)-time.Duration(r.heard.Load()) >= stall {
				return errStalled
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (r *replay) end(why error) {
	select {
	case r.over <- why:
	default:
	}
}

// replayClient gives gortsplib's client, which asks for a replay over TCP.
func (s *Source) replayClient(r *replay) *gortsplib.Client {
	transport := gortsplib.TransportTCP
	return &gortsplib.Client{
		Scheme: "rtsp", Host: hostPort((*url.URL)(s.url)), Transport: &transport,
		ReadTimeout: s.cfg.Timeout, WriteTimeout: s.cfg.Timeout, UserAgent: "offsite",
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			w, err := s.dial(ctx, network, address, func() {})
			if err != nil {
				return nil, err
			}
			return w, nil
		},
		OnRequest:         r.past.header,
		OnPacketsLost:     func(uint64) { r.lost = true },
		OnDecodeError:     func(error) {},
		OnTransportSwitch: func(error) {},
	}
}

// header asks for the interval, as fast as it comes.
func (p *Past) header(req *base.Request) {
	if !p.Clock || (req.Method != base.Setup && req.Method != base.Play) {
		return
	}
	req.Header["Require"] = base.HeaderValue{"onvif-replay"}
	if req.Method == base.Play {
		const form = "20060102T150405.000Z"
		req.Header["Range"] = base.HeaderValue{"clock=" + p.From.UTC().Format(form) + "-" + p.To.UTC().Format(form)}
		req.Header["Rate-Control"] = base.HeaderValue{"no"}
	}
}

// packet takes one RTP packet in order.
func (r *replay) packet(pkt *rtp.Packet) {
	r.heard.Store(int64(time.Since(r.began)))
	if r.bytes += int64(len(pkt.Payload)); r.bytes > r.past.Bytes {
		r.end(errMany)
		return
	}
	if r.lost {
		r.lost = false
		r.track.lost()
		r.track.gather.Lost()
	}
	r.before = r.unit
	r.time(pkt)
	_ = r.track.gather.Take(unpacked(pkt)) // what is damaged is left out: the next one may be whole
}

// gathered takes an access unit, which without a mark has ended before the packet
// at hand.
func (r *replay) gathered(units [][]byte, stamp uint32) {
	if stamp == r.stamp {
		r.picture(units, r.unit)
	} else {
		r.picture(units, r.before)
	}
}

// time notes when the unit of pkt was taken.
func (r *replay) time(pkt *rtp.Packet) {
	if !r.begun {
		r.begun, r.stamp = true, pkt.Timestamp
	}
	step := int64(int32(pkt.Timestamp - r.stamp)) //nolint:gosec // stamps wrap
	r.stamp = pkt.Timestamp
	r.ticks += step
	at, terminal, stamped := replayTime(pkt)
	switch {
	case stamped:
		r.unit = moment{at: at, stamped: true, terminal: terminal}
	case step != 0 || r.unit.at.IsZero():
		r.unit = moment{at: r.past.From.Add(time.Duration(r.ticks) * time.Second / clockRate)}
	}
}

// picture gives one whole unit to who wants it.
func (r *replay) picture(units [][]byte, m moment) {
	switch {
	case !m.at.Before(r.past.To):
		r.end(errWhole)
		return
	case m.at.Before(r.past.From.Add(-mostLead)), r.count > 0 && m.at.Before(r.last.Add(-mostBack)):
		if r.stray++; r.stray > mostStray {
			r.end(errOutside)
		}
		return
	}
	if r.count == 0 || m.at.Sub(r.last) > breakAfter {
		r.track.gap()
		r.connection++
	}
	// The beginning is zero: recorders begin a new count where they please.
	zero := r.past.From.Add(-mostLead)
	own := make([][]byte, len(units)) // take may keep what it is given
	for i, u := range units {
		own[i] = bytes.Clone(u)
	}
	frame, err := r.track.frame(own, m.at.Sub(zero), m.at)
	if err == nil && frame != nil {
		frame.At, frame.Taken = zero.Add(frame.DTS), m.at
		if m.stamped {
			frame.Source = streams.CameraTime
		}
		r.count++
		frame.Seq, frame.Connection = uint64(r.count), r.connection //nolint:gosec // not negative
		if r.refused = r.take(frame); r.refused != nil {
			r.end(r.refused)
			return
		}
		if r.last = m.at; r.count == 1 {
			r.told.First, r.told.Stamped = m.at, m.stamped
		}
		r.told.Last = m.at
	}
	if m.terminal {
		r.end(errWhole)
	}
}

// control takes an RTCP packet: the recorder says goodbye behind the last picture.
func (r *replay) control(pkt rtcp.Packet) {
	if _, bye := pkt.(*rtcp.Goodbye); bye {
		r.end(errWhole)
	}
}

// replayTime reads the extension of a packet that says when its picture was taken
// (ONVIF Streaming Specification, 6.3).
func replayTime(pkt *rtp.Packet) (at time.Time, terminal, ok bool) {
	const profile, length, epoch, last = 0xABAC, 12, 2208988800, 0x10
	if !pkt.Extension || pkt.ExtensionProfile != profile {
		return at, false, false
	}
	x := pkt.GetExtension(0)
	if len(x) < length {
		return at, false, false
	}
	seconds, fraction := int64(uint32At(x)), uint64(uint32At(x[4:]))
	at = time.Unix(seconds-epoch, int64(fraction*1e9>>32)).UTC() //nolint:gosec // less than 1e9
	return at, x[8]&last != 0, at.Year() >= firstYear
}

func uint32At(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
