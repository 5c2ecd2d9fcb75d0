package push

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"golang.org/x/sync/errgroup"

	"offsite/streams"
)

// Config says how receivers are met.
type Config struct {
	// Dial opens the connection of HTTP; whoever bounds the reachable hosts gives
	// it. It defaults to net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Allow gives what says whether pictures may go to an address that the
	// receiver named. It defaults to every address.
	Allow   func(ctx context.Context, receiver *url.URL) func(netip.Addr) bool
	TLS     *tls.Config   // nil: the system's authorities
	Timeout time.Duration // for each answer by HTTP, and for the encrypted connection; 10 s
	Silence time.Duration // without a sign of life until the receiver is gone; 10 s
	Log     *slog.Logger
}

func (c *Config) setDefaults() {
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Allow == nil {
		c.Allow = func(context.Context, *url.URL) func(netip.Addr) bool { return func(netip.Addr) bool { return true } }
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Silence <= 0 {
		c.Silence = 10 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

const (
	// mostPayload is what a packet carries: with the RTP header (12) and what the
	// encryption adds (16) it stays within 1,200 bytes, which pass every network.
	mostPayload = 1200 - 12 - 16
	// mostRepeats is how many packets back a lost one is sent again.
	mostRepeats = 1024
	keyPause    = 2 * time.Second // between two groups that are sent again
	byeWithin   = 3 * time.Second // for the DELETE

	paceRate = 4 << 20 // bytes a second, of a group that is caught up and of a large picture
)

// Publish sends the pictures of from, which are coded as params say, to a
// receiver until ctx or from ends, or the receiver goes. It returns ctx's cause,
// from's error, or a Problem.
func Publish(ctx context.Context, to streams.Receiver, params *streams.Parameters, from streams.Publication, cfg Config) error {
	cfg.setDefaults()
	codec, err := codecOf(params)
	if err != nil {
		return err
	}
	client, done := httpClient(cfg)
	defer done()
	s := &session{
		cfg: cfg, to: to, from: from, params: params, http: client, may: cfg.Allow(ctx, to.URL),
		joined: make(chan struct{}), gone: make(chan error, 1), again: make(chan struct{}, 1),
	}
	quiet := &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
	mux, closes, err := listen(ctx, s.may, quiet)
	if err != nil {
		return lost(err)
	}
	defer func() { _ = closes() }()
	engine := webrtc.SettingEngine{LoggerFactory: quiet}
	engine.SetICEUDPMux(mux)
	if err := s.open(codec, engine); err != nil {
		return lost(err)
	}
	err = s.run(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// session is one publication.
type session struct {
	cfg    Config
	to     streams.Receiver
	from   streams.Publication
	params *streams.Parameters
	http   *http.Client
	may    func(netip.Addr) bool // pictures go to such an address
	peer   *webrtc.PeerConnection
	track  *webrtc.TrackLocalStaticRTP
	sender *webrtc.RTPSender

	joined chan struct{} // closed when the encrypted connection stands
	gone   chan error    // has room for the reason
	again  chan struct{} // a key frame is asked for; has room for one
}

// open makes the connection, which knows one codec.
func (s *session) open(codec webrtc.RTPCodecParameters, engine webrtc.SettingEngine) (err error) {
	media := &webrtc.MediaEngine{}
	if err := media.RegisterCodec(codec, webrtc.RTPCodecTypeVideo); err != nil {
		return err
	}
	registry := &interceptor.Registry{}
	repeats, err := nack.NewResponderInterceptor(nack.ResponderSize(mostRepeats))
	if err != nil {
		return err
	}
	reports, err := report.NewSenderInterceptor()
	if err != nil {
		return err
	}
	registry.Add(repeats)
	registry.Add(reports)
	engine.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	engine.SetICETimeouts(s.cfg.Silence/2, s.cfg.Silence/2, 2*time.Second)
	engine.SetIncludeLoopbackCandidate(true) // a receiver on this machine is reached by it alone
	engine.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6})
	api := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(engine))
	if s.peer, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		return err
	}
	s.watchState()
	if s.track, err = webrtc.NewTrackLocalStaticRTP(codec.RTPCodecCapability, "video", "camera"); err == nil {
		var way *webrtc.RTPTransceiver
		way, err = s.peer.AddTransceiverFromTrack(s.track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err == nil {
			s.sender = way.Sender()
		}
	}
	if err != nil {
		return errors.Join(err, s.peer.GracefulClose())
	}
	return nil
}

// watchState tells when the connection stands, and when it is over.
func (s *session) watchState() {
	joined := false
	s.peer.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			if !joined {
				joined = true
				close(s.joined)
			}
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			select {
			case s.gone <- errors.New("connection " + state.String()):
			default:
			}
		}
	})
}

// run negotiates and sends to the end, and then says goodbye.
func (s *session) run(ctx context.Context) error {
	resource, err := s.negotiate(ctx)
	defer func() { s.bye(ctx, resource) }()
	if err != nil {
		return errors.Join(err, s.peer.GracefulClose())
	}
	g, running := errgroup.WithContext(ctx)
	g.Go(func() error {
		<-running.Done()
		return s.peer.GracefulClose() // what waits for the receiver ends
	})
	g.Go(func() error { return s.listen(running) })
	g.Go(func() error {
		if err := s.await(running); err != nil {
			return err
		}
		return s.send(running)
	})
	g.Go(func() error {
		select {
		case err := <-s.gone:
			return lost(err)
		case <-running.Done():
			return context.Cause(running)
		}
	})
	return g.Wait()
}

// await waits for the encrypted connection.
func (s *session) await(ctx context.Context) error {
	late := time.NewTimer(s.cfg.Timeout)
	defer late.Stop()
	select {
	case <-s.joined:
		return nil
	case <-late.C:
		return noWay(s.to.URL.Host)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// listen reads what the receiver reports.
func (s *session) listen(ctx context.Context) error {
	for {
		packets, _, err := s.sender.ReadRTCP()
		if err != nil {
			<-ctx.Done() // another says why
			return context.Cause(ctx)
		}
		for _, p := range packets {
			switch p.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				select {
				case s.again <- struct{}{}:
				default:
				}
			}
		}
	}
}

// send sends frames until ctx or the publication ends.
func (s *session) send(ctx context.Context) error {
	clock := streams.NewRTPClock()
	var sequence uint16
	pace := streams.NewPace(paceRate)
	asked := time.Now()
	for {
		if time.Since(asked) > keyPause {
			select {
			case <-s.again:
				asked = time.Now()
				s.from.Again()
			default:
			}
		}
		f, late, err := s.from.Next(ctx)
		switch {
		case err != nil:
			return err
		case f.Params.Codec != s.params.Codec:
			return streams.CodecChanged()
		case f.PTS != f.DTS:
			return reordered()
		}
		stamp := clock.Stamp(f, late, time.Now())
		payloads := f.Packets(mostPayload)
		for i, payload := range payloads {
			h := rtp.Header{Version: 2, SequenceNumber: sequence, Timestamp: stamp, Marker: i == len(payloads)-1}
			sequence++
			// A packet that cannot be sent is one that is lost: the receiver asks for
			// it again, and a connection that is over is told by its state.
			_ = s.track.WriteRTP(&rtp.Packet{Header: h, Payload: payload})
			if err := pace.Sent(ctx, len(payload)); err != nil {
				return err
			}
		}
	}
}
