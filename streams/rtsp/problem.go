package rtsp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/rtsp/wire"
)

// Codes of the Problems that Run returns.
const (
	CodePassword    = "camera_password"    // wrong user or password, or none given
	CodePath        = "camera_path"        // the camera knows no such stream
	CodeUnreachable = "camera_unreachable" // no connection to the address
	CodeSilent      = "camera_silent"      // connected, but no answer in time
	CodeNoVideo     = "camera_no_video"    // no H.264, H.265 or JPEG track
	CodeStalled     = "camera_stalled"     // pictures stopped coming
	CodeTransport   = "camera_transport"   // the camera refuses TCP or UDP
	CodeLost        = "camera_lost"        // the connection broke
	CodeCertificate = "camera_certificate" // rtsps: the certificate is not trusted
	CodeGarbled     = "camera_garbled"     // what it says cannot be read
)

// Codes of the warnings of a feed.
const (
	CodeFellBack = "camera_fell_back" // UDP does not get through: TCP is used
	CodeNoKey    = "camera_no_key"    // no key frame for long
	CodeStamps   = "camera_stamps"    // its time stamps leap
	CodeSource   = "camera_restarted" // it went on as another source
	CodeExcess   = "camera_excess"    // it sends several times as much as usual
	CodeFlood    = "camera_flood"     // it sends more than is taken
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
	var untrusted *streams.UntrustedCertificate
	host := s.url.Host
	var refused *devices.Problem
	switch {
	case errors.As(err, &refused): // by who says where a camera may be
		return problem("url", refused.Code, refused.ZH, refused.EN)
	case errors.As(err, &untrusted):
		return untrustedProblem(untrusted)
	case errors.Is(err, wire.ErrEndless), errors.As(err, new(liberrors.ErrClientSDPInvalid)), errors.As(err, new(liberrors.ErrClientTransportHeaderInvalid)):
		return problem("url", CodeGarbled, host+" 的应答无法识别，请核对地址是否为摄像机的 RTSP 地址", "the answer of "+host+" cannot be read; check that the address is the camera's RTSP address")
	case errors.Is(err, errNoVideo):
		return problem("url", CodeNoVideo, "摄像机的码流中没有 H.264、H.265 或 MJPEG 视频，请在摄像机上改编码或换一路码流", "the camera sends no H.264, H.265 or MJPEG video; change its encoding or choose another stream")
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
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: CodeSilent, Field: "url",
			ZH: "摄像机 " + host + " 没有按时应答，请检查地址、端口和网络",
			EN: "the camera at " + host + " did not answer in time; check address, port and network",
		}
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
		if s.accepted {
			return problem("password", CodePassword, "摄像机不再接受用户名和密码，请核对", "the camera no longer accepts the user name and password; check them")
		}
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

// fallsBack says that UDP was refused or did not get through.
func fallsBack(err error) bool {
	var status liberrors.ErrClientBadStatusCode
	return errors.As(err, new(liberrors.ErrClientServerRequestedTCP)) || errors.As(err, new(liberrors.ErrClientServerPortsNotProvided)) ||
		errors.As(err, new(liberrors.ErrClientSwitchToTCP2)) || errors.As(err, new(liberrors.ErrClientUDPTimeout)) ||
		errors.As(err, &status) && status.Code == base.StatusUnsupportedTransport
}

func fellBack() *devices.Problem {
	return problem("transport", CodeFellBack, "UDP 不通，已改用 TCP 取流；请检查防火墙或把传输改为 TCP", "UDP does not get through, TCP is used; check the firewall or choose TCP")
}

func noKeyFrame(d time.Duration) *devices.Problem {
	return problem("", CodeNoKey, "超过 "+brief(d)+" 没有关键帧，无法开始观看和抓拍；请把摄像机的关键帧间隔改为 1 至 2 秒", "no key frame for more than "+brief(d)+": nobody can begin to watch; set the camera's key frame interval to 1 or 2 s")
}

func leapt() *devices.Problem {
	return problem("", CodeStamps, "摄像机的时间戳跳变或停滞，已按到达时间校正；请检查摄像机的时钟设置", "the camera's time stamps leap or stand still and are mended by arrival; check its clock settings")
}

func anotherSource() *devices.Problem {
	return problem("", CodeSource, "摄像机在连接中途重新开始了码流（SSRC 改变），画面在短暂中断后接续；请检查其编码器是否反复重启", "the camera began its stream anew in mid-connection (another SSRC); pictures go on after a break; check whether its encoder keeps restarting")
}

func muchMoreThanUsual() *devices.Problem {
	return problem("", CodeExcess, "摄像机的码率远高于平时，请检查码率设置或画面", "the camera sends several times as much as usual; check its bitrate and the scene")
}

func floods(rate int64) *devices.Problem {
	limit := fmt.Sprintf("%d Mbit/s", rate*8/1_000_000)
	return problem("", CodeFlood, "摄像机的码率超过 "+limit+"，超出部分被丢弃；请降低码率", "the camera sends more than "+limit+", the rest is dropped; lower its bitrate")
}

// untrustedProblem says what to do about a certificate that was refused.
func untrustedProblem(e *streams.UntrustedCertificate) *devices.Problem {
	sum := hex.EncodeToString(e.Sum[:])
	if e.Pinned {
		return problem("fingerprint", CodeCertificate,
			"摄像机的证书与登记的指纹不符，现为 "+sum+"；确认更换过证书后请更新指纹",
			"the camera's certificate is not the one whose fingerprint is registered; it is "+sum+" now: enter it if the certificate was changed on purpose")
	}
	return problem("fingerprint", CodeCertificate,
		"摄像机的证书不受信任；核对后可填入其指纹 "+sum,
		"the camera's certificate is not trusted; after checking it enter its fingerprint "+sum)
}

func problem(field, code, zh, en string) *devices.Problem {
	return &devices.Problem{Code: code, Field: field, ZH: zh, EN: en}
}

func brief(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }
