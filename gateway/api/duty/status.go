package duty

import (
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

func (a *API) devicesSeen(sees func(string) bool) []contract.DeviceStatus {
	list := []contract.DeviceStatus{}
	for _, d := range a.Devices.Devices() {
		if sees(d.Site) {
			list = append(list, d)
		}
	}
	return list
}

func (a *API) camerasSeen(sees func(string) bool) []contract.CameraStatus {
	list := []contract.CameraStatus{}
	for _, s := range a.Cameras.Cameras() {
		if sees(s.Site) {
			list = append(list, s)
		}
	}
	return list
}

// notices are those of the site and those of the settings.
func (a *API) notices() []contract.Notice {
	list := append([]contract.Notice{}, a.Condition.Notices()...)
	for _, p := range a.Settings {
		list = append(list, contract.Notice{Code: p.Code, Level: contract.Warning, Since: a.opened, Zh: p.ZH, En: p.EN})
	}
	return list
}

func (a *API) getStatus(c echo.Context) error {
	ctx, who := c.Request().Context(), request.Who(c)
	st, err := a.Condition.Condition(ctx)
	if err != nil {
		return err
	}
	st.Now, st.Devices, st.Cameras, st.Notices = time.Now().UTC(), a.devicesSeen(who.Sees), a.camerasSeen(who.Sees), a.notices()
	if slices.Contains([]contract.Role{contract.Administrator, contract.FieldEngineer, contract.Staff}, who.Role) {
		p, err := a.Platform.Platform(ctx)
		if err != nil {
			return err
		}
		st.Platform = &p
	}
	return c.JSON(http.StatusOK, st)
}

func (a *API) listLosses(c echo.Context) error {
	q := request.QueryOf(c)
	site, most := q.Text("site"), q.Number("max", 100, 1000)
	q.Known("site", "before", "max")
	if err := q.Err(); err != nil {
		return err
	}
	who := request.Who(c)
	list, next, err := a.Condition.Losses(c.Request().Context(), q.Text("before"), most, func(of string) bool {
		// What belongs to no site concerns everybody.
		return (of == "" || who.Sees(of)) && (site == "" || of == site)
	})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, contract.LossList{Items: append([]contract.Loss{}, list...), Next: next})
}
