// Package rtsp pulls a camera's pictures over RTSP (RFC 2326) and publishes
// them on a [streams.Feed]. It understands H.264 (RFC 6184), H.265 (RFC 7798)
// and JPEG (RFC 2435); sound is left out. It goes over TCP (interleaved), with
// TLS (rtsps) or without, and UDP, which falls back to TCP where nothing arrives;
// basic authentication, and digest with MD5 and SHA-256.
//
// What a camera says is mended before it is read, because the standards are kept
// loosely (see package wire); its time stamps are mended where they leap, and a source (SSRC) that
// takes the place of ours in mid-connection is followed over TCP. All
// that it sends is bounded: heads and bodies of messages, parameter sets, access
// units (8 MiB), pictures (16384 pixels a side), bytes a second.
//
// gortsplib speaks with the camera and watches over the connection. The pictures'
// packets that come over TCP are taken off before it, out of the buffer they were
// read into (see wire), and cut by package payload like those over UDP.
//
// [Source.Replay] fetches an interval of the past from a recorder (ONVIF Streaming
// Specification, 6, or an address that names the times).
//
// [Server] hands the pictures of feeds on to other video systems, H.264 and H.265,
// as rtsp://host/{camera} and rtsp://host/{camera}/sub.
//
// No package but it and those within it knows gortsplib.
package rtsp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/rtsp/wire"
)

// Config is what all cameras share.
type Config struct {
	Log       *slog.Logger
	Timeout   time.Duration  // for connecting and for each answer of the camera; 8 s
	Stall     time.Duration  // longest time without a picture; 10 s
	KeyFrames time.Duration  // longest time without a key frame until it is told; 15 s
	Rate      int64          // most that is taken of a camera, bytes a second; 16 MiB
	Roots     *x509.CertPool // authorities for rtsps; nil: the system's

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
	if c.KeyFrames <= 0 {
		c.KeyFrames = 15 * time.Second
	}
	if c.Rate <= 0 {
		c.Rate = 16 << 20
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
}

// Source pulls one stream of one camera.
type Source struct {
	camera devices.Camera
	cfg    Config
	url    *base.URL

	tcp      time.Time // until then UDP is not tried again
	accepted bool      // the camera has accepted the password
}

// tryUDP is how long a camera whose UDP does not get through is pulled by TCP.
const tryUDP = 10 * time.Minute

// Open checks the camera and gives the source of its main stream; see
// [devices.Camera.In] for the other. It opens no connection.
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
// supervisor's, and best with the same Source. One call at a time.
func (s *Source) Run(ctx context.Context, feed *streams.Feed) error {
	udp := s.camera.Transport == "udp" && time.Now().After(s.tcp)
	err := s.pull(ctx, feed, udp)
	if udp && ctx.Err() == nil && fallsBack(err) {
		s.tcp = time.Now().Add(tryUDP)
		err = s.pull(ctx, feed, false)
	}
	if ctx.Err() != nil {
		feed.Disconnected(nil)
		return context.Cause(ctx)
	}
	p := s.explain(err)
	feed.Disconnected(p)
	return p
}

// Halts says that trying again by itself does harm: the camera has refused a
// password that it never accepted, and may lock the account after some more.
func (s *Source) Halts(err error) bool {
	var p *devices.Problem
	return errors.As(err, &p) && p.Code == CodePassword && !s.accepted
}

func (s *Source) pull(ctx context.Context, feed *streams.Feed, udp bool) error {
	p := &puller{feed: feed, cfg: s.cfg, log: s.cfg.Log.With("camera", s.camera.ID), told: map[string]bool{}}
	p.client = s.client(p, udp)
	if err := p.client.Start2(); err != nil {
		return err
	}
	defer p.client.Close()
	defer context.AfterFunc(ctx, p.client.Close)()

	session, _, err := p.client.Describe(s.url)
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	if p.track, err = find(session, p.gathered); err != nil {
		return err
	}
	answer, err := p.client.Setup(session.BaseURL, p.track.media, 0, 0)
	if err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	s.accepted = true
	p.began = time.Now()
	feed.Connected()
	p.client.OnPacketRTCP(p.track.media, p.control)
	if udp {
		p.client.OnPacketRTP(p.track.media, p.track.format, p.datagram)
	} else if err = p.divert(answer); err != nil {
		return err
	}
	if s.camera.Transport == "udp" && !udp {
		p.warn(fellBack())
	}
	if _, err := p.client.Play(nil); err != nil {
		return fmt.Errorf("play: %w", err)
	}
	p.log.Info("camera connected", "codec", string(p.track.codec))

	g, watching := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := p.client.Wait()
		if err == nil {
			err = errEnded
		}
		return err
	})
	g.Go(func() error { return p.watch(watching) })
	defer context.AfterFunc(watching, p.client.Close)()
	return g.Wait()
}

// divert takes the pictures' packets off the connection before gortsplib, which
// makes a buffer for each of them.
func (p *puller) divert(setup *base.Response) error {
	var transport headers.Transport
	if err := transport.Unmarshal(setup.Header["Transport"]); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	p.wire.Divert(transport.InterleavedIDs[0], p.interleaved)
	return nil
}

// errEnded stands for a connection that ended without a reason.
var errEnded = errors.New("connection ended")

// client gives gortsplib's client. TLS is done in dial, beneath wire, so that it
// knows of none.
func (s *Source) client(p *puller, udp bool) *gortsplib.Client {
	transport := gortsplib.TransportTCP
	if udp {
		transport = gortsplib.TransportUDP
	}
	return &gortsplib.Client{
		Scheme:      "rtsp",
		Host:        hostPort((*url.URL)(s.url)),
		Transport:   &transport,
		ReadTimeout: s.cfg.Timeout, WriteTimeout: s.cfg.Timeout,
		UserAgent: "offsite",
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			w, err := s.dial(ctx, network, address, func() { p.warn(floods(s.cfg.Rate)) })
			if err != nil {
				return nil, err
			}
			p.wire = w
			return w, nil
		},
		OnPacketsLost:     func(uint64) {}, // the puller counts them itself
		OnDecodeError:     p.dropped,
		OnTransportSwitch: func(error) {}, // never: the transport is fixed
	}
}

// hostPort is where an address is connected to.
func hostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "rtsps":
		port = "322"
	default:
		port = "554"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// dial connects to the camera; braked is called whenever it sends too much.
func (s *Source) dial(ctx context.Context, network, address string, braked func()) (*wire.Conn, error) {
	conn, err := s.cfg.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if s.url.Scheme == "rtsps" {
		if conn, err = s.encrypt(ctx, conn); err != nil {
			return nil, err
		}
	}
	w := wire.New(conn, s.url.Hostname(), s.cfg.Rate)
	w.Braked = braked
	return w, nil
}

// encrypt makes a TLS session with a camera that [streams.Trust] trusts.
func (s *Source) encrypt(ctx context.Context, conn net.Conn) (net.Conn, error) {
	t := tls.Client(conn, streams.Trust(s.url.Hostname(), s.camera.Fingerprint, s.cfg.Roots))
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return t, nil
}
