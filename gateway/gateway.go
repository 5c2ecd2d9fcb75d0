// Package gateway serves people and programs: the API under /api/v1 (package
// api), the console at /, live updates (package live) and /livez, /readyz and
// /metrics. It listens with TLS, or without it on loopback alone.
//
// Every request passes the same road: request id, recovery, security headers,
// then the guard of its operation, which knows who asks (a bearer header, a
// ticket or the session's cookie), refuses what the role may not do and, for
// cookies, what another site's page has sent. Only then its handler runs.
//
// In the state directory it keeps tls.crt and tls.key (PEM, ECDSA P-256,
// self-signed, made at first start and again when they are about to expire),
// unless the configuration names others.
package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/devices/template"
	"offsite/edge/audit"
	"offsite/gateway/accounts"
	"offsite/gateway/api"
	"offsite/gateway/api/request"
	"offsite/gateway/live"
)

// Config is what the owner of the machine decides about the gateway.
type Config struct {
	Listen      string           `yaml:"listen"`      // HTTPS; default 127.0.0.1:8443, or nothing where HTTP is given
	HTTP        string           `yaml:"http"`        // plain HTTP, on loopback alone; default nothing
	Certificate string           `yaml:"certificate"` // PEM file; default a self-signed one in the state directory
	Key         string           `yaml:"key"`         // PEM file
	Idle        devices.Duration `yaml:"idle"`        // a session ends after this long without a request; default 15m
	RTSP        RTSP             `yaml:"rtsp"`
}

// Validate tells every fault at once, each with its key path.
func (c *Config) Validate() error {
	var ps devices.Problems
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			ps.Add(devices.Invalid("gateway.listen", "bad_address", "监听地址须形如 0.0.0.0:8443", `write an address like "0.0.0.0:8443"`))
		}
	}
	if c.HTTP != "" {
		ps.Add(checkLoopback(c.HTTP))
	}
	if (c.Certificate == "") != (c.Key == "") {
		ps.Add(devices.Invalid("gateway.certificate", "incomplete", "证书与私钥须同时填写", "give certificate and key together"))
	} else if c.Certificate != "" {
		_, problem := c.pair()
		ps.Add(problem)
	}
	if i := c.Idle.D(); i != 0 && (i < time.Minute || i > 24*time.Hour) {
		ps.Add(devices.Invalid("gateway.idle", "out_of_range", "空闲时限须在 1m 与 24h 之间", "end idle sessions after 1m to 24h"))
	}
	c.RTSP.check(&ps)
	return ps.Err()
}

func checkLoopback(address string) *devices.Problem {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return devices.Invalid("gateway.http", "bad_address", "监听地址须形如 127.0.0.1:8080", `write an address like "127.0.0.1:8080"`)
	}
	if !isLoopback(host) {
		return devices.Invalid("gateway.http", "plain_off_loopback",
			"不加密的 HTTP 只能监听本机回环地址，例如 127.0.0.1:8080；对外请用 gateway.listen（HTTPS）",
			"plain HTTP listens on loopback alone, such as 127.0.0.1:8080; for others use gateway.listen (HTTPS)")
	}
	return nil
}

// Parts is what the Server is given besides its configuration.
type Parts struct {
	Backend  api.Backend                     // without accounts, preferences and hub, which the Server adds
	Feeds    feeds                           // of the cameras that RTSP hands on
	Ready    func() error                    // what keeps the gateway from recording, all at once
	Decoder  func() (step string, why error) // rung of streams/snapshot that decodes video, why it is no higher one
	Accounts *accounts.Accounts
	State    string               // directory of the self-signed certificate
	Console  fs.FS                // index.html at its root; nil: a note instead of the console
	Metrics  *prometheus.Registry // nil means a new one
	Live     live.Config
	Log      *slog.Logger
}

// Server serves people and programs.
type Server struct {
	cfg      Config
	accounts *accounts.Accounts
	feeds    feeds
	api      *api.API
	trail    trail
	hub      *live.Hub
	readers  *request.Places // by RTSP
	echo     *echo.Echo
	cross    *http.CrossOriginProtection
	tls      *tls.Config // nil without HTTPS
	trusted  bool        // the certificate is the owner's own
	log      *slog.Logger

	closing context.Context // of the Server's streams; ends when Run ends
	close   context.CancelFunc
	streams sync.WaitGroup
}

// DefaultListen is where HTTPS listens unless configured.
const DefaultListen = "127.0.0.1:8443"

// Addresses says where a running Server listens; what it does not is empty.
type Addresses struct {
	HTTPS, HTTP string // "127.0.0.1:8443"
	RTSP, RTSPS string
}

// URL is the address to open, HTTPS first.
func (a Addresses) URL() string {
	if a.HTTPS != "" {
		return "https://" + a.HTTPS
	}
	return "http://" + a.HTTP
}

// Open composes a Server. It makes the certificate where there is none; it
// listens to nothing. It refuses an API description that leaves an operation
// without roles or handler.
func Open(cfg Config, parts Parts) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Listen == "" && cfg.HTTP == "" {
		cfg.Listen = DefaultListen
	}
	if parts.Log == nil {
		parts.Log = slog.New(slog.DiscardHandler)
	}
	if parts.Metrics == nil {
		parts.Metrics = prometheus.NewRegistry()
	}
	s := &Server{cfg: cfg, accounts: parts.Accounts, feeds: parts.Feeds, trail: parts.Backend.Audit, hub: live.New(parts.Live), readers: rtspReaders(), cross: http.NewCrossOriginProtection(), log: parts.Log}
	s.closing, s.close = context.WithCancel(context.Background())
	if err := s.complete(&parts.Backend); err != nil {
		return nil, err
	}
	s.api = api.New(parts.Backend, parts.Log)
	if cfg.Listen != "" || cfg.RTSP.TLS != "" {
		certificate, err := s.certificate(parts.State)
		if err != nil {
			return nil, err
		}
		s.tls = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	}
	return s, s.routes(parts)
}

// complete gives the API what the Server itself has for it, and the shipped templates
// where there are no others.
func (s *Server) complete(b *api.Backend) error {
	if b.Registration.Templates == nil {
		var err error
		if b.Registration.Templates, err = template.Open(template.Config{}); err != nil {
			return err
		}
	}
	b.People.Accounts, b.Video.Preferences, b.Duty.Hub = people{s.accounts}, people{s.accounts}, hub{s.hub}
	for _, p := range []*devices.Problem{s.cfg.RTSP.notice(), templatesNotice(b.Registration.Templates.Faults())} {
		if p != nil {
			b.Duty.Settings = append(b.Duty.Settings, p)
		}
	}
	return nil
}

// templatesNotice tells everybody of faults in the user's own templates, nil where there
// are none.
func templatesNotice(faults devices.Problems) *devices.Problem {
	if len(faults) == 0 {
		return nil
	}
	n := &devices.Problem{Code: "templates", ZH: faults[0].ZH, EN: faults[0].EN}
	if more := len(faults) - 1; more > 0 {
		n.ZH += fmt.Sprintf("（另有 %d 处，请运行 offsite check）", more)
		n.EN += fmt.Sprintf(" (and %d more: run offsite check)", more)
	}
	return n
}

// Handler serves a request as a running Server would.
func (s *Server) Handler() http.Handler { return s.echo }

// mostConnections bounds the connections of one listener.
const mostConnections = 1024

// Run listens, calls ready with the addresses, and serves until ctx ends.
// Requests under way have five seconds to end.
func (s *Server) Run(ctx context.Context, ready func(Addresses)) error {
	var at Addresses
	var servers []func() error
	g, gctx := errgroup.WithContext(ctx)
	doors, stops := s.doors(gctx, &at)
	for _, l := range doors {
		if l.address == "" {
			continue
		}
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", l.address)
		if err != nil {
			return notListening(l.field, l.address, err)
		}
		*l.bound = listener.Addr().String()
		listener = netutil.LimitListener(listener, mostConnections)
		defer func() { _ = listener.Close() }()
		servers = append(servers, func() error { return l.serve(listener) })
	}
	if ready != nil {
		ready(at)
	}
	for _, serve := range servers {
		g.Go(serve)
	}
	g.Go(func() error { return s.api.Run(gctx) })
	g.Go(func() error { return s.accounts.Run(gctx) })
	g.Go(func() error {
		<-gctx.Done()
		s.shutdown(gctx, stops)
		return context.Cause(gctx)
	})
	err := g.Wait()
	s.streams.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// trail is where the Server writes whom it has refused, and who reads by RTSP.
type trail interface {
	Record(ctx context.Context, e audit.Entry) error
}

// door is a place to listen at.
type door struct {
	field   string  // of the configuration
	address string  // empty: closed
	bound   *string // where the address goes that is listened at
	serve   func(net.Listener) error
}

// doors gives those of the configuration, and the servers to shut down.
func (s *Server) doors(ctx context.Context, at *Addresses) ([]door, []*http.Server) {
	encrypted, plain := s.server(), s.server()
	encrypted.TLSConfig = s.tls
	return []door{
		{"gateway.listen", s.cfg.Listen, &at.HTTPS, func(l net.Listener) error { return encrypted.ServeTLS(l, "", "") }},
		{"gateway.http", s.cfg.HTTP, &at.HTTP, plain.Serve},
		{"gateway.rtsp.listen", s.cfg.RTSP.Listen, &at.RTSP, func(l net.Listener) error { return s.rtspServer(s.cfg.RTSP.UDP, nil).Serve(ctx, l) }},
		{"gateway.rtsp.tls", s.cfg.RTSP.TLS, &at.RTSPS, func(l net.Listener) error { return s.rtspServer("", s.tls).Serve(ctx, l) }},
	}, []*http.Server{encrypted, plain}
}

func (s *Server) server() *http.Server {
	return &http.Server{
		Handler: s.echo, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// shutdown ends the streams, then waits for the other requests.
func (s *Server) shutdown(ctx context.Context, servers []*http.Server) {
	s.close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, srv := range servers {
		if err := srv.Shutdown(ctx); err != nil {
			_ = srv.Close()
		}
	}
}

func notListening(field, address string, err error) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "not_listening", Field: field, Cause: err,
		ZH: fmt.Sprintf("无法监听 %s，可能已被占用；请换一个端口，或停止占用它的程序", address),
		EN: fmt.Sprintf("cannot listen on %s, it may be in use; choose another port or stop the program that holds it", address),
	}
}

// hub shows package live as the API asks for it.
type hub struct{ *live.Hub }

func (h hub) Tell(name, site string, data any) error {
	return h.Hub.Tell(live.Message{Name: name, Site: site, Data: data})
}

func (h hub) Serve(ctx context.Context, w http.ResponseWriter, sees func(string) bool, state func(context.Context) (any, error), holds func() bool) error {
	return h.Hub.Serve(ctx, w, live.Listener{Sees: sees, State: state, Holds: holds})
}
