// Package supervision serves what the authority has to do with the gateway itself: the
// supervision platform that it is enrolled at and takes commands of, and the audit
// trail of all that was done.
package supervision

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// Backend is what this part is served from.
type Backend struct {
	Platform platform
	Trail    trail
}

// platform is the client of the supervision platform.
//
// Receive checks, executes and answers one signed command that came to the
// gateway's own address; it audits by itself.
type platform interface {
	Platform(ctx context.Context) (contract.PlatformStatus, error)
	Enrol(ctx context.Context, address, code string) error
	Receive(r *http.Request) (status int, body []byte, err error)
}

// trail is the audit trail as it is read, see [audit.Log].
type trail interface {
	Search(ctx context.Context, f audit.Filter) ([]audit.Row, error)
	Verify(ctx context.Context) error
	Head(ctx context.Context) (audit.Head, error)
}

// API serves the operations of this part.
type API struct {
	Backend
	desk *request.Desk
}

// New makes the part at d.
func New(d *request.Desk, b Backend) *API { return &API{Backend: b, desk: d} }

// Handlers names the handler of each operation.
func (a *API) Handlers() map[string]echo.HandlerFunc {
	return map[string]echo.HandlerFunc{
		"getPlatform": a.getPlatform, "enrolPlatform": a.enrolPlatform, "receiveCommand": a.receiveCommand,
		"listAudit": a.listAudit, "getAuditChain": a.getAuditChain,
	}
}
