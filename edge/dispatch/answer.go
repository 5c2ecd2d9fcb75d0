package dispatch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"strconv"
	"time"

	"offsite/devices"
	"offsite/edge/dispatch/wire"
)

// Class says what becomes of a message after an answer.
type Class int

// The classes. The zero Class keeps the message.
const (
	Retry   Class = iota // send it again later, without limit
	Done                 // it has taken effect
	Pause                // nothing goes to this platform until a person or the platform has mended something
	Refused              // the platform will not have this message
)

func (c Class) String() string {
	return [...]string{"retry", "done", "pause", "refused"}[c]
}

// longestAfter bounds what a Retry-After may ask for.
const longestAfter = time.Hour

// Answer is what came of one request.
type Answer struct {
	Class   Class
	Status  int              // HTTP status; 0 when no answer came
	After   time.Duration    // how long the platform asks to wait, at most an hour; 0 if it does not say
	Problem *devices.Problem // why the class is not Done
}

// classify sorts an answer by its status. body is what could be read of it and
// readErr what went wrong with the reading; into, if not nil, receives the
// body of a success.
func classify(status int, header http.Header, body []byte, readErr error, into any, now time.Time) Answer {
	a := Answer{Status: status, After: retryAfter(header, now)}
	if status >= 200 && status < 300 {
		if err := readable(header, body, readErr, into); err != nil {
			a.Problem = &devices.Problem{
				Kind: devices.ErrUnavailable, Code: "platform_garbled", Cause: err,
				ZH: "监管平台的应答不完整或无法解析，将自动重发；若持续出现，请核对平台地址，并检查途中是否有代理或登录页代为应答",
				EN: "the platform's answer is cut short or cannot be read; it will be sent again. If this lasts, check the platform's address, and whether a proxy or a sign-in page answers in its place",
			}
			return a
		}
		return Answer{Class: Done, Status: status}
	}
	said, spoken := problemIn(status, header, body)
	a.Problem = said.Problem()
	switch {
	case readErr != nil: // half an answer, whatever its status
	case status == http.StatusConflict, status == http.StatusPreconditionFailed:
		switch {
		case said.Code == "duplicate" || len(body) == 0:
			return Answer{Class: Done, Status: status}
		case spoken: // else it is not the platform that speaks, and the message is kept
			a.Class = Refused
		}
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status >= 500:
		a.Class = Retry
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge, status == http.StatusUnsupportedMediaType,
		status == http.StatusUnprocessableEntity, status == http.StatusNotAcceptable, status == http.StatusLengthRequired,
		status == http.StatusRequestURITooLong, status == http.StatusRequestHeaderFieldsTooLarge:
		a.Class = Refused
	case status >= 300 && status < 400:
		a.Class = Pause
		a.Problem = &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "platform_redirects",
			ZH: "监管平台地址返回跳转，网关不跟随；请核对平台地址或网络登录页", EN: "the platform's address answers with a redirect, which is not followed; check the address, or a sign-in page of the network",
		}
	default: // 401, 403, 404, 405 and what else says that the destination, not the message, is wrong
		a.Class = Pause
	}
	return a
}

// readable says whether a success has a whole JSON body.
func readable(header http.Header, body []byte, readErr error, into any) error {
	if readErr != nil {
		return readErr
	}
	if kind, _, err := mime.ParseMediaType(header.Get("Content-Type")); err != nil || kind != "application/json" {
		return fmt.Errorf("content type %q, want application/json", header.Get("Content-Type"))
	}
	if into == nil {
		into = new(map[string]json.RawMessage)
	}
	return json.Unmarshal(body, into)
}

// problemIn reads a problem body, or makes one from the status and says false.
func problemIn(status int, header http.Header, body []byte) (wire.ProblemBody, bool) {
	var p wire.ProblemBody
	kind, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	if kind == "application/problem+json" || kind == "application/json" {
		if json.Unmarshal(body, &p) == nil && p.Code != "" {
			p.Status = status
			return p, true
		}
	}
	return wire.ProblemBody{Status: status, Code: "status_" + strconv.Itoa(status), Title: fmt.Sprintf("status %d %s", status, http.StatusText(status)), TitleZh: fmt.Sprintf("状态码 %d", status)}, false
}

// retryAfter reads seconds or an HTTP date.
func retryAfter(header http.Header, now time.Time) time.Duration {
	raw := header.Get("Retry-After")
	if raw == "" {
		return 0
	}
	var d time.Duration
	if s, err := strconv.ParseInt(raw, 10, 64); err == nil {
		d = time.Duration(min(max(s, 0), int64(longestAfter/time.Second))) * time.Second
	} else if t, err := http.ParseTime(raw); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), longestAfter)
}

// codeUnreachable is the code of a connection that could not be made or broke.
const codeUnreachable = "platform_unreachable"

// unreachable tells why no answer came.
func unreachable(err error) *devices.Problem {
	p := &devices.Problem{
		Kind: devices.ErrUnavailable, Code: codeUnreachable, Cause: err,
		ZH: "无法连接监管平台，请检查网络和平台地址；数据已缓存，恢复后自动上报", EN: "the platform cannot be reached; check the network and the platform's address. What waits is kept and sent later",
	}
	var (
		netErr    net.Error
		certErr   *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
	)
	switch {
	case errors.As(err, &certErr), errors.As(err, &authority), errors.As(err, &name):
		p.Code = "platform_certificate"
		p.ZH, p.EN = "监管平台证书不可信，请核对平台地址或配置其 CA 证书", "the platform's certificate is not trusted; check the address or configure its CA"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		p.Code = "platform_timeout"
		p.ZH, p.EN = "监管平台应答超时，将自动重试", "the platform did not answer in time; it will be tried again"
	}
	return p
}

// pause is the rest after the given number of failures in a row: full jitter
// between half a second and a bound that doubles from one second to longest.
func pause(failures int, longest time.Duration) time.Duration {
	bound := longest
	if failures < 20 {
		bound = min(time.Second<<max(failures-1, 0), longest)
	}
	return time.Duration(rand.Int64N(int64(bound)) + 1)
}
