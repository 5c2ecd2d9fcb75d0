// Package api is the gateway's own HTTP API as openapi.yaml describes it. That
// document is the source: the Go types of package contract are made from it, the routes are
// registered by its operation ids, and each operation's `x-roles`,
// `x-all-sites`, `x-cameras`, `x-ticket`, `x-audit` and `x-command` are what the server enforces. A server whose document names an
// operation without roles or without a handler refuses to start.
//
// Bodies are JSON; faults are RFC 9457 problem bodies with a stable code and a
// sentence in Chinese and in English. Fields are only ever added within
// /api/v1; clients ignore those they do not know.
//
// A request walks straight through: echo finds the operation's route, the server's
// guard lets in whom the operation admits and says who asks, the handler of one of the
// parts reads the request at its desk (package request), asks what it is served from
// and answers a body of the contract, or returns what is wrong, of which the server
// makes the problem body. The handlers stand by subject in parts that do not know each
// other, and each part's Backend says what it needs:
//
//	registration   what is registered: things, tables, templates, labels, adopting what was found
//	commissioning  looking for devices and cameras, and trying them before they are saved
//	instruments    devices in service: health, maintenance, set points, logger commands, dead letters
//	duty           newest values, history, events and evidence, status, live messages
//	video          live pictures, stills, steering, walls, references, what cameras recognise
//	footage        what was recorded, here and by recorders: timeline, clips, exports
//	people         signing in, accounts, tokens, tickets
//	supervision    the supervision platform, the audit trail
package api

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"

	"offsite/devices/registry"
	"offsite/edge/audit"
	"offsite/gateway/api/commissioning"
	"offsite/gateway/api/duty"
	"offsite/gateway/api/footage"
	"offsite/gateway/api/instruments"
	"offsite/gateway/api/people"
	"offsite/gateway/api/registration"
	"offsite/gateway/api/request"
	"offsite/gateway/api/supervision"
	"offsite/gateway/api/video"
)

// Backend is what the API serves from: what all parts share, and what each needs of
// its own.
type Backend struct {
	Registry *registry.Registry
	Audit    trail

	Registration  registration.Backend
	Commissioning commissioning.Backend
	Instruments   instruments.Backend
	Duty          duty.Backend
	Video         video.Backend
	Footage       footage.Backend
	People        people.Backend
	Supervision   supervision.Backend
}

// trail is where acts are written, as [audit.Log] keeps it.
type trail interface {
	Append(ctx context.Context, tx *sql.Tx, e audit.Entry) error
	Record(ctx context.Context, e audit.Entry) error
}

// API serves the operations of openapi.yaml.
type API struct {
	duty  *duty.API
	video *video.API
	parts []part
}

// part has the handlers of some operations, by their ids.
type part interface {
	Handlers() map[string]echo.HandlerFunc
}

// New makes an API on b. Nothing runs before [API.Run].
func New(b Backend, log *slog.Logger) *API {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	desk := &request.Desk{Registry: b.Registry, Trail: b.Audit}
	a := &API{duty: duty.New(desk, b.Duty, log), video: video.New(desk, b.Video, log)}
	a.parts = []part{
		registration.New(desk, b.Registration), commissioning.New(desk, b.Commissioning), instruments.New(desk, b.Instruments),
		a.duty, a.video, footage.New(desk, b.Footage), people.New(desk, b.People), supervision.New(desk, b.Supervision),
	}
	return a
}

// Run carries what happens to the hub, and ends playbacks, until ctx ends.
func (a *API) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.duty.Run(ctx) })
	g.Go(func() error { return a.video.Run(ctx) })
	return g.Wait()
}

// MayView says why who may not see a camera now: that there is none for them is
// of kind ErrNotFound.
func (a *API) MayView(who request.Principal, camera string) error {
	return a.video.MayView(who, camera)
}

// handlers names the handler of each operation.
func (a *API) handlers() map[string]echo.HandlerFunc {
	all := map[string]echo.HandlerFunc{"getOpenAPI": getOpenAPI}
	for _, p := range a.parts {
		for id, handler := range p.Handlers() {
			if all[id] != nil {
				panic(fmt.Sprintf("two handlers for %q", id))
			}
			all[id] = handler
		}
	}
	return all
}

func getOpenAPI(c echo.Context) error { return c.Blob(http.StatusOK, "application/yaml", document) }
