// Package rtsp pulls a camera's pictures over RTSP (RFC 2326) and publishes
// them on a [streams.Feed]. It understands H.264 (RFC 6184) and H.265 (RFC
// 7798) over TCP (interleaved) and UDP, basic and digest authentication.
//
// It is the only package that knows gortsplib.
package rtsp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/streams"
)

// Config is what all cameras share.
type Config struct {
	Log     *slog.Logger
	Timeout time.Duration // for connecting and for each answer of the camera; 8 s
	Stall   time.Duration // longest time without a picture; 10 s

	// Dial opens the connection to the camera; whoever bounds the reachable
	// networks gives it. It defaults to net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Timeout <= 0 {
		c.Timeout = 8 * time.Second
	}
	if c.Stall <= 0 {
		c.Stall = 10 * time.Second
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
}

// Source pulls one camera.
type Source struct {
	camera devices.Camera
	cfg    Config
	url    *base.URL
}

// Open checks the camera and gives its source. It opens no connection.
func Open(camera devices.Camera, cfg Config) (*Source, error) {
	cfg.setDefaults()
	if err := camera.Check(); err != nil {
		return nil, err
	}
	u, err := url.Parse(camera.URL)
	if err != nil { // Check has read it already
		return nil, devices.Invalid("url", "bad_address", "地址无法识别", "the address cannot be read")
	}
	if camera.Username != "" {
		u.User = url.UserPassword(camera.Username, camera.Password.Reveal())
	}
	return &Source{camera: camera, cfg: cfg, url: (*base.URL)(u)}, nil
}

// Run connects and publishes until ctx ends or the connection fails, and tells
// feed when it is connected and when not. It returns a *devices.Problem, or
// ctx's cause. It makes one attempt only: starting again, after a pause, is the
// supervisor's.
func (s *Source) Run(ctx context.Context, feed *streams.Feed) error {
	err := s.pull(ctx, feed)
	if ctx.Err() != nil {
		feed.Disconnected(nil)
		return context.Cause(ctx)
	}
	p := s.explain(err)
	feed.Disconnected(p)
	return p
}

func (s *Source) pull(ctx context.Context, feed *streams.Feed) error {
	p := &puller{feed: feed, log: s.cfg.Log.With("camera", s.camera.ID)}
	p.client = s.client(p)
	if err := p.client.Start2(); err != nil {
		return err
	}
	defer p.client.Close()
	defer context.AfterFunc(ctx, p.client.Close)()

	session, _, err := p.client.Describe(s.url)
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	if err := p.choose(session); err != nil {
		return err
	}
	if _, err = p.client.Setup(session.BaseURL, p.media, 0, 0); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	p.client.OnPacketRTP(p.media, p.format, p.packet)
	p.began = time.Now()
	feed.Connected()
	if _, err := p.client.Play(nil); err != nil {
		return fmt.Errorf("play: %w", err)
	}
	p.log.Info("camera connected", "codec", string(p.codec))

	g, watching := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := p.client.Wait()
		if err == nil {
			err = errEnded
		}
		return err
	})
	g.Go(func() error { return p.watch(watching, s.cfg.Stall) })
	defer context.AfterFunc(watching, p.client.Close)()
	return g.Wait()
}

// errEnded stands for a connection that ended without a reason.
var errEnded = errors.New("connection ended")

func (s *Source) client(p *puller) *gortsplib.Client {
	transport := gortsplib.TransportTCP
	if s.camera.Transport == "udp" {
		transport = gortsplib.TransportUDP
	}
	return &gortsplib.Client{
		Scheme:      s.url.Scheme,
		Host:        s.url.Host,
		Transport:   &transport,
		ReadTimeout: s.cfg.Timeout, WriteTimeout: s.cfg.Timeout,
		UserAgent: "offsite",
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := s.cfg.Dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return newWideConn(conn), nil
		},
		OnPacketsLost:     p.packetsLost,
		OnDecodeError:     p.decodeError,
		OnTransportSwitch: func(error) {}, // never: the transport is fixed
	}
}
