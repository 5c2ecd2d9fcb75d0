// Package rtsptest is a set of RTSP cameras for tests and simulation: one
// server, one camera a path, each playing a clip in real time for ever, over
// TCP and UDP, with digest or basic authentication. Each camera can be told to
// misbehave as real ones do.
package rtsptest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"golang.org/x/sync/errgroup"
)

// Config describes the cameras.
type Config struct {
	Addr           string      // host:port to listen on; 127.0.0.1:0
	Paths          []string    // one camera each; "cam"
	Clip           *Clip       // what all play at first; Demo
	User, Password string      // asked of every reader when User is not empty
	Basic          bool        // offer basic instead of digest authentication
	SHA256         bool        // offer digest authentication with SHA-256 instead of MD5
	UDP            bool        // offer UDP beside TCP
	TLS            *tls.Config // answer rtsps alone
	Apart          bool        // begin each at another place of the clip, so that not all send their key frames at once
	NoVideo        bool        // offer a sound track only
	Bare           bool        // tell no parameter sets in the description: they come in band alone
}

func (c *Config) setDefaults() {
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if len(c.Paths) == 0 {
		c.Paths = []string{"cam"}
	}
	if c.Clip == nil {
		c.Clip = Demo()
	}
}

// Server is the cameras' common host.
type Server struct {
	cfg      Config
	listener net.Listener
	udp      [2]net.PacketConn // RTP, RTCP
	cameras  map[string]*Camera
	ready    chan struct{} // closed when all cameras can be described
	asked    atomic.Int64
}

// Asked is how many times a password was asked for or refused.
func (s *Server) Asked() int64 { return s.asked.Load() }

// Listen opens the sockets, so that Addr is known; Run serves them.
func Listen(cfg Config) (*Server, error) {
	cfg.setDefaults()
	s := &Server{cfg: cfg, cameras: make(map[string]*Camera, len(cfg.Paths)), ready: make(chan struct{})}
	for i, path := range cfg.Paths {
		first := 0
		if cfg.Apart {
			first = i * (len(cfg.Clip.units)/len(cfg.Paths) + 1) % len(cfg.Clip.units) // the one more keeps them from the same place of their groups
		}
		s.cameras[path] = &Camera{path: path, clip: cfg.Clip, first: first, user: cfg.User, password: cfg.Password, noVideo: cfg.NoVideo, bare: cfg.Bare}
	}
	l, err := net.Listen("tcp", cfg.Addr) //nolint:noctx // ends at once
	if err != nil {
		return nil, fmt.Errorf("camera server: %w", err)
	}
	s.listener = l
	if cfg.UDP {
		s.udp, err = listenPair(l.Addr().(*net.TCPAddr).IP.String())
		if err != nil {
			_ = l.Close()
			return nil, fmt.Errorf("camera server: %w", err)
		}
	}
	return s, nil
}

// listenPair finds an even UDP port whose successor is free too, as RTP wants
// them (RFC 3550, section 11).
func listenPair(host string) ([2]net.PacketConn, error) {
	for range 100 {
		first, err := net.ListenPacket("udp", net.JoinHostPort(host, "0")) //nolint:noctx // ends at once
		if err != nil {
			return [2]net.PacketConn{}, err
		}
		port := first.LocalAddr().(*net.UDPAddr).Port
		if port%2 == 0 {
			second, err := net.ListenPacket("udp", net.JoinHostPort(host, strconv.Itoa(port+1))) //nolint:noctx // ends at once
			if err == nil {
				return [2]net.PacketConn{first, second}, nil
			}
		}
		_ = first.Close()
	}
	return [2]net.PacketConn{}, fmt.Errorf("no pair of UDP ports on %s", host)
}

// Addr is the host:port that is listened on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL is the address of the camera at path.
func (s *Server) URL(path string) string {
	scheme := "rtsp://"
	if s.cfg.TLS != nil {
		scheme = "rtsps://"
	}
	return scheme + s.Addr() + "/" + path
}

// Camera gives the camera at path, nil if there is none.
func (s *Server) Camera(path string) *Camera { return s.cameras[path] }

// Run serves until ctx ends and closes the sockets.
func (s *Server) Run(ctx context.Context) error {
	server := s.server()
	if err := server.Start(); err != nil {
		_ = s.listener.Close()
		for _, c := range s.udp {
			if c != nil {
				_ = c.Close()
			}
		}
		return fmt.Errorf("camera server: %w", err)
	}
	for _, c := range s.cameras {
		if err := c.begin(server); err != nil {
			close(s.ready)
			server.Close()
			return err
		}
	}
	close(s.ready)
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range s.cameras {
		g.Go(func() error { return c.run(ctx, server) })
	}
	g.Go(func() error {
		<-ctx.Done()
		server.Close()
		return context.Cause(ctx)
	})
	return g.Wait()
}

func (s *Server) server() *gortsplib.Server {
	method := auth.VerifyMethodDigestMD5
	switch {
	case s.cfg.Basic:
		method = auth.VerifyMethodBasic
	case s.cfg.SHA256:
		method = auth.VerifyMethodDigestSHA256
	}
	server := &gortsplib.Server{
		RTSPAddress:    s.Addr(),
		TLSConfig:      s.cfg.TLS,
		Handler:        &handler{cameras: s.cameras, ready: s.ready, asked: &s.asked},
		AuthMethods:    []auth.VerifyMethod{method},
		WriteQueueSize: 2048, // a 4K key frame has a thousand packets
		Listen:         func(string, string) (net.Listener, error) { return s.listener, nil },
	}
	if s.cfg.UDP {
		server.UDPRTPAddress = s.udp[0].LocalAddr().String()
		server.UDPRTCPAddress = s.udp[1].LocalAddr().String()
		given := 0
		var mu sync.Mutex
		server.ListenPacket = func(string, string) (net.PacketConn, error) {
			mu.Lock()
			defer mu.Unlock()
			given++
			return s.udp[given-1], nil
		}
	}
	return server
}

// handler answers gortsplib's server.
type handler struct {
	cameras map[string]*Camera
	ready   <-chan struct{}
	asked   *atomic.Int64
}

// open gives the stream that the request asks for, or the refusal.
func (h *handler) open(conn *gortsplib.ServerConn, req *base.Request, path string) (*base.Response, *gortsplib.ServerStream, error) {
	<-h.ready
	c := h.cameras[strings.Trim(path, "/")]
	if c == nil {
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	}
	c.mu.Lock()
	user, password, stream := c.user, c.password, c.stream
	c.mu.Unlock()
	if user != "" && !conn.VerifyCredentials(req, user, password) {
		h.asked.Add(1)
		return &base.Response{StatusCode: base.StatusUnauthorized}, nil, liberrors.ErrServerAuth{}
	}
	if stream == nil {
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK}, stream, nil
}

// OnDescribe answers DESCRIBE.
func (h *handler) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return h.open(ctx.Conn, ctx.Request, ctx.Path)
}

// OnSetup answers SETUP.
func (h *handler) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return h.open(ctx.Conn, ctx.Request, ctx.Path)
}

// OnPlay answers PLAY.
func (h *handler) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnStreamWriteError keeps gortsplib from writing to the process's log: a
// reader that is too slow is its own concern.
func (h *handler) OnStreamWriteError(*gortsplib.ServerHandlerOnStreamWriteErrorCtx) {}
