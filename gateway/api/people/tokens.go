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
