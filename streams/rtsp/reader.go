package rtsp

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"offsite/devices"
	"offsite/streams"
)

const (
	payloadType = 96
	mostPayload = 1400 // leaves room for what encryption adds
	lateAfter   = 500 * time.Millisecond
)

// reader is another video system that reads one camera.
type reader struct {
	ask    Ask
	visit  Visit
	stream *gortsplib.ServerStream
	media  *description.Media
	log    *slog.Logger
	opened time.Time
	look   time.Duration // between looks at the right
	full   atomic.Bool   // a packet found no room in the queue
	lost   atomic.Uint64

	mu     sync.Mutex
	stop   context.CancelFunc // ends run; nil before it has begun
	closed bool
}

// target reads a path: "/gate" or "/gate/sub".
func target(path string) (camera string, profile devices.Profile) {
	camera = strings.Trim(path, "/")
	if c, ok := strings.CutSuffix(camera, "/sub"); ok {
		return c, devices.SubProfile
	}
	return camera, devices.MainProfile
}

// reader describes the feed of a visit, which it waits for.
func (s *Server) reader(visit Visit, ask Ask) (*reader, error) {
	params, err := await(s.running, visit.Feed)
	if err != nil {
		return nil, err
	}
	var coded format.Format
	switch params.Codec {
	case streams.H264:
		coded = &format.H264{PayloadTyp: payloadType, PacketizationMode: 1, SPS: params.SPS, PPS: params.PPS}
	case streams.H265:
		coded = &format.H265{PayloadTyp: payloadType, VPS: params.VPS, SPS: params.SPS, PPS: params.PPS}
	default:
		return nil, &devices.Problem{Kind: devices.ErrUnavailable, Code: "rtsp_not_possible", ZH: "RTSP 转发不支持此编码", EN: "cameras of this codec are not handed on"}
	}
	r := &reader{ask: ask, visit: visit, log: s.cfg.Log, opened: time.Now(), look: s.cfg.Recheck}
	r.media = &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{coded}}
	r.stream = &gortsplib.ServerStream{Server: s.lib, Desc: &description.Session{Title: ask.Camera, Medias: []*description.Media{r.media}}}
	return r, r.stream.Initialize()
}

// await gives the parameters of a feed that pictures come from.
func await(ctx context.Context, feed *streams.Feed) (*streams.Parameters, error) {
	ctx, cancel := context.WithTimeout(ctx, firstPicture)
	defer cancel()
	r := feed.Subscribe()
	defer r.Close()
	f, err := r.Next(ctx)
	if err == nil {
		return f.Params, nil
	}
	if why := feed.State().Problem; why != nil {
		return nil, why
	}
	return nil, errors.Join(devices.ErrUnavailable, err)
}

// begin gives the context to send pictures in; false the second time.
func (r *reader) begin(ctx context.Context) (context.Context, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil || r.closed {
		return nil, false
	}
	ctx, r.stop = context.WithCancel(ctx)
	return ctx, true
}

func (r *reader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	if r.stop != nil {
		r.stop()
	}
	tally := Tally{Lasted: time.Since(r.opened), Bytes: r.stream.Stats().BytesSent, Lost: r.lost.Load()}
	r.stream.Close()
	r.visit.End(tally)
}

// run sends pictures until ctx ends, the reader's right does, or the camera's
// codec changes.
func (r *reader) run(ctx context.Context) {
	pictures := r.visit.Feed.Subscribe()
	defer pictures.Close()
	s := sender{reader: r, clock: streams.NewRTPClock()}
	for checked := time.Now(); ; {
		f, err := next(ctx, pictures, r.look)
		if ctx.Err() != nil || errors.Is(err, streams.ErrClosed) {
			return
		}
		if now := time.Now(); now.Sub(checked) >= r.look {
			checked = now
			if !r.visit.Holds() {
				return
			}
		}
		if f == nil {
			continue
		}
		if !s.send(f) {
			return
		}
	}
}

// next waits for a picture, at most so long; nil when none has come.
func next(ctx context.Context, pictures *streams.Reader, most time.Duration) (*streams.Frame, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	return pictures.Next(ctx)
}

// sender is the state of one reader's RTP stream (RFC 3550).
type sender struct {
	*reader
	clock    *streams.RTPClock
	sequence uint16
	skipped  uint64 // group whose rest the reader was too slow for
}

// send sends a picture; false when its codec is another one than was described.
func (s *sender) send(f *streams.Frame) bool {
	if f.Group == s.skipped && !f.Key {
		s.lost.Add(1)
		return true
	}
	format := s.media.Formats[0]
	if (f.Params.Codec == streams.H264) != (format.Codec() == "H264") {
		return false
	}
	now := time.Now()
	stamp := s.clock.Stamp(f, now.Sub(f.At) > lateAfter, now)
	taken := f.Taken
	if taken.IsZero() {
		taken = f.At
	}
	payloads := f.Packets(mostPayload)
	for i, p := range payloads {
		s.sequence++
		packet := &rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: payloadType, SequenceNumber: s.sequence, Timestamp: stamp, Marker: i == len(payloads)-1},
			Payload: p,
		}
		err := s.stream.WritePacketRTPWithNTP(s.media, packet, taken)
		if err != nil || s.full.Swap(false) {
			s.log.Debug("reader of RTSP too slow", "camera", s.ask.Camera, "err", err)
			s.skipped = f.Group
			s.lost.Add(1)
			s.sequence++ // tells the reader that something is missing
			return true
		}
	}
	return true
}
