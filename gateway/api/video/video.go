// Package video shows the registered cameras as they are now: live by WebSocket,
// WebRTC (WHEP) and HLS, as stills, on walls of pictures. It steers them, keeps what
// they ought to show, and takes in what they recognise by themselves.
//
// Who opens a live picture is in the audit trail, with the picture's end, however it
// was watched; nobody watches longer than the right to see it holds.
package video

import (
	"context"
	"database/sql"
	"log/slog"
	"net/http"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/alerts"
	"offsite/edge/ptz"
	"offsite/edge/scenes"
	"offsite/gateway/api/request"
	"offsite/streams"
	"offsite/streams/onvif"
	"offsite/streams/whep"
)

// Backend is what this part is served from.
type Backend struct {
	Cameras     cameras
	Steering    steering
	References  references
	Alerts      recognition
	Preferences preferences
}

// cameras give pictures of the registered cameras.
//
// Still takes a picture now; its error is a Problem that says why there is
// none, and width zero is the whole picture, else what suits a screen of so many
// pixels. View sends the live picture of a profile over conn, as openapi.yaml describes it,
// until the viewer leaves or ctx ends; a camera that gives no picture is a
// Problem of kind ErrUnavailable, and the caller closes conn.
type cameras interface {
	Still(ctx context.Context, camera string, width int) (streams.Still, error)
	View(ctx context.Context, camera string, profile devices.Profile, conn *websocket.Conn) error
	Retry(camera string) error // connects at once to a camera that waits

	// HLS answers with one file of the live picture as Low-Latency HLS. Where it
	// returns a Problem it has answered nothing.
	HLS(w http.ResponseWriter, r *http.Request, camera string, profile devices.Profile, name string) error

	// WHEP answers a WebRTC offer, as [whep.Server] says; the Track is left to it.
	// TrickleWHEP and CloseWHEP return ErrNotFound where there is no such session.
	WHEP(ctx context.Context, camera string, profile devices.Profile, v whep.Viewing) (whep.Answer, error)
	TrickleWHEP(session, fragment string) error
	CloseWHEP(session string) error
}

// steering steers cameras, as edge/ptz says.
type steering interface {
	State(ctx context.Context, camera string) (ptz.State, error)
	Continues(camera string, who ptz.Mover) bool
	Move(ctx context.Context, camera string, who ptz.Mover, v onvif.Vector) error
	Nudge(ctx context.Context, camera string, who ptz.Mover, v onvif.Vector) error
	Stop(ctx context.Context, camera string) error
	GoTo(ctx context.Context, camera string, who ptz.Mover, preset string) error
	Patrol(ctx context.Context, camera string, who ptz.Mover, name string) error
	SetPreset(ctx context.Context, camera string, who ptz.Mover, token, name string) (string, error)
	RemovePreset(ctx context.Context, camera string, who ptz.Mover, preset string) error
}

// references are what cameras ought to show.
//
// SetReference makes what a camera shows now its reference and calls also in the same
// transaction; ReferenceStill returns ErrNotFound where there is none. Stance tells where a
// camera looks.
type references interface {
	References(ctx context.Context, camera string) ([]scenes.Reference, error)
	ReferenceStill(ctx context.Context, camera, place string, night bool) (scenes.Reference, error)
	Stance(camera string) ptz.Stance
	SetReference(ctx context.Context, camera, who string, also func(ctx context.Context, tx *sql.Tx) error) (scenes.Reference, error)
}

// recognition takes in what cameras recognise, as edge/alerts says.
type recognition interface {
	Tell(ctx context.Context, a alerts.Alert) (event string, err error)
}

// preferences are what people have chosen for themselves.
//
// Preference is what who has chosen under name, nothing and 0 at first;
// Prefer replaces that version of it.
type preferences interface {
	Preference(ctx context.Context, who request.Principal, name string) (data []byte, version int64, err error)
	Prefer(ctx context.Context, who request.Principal, name string, version int64, data []byte) error
}

// API serves the operations of this part.
type API struct {
	Backend
	desk      *request.Desk
	log       *slog.Logger
	openings  *openings
	playbacks *playbacks
	sessions  *request.Places // of WebRTC
	views     *request.Places // by WebSocket
}

// New makes the part at d. Nothing runs before [API.Run].
func New(d *request.Desk, b Backend, log *slog.Logger) *API {
	return &API{
		Backend: b, desk: d, log: log, openings: newOpenings(), playbacks: newPlaybacks(),
		sessions: live("您打开的低延迟画面过多，请先关闭一些", "you have too many WebRTC sessions open; close some"),
		views:    live("您打开的实时画面过多，请先关闭一些", "you have too many live pictures open; close some"),
	}
}

// liveOfOne is how many live pictures one person or token has at once, by WebRTC and
// again by WebSocket and HLS: a wall of 16 that is opened anew.
const liveOfOne = 32

// live are the places of those who see live pictures by one way.
func live(zh, en string) *request.Places {
	return &request.Places{Each: liveOfOne, Yours: tooMany(zh, en)}
}

func tooMany(zh, en string) *devices.Problem {
	return &devices.Problem{Kind: devices.ErrUnavailable, Code: "too_many_playbacks", ZH: zh, EN: en}
}

// Run ends playbacks that are over, and all of them when ctx ends.
func (a *API) Run(ctx context.Context) error { return a.watchPlaybacks(ctx) }

// Handlers names the handler of each operation.
func (a *API) Handlers() map[string]echo.HandlerFunc {
	return map[string]echo.HandlerFunc{
		"viewLive": a.viewLive, "retryCamera": a.retryCamera, "getStill": a.getStill,
		"openWHEP": a.openWHEP, "trickleWHEP": a.trickleWHEP, "closeWHEP": a.closeWHEP, "openHLS": a.openHLS, "getHLS": a.getHLS,
		"getPTZ": a.getPTZ, "movePTZ": a.movePTZ, "stopPTZ": a.stopPTZ, "lookPTZ": a.lookPTZ, "patrolPTZ": a.patrolPTZ, "rememberPTZ": a.rememberPTZ, "forgetPTZ": a.forgetPTZ,
		"getMyWalls": a.getMyWalls, "replaceMyWalls": a.replaceMyWalls,
		"listReferences": a.listReferences, "getReference": a.getReference, "setReference": a.setReference,
		"tellCameraEvent": a.tellCameraEvent,
	}
}
