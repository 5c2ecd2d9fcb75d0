package video

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/alerts"
	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// Bounds of how far the teller's time is believed.
const (
	latestTold   = 10 * time.Minute
	earliestTold = 5 * time.Second
	tellTime     = 10 * time.Second
)

// tellCameraEvent takes a push in. The trail has it before it is acted on.
func (a *API) tellCameraEvent(c echo.Context) error {
	t, err := a.desk.Thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	var body contract.CameraEvent
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	var ps devices.Problems
	if body.ID == "" || len(body.ID) > 128 {
		ps.Add(devices.Invalid("id", "missing", "请填写编号，最长 128 字节", "give an id of at most 128 bytes"))
	}
	if !slices.Contains(devices.AlertTypes(), body.Type) {
		ps.Add(devices.Invalid("type", "not_one_of", "请选择 smoke、fire、intrusion、line_crossing、motion 或 tamper", "choose smoke, fire, intrusion, line_crossing, motion or tamper"))
	}
	if err := ps.Err(); err != nil {
		return err
	}
	now := time.Now()
	if body.At.IsZero() || now.Sub(body.At) > latestTold || body.At.Sub(now) > earliestTold {
		body.At = now
	}
	alert := alerts.Alert{Camera: t.Key(), Type: body.Type, ID: body.ID, At: body.At.UTC(), On: body.On == nil || *body.On, Once: body.On == nil}
	ctx, cancel := context.WithTimeout(c.Request().Context(), tellTime)
	defer cancel()
	entry := audit.Entry{Act: "camera.event", What: "camera/" + t.Key(), Detail: fmt.Sprintf("%s on=%v id=%q", alert.Type, alert.On, alert.ID)}
	if err := a.desk.Record(c, entry); err != nil {
		return err
	}
	event, err := a.Alerts.Tell(ctx, alert)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusAccepted, contract.CameraEventTaken{Event: event})
}
