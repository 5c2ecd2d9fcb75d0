package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/gateway/api"
	"offsite/gateway/api/request"
	"offsite/streams"
	"offsite/streams/rtsp"
)

// RTSP is where cameras are handed on to other video systems; nowhere by default.
// They show the secret of a token as their password; its rights are theirs.
type RTSP struct {
	Listen   string `yaml:"listen"`   // rtsp://, where password and pictures are not encrypted: on loopback, or Insecure
	TLS      string `yaml:"tls"`      // rtsps://, with the gateway's certificate
	UDP      string `yaml:"udp"`      // even port for pictures over UDP beside Listen, "127.0.0.1:8000"; the next one belongs to it
	Insecure bool   `yaml:"insecure"` // Listen may be off loopback
}

func (c *RTSP) check(ps *devices.Problems) {
	for _, f := range []struct{ field, address, example string }{
		{"gateway.rtsp.listen", c.Listen, "127.0.0.1:8554"}, {"gateway.rtsp.tls", c.TLS, "0.0.0.0:8322"}, {"gateway.rtsp.udp", c.UDP, "127.0.0.1:8000"},
	} {
		if _, _, err := net.SplitHostPort(f.address); f.address != "" && err != nil {
			ps.Add(devices.Invalid(f.field, "bad_address", "监听地址须形如 "+f.example, "write an address like "+f.example))
		}
	}
	if c.plain() && !c.Insecure {
		ps.Add(devices.Invalid("gateway.rtsp.listen", "plain_off_loopback",
			"不加密的 RTSP 只能监听本机回环地址；对外请用 gateway.rtsp.tls（RTSPS），确需明文时请设 gateway.rtsp.insecure: true",
			"plain RTSP listens on loopback alone; for others use gateway.rtsp.tls (RTSPS), or where it must be plain set gateway.rtsp.insecure: true"))
	}
	if _, port, err := net.SplitHostPort(c.UDP); err == nil {
		if n, err := strconv.Atoi(port); err != nil || n%2 != 0 || c.Listen == "" {
			ps.Add(devices.Invalid("gateway.rtsp.udp", "bad_port", "须为偶数端口，并须填写 gateway.rtsp.listen", "choose an even port, and give gateway.rtsp.listen"))
		}
	}
}

// plain says whether cameras are handed on without encryption beyond this machine.
func (c *RTSP) plain() bool {
	host, _, err := net.SplitHostPort(c.Listen)
	return err == nil && !isLoopback(host)
}

// notice tells everybody of a plain door that the owner wished to have, nil where there is none.
func (c *RTSP) notice() *devices.Problem {
	if !c.plain() {
		return nil
	}
	return &devices.Problem{
		Code: "rtsp_insecure", ZH: "RTSP 转发未加密且可从本机以外访问：令牌和画面可被窃听，请改用 gateway.rtsp.tls（RTSPS）",
		EN: "RTSP is open beyond this machine without encryption: tokens and pictures can be read on the way; use gateway.rtsp.tls (RTSPS) instead",
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// Bounds of those who read at once by RTSP.
const (
	readersOfOne = 32 // of one token
	readersInAll = 256
)

// rtspReaders are the places of those who read by RTSP.
func rtspReaders() *request.Places {
	tooMany := func(zh, en string) *devices.Problem {
		return &devices.Problem{Kind: devices.ErrUnavailable, Code: "too_many_readers", ZH: zh, EN: en}
	}
	return &request.Places{
		All: readersInAll, Each: readersOfOne,
		Taken: tooMany(fmt.Sprintf("网关已同时转发 %d 路视频，请稍后再试", readersInAll), fmt.Sprintf("the gateway hands on %d pictures at once already; try later", readersInAll)),
		Yours: tooMany(fmt.Sprintf("该令牌已同时读取 %d 路视频，请先停止一些", readersOfOne), fmt.Sprintf("this token reads %d pictures at once already; stop some", readersOfOne)),
	}
}

// feeds give the pictures of a camera's profile, and say whether people may watch now;
// see edge/cameras.
type feeds interface {
	Feed(camera string, profile devices.Profile) (*streams.Feed, error)
	Admitted() error
	Enter(away func(why *devices.Problem)) (left func(), err error)
}

// rtspServer hands cameras on; certificate is nil for plain RTSP.
func (s *Server) rtspServer(udp string, certificate *tls.Config) *rtsp.Server {
	return rtsp.NewServer(rtsp.ServerConfig{UDP: udp, TLS: certificate, Desk: s, Log: s.log})
}

// Admit lets in who shows the secret of a token whose role may see live pictures, to
// the cameras of its sites, or those that it is bound to. Each visit is in the trail,
// with its end, and so is who asks for another camera than it is bound to.
func (s *Server) Admit(ask rtsp.Ask) (rtsp.Visit, error) {
	id, err := s.accounts.ByBearer(ask.Password)
	if err != nil {
		return rtsp.Visit{}, fmt.Errorf("%w: %w", rtsp.ErrNoPassword, err)
	}
	who := principal(id, ask.From)
	who.Holds = func() bool { return s.accounts.Holds(id) }
	if !api.Allows("viewLive", who.Role) {
		return rtsp.Visit{}, roleNotAllowed()
	}
	if !who.Reaches(ask.Camera) {
		return rtsp.Visit{}, s.refusedReader(who, ask.Camera)
	}
	if err := s.api.MayView(who, ask.Camera); err != nil {
		return rtsp.Visit{}, err
	}
	if err := s.feeds.Admitted(); err != nil {
		return rtsp.Visit{}, err
	}
	feed, err := s.feeds.Feed(ask.Camera, ask.Profile)
	if err != nil {
		return rtsp.Visit{}, err
	}
	return s.visit(who, ask, feed), nil
}

// visit is what who was granted that may read feed.
func (s *Server) visit(who request.Principal, ask rtsp.Ask, feed *streams.Feed) rtsp.Visit {
	row := func(act, detail string) audit.Entry {
		return audit.Entry{At: time.Now().UTC(), Who: who.ID, From: who.From, Act: act, What: "camera/" + ask.Camera, Result: "ok", Detail: detail}
	}
	var shed atomic.Pointer[devices.Problem] // why the reader was sent away
	var left func()
	return rtsp.Visit{
		Feed:  feed,
		Holds: func() bool { return s.api.MayView(who, ask.Camera) == nil },
		Begin: func(ctx context.Context, leave func()) (err error) {
			if err := s.readers.Enter(who.ID); err != nil {
				return err
			}
			if left, err = s.feeds.Enter(func(why *devices.Problem) { shed.Store(why); leave() }); err != nil {
				s.readers.Leave(who.ID)
				return err
			}
			if err := s.trail.Record(ctx, row("live.rtsp", string(ask.Profile))); err != nil {
				left()
				s.readers.Leave(who.ID)
				return fmt.Errorf("audit: %w", err)
			}
			return nil
		},
		End: func(sum rtsp.Tally) {
			left()
			s.readers.Leave(who.ID)
			detail := fmt.Sprintf("%s, %d s, %d bytes, %d lost", ask.Profile, int(sum.Lasted.Seconds()), sum.Bytes, sum.Lost)
			if why := shed.Load(); why != nil {
				detail += ": " + why.Code
			}
			if err := s.trail.Record(context.WithoutCancel(s.closing), row("live.rtsp.end", detail)); err != nil {
				s.log.Error("end of an RTSP reader not in the trail", "camera", ask.Camera, "err", err)
			}
		},
	}
}

// refusedReader writes into the trail who has asked for another camera than it is
// bound to.
func (s *Server) refusedReader(who request.Principal, camera string) error {
	why := request.CameraNotAllowed()
	e := audit.Entry{At: time.Now().UTC(), Who: who.ID, From: who.From, Act: "live.rtsp", What: "camera/" + camera, Result: why.Code}
	if err := s.trail.Record(context.WithoutCancel(s.closing), e); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return why
}
