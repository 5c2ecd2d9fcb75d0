package video

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/gateway/api/request"
)

func (a *API) viewLive(c echo.Context) error {
	t, err := a.desk.Thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	profile := profileOf(c)
	ctx := c.Request().Context()
	who := request.Who(c)
	if err := a.views.Enter(who.ID); err != nil {
		return err
	}
	defer a.views.Leave(who.ID)
	if err := a.desk.Record(c, audit.Entry{Act: "live.view", What: "camera/" + t.Key(), Detail: string(profile)}); err != nil {
		return err
	}
	began, why := time.Now(), "not begun"
	defer func() {
		a.ended(who, "live.view.end", t.Key(), fmt.Sprintf("%s, %d s: %s", profile, int(time.Since(began).Seconds()), why))
	}()
	if err := request.Endlessly(c); err != nil {
		return err
	}
	conn, err := websocket.Accept(c.Response(), c.Request(), &websocket.AcceptOptions{
		// Tokens and tickets are not sent by a browser on its own, so that
		// only a cookie needs the page to be ours.
		InsecureSkipVerify: !who.Cookie,
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return nil // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	err = viewWhile(ctx, who.Holds, func(ctx context.Context) error { return a.Cameras.View(ctx, t.Key(), profile, conn) })
	status, reason := websocket.StatusNormalClosure, ""
	why = "the viewer left"
	var p *devices.Problem
	switch {
	case ctx.Err() != nil:
		why = "the gateway stops"
	case !who.Holds():
		why = "the right to see it has ended"
	case errors.As(err, &p):
		why = p.Code
		status, reason = websocket.StatusTryAgainLater, request.Shorten(p.Bilingual(), 120)
	}
	_ = conn.Close(status, reason)
	return nil
}

// ended writes how somebody's watching of a live picture has ended, however it was
// watched. Nothing waits for it any more, so that a failure is only logged.
func (a *API) ended(who request.Principal, act, camera, detail string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := a.desk.Trail.Record(ctx, audit.Entry{At: time.Now().UTC(), Who: who.ID, From: who.From, Act: act, What: "camera/" + camera, Result: "ok", Detail: detail})
	if err != nil {
		a.log.Error("end of a live picture not in the trail", "camera", camera, "act", act, "err", err)
	}
}

func (a *API) retryCamera(c echo.Context) error {
	t, err := a.desk.Thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	if err := a.desk.Record(c, audit.Entry{Act: "camera.retry", What: "camera/" + t.Key()}); err != nil {
		return err
	}
	if err := a.Cameras.Retry(t.Key()); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// viewWhile runs view until it ends or the viewer's rights do.
func viewWhile(ctx context.Context, holds func() bool, view func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := view(ctx); err != nil {
			return err
		}
		return context.Canceled // ends the other one, too
	})
	g.Go(func() error {
		check := time.NewTicker(15 * time.Second)
		defer check.Stop()
		for holds() {
			select {
			case <-check.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return context.Canceled
	})
	return g.Wait()
}
