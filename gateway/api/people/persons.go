package people

import (
	"fmt"
	"net/http"

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
