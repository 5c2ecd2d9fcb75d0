package people

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// setCookie gives the browser its session, or takes it away. It lives as long
// as the browser does; the gateway ends it earlier.
func setCookie(c echo.Context, session string) {
	cookie := &http.Cookie{
		Name: request.CookieName, Value: session, Path: "/",
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
	return c.JSON(http.StatusOK, contract.SetupState{Needed: a.Accounts.SetupNeeded()})
}

func (a *API) setUp(c echo.Context) error {
	var body contract.SetupRequest
	if err := request.Decode(c, &body); err != nil {
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
	var body contract.SignInRequest
	if err := request.Decode(c, &body); err != nil {
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
	var body contract.LinkRequest
	if err := request.Decode(c, &body); err != nil {
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
	who := request.Who(c)
	if cookie, err := c.Cookie(request.CookieName); err == nil && who.Cookie {
		if err := a.Accounts.SignOut(c.Request().Context(), who, cookie.Value); err != nil {
			return err
		}
	}
	setCookie(c, "")
	c.Response().Header().Set("Clear-Site-Data", `"cache", "storage"`)
	return c.NoContent(http.StatusNoContent)
}

func (a *API) getMe(c echo.Context) error {
	return c.JSON(http.StatusOK, a.Accounts.Me(request.Who(c)))
}

func (a *API) changePassword(c echo.Context) error {
	var body contract.PasswordChange
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	if len(body.Old) > 256 {
		return devices.Invalid("old", "too_long", "口令最长 256 个字符", "a password has at most 256 characters")
	}
	me, err := a.Accounts.ChangePassword(c.Request().Context(), request.Who(c), body.Old, body.New)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, me)
}
