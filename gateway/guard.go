package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/gateway/accounts"
	"offsite/gateway/api"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// beforeChange are the operations open to who must first change the password.
var beforeChange = []string{"getMe", "changePassword", "signOut"}

// endless are the operations that stream until one side ends.
var endless = []string{"watchLive", "viewLive"}

// guard lets only those through to an operation whom the API's description names.
func (s *Server) guard(op *api.Operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Set(operationKey, op.ID)
			c.Response().Header().Set("Cache-Control", "no-store")
			who, err := s.admit(c, op)
			if err != nil {
				return s.refused(c, op, who, err)
			}
			request.SetWho(c, who)
			if slices.Contains(endless, op.ID) {
				defer s.stream(c)()
			}
			return next(c)
		}
	}
}

// refused writes into the trail who may not command the field, and which token has
// asked for more than the cameras that it is bound to.
func (s *Server) refused(c echo.Context, op *api.Operation, who request.Principal, why error) error {
	reaches := op.Reaches(who, c)
	if who.ID == "" || (!op.Command && reaches) {
		return why
	}
	entry := audit.Entry{At: time.Now().UTC(), Who: who.ID, From: who.From, Act: op.Act, What: op.Subject(c), Result: devices.AllProblems(why)[0].Code}
	if !reaches {
		entry.Act, entry.Detail = cmp.Or(op.Act, "access.refused"), op.ID
	}
	if err := s.trail.Record(c.Request().Context(), entry); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return why
}

// stream ties a request to the end of the Server.
func (s *Server) stream(c echo.Context) (done func()) {
	s.streams.Add(1)
	ctx, cancel := context.WithCancel(c.Request().Context())
	c.SetRequest(c.Request().WithContext(ctx))
	stop := context.AfterFunc(s.closing, cancel)
	return func() {
		stop()
		cancel()
		s.streams.Done()
	}
}

func (s *Server) admit(c echo.Context, op *api.Operation) (request.Principal, error) {
	if op.Open() {
		// Nobody is signed in, but a page of another site must not sign
		// anybody in either.
		return request.Principal{From: c.RealIP()}, s.sameSite(c)
	}
	id, err := s.identify(c, op)
	if err != nil {
		return request.Principal{}, err
	}
	if id.Cookie {
		if err := s.sameSite(c); err != nil {
			return request.Principal{}, err
		}
	}
	who := principal(id, c.RealIP())
	who.Holds = func() bool { return s.accounts.Holds(id) }
	switch {
	case id.MustChange && !slices.Contains(beforeChange, op.ID):
		return who, &devices.Problem{Kind: contract.ErrForbidden, Code: "password_change_required", ZH: "请先修改初始口令", EN: "change your first password before anything else"}
	case !op.Allows(who.Role):
		return who, roleNotAllowed()
	case op.AllSites && len(who.Sites) > 0:
		// Else an administrator of one site could make one of all.
		return who, request.AllSitesOnly()
	case !op.Reaches(who, c):
		return who, request.CameraNotAllowed()
	}
	return who, nil
}

func roleNotAllowed() *devices.Problem {
	return &devices.Problem{Kind: contract.ErrForbidden, Code: "role_not_allowed", ZH: "您的角色无权进行此操作", EN: "your role may not do this"}
}

// identify finds out who asks: by the bearer header if there is one, else by a
// ticket where the operation takes one, else by the session.
func (s *Server) identify(c echo.Context, op *api.Operation) (accounts.Identity, error) {
	ctx := c.Request().Context()
	if header := c.Request().Header.Get(echo.HeaderAuthorization); header != "" {
		scheme, secret, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return accounts.Identity{}, &devices.Problem{Kind: accounts.ErrUnknown, Code: "bad_scheme", ZH: "只接受 Authorization: Bearer", EN: "only Authorization: Bearer is understood"}
		}
		return s.accounts.ByBearer(strings.TrimSpace(secret))
	}
	if secret := c.QueryParam("ticket"); secret != "" && op.Ticket != "" {
		id, err := s.accounts.ByTicket(secret, op.Ticket, op.Target(c))
		if err == nil {
			// Whoever holds the ticket may show what it opens, on any page.
			c.Response().Header().Set("Access-Control-Allow-Origin", "*")
			c.Response().Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
		}
		return id, err
	}
	if cookie, err := c.Cookie(request.CookieName); err == nil {
		return s.accounts.BySession(ctx, cookie.Value)
	}
	return accounts.Identity{}, &devices.Problem{Kind: accounts.ErrUnknown, Code: "not_signed_in", ZH: "请先登录，或提供令牌", EN: "sign in, or send a token"}
}

// sameSite refuses what a page of another site had a browser send: writes by
// Sec-Fetch-Site and Origin, and WebSockets, which are reads with an Origin.
func (s *Server) sameSite(c echo.Context) error {
	r := c.Request()
	err := s.cross.Check(r)
	if origin := r.Header.Get("Origin"); err == nil && origin != "" && strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		if _, host, ok := strings.Cut(origin, "://"); !ok || !strings.EqualFold(host, r.Host) {
			err = errors.New("WebSocket from another origin")
		}
	}
	if err != nil {
		return &devices.Problem{Kind: contract.ErrForbidden, Code: "cross_site", ZH: "拒绝来自其他网站页面的请求", EN: "requests from another site's page are refused", Cause: err}
	}
	return nil
}

// local says whether the request comes from this very machine and from no proxy on it.
func local(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback() &&
		r.Header.Get("X-Forwarded-For") == "" && r.Header.Get("Forwarded") == "" && r.Header.Get("X-Real-Ip") == ""
}

// mayLook says whether who asks may see the gateway's own figures.
func (s *Server) mayLook(c echo.Context) bool {
	if local(c.Request()) {
		return true
	}
	scheme, secret, _ := strings.Cut(c.Request().Header.Get(echo.HeaderAuthorization), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	id, err := s.accounts.ByBearer(strings.TrimSpace(secret))
	return err == nil && len(id.Cameras) == 0
}
