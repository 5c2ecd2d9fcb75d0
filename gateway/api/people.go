package api

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
)

// CookieName is that of the session.
const CookieName = "offsite_session"

// setCookie gives the browser its session, or takes it away. It lives as long
// as the browser does; the gateway ends it earlier.
func setCookie(c echo.Context, session string) {
	cookie := &http.Cookie{
		Name: CookieName, Value: session, Path: "/",
		HttpOnly: true, Secure: c.IsTLS(), SameSite: http.SameSiteStrictMode,
	}
	if session == "" {
		cookie.MaxAge = -1
	}
	c.SetCookie(cookie)
}

// from is the address of who asks on open operations.
func from(c echo.Context) string { return c.RealIP() }

func (a *API) getSetup(c echo.Context) error {
	return c.JSON(http.StatusOK, SetupState{Needed: a.Accounts.SetupNeeded()})
}

func (a *API) setUp(c echo.Context) error {
	var body SetupRequest
	if err := decode(c, &body); err != nil {
		return err
	}
	me, session, err := a.Accounts.SetUp(c.Request().Context(), from(c), body)
	if err != nil {
		return err
	}
	setCookie(c, session)
	return c.JSON(http.StatusCreated, me)
}

func (a *API) signIn(c echo.Context) error {
	var body SignInRequest
	if err := decode(c, &body); err != nil {
		return err
	}
	if len(body.Password) > 256 { // hashing is dear
		return devices.Invalid("password", "too_long", "口令最长 256 个字符", "a password has at most 256 characters")
	}
	me, session, err := a.Accounts.SignIn(c.Request().Context(), from(c), body.ID, body.Password)
	if err != nil {
		return err
	}
	setCookie(c, session)
	return c.JSON(http.StatusOK, me)
}

func (a *API) signInByLink(c echo.Context) error {
	var body LinkRequest
	if err := decode(c, &body); err != nil {
		return err
	}
	me, session, err := a.Accounts.SignInByLink(c.Request().Context(), from(c), body.Link)
	if err != nil {
		return err
	}
	setCookie(c, session)
	return c.JSON(http.StatusOK, me)
}

func (a *API) signOut(c echo.Context) error {
	who := Who(c)
	if cookie, err := c.Cookie(CookieName); err == nil && who.Cookie {
		if err := a.Accounts.SignOut(c.Request().Context(), who, cookie.Value); err != nil {
			return err
		}
	}
	setCookie(c, "")
	c.Response().Header().Set("Clear-Site-Data", `"cache", "storage"`)
	return c.NoContent(http.StatusNoContent)
}

func (a *API) getMe(c echo.Context) error { return c.JSON(http.StatusOK, a.Accounts.Me(Who(c))) }

func (a *API) changePassword(c echo.Context) error {
	var body PasswordChange
	if err := decode(c, &body); err != nil {
		return err
	}
	if len(body.Old) > 256 {
		return devices.Invalid("old", "too_long", "口令最长 256 个字符", "a password has at most 256 characters")
	}
	me, err := a.Accounts.ChangePassword(c.Request().Context(), Who(c), body.Old, body.New)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, me)
}

// ticketPaths say where a ticket of each purpose opens.
var ticketPaths = map[TicketRequestPurpose]func(target string) string{
	Still: func(id string) string { return "/cameras/" + id + "/still.jpg" },
	View:  func(id string) string { return "/cameras/" + id + "/live" },
	Hls:   func(id string) string { return "/cameras/" + id + "/hls/index.m3u8" },
	Blob:  func(sum string) string { return "/blobs/" + sum },
	Live:  func(string) string { return "/live" },
}

func (a *API) createTicket(c echo.Context) error {
	var body TicketRequest
	if err := decode(c, &body); err != nil {
		return err
	}
	if err := a.checkTicket(c, body); err != nil {
		return err
	}
	secret, expires, err := a.Accounts.Ticket(Who(c), string(body.Purpose), body.Target)
	if err != nil {
		return err
	}
	url := Base + ticketPaths[body.Purpose](body.Target) + "?ticket=" + secret
	return c.JSON(http.StatusCreated, Ticket{Ticket: secret, ExpiresAt: expires, URL: url})
}

func (a *API) checkTicket(c echo.Context, body TicketRequest) error {
	switch body.Purpose {
	case Still, View, Hls:
		_, err := visible(Who(c), a.Registry.Snapshot(), devices.KindCamera, body.Target)
		return err
	case Blob:
		if !hashPattern.MatchString(body.Target) {
			return devices.Invalid("target", "bad_hash", "须为 64 位十六进制 SHA-256", "give the 64 hexadecimal digits of a SHA-256")
		}
	case Live:
		if body.Target != "" {
			return devices.Invalid("target", "not_used", "实时流没有目标，请留空", "the live stream has no target; leave it empty")
		}
	default:
		return devices.Invalid("purpose", "not_one_of", "用途须为 still、view、live 或 blob", "choose still, view, live or blob")
	}
	return nil
}

func (a *API) listPeople(c echo.Context) error {
	return c.JSON(http.StatusOK, PersonList{Items: a.Accounts.People()})
}

func (a *API) createPerson(c echo.Context) error {
	var body PersonCreate
	if err := decode(c, &body); err != nil {
		return err
	}
	if err := a.checkSites(body.Sites); err != nil {
		return err
	}
	p, err := a.Accounts.CreatePerson(c.Request().Context(), Who(c), body)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Location", Base+"/people/"+p.ID)
	return c.JSON(http.StatusCreated, p)
}

func (a *API) getPerson(c echo.Context) error {
	p, err := a.Accounts.Person(c.Param("id"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, p)
}

func (a *API) replacePerson(c echo.Context) error {
	var body PersonReplace
	if err := decode(c, &body); err != nil {
		return err
	}
	if err := a.checkSites(body.Sites); err != nil {
		return err
	}
	version, err := versionOf(c, body.Version)
	if err != nil {
		return err
	}
	p, err := a.Accounts.ReplacePerson(c.Request().Context(), Who(c), c.Param("id"), version, body)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, p)
}

func (a *API) retirePerson(c echo.Context) error {
	if err := a.Accounts.RetirePerson(c.Request().Context(), Who(c), c.Param("id")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func (a *API) resetPassword(c echo.Context) error {
	var body PasswordReset
	if err := decode(c, &body); err != nil {
		return err
	}
	p, err := a.Accounts.ResetPassword(c.Request().Context(), Who(c), c.Param("id"), body.Password)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, p)
}

func (a *API) listTokens(c echo.Context) error {
	return c.JSON(http.StatusOK, TokenList{Items: a.Accounts.Tokens()})
}

func (a *API) createToken(c echo.Context) error {
	var body TokenCreate
	if err := decode(c, &body); err != nil {
		return err
	}
	if err := errors.Join(a.checkSites(body.Sites), a.checkCameras(body.Cameras)); err != nil {
		return err
	}
	if !body.ExpiresAt.IsZero() && body.ExpiresAt.After(time.Now().AddDate(10, 0, 0)) {
		return devices.Invalid("expires_at", "too_late", "令牌最长 10 年", "a token lives at most 10 years")
	}
	t, err := a.Accounts.CreateToken(c.Request().Context(), Who(c), body)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, t)
}

func (a *API) retireToken(c echo.Context) error {
	if err := a.Accounts.RetireToken(c.Request().Context(), Who(c), c.Param("id")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// checkSites refuses a site that is not there: a misspelt one would let nothing be seen.
func (a *API) checkSites(sites []string) error {
	var ps devices.Problems
	s := a.Registry.Snapshot()
	for i, site := range sites {
		if s.Sites[site] == nil {
			ps.Add(devices.Invalid(fmt.Sprintf("sites[%d]", i), "unknown_site", "没有场所 "+site, "there is no site "+site))
		}
	}
	return ps.Err()
}

// checkCameras refuses a camera that is not there.
func (a *API) checkCameras(cameras []string) error {
	var ps devices.Problems
	s := a.Registry.Snapshot()
	for i, camera := range cameras {
		if s.Cameras[camera] == nil {
			ps.Add(devices.Invalid(fmt.Sprintf("cameras[%d]", i), "unknown_camera", "没有摄像机 "+camera, "there is no camera "+camera))
		}
	}
	return ps.Err()
}
