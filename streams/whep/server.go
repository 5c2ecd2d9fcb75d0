// Package whep serves live pictures by WebRTC to viewers who want them with the
// least delay, in the form of WHEP (draft-ietf-wish-whep): an SDP offer is
// answered with an SDP answer, and the pictures follow by SRTP.
//
// All sessions share one UDP port and one TCP port (ICE-TCP, RFC 6544). The
// gateway is an ICE-lite agent (RFC 8445, 2.5): it names the addresses it
// listens on, asks no STUN server, and sends nothing to an address that an offer
// names before that has shown its session's password. So an offer cannot make it
// knock anywhere, and candidates that trickle in later tell it nothing it needs.
//
// A frame is cut into packets once per feed (see [Track]); of what a viewer gets
// only the RTP header and the encryption are its own. RTP: one H.264 (RFC 6184,
// packetization mode 1) or H.265 (RFC 7798) stream of 90 kHz, parameter sets
// before each key frame, packets of at most 1,200 bytes, lost ones sent again on
// a NACK.
//
// A viewer that joins, or asks for a key frame (PLI, FIR), gets the current
// group of pictures whole and at once, its time stamps pressed together so that
// the player does not play it but catches up. A viewer that cannot keep up
// loses whole groups: over TCP because the feed's reader skips, over UDP because
// the session rests from one key frame to a later one when reports tell of loss.
package whep

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
)

// Times of a session.
const (
	firstFrame = 8 * time.Second        // that a camera which rested is waited for
	lookEach   = 250 * time.Millisecond // at whether it has failed
	joinWithin = 15 * time.Second       // from the answer to the encrypted connection
	silence    = 10 * time.Second       // of the viewer's consent checks, until it is gone
	rightsEach = 15 * time.Second       // that the viewer's rights are looked at
	tcpStall   = 5 * time.Second        // that a packet may wait for a TCP viewer
)

// mostConnections bounds the connections of the TCP port.
const mostConnections = 1024

// Server holds the sessions of all cameras.
type Server struct {
	cfg  Config
	join time.Duration // from the answer to the encrypted connection
	log  *slog.Logger

	mu       sync.Mutex
	now      *running // nil while it does not run
	sessions map[string]*session
	places   int // taken: sessions, and offers under way
}

// New makes a Server. Nothing is listened to before Run.
func New(cfg Config, log *slog.Logger) *Server {
	cfg.setDefaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg: cfg, join: joinWithin, log: log, sessions: map[string]*session{}}
}

// Addresses says where a running Server listens; what it does not is empty.
type Addresses struct{ UDP, TCP string }

// Run listens, calls ready (which may be nil), and holds the sessions until ctx
// ends. It returns when all have ended and told so.
func (s *Server) Run(ctx context.Context, ready func(Addresses)) error {
	engine, at, closers, err := s.listen(ctx)
	defer func() {
		for _, c := range slices.Backward(closers) {
			_ = c.Close()
		}
	}()
	if err != nil {
		return err
	}
	now := &running{engine: engine, admit: make(chan *session), over: ctx.Done()}
	s.set(now)
	if ready != nil {
		ready(at)
	}
	var g errgroup.Group
	defer func() { _ = g.Wait() }()
	defer s.set(nil)
	for {
		select {
		case sn := <-now.admit:
			g.Go(func() error {
				s.serve(ctx, sn)
				return nil
			})
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// running is what a running Server's sessions share.
type running struct {
	engine *webrtc.SettingEngine
	admit  chan *session   // to Run
	over   <-chan struct{} // closed when no more are taken
}

// set lets sessions begin, or no more.
func (s *Server) set(now *running) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
}

// listen opens the ports and makes what the sessions share.
func (s *Server) listen(ctx context.Context) (engine *webrtc.SettingEngine, at Addresses, closers []io.Closer, err error) {
	quiet := &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
	engine = &webrtc.SettingEngine{LoggerFactory: quiet}
	engine.SetLite(true)
	engine.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	engine.SetICETimeouts(silence/2, silence/2, time.Second)
	engine.SetIncludeLoopbackCandidate(true)
	engine.DisableActiveTCP(true)
	var networks []webrtc.NetworkType
	if s.cfg.UDP != "" {
		conn, err := new(net.ListenConfig).ListenPacket(ctx, "udp", s.cfg.UDP)
		if err != nil {
			return nil, at, closers, notListening("video.webrtc.udp", s.cfg.UDP, err)
		}
		mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: conn, Logger: quiet.NewLogger("ice")})
		closers = append(closers, conn, mux)
		engine.SetICEUDPMux(mux)
		networks = append(networks, webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6)
		at.UDP = conn.LocalAddr().String()
	}
	if s.cfg.TCP != "" {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.TCP)
		if err != nil {
			return nil, at, closers, notListening("video.webrtc.tcp", s.cfg.TCP, err)
		}
		mux := ice.NewTCPMuxDefault(ice.TCPMuxParams{
			Listener: netutil.LimitListener(patient{listener}, mostConnections), Logger: quiet.NewLogger("ice"), ReadBufferSize: 32,
			FirstStunBindTimeout: tcpStall, AliveDurationForConnFromStun: tcpStall,
		})
		closers = append(closers, mux)
		engine.SetICETCPMux(mux)
		networks = append(networks, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6)
		at.TCP = listener.Addr().String()
	}
	engine.SetNetworkTypes(networks)
	engine.SetIPFilter(s.named)
	if public := s.cfg.public(); len(public) > 0 {
		err = engine.SetICEAddressRewriteRules(webrtc.ICEAddressRewriteRule{
			External: public, AsCandidateType: webrtc.ICECandidateTypeHost, Mode: webrtc.ICEAddressRewriteAppend,
		})
	}
	return engine, at, closers, err
}

// named says whether an address of this machine is told to viewers: loopback
// only where nothing else is listened on.
func (s *Server) named(ip net.IP) bool {
	for _, address := range []string{s.cfg.UDP, s.cfg.TCP} {
		host, _, _ := net.SplitHostPort(address)
		if listens := net.ParseIP(host); listens != nil && listens.IsLoopback() {
			return true
		}
	}
	return !ip.IsLoopback()
}

func notListening(field, address string, err error) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "webrtc_not_listening", Field: field, Cause: err,
		ZH: fmt.Sprintf("WebRTC 无法监听 %s，可能已被占用；请更换 %s", address, field),
		EN: fmt.Sprintf("WebRTC cannot listen on %s, it may be in use; choose another %s", address, field),
	}
}

// patient accepts connections whose writes end in time and whose buffers are
// small: what waits in the kernel is lag that nobody can skip.
type patient struct{ net.Listener }

const tcpBuffer = 128 << 10

func (l patient) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if c, ok := conn.(*net.TCPConn); ok {
		_ = c.SetWriteBuffer(tcpBuffer)
	}
	return impatientConn{conn}, nil
}

// impatientConn gives up a write that waits too long.
type impatientConn struct{ net.Conn }

func (c impatientConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(tcpStall)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if err != nil {
		_ = c.Close() // half a packet may be out: nothing sensible can follow
	}
	return n, err
}

// Viewing is what a viewer asks for.
type Viewing struct {
	Track *Track
	Offer string      // SDP
	Holds func() bool // whether the viewer may still watch; nil: always
	Ended func(End)   // called once, when a session that was answered has ended; nil: nobody asks
}

// End tells how a session went.
type End struct {
	Why    error         // ErrLeft, ErrRights, streams.ErrClosed …
	Took   time.Duration // since the answer
	Bytes  int64         // of pictures that were sent, RTP headers included
	Frames int64         // that were sent
	Lost   int64         // that were left out because the line is slow
}

// Why a session ends, besides what a feed tells.
var (
	ErrLeft   = errors.New("the viewer left")
	ErrRights = errors.New("the viewer's right ended")
	ErrAbsent = errors.New("the viewer did not connect")
	ErrGone   = errors.New("the viewer's checks ceased")
)

// Answer is the gateway's half of a session.
type Answer struct {
	ID  string // of the session: a secret between gateway and viewer
	SDP string
}

// Open answers an offer; the session then lives by itself until the viewer
// leaves, the viewer's right or the feed ends, or Run does. A camera that rested
// is waited for. The error is a Problem: of kind ErrInvalid for an offer that
// cannot be read, ErrConflict where the offer has no place for the camera's
// codec, ErrUnavailable without a picture, a place or a running Server.
func (s *Server) Open(ctx context.Context, v Viewing) (Answer, error) {
	now, err := s.reserve(v.Track)
	if err != nil {
		return Answer{}, err
	}
	taken := false
	defer func() {
		if !taken {
			s.free(v.Track)
		}
	}()
	sn, answer, err := negotiate(ctx, now.engine, v)
	if err != nil {
		return Answer{}, err
	}
	s.mu.Lock()
	s.sessions[sn.id] = sn
	s.mu.Unlock()
	select {
	case now.admit <- sn:
		taken = true
		return Answer{ID: sn.id, SDP: answer}, nil
	case <-now.over:
		err = off()
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	s.forget(sn.id)
	sn.reader.Close() // or the camera would be pulled for nobody
	return Answer{}, errors.Join(err, sn.peer.GracefulClose())
}

// reserve takes a place for one more session.
func (s *Server) reserve(t *Track) (*running, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.now == nil || s.cfg.UDP+s.cfg.TCP == "":
		return nil, off()
	case s.places >= s.cfg.Sessions || !t.enter(s.cfg.PerCamera):
		return nil, &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "webrtc_full", ZH: "低延迟观看人数已满；请使用其他播放方式，或稍后再试",
			EN: "as many watch by WebRTC as may; watch another way, or try again later",
		}
	}
	s.places++
	return s.now, nil
}

func off() *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "webrtc_off", ZH: "网关未启用 WebRTC；请使用其他播放方式，或由管理员设置 video.webrtc",
		EN: "the gateway does not serve WebRTC; watch another way, or set video.webrtc",
	}
}

// free gives the place back.
func (s *Server) free(t *Track) {
	t.leave()
	s.mu.Lock()
	s.places--
	s.mu.Unlock()
}

func (s *Server) forget(id string) {
	s.mu.Lock()
	delete(s.sessions, id)
	s.mu.Unlock()
}

// serve holds a session to its end.
func (s *Server) serve(ctx context.Context, sn *session) {
	err := sn.run(ctx, s.join)
	s.forget(sn.id)
	s.free(sn.track)
	end := sn.end(err)
	s.log.DebugContext(ctx, "viewer left", "err", err, "took", end.Took)
	if sn.ended != nil {
		sn.ended(end)
	}
}

// EndAll ends every session for this reason.
func (s *Server) EndAll(why error) {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.sessions))
	s.mu.Unlock()
	for _, sn := range all {
		sn.leave(why)
	}
}

// Close ends a session as its viewer asks; ErrNotFound if there is none of this id.
func (s *Server) Close(id string) error {
	sn, err := s.session(id)
	if err != nil {
		return err
	}
	sn.leave(ErrLeft)
	return nil
}

// Trickle takes what the viewer has to add to its offer (RFC 8840). Addresses
// are not needed, and a restart, which has other credentials, is refused.
func (s *Server) Trickle(id, fragment string) error {
	sn, err := s.session(id)
	if err != nil {
		return err
	}
	for l := range strings.Lines(fragment) {
		if ufrag, ok := strings.CutPrefix(strings.TrimSpace(l), "a=ice-ufrag:"); ok && ufrag != sn.ufrag {
			return &devices.Problem{Kind: devices.ErrConflict, Code: "ice_restart", ZH: "不支持 ICE 重启，请重新打开", EN: "ICE is not restarted here; open a new session"}
		}
	}
	return nil
}

func (s *Server) session(id string) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sn := s.sessions[id]; sn != nil {
		return sn, nil
	}
	return nil, &devices.Problem{Kind: devices.ErrNotFound, Code: "no_session", ZH: "会话已结束，请重新打开", EN: "this session is over; open the camera again"}
}

// Sessions is how many there are.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
