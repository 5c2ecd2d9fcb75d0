package video

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/ptz"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
	"offsite/streams/onvif"
)

// Bounds of steering.
const (
	steerTime   = 15 * time.Second
	longestName = 64 // of a preset, characters
)

func (a *API) getPTZ(c echo.Context) error {
	t, err := a.desk.Thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), steerTime)
	defer cancel()
	state, err := a.Steering.State(ctx, t.Key())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, state)
}

// steer does something to the camera of the path, with the trail before and
// after it.
func (a *API) steer(c echo.Context, act, detail string, do func(ctx context.Context, camera string, who ptz.Mover) error) error {
	t, err := a.desk.Thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), steerTime)
	defer cancel()
	c.SetRequest(c.Request().WithContext(ctx))
	return a.desk.Attempt(c, audit.Entry{Act: act, What: "camera/" + t.Key(), Detail: detail}, func(ctx context.Context) (string, error) {
		return "", do(ctx, t.Key(), moverOf(c))
	})
}

func moverOf(c echo.Context) ptz.Mover {
	who := request.Who(c)
	return ptz.Mover{ID: who.ID, Name: who.Name}
}

// movePTZ begins a movement, or renews it, which the trail is not told of: a
// button that is held sends many.
func (a *API) movePTZ(c echo.Context) error {
	var body contract.PTZMove
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	v := onvif.Vector{Pan: body.Pan, Tilt: body.Tilt, Zoom: body.Zoom}
	if err := v.Check(); err != nil {
		return err
	}
	move := a.Steering.Move
	if body.Step {
		move = a.Steering.Nudge
	}
	t, err := a.desk.Thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	if !body.Step && a.Steering.Continues(t.Key(), moverOf(c)) {
		err = move(c.Request().Context(), t.Key(), moverOf(c), v)
	} else {
		err = a.steer(c, "camera.move", fmt.Sprintf("pan %g, tilt %g, zoom %g", v.Pan, v.Tilt, v.Zoom), func(ctx context.Context, camera string, who ptz.Mover) error {
			return move(ctx, camera, who, v)
		})
	}
	return request.NoContent(c, err)
}

func (a *API) stopPTZ(c echo.Context) error {
	return request.NoContent(c, a.steer(c, "camera.stop", "", func(ctx context.Context, camera string, _ ptz.Mover) error {
		return a.Steering.Stop(ctx, camera)
	}))
}

// presetOf reads the body that names a preset.
func presetOf(c echo.Context, named bool) (contract.PTZPreset, error) {
	var body contract.PTZPreset
	if err := request.Decode(c, &body); err != nil {
		return body, err
	}
	body.Name = strings.TrimSpace(body.Name)
	switch {
	case named && (body.Name == "" || !utf8.ValidString(body.Name) || utf8.RuneCountInString(body.Name) > longestName):
		return body, devices.Invalid("name", "missing", "请填写预置位名称，最长 64 个字", "name the preset in at most 64 characters")
	case (!named && body.Token == "") || len(body.Token) > 128:
		return body, devices.Invalid("token", "missing", "请选择预置位", "choose a preset")
	}
	return body, nil
}

func (a *API) lookPTZ(c echo.Context) error {
	preset, err := presetOf(c, false)
	if err != nil {
		return err
	}
	return request.NoContent(c, a.steer(c, "camera.look", "preset "+preset.Token, func(ctx context.Context, camera string, who ptz.Mover) error {
		return a.Steering.GoTo(ctx, camera, who, preset.Token)
	}))
}

func (a *API) patrolPTZ(c echo.Context) error {
	var body contract.PTZPatrol
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	return request.NoContent(c, a.steer(c, "camera.patrol", request.Shorten(body.Name, 200), func(ctx context.Context, camera string, who ptz.Mover) error {
		return a.Steering.Patrol(ctx, camera, who, body.Name)
	}))
}

func (a *API) rememberPTZ(c echo.Context) error {
	preset, err := presetOf(c, true)
	if err != nil {
		return err
	}
	err = a.steer(c, "camera.remember", "preset "+preset.Token+" "+preset.Name, func(ctx context.Context, camera string, who ptz.Mover) (err error) {
		preset.Token, err = a.Steering.SetPreset(ctx, camera, who, preset.Token, preset.Name)
		return err
	})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, preset)
}

func (a *API) forgetPTZ(c echo.Context) error {
	preset, err := presetOf(c, false)
	if err != nil {
		return err
	}
	return request.NoContent(c, a.steer(c, "camera.forget", "preset "+preset.Token, func(ctx context.Context, camera string, who ptz.Mover) error {
		return a.Steering.RemovePreset(ctx, camera, who, preset.Token)
	}))
}
