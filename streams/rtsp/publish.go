package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtp"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/rtsp/wire"
)

// Codes of the Problems of a publication.
const (
	CodePushUnreachable = "push_unreachable" // no connection to the receiver
	CodePushRefused     = "push_refused"     // it answered by a status
	CodePushLost        = "push_lost"        // it was there and has gone
)

// PublishConfig says how receivers are met.
type PublishConfig struct {
	// Dial opens the connection; whoever bounds the reachable hosts gives it. It
	// defaults to net.Dialer.
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	TLS     *tls.Config   // of rtsps; nil: the system's authorities
	Timeout time.Duration // for each answer, and for a packet to leave; 10 s
}

func (c *PublishConfig) setDefaults() {
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
}

// Bounds of a publication's packets.
const (
	pushPayload = 1400
	pushQueue   = 512 // packets, some 700 KB
	pushFull    = 5 * time.Millisecond
	pushHeard   = 1 << 20 // bytes a second that a receiver may say
)

// Publish sends the pictures of from, which are coded as params say, to a
// receiver by ANNOUNCE and RECORD over TCP (RFC 2326, 10.3 and 10.11), with TLS
// (rtsps) or without, until ctx or from ends, or the receiver goes. It returns
// ctx's cause, from's error, or a Problem.
func Publish(ctx context.Context, to streams.Receiver, params *streams.Parameters, from streams.Publication, cfg PublishConfig) error {
	cfg.setDefaults()
	media, err := announced(params)
	if err != nil {
		return err
	}
	p := &publisher{cfg: cfg, host: to.URL.Host, media: media, codec: params.Codec, clock: streams.NewRTPClock()}
	err = p.run(ctx, to, from)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// announced is what is told of a stream. The last parameter sets go with the
// pictures, too.
func announced(p *streams.Parameters) (*description.Media, error) {
	m := &description.Media{Type: description.MediaTypeVideo}
	switch p.Codec {
	case streams.H264:
		m.Formats = []format.Format{&format.H264{PayloadTyp: 96, SPS: p.SPS, PPS: p.PPS, PacketizationMode: 1}}
	case streams.H265:
		m.Formats = []format.Format{&format.H265{PayloadTyp: 96, VPS: p.VPS, SPS: p.SPS, PPS: p.PPS}}
	default:
		return nil, streams.CodecNotPushed(p.Codec)
	}
	return m, nil
}

type publisher struct {
	cfg      PublishConfig
	host     string
	media    *description.Media
	codec    streams.Codec
	client   *gortsplib.Client
	clock    *streams.RTPClock
	sequence uint16
}

// run connects, announces and sends.
func (p *publisher) run(ctx context.Context, to streams.Receiver, from streams.Publication) error {
	transport := gortsplib.TransportTCP
	p.client = &gortsplib.Client{
		Scheme: "rtsp", Host: hostPort(to.URL), Transport: &transport, WriteQueueSize: pushQueue,
		ReadTimeout: p.cfg.Timeout, WriteTimeout: p.cfg.Timeout, UserAgent: "offsite", DialContext: p.dial(to.URL),
		OnTransportSwitch: func(error) {}, // never: the transport is fixed
	}
	if err := p.client.Start2(); err != nil {
		return p.explain(err)
	}
	defer p.client.Close()
	defer context.AfterFunc(ctx, p.client.Close)()
	u := (*base.URL)(to.URL).Clone()
	if to.User != "" || to.Secret != "" {
		u.User = url.UserPassword(to.User, to.Secret.Reveal())
	}
	if _, err := p.client.Announce(u, &description.Session{Medias: []*description.Media{p.media}}); err != nil {
		return p.explain(err)
	}
	if err := p.client.SetupAll(u, []*description.Media{p.media}); err != nil {
		return p.explain(err)
	}
	if _, err := p.client.Record(); err != nil {
		return p.explain(err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := p.client.Wait()
		if err == nil {
			err = errEnded
		}
		return p.gone(err)
	})
	g.Go(func() error { return p.send(ctx, from) })
	defer context.AfterFunc(ctx, p.client.Close)()
	return g.Wait()
}

// dial gives what opens the connection. TLS is done beneath wire, which bounds
// what the receiver may say, so that gortsplib knows of none.
func (p *publisher) dial(to *url.URL) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := p.cfg.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if to.Scheme == "rtsps" {
			cfg := &tls.Config{MinVersion: tls.VersionTLS12}
			if p.cfg.TLS != nil {
				cfg = p.cfg.TLS.Clone()
			}
			cfg.ServerName = to.Hostname()
			encrypted := tls.Client(conn, cfg)
			if err := encrypted.HandshakeContext(ctx); err != nil {
				return nil, errors.Join(err, conn.Close())
			}
			conn = encrypted
		}
		return wire.New(conn, to.Hostname(), pushHeard), nil
	}
}

// send sends frames until ctx or the publication ends.
func (p *publisher) send(ctx context.Context, from streams.Publication) error {
	for {
		f, late, err := from.Next(ctx)
		if err != nil {
			return err
		}
		if f.Params.Codec != p.codec {
			return streams.CodecChanged()
		}
		stamp := p.clock.Stamp(f, late, time.Now())
		payloads := f.Packets(pushPayload)
		for i, payload := range payloads {
			packet := &rtp.Packet{Payload: payload, Header: rtp.Header{
				Version: 2, PayloadType: 96, SequenceNumber: p.sequence, Timestamp: stamp, Marker: i == len(payloads)-1,
			}}
			p.sequence++
			if err := p.write(ctx, packet); err != nil {
				return err
			}
		}
	}
}

// write queues a packet and waits while the queue is full: the way is as slow as
// it is, and the feed's reader skips meanwhile.
func (p *publisher) write(ctx context.Context, packet *rtp.Packet) error {
	for end := time.Now().Add(p.cfg.Timeout); ; {
		err := p.client.WritePacketRTP(p.media, packet)
		switch {
		case err == nil:
			return nil
		case !errors.As(err, new(liberrors.ErrClientWriteQueueFull)), time.Now().After(end):
			return p.gone(err)
		}
		full := time.NewTimer(pushFull)
		select {
		case <-full.C:
		case <-ctx.Done():
			full.Stop()
			return context.Cause(ctx)
		}
	}
}

// explain makes the Problem of a publication that did not begin.
func (p *publisher) explain(err error) *devices.Problem {
	var refused *devices.Problem
	var status liberrors.ErrClientBadStatusCode
	switch {
	case errors.As(err, &refused): // by who says where pictures may go
		return refused
	case errors.As(err, &status):
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: CodePushRefused, Field: "push_url",
			ZH: fmt.Sprintf("流媒体服务器 %s 以状态码 %d 拒绝推流，请核对地址、用户名和密码", p.host, int(status.Code)),
			EN: fmt.Sprintf("the media server %s refused the pictures with status %d; check address, user and password", p.host, int(status.Code)),
		}
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: CodePushUnreachable, Field: "push_url", Cause: err,
		ZH: "无法连接流媒体服务器 " + p.host + "，请检查地址、证书和网络", EN: "no connection to the media server " + p.host + "; check address, certificate and network",
	}
}

func (p *publisher) gone(err error) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: CodePushLost, Cause: err,
		ZH: "与流媒体服务器的连接中断；如仍需要，请重新发起", EN: "the connection to the media server broke; open the stream anew if it is still wanted",
	}
}
