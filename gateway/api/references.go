package api

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/ptz"
	"offsite/edge/scenes"
)

// References are what cameras ought to show.
//
// SetReference makes what a camera shows now its reference and calls also in the same
// transaction; ReferenceStill returns ErrNotFound where there is none. Stance tells where a
// camera looks.
type References interface {
	References(ctx context.Context, camera string) ([]scenes.Reference, error)
	ReferenceStill(ctx context.Context, camera, place string, night bool) (scenes.Reference, error)
	Stance(camera string) ptz.Stance
	SetReference(ctx context.Context, camera, who string, also func(ctx context.Context, tx *sql.Tx) error) (scenes.Reference, error)
}

func referenceBody(r *scenes.Reference) CameraReference {
	return CameraReference{Place: r.Place, Night: r.Night, MadeAt: r.MadeAt, SetBy: r.SetBy, Sha256: r.SHA256}
}

func (a *API) listReferences(c echo.Context) error {
	t, err := a.thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	list, err := a.References.References(c.Request().Context(), t.Key())
	if err != nil {
		return err
	}
	body := CameraReferenceList{Items: []CameraReference{}, Stance: a.References.Stance(t.Key())}
	for i := range list {
		body.Items = append(body.Items, referenceBody(&list[i]))
	}
	return c.JSON(http.StatusOK, body)
}

func (a *API) getReference(c echo.Context) error {
	t, err := a.thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	q := query{c: c}
	night, place := q.yes("night"), q.text("place")
	if err := q.ps.Err(); err != nil {
		return err
	}
	ctx := c.Request().Context()
	ref, err := a.References.ReferenceStill(ctx, t.Key(), place, night)
	if err != nil {
		return err
	}
	if err := a.Audit.Record(ctx, by(c, audit.Entry{Act: "reference.view", What: "camera/" + t.Key()})); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	h := c.Response().Header()
	h.Set("ETag", `"`+ref.SHA256+`"`)
	h.Set("Content-Type", "image/jpeg")
	h.Set("X-Captured-At", ref.MadeAt.Format(time.RFC3339Nano))
	http.ServeContent(c.Response(), c.Request(), "", time.Time{}, bytes.NewReader(ref.Still))
	return nil
}

func (a *API) setReference(c echo.Context) error {
	t, err := a.thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	ref, err := a.References.SetReference(c.Request().Context(), t.Key(), Who(c).ID, func(ctx context.Context, tx *sql.Tx) error {
		return a.Audit.Append(ctx, tx, by(c, audit.Entry{Act: "camera.set_reference", What: "camera/" + t.Key()}))
	})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, referenceBody(&ref))
}
