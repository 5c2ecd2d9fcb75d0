package people

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

func (a *API) listPeople(c echo.Context) error {
	return c.JSON(http.StatusOK, contract.PersonList{Items: a.Accounts.People()})
}

func (a *API) createPerson(c echo.Context) error {
	var body contract.PersonCreate
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	if err := a.checkSites(body.Sites); err != nil {
		return err
	}
	p, err := a.Accounts.CreatePerson(c.Request().Context(), request.Who(c), body)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Location", contract.Base+"/people/"+p.ID)
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
	var body contract.PersonReplace
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	if err := a.checkSites(body.Sites); err != nil {
		return err
	}
	version, err := request.VersionOf(c, body.Version)
	if err != nil {
		return err
	}
	p, err := a.Accounts.ReplacePerson(c.Request().Context(), request.Who(c), c.Param("id"), version, body)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, p)
}

func (a *API) retirePerson(c echo.Context) error {
	if err := a.Accounts.RetirePerson(c.Request().Context(), request.Who(c), c.Param("id")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func (a *API) resetPassword(c echo.Context) error {
	var body contract.PasswordReset
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	p, err := a.Accounts.ResetPassword(c.Request().Context(), request.Who(c), c.Param("id"), body.Password)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, p)
}

func (a *API) listTokens(c echo.Context) error {
	return c.JSON(http.StatusOK, contract.TokenList{Items: a.Accounts.Tokens()})
}

func (a *API) createToken(c echo.Context) error {
	var body contract.TokenCreate
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	if err := errors.Join(a.checkSites(body.Sites), a.checkCameras(body.Cameras)); err != nil {
		return err
	}
	if !body.ExpiresAt.IsZero() && body.ExpiresAt.After(time.Now().AddDate(10, 0, 0)) {
		return devices.Invalid("expires_at", "too_late", "令牌最长 10 年", "a token lives at most 10 years")
	}
	t, err := a.Accounts.CreateToken(c.Request().Context(), request.Who(c), body)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, t)
}

func (a *API) retireToken(c echo.Context) error {
	if err := a.Accounts.RetireToken(c.Request().Context(), request.Who(c), c.Param("id")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// checkSites refuses a site that is not there: a misspelt one would let nothing be seen.
func (a *API) checkSites(sites []string) error {
	var ps devices.Problems
	s := a.desk.Registry.Snapshot()
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
	s := a.desk.Registry.Snapshot()
	for i, camera := range cameras {
		if s.Cameras[camera] == nil {
			ps.Add(devices.Invalid(fmt.Sprintf("cameras[%d]", i), "unknown_camera", "没有摄像机 "+camera, "there is no camera "+camera))
		}
	}
	return ps.Err()
}
