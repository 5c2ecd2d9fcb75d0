package whep

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/streams"
)

// session is one viewer.
type session struct {
	id     string
	ufrag  string // of the viewer
	track  *Track
	peer   *webrtc.PeerConnection
	sender *webrtc.RTPSender
	line   *line
	params *streams.Parameters // that were negotiated
	holds  func() bool
	ended  func(End)
	began  time.Time

	changes chan webrtc.PeerConnectionState // has room for one, the newest
	left    chan error                      // asks for the end; has room for one
	keys    chan struct{}                   // a key frame is asked for; has room for one
	loss    chan float64                    // share of packets that were lost lately; has room for one
	reader  *streams.Reader                 // until the sending begins: the demand for the feed
	bytes   atomic.Int64
	frames  atomic.Int64
	lost    atomic.Int64
}

// negotiate answers the offer of v by a session that does not run yet.
func negotiate(ctx context.Context, engine *webrtc.SettingEngine, v Viewing) (_ *session, answer string, err error) {
	reader := v.Track.feed.Subscribe()
	defer func() {
		if err != nil {
			reader.Close()
		}
	}()
	first, err := await(ctx, v.Track.feed, reader)
	if err != nil {
		return nil, "", err
	}
	if reorders(v.Track.feed.Group()) {
		return nil, "", reordered()
	}
	codec, err := choose(v.Offer, first.Params)
	if err != nil {
		return nil, "", err
	}
	sn := &session{
		id: newID(), track: v.Track, line: &line{}, params: first.Params, holds: v.Holds, ended: v.Ended, began: time.Now(), reader: reader,
		changes: make(chan webrtc.PeerConnectionState, 1), left: make(chan error, 1), keys: make(chan struct{}, 1), loss: make(chan float64, 1),
	}
	sn.ufrag = ufragOf(v.Offer)
	if sn.peer, err = newPeer(engine, codec); err != nil {
		return nil, "", err
	}
	sn.line.codec = codec
	if answer, err = sn.answer(ctx, v.Offer); err != nil {
		return nil, "", errors.Join(err, sn.peer.GracefulClose())
	}
	return sn, answer, nil
}

// await waits for a frame of the feed; without one the Problem says why.
func await(ctx context.Context, feed *streams.Feed, r *streams.Reader) (*streams.Frame, error) {
	limited, cancel := context.WithTimeout(ctx, firstFrame)
	defer cancel()
	for {
		if st := feed.State(); st.Problem != nil && !st.Connected {
			return nil, unavailable(st.Problem)
		}
		short, stop := context.WithTimeout(limited, lookEach)
		f, err := r.Next(short)
		stop()
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, streams.ErrClosed):
			return nil, &devices.Problem{Kind: devices.ErrNotFound, Code: "camera_retired", ZH: "摄像机已停用", EN: "the camera is retired"}
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case limited.Err() != nil:
			return nil, &devices.Problem{
				Kind: devices.ErrUnavailable, Code: "camera_connecting", ZH: "摄像机尚无画面，请稍后再试", EN: "the camera gives no picture yet; try again shortly",
			}
		}
	}
}

// unavailable gives the reason the kind that HTTP knows.
func unavailable(p *devices.Problem) *devices.Problem {
	why := *p
	why.Kind = devices.ErrUnavailable
	return &why
}

// reorders says whether pictures are shown in another order than they come.
func reorders(group []*streams.Frame) bool {
	for _, f := range group {
		if f.PTS != f.DTS {
			return true
		}
	}
	return false
}

// reordered is why such a camera is watched another way: WebRTC shows pictures
// as they come.
func reordered() *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrConflict, Code: "b_frames", ZH: "摄像机使用 B 帧，WebRTC 不能播放；请使用其他播放方式，或在摄像机上关闭 B 帧",
		EN: "the camera sends B-frames, which WebRTC does not play; watch another way, or turn them off in the camera",
	}
}

// newPeer makes the connection, which knows one codec.
func newPeer(engine *webrtc.SettingEngine, codec webrtc.RTPCodecParameters) (*webrtc.PeerConnection, error) {
	media := &webrtc.MediaEngine{}
	if err := media.RegisterCodec(codec, webrtc.RTPCodecTypeVideo); err != nil {
		return nil, fmt.Errorf("codec: %w", err)
	}
	repeats, err := nack.NewResponderInterceptor(nack.ResponderSize(mostRepeats), nack.DisableCopy())
	if err != nil {
		return nil, err
	}
	reports, err := report.NewSenderInterceptor()
	if err != nil {
		return nil, err
	}
	registry := &interceptor.Registry{}
	registry.Add(repeats)
	registry.Add(reports)
	api := webrtc.NewAPI(webrtc.WithSettingEngine(*engine), webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry))
	return api.NewPeerConnection(webrtc.Configuration{})
}

// mostRepeats is how many packets back a lost one is sent again: two seconds of
// 5 Mbit/s. Their payloads are those of the track, not copies.
const mostRepeats = 1024

// answer negotiates. All addresses are known at once, so that the answer holds
// them and nothing trickles.
func (s *session) answer(ctx context.Context, offer string) (string, error) {
	s.peer.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		select {
		case <-s.changes:
		default:
		}
		select {
		case s.changes <- state:
		default:
		}
	})
	var err error
	if s.sender, err = s.peer.AddTrack(s.line); err != nil {
		return "", fmt.Errorf("track: %w", err)
	}
	if err := s.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", badOffer("无法据此建立连接", "no connection comes of it: "+err.Error())
	}
	local, err := s.peer.CreateAnswer(nil)
	if err != nil {
		return "", badOffer("无法据此建立连接", "no connection comes of it: "+err.Error())
	}
	complete := webrtc.GatheringCompletePromise(s.peer)
	if err := s.peer.SetLocalDescription(local); err != nil {
		return "", badOffer("无法据此建立连接", "no connection comes of it: "+err.Error())
	}
	select {
	case <-complete:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	return s.peer.LocalDescription().SDP, nil
}

// run holds the session, which must be joined in time, to its end and closes it;
// the error says why it ended.
func (s *session) run(ctx context.Context, join time.Duration) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		<-ctx.Done()
		return s.peer.GracefulClose() // what waits for the viewer ends
	})
	g.Go(func() error { return s.watch(ctx) })
	g.Go(func() error { return s.listen(ctx) })
	joined := make(chan struct{})
	g.Go(func() error { return s.attend(ctx, join, joined) })
	g.Go(func() error {
		defer func() { s.reader.Close() }() // by then another one, perhaps
		select {
		case <-joined:
			return s.send(ctx)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	return g.Wait()
}

// leave asks for the end; the first reason stays.
func (s *session) leave(why error) {
	select {
	case s.left <- why:
	default:
	}
}

// end tells how it went.
func (s *session) end(why error) End {
	return End{Why: why, Took: time.Since(s.began), Bytes: s.bytes.Load(), Frames: s.frames.Load(), Lost: s.lost.Load()}
}

// attend watches the connection come and go, and closes joined when it has come.
func (s *session) attend(ctx context.Context, join time.Duration, joined chan<- struct{}) error {
	absent := time.NewTimer(join)
	defer absent.Stop()
	for {
		select {
		case state := <-s.changes:
			switch state {
			case webrtc.PeerConnectionStateConnected:
				if absent.Stop() {
					close(joined)
				}
			case webrtc.PeerConnectionStateFailed:
				return ErrGone
			case webrtc.PeerConnectionStateClosed:
				return ErrLeft
			}
		case <-absent.C:
			return ErrAbsent
		case why := <-s.left:
			return why
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// watch ends the session with the viewer's right.
func (s *session) watch(ctx context.Context) error {
	again := time.NewTicker(rightsEach)
	defer again.Stop()
	for s.holds == nil || s.holds() {
		select {
		case <-again.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return ErrRights
}

// listen reads what the viewer reports.
func (s *session) listen(ctx context.Context) error {
	for {
		packets, _, err := s.sender.ReadRTCP()
		if err != nil {
			<-ctx.Done() // attend says why
			return context.Cause(ctx)
		}
		for _, p := range packets {
			if wantsKey(p) {
				select {
				case s.keys <- struct{}{}:
				default:
				}
			}
			if r, ok := p.(*rtcp.ReceiverReport); ok && len(r.Reports) > 0 {
				select {
				case s.loss <- float64(r.Reports[0].FractionLost) / 256:
				default:
				}
			}
		}
	}
}

// line is the track as pion binds it to the connection.
type line struct {
	codec  webrtc.RTPCodecParameters
	mu     sync.Mutex
	ssrc   uint32
	pt     uint8
	writer webrtc.TrackLocalWriter
}

// Bind takes the connection's end.
func (l *line) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, codec := range c.CodecParameters() {
		if codec.MimeType == l.codec.MimeType {
			l.ssrc, l.pt, l.writer = uint32(c.SSRC()), uint8(codec.PayloadType), c.WriteStream()
			return codec, nil
		}
	}
	return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
}

// Unbind gives it back.
func (l *line) Unbind(webrtc.TrackLocalContext) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writer = nil
	return nil
}

// ID, RID, StreamID and Kind name the track in the answer.
func (l *line) ID() string                { return "video" }
func (l *line) RID() string               { return "" }
func (l *line) StreamID() string          { return "camera" }
func (l *line) Kind() webrtc.RTPCodecType { return webrtc.RTPCodecTypeVideo }

// write sends one packet. The header is kept for repeats.
func (l *line) write(h *rtp.Header, payload []byte) error {
	l.mu.Lock()
	h.SSRC, h.PayloadType = l.ssrc, l.pt
	w := l.writer
	l.mu.Unlock()
	if w == nil {
		return ErrLeft
	}
	_, err := w.WriteRTP(h, payload)
	return err
}
