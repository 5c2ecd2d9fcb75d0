package onvif

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"offsite/devices"
	"offsite/streams"
)

// Codes of the Problems.
const (
	CodeAddress     = "onvif_address"     // no address of a device service
	CodeUnreachable = "onvif_unreachable" // no connection
	CodeSilent      = "onvif_silent"      // connected, but no answer in time
	CodePassword    = "onvif_password"    // user or password refused, or none given
	CodeGarbled     = "onvif_garbled"     // the answer cannot be read, or is too large
	CodeUnknown     = "onvif_unsupported" // the camera does not offer it
	CodeRefused     = "onvif_refused"     // the camera answered with a fault
	CodeCertificate = "onvif_certificate" // https: the certificate is not trusted
)

// fault is what a camera answers instead: SOAP 1.2, 5.4.
type fault struct {
	codes  []string // local names, outermost first
	reason string
}

func (f *fault) Error() string { return strings.Join(f.codes, "/") + ": " + f.reason }

// is says whether one of the fault's codes has this local name.
func (f *fault) is(name string) bool {
	for _, c := range f.codes {
		if strings.EqualFold(c, name) {
			return true
		}
	}
	return false
}

// errRefused is the answer to a user or password that is not the right one.
var errRefused = errors.New("not authorized")

// explain makes the Problem of a failed call. The password is in none of its
// sentences; Scrub makes sure of its cause.
func (c *Client) explain(err error) error {
	p := c.sort(err)
	if p.Kind == nil {
		p.Kind = devices.ErrUnavailable
	}
	p.Cause = errors.New(devices.Scrub(err.Error(), c.password))
	return p
}

func (c *Client) sort(err error) *devices.Problem {
	var refused *devices.Problem
	var f *fault
	var u *streams.UntrustedCertificate
	var op *net.OpError
	host := c.at.Host
	switch {
	case errors.As(err, &refused):
		return problem(refused.Field, refused.Code, refused.ZH, refused.EN)
	case errors.Is(err, errRefused) && c.username == "":
		return problem("username", CodePassword, "摄像机的 ONVIF 要求用户名和密码，请填写", "the camera's ONVIF service asks for a user name and password; give them")
	case errors.Is(err, errRefused):
		return problem("password", CodePassword, "摄像机的 ONVIF 拒绝了用户名或密码，为免锁定账号不再尝试，请核对；有些摄像机须在其网页上单独添加 ONVIF 用户", "the camera's ONVIF service refused the user name or password and is not tried again, lest it lock the account; check them, some cameras need an ONVIF user of their own")
	case errors.As(err, &u):
		return problem("fingerprint", CodeCertificate, fmt.Sprintf("摄像机的证书不受信任，请核对后填写其 SHA-256 指纹 %x", u.Sum), fmt.Sprintf("the camera's certificate is not trusted; check it and give its SHA-256 fingerprint %x", u.Sum))
	case errors.As(err, &f) && (f.is("ActionNotSupported") || f.is("NotSupported") || f.is("PTZNotSupported") || f.is("NoSuchService")):
		return unsupported()
	case errors.As(err, &f):
		return problem("", CodeRefused, "摄像机拒绝了请求："+clip(f.Error(), 200)+"，请检查摄像机的设置", "the camera refused the request: "+clip(f.Error(), 200)+"; check its settings")
	case errors.Is(err, errLarge), errors.Is(err, errGarbled):
		return problem("onvif", CodeGarbled, host+" 的应答无法识别，请核对地址是否为摄像机的 ONVIF 设备服务地址", "the answer of "+host+" cannot be read; check that the address is the camera's ONVIF device service")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return problem("onvif", CodeSilent, "摄像机 "+host+" 没有按时应答，请检查地址、端口和网络", "the camera at "+host+" did not answer in time; check address, port and network")
	case errors.As(err, &op) && op.Op == "dial":
		return problem("onvif", CodeUnreachable, "无法连接 "+host+"，请检查地址、端口和网络，并确认摄像机已启用 ONVIF", "no connection to "+host+"; check address, port and network, and that the camera has ONVIF switched on")
	}
	return problem("onvif", CodeUnreachable, "与摄像机 "+host+" 的 ONVIF 连接中断，请稍后再试", "the ONVIF connection to the camera at "+host+" broke; try again")
}

func unsupported() *devices.Problem {
	p := problem("", CodeUnknown, "摄像机不支持此功能，请在摄像机网页上查看其型号与固件", "the camera does not offer this; look at its model and firmware on its own page")
	p.Kind = devices.ErrConflict
	return p
}

func problem(field, code, zh, en string) *devices.Problem {
	return &devices.Problem{Code: code, Field: field, ZH: zh, EN: en}
}

// codeOf names the Problem of a failed call.
func codeOf(err error) string {
	var p *devices.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

// answered says that the camera is there, whatever it said.
func answered(err error) bool {
	switch codeOf(err) {
	case CodeGarbled, CodeUnknown, CodeRefused, CodePassword:
		return true
	}
	return false
}

// declined says that the camera will not do this, and may do something else.
func declined(err error) bool {
	code := codeOf(err)
	return code == CodeUnknown || code == CodeRefused
}
