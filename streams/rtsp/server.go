package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/streams"
)

// ErrNoPassword refuses who has shown no password, or a wrong one.
var ErrNoPassword = errors.New("no such user and password")

// Ask is what another video system asks for: rtsp://host/camera, or
// rtsp://host/camera/sub.
type Ask struct {
	User, Password string // of Basic authentication (RFC 7617), empty if none were sent
	From           string // address without its port
	Camera         string
	Profile        devices.Profile
}

// Visit is what an Ask was granted.
type Visit struct {
	Feed  *streams.Feed
	Holds func() bool // asked from time to time: the right may end

	// Begin is called once, before the first picture; leave ends the visit at once.
	Begin func(ctx context.Context, leave func()) error
	End   func(Tally) // called once after Begin
}

// Tally is what a reader has got.
type Tally struct {
	Lasted time.Duration
	Bytes  uint64
	Lost   uint64 // pictures that it was too slow for
}

// desk decides who may see what. Its error, or that of Visit.Begin, is ErrNoPassword,
// or a Problem of kind devices.ErrNotFound for a camera that is not there, or of
// devices.ErrUnavailable for what may be tried later; all others refuse.
type desk interface {
	Admit(ask Ask) (Visit, error)
}

// ServerConfig is how cameras are handed on to other video systems.
type ServerConfig struct {
	UDP  string      // RTP over UDP, an even port "127.0.0.1:8000"; RTCP is on the next one; empty: TCP alone
	TLS  *tls.Config // answer rtsps alone; not with UDP
	Desk desk
	Log  *slog.Logger

	Recheck time.Duration // between looks at a reader's right; 15 s

	// Queue is how many packets of at most 1,472 bytes wait for one reader, a
	// power of two; 2,048. One that is slower loses the rest of its group of pictures.
	Queue int
}

func (c *ServerConfig) setDefaults() {
	if c.Queue <= 0 {
		c.Queue = 2048
	}
	if c.Recheck <= 0 {
		c.Recheck = 15 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// firstPicture is how long a camera is waited for that nobody has watched.
const firstPicture = 8 * time.Second

// Server hands cameras on by RTSP (RFC 2326). Passwords are known here by their
// hash alone, so that it asks for Basic authentication: Digest needs the password itself.
type Server struct {
	cfg ServerConfig
	lib *gortsplib.Server

	readers *errgroup.Group // of Serve
	running context.Context // of readers
}

// NewServer gives a server that does nothing before Serve.
func NewServer(cfg ServerConfig) *Server {
	cfg.setDefaults()
	return &Server{cfg: cfg}
}

// Serve serves whom listener accepts until ctx ends, and closes listener. It
// returns when every reader has left.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	s.readers, s.running = errgroup.WithContext(ctx)
	s.lib = &gortsplib.Server{
		Handler: s, RTSPAddress: listener.Addr().String(), TLSConfig: s.cfg.TLS, WriteQueueSize: s.cfg.Queue,
		AuthMethods: []auth.VerifyMethod{auth.VerifyMethodBasic},
		Listen:      func(string, string) (net.Listener, error) { return listener, nil },
	}
	if s.cfg.UDP != "" {
		host, port, err := net.SplitHostPort(s.cfg.UDP)
		number, bad := strconv.Atoi(port)
		if err := errors.Join(err, bad); err != nil {
			return errors.Join(fmt.Errorf("RTSP over UDP: %w", err), listener.Close())
		}
		s.lib.UDPRTPAddress, s.lib.UDPRTCPAddress = s.cfg.UDP, net.JoinHostPort(host, strconv.Itoa(number+1))
	}
	if err := s.lib.Start(); err != nil {
		return errors.Join(fmt.Errorf("RTSP: %w", err), listener.Close())
	}
	s.readers.Go(func() error {
		<-s.running.Done()
		s.lib.Close()
		return context.Cause(s.running)
	})
	return s.readers.Wait()
}

// admit asks the desk who is there.
func (s *Server) admit(conn *gortsplib.ServerConn, req *base.Request, path string) (Visit, Ask, error) {
	ask := Ask{Profile: devices.MainProfile}
	ask.Camera, ask.Profile = target(path)
	ask.From, _, _ = net.SplitHostPort(conn.NetConn().RemoteAddr().String())
	var h headers.Authorization
	if h.Unmarshal(req.Header["Authorization"]) == nil && h.Method == headers.AuthMethodBasic {
		ask.User, ask.Password = h.Username, h.BasicPass
	}
	visit, err := s.cfg.Desk.Admit(ask)
	return visit, ask, err
}

// refusal turns an error into an answer, whose body is the Problem in words.
func refusal(err error) (*base.Response, error) {
	if errors.Is(err, ErrNoPassword) {
		return &base.Response{StatusCode: base.StatusUnauthorized}, liberrors.ErrServerAuth{}
	}
	answer := &base.Response{StatusCode: base.StatusForbidden}
	switch {
	case errors.Is(err, devices.ErrNotFound):
		answer.StatusCode = base.StatusNotFound
	case errors.Is(err, devices.ErrUnavailable):
		answer.StatusCode = base.StatusServiceUnavailable
	}
	if p := new(devices.Problem); errors.As(err, &p) {
		answer.Header = base.Header{"Content-Type": base.HeaderValue{"text/plain; charset=utf-8"}}
		answer.Body = []byte(p.Bilingual())
	}
	return answer, nil
}

// OnDescribe answers DESCRIBE, as gortsplib asks for it.
func (s *Server) OnDescribe(c *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	visit, ask, err := s.admit(c.Conn, c.Request, c.Path)
	if err == nil {
		var r *reader
		if r, err = s.reader(visit, ask); err == nil {
			// Only its description is wanted: each reader has a stream of its own.
			r.stream.Close()
			return &base.Response{StatusCode: base.StatusOK}, r.stream, nil
		}
	}
	answer, err := refusal(err)
	return answer, nil, err
}

// OnSetup answers SETUP, as gortsplib asks for it.
func (s *Server) OnSetup(c *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if r, ok := c.Session.UserData().(*reader); ok {
		return &base.Response{StatusCode: base.StatusOK}, r.stream, nil
	}
	visit, ask, err := s.admit(c.Conn, c.Request, c.Path)
	if err == nil {
		err = visit.Begin(s.running, c.Session.Close)
	}
	if err == nil {
		var r *reader
		if r, err = s.reader(visit, ask); err == nil {
			c.Session.SetUserData(r)
			return &base.Response{StatusCode: base.StatusOK}, r.stream, nil
		}
		visit.End(Tally{})
	}
	answer, err := refusal(err)
	return answer, nil, err
}

// OnPlay answers PLAY, as gortsplib asks for it.
func (s *Server) OnPlay(c *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	c.Conn.SetUserData(c.Session)
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnResponse begins to send when the answer to PLAY is ready: only then does
// gortsplib take packets.
func (s *Server) OnResponse(conn *gortsplib.ServerConn, _ *base.Response) {
	session, ok := conn.UserData().(*gortsplib.ServerSession)
	if !ok {
		return
	}
	r, ok := session.UserData().(*reader)
	if !ok {
		return
	}
	if ctx, first := r.begin(s.running); first {
		s.readers.Go(func() error {
			defer session.Close()
			r.run(ctx)
			return nil
		})
	}
}

// OnSessionClose ends a reader.
func (s *Server) OnSessionClose(c *gortsplib.ServerHandlerOnSessionCloseCtx) {
	if r, ok := c.Session.UserData().(*reader); ok {
		r.close()
	}
}

// OnStreamWriteError notes that a reader is too slow.
func (s *Server) OnStreamWriteError(c *gortsplib.ServerHandlerOnStreamWriteErrorCtx) {
	if r, ok := c.Session.UserData().(*reader); ok {
		r.full.Store(true)
	}
}
