package rtsp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"offsite/devices"
)

// Codes of the Problems that Run returns.
const (
	CodePassword    = "camera_password"    // wrong user or password, or none given
	CodePath        = "camera_path"        // the camera knows no such stream
	CodeUnreachable = "camera_unreachable" // no connection to the address
	CodeSilent      = "camera_silent"      // connected, but no answer in time
	CodeNoVideo     = "camera_no_video"    // no H.264 or H.265 track
	CodeStalled     = "camera_stalled"     // pictures stopped coming
	CodeTransport   = "camera_transport"   // the camera refuses TCP or UDP
	CodeLost        = "camera_lost"        // the connection broke
)

// explain makes the Problem of a failed attempt. The password is in none of
// gortsplib's errors that were seen; Scrub makes sure.
func (s *Source) explain(err error) *devices.Problem {
	p := s.sort(err)
	p.Kind = devices.ErrUnavailable
	p.Cause = errors.New(devices.Scrub(err.Error(), s.camera.Password))
	return p
}

func (s *Source) sort(err error) *devices.Problem {
	var status liberrors.ErrClientBadStatusCode
	var op *net.OpError
	host := s.url.Host
	switch {
	case errors.Is(err, errNoVideo):
		return problem("url", CodeNoVideo, "摄像机的码流中没有 H.264 或 H.265 视频，请在摄像机上改编码或换一路码流", "the camera sends no H.264 or H.265 video; change its encoding or choose another stream")
	case errors.Is(err, errStalled):
		return problem("", CodeStalled, fmt.Sprintf("摄像机已连接，但 %s 内没有画面，请检查摄像机", brief(s.cfg.Stall)), fmt.Sprintf("the camera is connected but sent no picture for %s; check the camera", brief(s.cfg.Stall)))
	case errors.As(err, &status):
		return s.refused(status.Code)
	case errors.As(err, new(liberrors.ErrClientAuthSetup)):
		return problem("password", CodePassword, "摄像机要求的认证方式不受支持，请改用 Basic 或 Digest", "the camera asks for an unknown kind of authentication; set it to basic or digest")
	case errors.As(err, new(liberrors.ErrClientServerRequestedTCP)), errors.As(err, new(liberrors.ErrClientServerRequestedUDP)),
		errors.As(err, new(liberrors.ErrClientServerPortsNotProvided)), errors.As(err, new(liberrors.ErrClientSwitchToTCP2)):
		return s.wrongTransport()
	case errors.As(err, new(liberrors.ErrClientRequestTimedOut)), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return problem("url", CodeSilent, "摄像机 "+host+" 没有按时应答，请检查地址、端口和网络", "the camera at "+host+" did not answer in time; check address, port and network")
	case errors.As(err, new(liberrors.ErrClientUDPTimeout)), errors.As(err, new(liberrors.ErrClientTCPTimeout)):
		return problem("transport", CodeStalled, "摄像机已连接，但没有数据到达；若用 UDP，请检查防火墙或改用 TCP", "the camera is connected but no data arrives; with UDP check the firewall or use TCP")
	case errors.As(err, &op) && op.Op == "dial":
		return problem("url", CodeUnreachable, "无法连接 "+host+"，请检查地址、端口和网络", "no connection to "+host+"; check address, port and network")
	}
	return problem("", CodeLost, "与摄像机的连接中断，将自动重连", "the connection to the camera broke; it will be tried again")
}

// refused explains an answer other than 200 (RFC 2326, section 7.1.1).
func (s *Source) refused(code base.StatusCode) *devices.Problem {
	switch code {
	case base.StatusUnauthorized, base.StatusForbidden:
		if s.camera.Username == "" {
			return problem("username", CodePassword, "摄像机要求用户名和密码，请填写", "the camera asks for a user name and password; give them")
		}
		return problem("password", CodePassword, "摄像机拒绝了用户名或密码，请核对；多次错误可能使摄像机锁定账号", "the camera refused the user name or password; check them, repeated faults may lock the account")
	case base.StatusNotFound, base.StatusBadRequest:
		return problem("url", CodePath, "摄像机上没有这路码流，请核对地址中的路径", "the camera has no such stream; check the path of the address")
	case base.StatusUnsupportedTransport:
		return s.wrongTransport()
	}
	return problem("url", CodeLost, fmt.Sprintf("摄像机以状态码 %d 拒绝了请求", int(code)), fmt.Sprintf("the camera refused the request with status %d", int(code)))
}

func (s *Source) wrongTransport() *devices.Problem {
	return problem("transport", CodeTransport, "摄像机不接受此传输方式，请在 TCP 与 UDP 之间改选", "the camera does not accept this transport; choose the other one of TCP and UDP")
}

func problem(field, code, zh, en string) *devices.Problem {
	return &devices.Problem{Code: code, Field: field, ZH: zh, EN: en}
}

func brief(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }
