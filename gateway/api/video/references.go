package video

import (
	"bytes"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/scenes"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

func referenceBody(r *scenes.Reference) contract.CameraReference {
	return contract.CameraReference{Place: r.Place, Night: r.Night, MadeAt: r.MadeAt, SetBy: r.SetBy, Sha256: r.SHA256}
}

func (a *API) listReferences(c echo.Context) error {
	t, err := a.desk.Thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	list, err := a.References.References(c.Request().Context(), t.Key())
	if err != nil {
		return err
	}
	body := contract.CameraReferenceList{Items: []contract.CameraReference{}, Stance: a.References.Stance(t.Key())}
	for i := range list {
		body.Items = append(body.Items, referenceBody(&list[i]))
	}
	return c.JSON(http.StatusOK, body)
}

func (a *API) getReference(c echo.Context) error {
	t, err := a.desk.Thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	q := request.QueryOf(c)
	night, place := q.Yes("night"), q.Text("place")
	if err := q.Err(); err != nil {
		return err
	}
	ctx := c.Request().Context()
	ref, err := a.References.ReferenceStill(ctx, t.Key(), place, night)
	if err != nil {
		return err
	}
	if err := a.desk.Record(c, audit.Entry{Act: "reference.view", What: "camera/" + t.Key()}); err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("ETag", `"`+ref.SHA256+`"`)
	h.Set("Content-Type", "image/jpeg")
	h.Set("X-Captured-At", ref.MadeAt.Format(time.RFC3339Nano))
	http.ServeContent(c.Response(), c.Request(), "", time.Time{}, bytes.NewReader(ref.Still))
	return nil
}

func (a *API) setReference(c echo.Context) error {
	t, err := a.desk.Thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	ref, err := a.References.SetReference(c.Request().Context(), t.Key(), request.Who(c).ID, a.desk.Also(c, audit.Entry{Act: "camera.set_reference", What: "camera/" + t.Key()}))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, referenceBody(&ref))
}
