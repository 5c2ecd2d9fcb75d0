package video

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
	"offsite/streams/whep"
)

// Media types of WHEP (draft-ietf-wish-whep; RFC 8840).
const (
	sdpType      = "application/sdp"
	fragmentType = "application/trickle-ice-sdpfrag"
)

// openWHEP answers an offer. The session then lives by itself: its end, too,
// goes into the trail, whoever ends it.
func (a *API) openWHEP(c echo.Context) error {
	t, err := a.desk.Thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	offer, err := readText(c, sdpType)
	if err != nil {
		return err
	}
	profile, who := profileOf(c), request.Who(c)
	if err := a.sessions.Enter(who.ID); err != nil {
		return err
	}
	ctx := c.Request().Context()
	if err := a.desk.Record(c, audit.Entry{Act: "live.whep", What: "camera/" + t.Key(), Detail: string(profile)}); err != nil {
		a.sessions.Leave(who.ID)
		return err
	}
	answer, err := a.Cameras.WHEP(ctx, t.Key(), profile, whep.Viewing{
		Offer: offer,
		Holds: func() bool {
			_, err := request.Visible(who, a.desk.Registry.Snapshot(), devices.KindCamera, t.Key())
			return err == nil && who.Holds()
		},
		Ended: func(e whep.End) {
			a.sessions.Leave(who.ID)
			a.endedWHEP(who, t.Key(), profile, e)
		},
	})
	if err != nil {
		a.sessions.Leave(who.ID)
		a.endedWHEP(who, t.Key(), profile, whep.End{Why: err})
		return err
	}
	h := c.Response().Header()
	// Relative, so that it holds behind a proxy that serves us under another path.
	h.Set(echo.HeaderLocation, "whep/"+answer.ID)
	h.Set("Accept-Patch", fragmentType)
	h.Set("Access-Control-Expose-Headers", echo.HeaderLocation)
	return c.Blob(http.StatusCreated, sdpType, []byte(answer.SDP))
}

// endedWHEP writes how a session has ended.
func (a *API) endedWHEP(who request.Principal, camera string, profile devices.Profile, e whep.End) {
	why := e.Why.Error()
	var p *devices.Problem
	switch {
	case errors.Is(e.Why, context.Canceled):
		why = "the gateway stops"
	case errors.As(e.Why, &p):
		why = p.Code
	}
	a.ended(who, "live.whep.end", camera, fmt.Sprintf("%s, %d s, %d bytes, %d pictures, %d left out: %s", profile, int(e.Took.Seconds()), e.Bytes, e.Frames, e.Lost, why))
}

// trickleWHEP takes addresses of the viewer that it found after its offer.
func (a *API) trickleWHEP(c echo.Context) error {
	fragment, err := readText(c, fragmentType)
	if err != nil {
		return err
	}
	if err := a.Cameras.TrickleWHEP(c.Param("session"), fragment); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func (a *API) closeWHEP(c echo.Context) error {
	if err := a.Cameras.CloseWHEP(c.Param("session")); err != nil {
		return err
	}
	return c.NoContent(http.StatusOK)
}

// readText reads a body that must be of this media type.
func readText(c echo.Context, kind string) (string, error) {
	if got, _, err := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderContentType)); err != nil || got != kind {
		return "", &devices.Problem{Kind: contract.ErrMediaType, Code: "wrong_media_type", ZH: "请求体须为 " + kind, EN: "send the body as " + kind}
	}
	body, err := request.ReadBody(c)
	return string(body), err
}
