package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/text/language"

	"offsite/devices"
	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
	"offsite/timeseries"
)

// statuses are the HTTP statuses of the kinds of error, and nothing else is.
var statuses = []struct {
	kind   error
	status int
}{
	{accounts.ErrUnknown, http.StatusUnauthorized},
	{accounts.ErrForbidden, http.StatusForbidden},
	{accounts.ErrLocked, http.StatusTooManyRequests},
	{contract.ErrForbidden, http.StatusForbidden},
	{contract.ErrMediaType, http.StatusUnsupportedMediaType},
	{contract.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{contract.ErrDamaged, http.StatusInternalServerError},
	{contract.ErrDeleted, http.StatusGone},
	{devices.ErrNotFound, http.StatusNotFound},
	{devices.ErrConflict, http.StatusConflict},
	{devices.ErrUnavailable, http.StatusServiceUnavailable},
	{devices.ErrInvalid, http.StatusBadRequest},
}

// answerProblem turns whatever went wrong into an RFC 9457 body.
func (s *Server) answerProblem(err error, c echo.Context) {
	if c.Response().Committed || errors.Is(err, context.Canceled) && c.Request().Context().Err() != nil {
		return
	}
	status, ps := judged(err)
	body := problemBody(status, ps, english(c.Request().Header.Get("Accept-Language")))
	body.Instance = c.Response().Header().Get(echo.HeaderXRequestID)
	if status >= http.StatusInternalServerError {
		s.log.ErrorContext(c.Request().Context(), "request failed", "request", body.Instance, "operation", c.Get(operationKey), "err", err)
	}
	h := c.Response().Header()
	h.Set("Cache-Control", "no-store")
	h.Set(echo.HeaderContentType, "application/problem+json")
	switch status {
	case http.StatusUnauthorized:
		h.Set(echo.HeaderWWWAuthenticate, "Bearer")
	case http.StatusServiceUnavailable:
		wait := max(timeseries.RetryAfter(err), time.Second)
		h.Set(echo.HeaderRetryAfter, strconv.Itoa(int(wait.Seconds())))
	}
	text, encoding := json.Marshal(body)
	if encoding != nil { // a struct of strings always marshals
		status = http.StatusInternalServerError
	}
	c.Response().WriteHeader(status)
	if c.Request().Method != http.MethodHead {
		_, _ = c.Response().Write(text)
	}
}

// judged finds the status and what is to be told.
func judged(err error) (int, devices.Problems) {
	var plain *echo.HTTPError
	if errors.As(err, &plain) {
		return plain.Code, devices.Problems{routingProblem(plain.Code)}
	}
	if !hasProblem(err) {
		return http.StatusInternalServerError, devices.AllProblems(err)
	}
	ps := devices.AllProblems(err)
	for _, s := range statuses {
		if errors.Is(ps[0], s.kind) {
			return s.status, ps
		}
	}
	return http.StatusInternalServerError, ps
}

func hasProblem(err error) bool {
	var p *devices.Problem
	var ps devices.Problems
	return errors.As(err, &ps) && len(ps) > 0 || errors.As(err, &p)
}

func routingProblem(status int) *devices.Problem {
	switch status {
	case http.StatusNotFound:
		return &devices.Problem{Kind: devices.ErrNotFound, Code: "no_such_path", ZH: "没有该地址，请核对路径", EN: "there is nothing at this address; check the path"}
	case http.StatusMethodNotAllowed:
		return &devices.Problem{Code: "method_not_allowed", ZH: "该地址不支持此方法", EN: "this address does not take this method"}
	default:
		return &devices.Problem{Code: "bad_request", ZH: "请求有误", EN: "the request is not understood"}
	}
}

func problemBody(status int, ps devices.Problems, english bool) contract.Problem {
	p := ps[0]
	if len(ps) > 1 {
		p = devices.Invalid("", "invalid", "有多项需要更正，详见各字段", "several fields need correction, see each")
	}
	body := contract.Problem{Type: "urn:offsite:problem:" + p.Code, Title: p.ZH, Status: status, Code: p.Code, Zh: p.ZH, En: p.EN, Field: p.Field}
	if english {
		body.Title = p.EN
	}
	for _, f := range ps {
		if f.Field != "" || len(ps) > 1 {
			body.Errors = append(body.Errors, contract.FieldProblem{Field: f.Field, Code: f.Code, Zh: f.ZH, En: f.EN})
		}
	}
	return body
}

// english says whether the reader would rather read English than Chinese.
func english(accept string) bool {
	tags, _, err := language.ParseAcceptLanguage(accept)
	if err != nil || len(tags) == 0 {
		return false
	}
	_, i, _ := language.NewMatcher([]language.Tag{language.Chinese, language.English}).Match(tags...)
	return i == 1
}
