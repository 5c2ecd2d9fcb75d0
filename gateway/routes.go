package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"offsite/devices"
	"offsite/gateway/api/contract"
)

// operationKey is where the guard leaves the operation's id for logs and metrics.
const operationKey = "operation"

// policy lets the console load nothing from elsewhere and run no script but its own.
const policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; " +
	"media-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self' blob:; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func (s *Server) routes(parts Parts) error {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = s.answerProblem
	e.Use(s.headers, s.measure(parts.Metrics), s.recovered)
	s.echo = e

	known, err := s.api.Register(e.Group(contract.Base), s.guard)
	if err != nil {
		return err
	}
	nothing := func(c echo.Context) error {
		if known(c.Request().URL.Path) {
			return echo.ErrMethodNotAllowed
		}
		return echo.ErrNotFound
	}
	e.Any("/api", nothing)
	e.Any("/api/*", nothing)
	e.GET("/livez", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	e.GET("/readyz", s.ready(parts))
	e.GET("/certificate.crt", s.ownCertificate)
	metrics := echo.WrapHandler(promhttp.HandlerFor(parts.Metrics, promhttp.HandlerOpts{}))
	e.GET("/metrics", func(c echo.Context) error {
		if !s.mayLook(c) {
			return &devices.Problem{Kind: contract.ErrForbidden, Code: "token_needed", ZH: "请在本机读取，或提供令牌", EN: "read it on this machine, or send a token"}
		}
		return metrics(c)
	})
	console := s.console(parts.Console)
	gzip := middleware.GzipWithConfig(middleware.GzipConfig{MinLength: 1024})
	e.GET("/*", console, gzip)
	e.HEAD("/*", console)
	return nil
}

// recovered answers a panic with a problem and writes it to the log with its
// request id.
func (s *Server) recovered(next echo.HandlerFunc) echo.HandlerFunc {
	return middleware.RecoverWithConfig(middleware.RecoverConfig{
		StackSize: 16 << 10, DisableStackAll: true, DisableErrorHandler: true,
		LogErrorFunc: func(c echo.Context, err error, stack []byte) error {
			s.log.ErrorContext(c.Request().Context(), "panic", "request", c.Response().Header().Get(echo.HeaderXRequestID),
				"operation", c.Get(operationKey), "err", err, "stack", string(stack))
			return fmt.Errorf("panic: %w", err)
		},
	})(next)
}

func (s *Server) headers(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		// One of our own for each request: what a client sends could mislead
		// whoever reads the log.
		h.Set(echo.HeaderXRequestID, requestID())
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		// The console reads labels with the camera.
		h.Set("Permissions-Policy", "camera=(self), microphone=(), payment=(), usb=()")
		if s.trusted && c.IsTLS() {
			// Not with a self-signed certificate: it would lock people out.
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		return next(c)
	}
}

func requestID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// measure counts and times the requests by operation.
func (s *Server) measure(reg *prometheus.Registry) echo.MiddlewareFunc {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "offsite_http_request_seconds", Help: "Time to answer a request, streams apart.",
		Buckets: []float64{.001, .005, .02, .1, .5, 2, 10},
	}, []string{"operation", "status"})
	listeners := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "offsite_live_listeners", Help: "Listeners to live updates.",
	}, func() float64 { return float64(s.hub.Subscribers()) })
	lost := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "offsite_live_lost_total", Help: "Live messages that slow listeners missed.",
	}, func() float64 { return float64(s.hub.Lost()) })
	reg.MustRegister(seconds, listeners, lost)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			began := time.Now()
			err := next(c)
			if err != nil {
				c.Error(err)
			}
			operation, _ := c.Get(operationKey).(string)
			if operation != "" && operation != "watchLive" && operation != "viewLive" {
				seconds.WithLabelValues(operation, strconv.Itoa(c.Response().Status)).Observe(time.Since(began).Seconds())
			}
			return nil
		}
	}
}

// ready tells whether readings can be recorded; why not, it tells those who may look.
func (s *Server) ready(parts Parts) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set("Cache-Control", "no-store")
		err := parts.Ready()
		if err == nil {
			return c.String(http.StatusOK, "ok\n"+s.stills(c, parts.Decoder))
		}
		if s.mayLook(c) {
			var why strings.Builder
			for _, p := range devices.AllProblems(err) {
				why.WriteString(p.Bilingual() + "\n")
			}
			return c.String(http.StatusServiceUnavailable, why.String())
		}
		return c.String(http.StatusServiceUnavailable, "not ready\n")
	}
}

// stills tells those who may look how stills are decoded, and why not better.
func (s *Server) stills(c echo.Context, decoder func() (step string, why error)) string {
	if !s.mayLook(c) {
		return ""
	}
	step, why := decoder()
	if why != nil {
		step += " (" + strings.ReplaceAll(why.Error(), "\n", "; ") + ")"
	}
	return "stills: " + step + "\n"
}

// console serves the files of the console, and its index.html for the paths
// that the console itself routes.
func (s *Server) console(files fs.FS) echo.HandlerFunc {
	return func(c echo.Context) error {
		if files == nil {
			return c.String(http.StatusOK, "此程序未包含控制台，接口见 /api/v1/openapi.yaml\nThis build has no console; the API is described at /api/v1/openapi.yaml\n")
		}
		name := strings.TrimPrefix(path.Clean("/"+c.Request().URL.Path), "/")
		h := c.Response().Header()
		f, err := openFile(files, name)
		switch {
		case err == nil && strings.HasPrefix(name, "assets/"):
			h.Set("Cache-Control", "public, max-age=31536000, immutable") // names hold a hash
		case err == nil:
			h.Set("Cache-Control", "no-cache")
		case path.Ext(name) != "":
			return echo.ErrNotFound
		default:
			h.Set("Cache-Control", "no-cache")
			name = "index.html"
			if f, err = openFile(files, name); err != nil {
				return echo.ErrNotFound
			}
		}
		defer func() { _ = f.Close() }()
		http.ServeContent(c.Response(), c.Request(), name, time.Time{}, f)
		return nil
	}
}

type seekableFile interface {
	io.ReadSeeker
	io.Closer
}

// openFile opens a file, not a directory.
func openFile(files fs.FS, name string) (seekableFile, error) {
	if name == "" || !fs.ValidPath(name) {
		return nil, fs.ErrNotExist
	}
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	content, seeks := f.(seekableFile)
	if err != nil || info.IsDir() || !seeks {
		return nil, errors.Join(fs.ErrNotExist, f.Close())
	}
	return content, nil
}
