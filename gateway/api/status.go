package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
)

func (a *API) devicesSeen(sees func(string) bool) []DeviceStatus {
	list := []DeviceStatus{}
	for _, d := range a.Devices.Devices() {
		if sees(d.Site) {
			list = append(list, d)
		}
	}
	return list
}

func (a *API) camerasSeen(sees func(string) bool) []CameraStatus {
	list := []CameraStatus{}
	for _, s := range a.Cameras.Cameras() {
		if sees(s.Site) {
			list = append(list, s)
		}
	}
	return list
}

// notices are those of the site, those of the settings and one for the user's own templates.
func (a *API) notices() []Notice {
	list := append([]Notice{}, a.Condition.Notices()...)
	for _, p := range a.Settings {
		list = append(list, Notice{Code: p.Code, Level: Warning, Since: a.opened, Zh: p.ZH, En: p.EN})
	}
	faults := a.Templates.Faults()
	if len(faults) == 0 {
		return list
	}
	n := Notice{Code: "templates", Level: Warning, Since: a.opened, Zh: faults[0].ZH, En: faults[0].EN}
	if more := len(faults) - 1; more > 0 {
		n.Zh += fmt.Sprintf("（另有 %d 处，请运行 offsite check）", more)
		n.En += fmt.Sprintf(" (and %d more: run offsite check)", more)
	}
	return append(list, n)
}

func (a *API) getStatus(c echo.Context) error {
	ctx, who := c.Request().Context(), Who(c)
	st, err := a.Condition.Condition(ctx)
	if err != nil {
		return err
	}
	st.Now, st.Devices, st.Cameras, st.Notices = time.Now().UTC(), a.devicesSeen(who.Sees), a.camerasSeen(who.Sees), a.notices()
	if slices.Contains([]Role{Administrator, FieldEngineer, Staff}, who.Role) {
		p, err := a.Platform.Platform(ctx)
		if err != nil {
			return err
		}
		st.Platform = &p
	}
	return c.JSON(http.StatusOK, st)
}

func (a *API) listLosses(c echo.Context) error {
	q := query{c: c}
	site, most := q.text("site"), q.number("max", 100, 1000)
	q.known("site", "max")
	if err := q.ps.Err(); err != nil {
		return err
	}
	// Losses of other sites are left out after reading: ask for enough.
	list, err := a.Condition.Losses(c.Request().Context(), 1000)
	if err != nil {
		return err
	}
	who, body := Who(c), LossList{Items: []Loss{}}
	for _, l := range list {
		// What belongs to no site concerns everybody.
		if (l.Site == "" || who.Sees(l.Site)) && (site == "" || l.Site == site) && len(body.Items) < most {
			body.Items = append(body.Items, l)
		}
	}
	return c.JSON(http.StatusOK, body)
}

func (a *API) getPlatform(c echo.Context) error {
	p, err := a.Platform.Platform(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, p)
}

func (a *API) enrolPlatform(c echo.Context) error {
	var body Enrolment
	if err := decode(c, &body); err != nil {
		return err
	}
	if body.Code == "" {
		return devices.Invalid("code", "missing", "请填写平台给出的激活码", "give the activation code of the platform")
	}
	if !strings.HasPrefix(body.URL, "https://") && !strings.HasPrefix(body.URL, "http://") {
		return devices.Invalid("url", "bad_address", "地址须形如 https://platform.example.cn", "write the address like https://platform.example.cn")
	}
	ctx := c.Request().Context()
	// The platform is asked outside any transaction: the trail has the attempt
	// before it, and what came of it after.
	entry := audit.Entry{Act: "platform.enrol", What: "platform/" + body.URL, Result: "begun"}
	if err := a.Audit.Record(ctx, by(c, entry)); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	err := a.Platform.Enrol(ctx, body.URL, body.Code)
	entry.Result = "ok"
	if err != nil {
		entry.Result = devices.AllProblems(err)[0].Code
	}
	if err := errors.Join(err, a.Audit.Record(ctx, by(c, entry))); err != nil {
		return err
	}
	return a.getPlatform(c)
}

func (a *API) receiveCommand(c echo.Context) error {
	command, err := readBody(c)
	if err != nil {
		return err
	}
	c.Request().Body = io.NopCloser(bytes.NewReader(command))
	status, answer, err := a.Platform.Receive(c.Request())
	if err != nil {
		return err
	}
	return c.JSONBlob(status, answer)
}
