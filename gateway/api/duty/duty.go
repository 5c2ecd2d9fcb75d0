// Package duty serves those who watch the site all day: the newest values and their
// history, events with their evidence, how the gateway itself fares, and the live
// messages that tell of all these as they happen.
package duty

import (
	"context"
	"database/sql"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/breach"
	"offsite/edge/evidence"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
	"offsite/timeseries"
)

// Backend is what this part is served from.
type Backend struct {
	History   history
	Updates   updates
	Points    points
	Events    events
	Evidence  exhibits
	Devices   instruments
	Cameras   cameras
	Condition condition
	Platform  platform
	Hub       hub
	Settings  []*devices.Problem // of the configuration: what people must see as long as the gateway runs
}

// history gives the readings of the past, as [timeseries.Store] says. While the
// store is being opened again each call answers a Problem of kind
// [devices.ErrUnavailable].
type history interface {
	Range(ctx context.Context, s timeseries.Series, from, to time.Time, most int) ([]timeseries.Sample, error)
	Windows(ctx context.Context, s timeseries.Series, from, to time.Time, every time.Duration) ([]timeseries.Window, error)
	Last(ctx context.Context, s timeseries.Series) (timeseries.Sample, error)
}

// updates tell what happens as it happens. The channel is never closed before
// stop; what a slow reader misses is counted by missed.
type updates interface {
	Updates() (c <-chan Update, missed func() int64, stop func())
	Latest() []devices.Reading // newest of each point since the start
	Newest(point string) (devices.Reading, bool)
}

// points tell whether the newest value of one, true at at, is stale, and which
// maintenance concerns it.
//
// StaleAfter gives the silence after which one was stale in [from, to); gaps are
// those between what was kept of that time, in order.
type points interface {
	PointState(point string, at time.Time) (stale bool, m *contract.Maintenance)
	StaleAfter(point string, from, to time.Time, gaps []time.Duration) time.Duration
}

// events give what was judged, as [breach.Engine] says.
type events interface {
	Events(ctx context.Context, f breach.Filter) ([]breach.Event, error) // newest first
	Event(ctx context.Context, id string) (breach.Event, error)

	// Acknowledge calls also inside the transaction that acknowledges, so that
	// the act and its audit row stand or fall together. Who watches is told. It
	// returns ErrNotFound, and ErrConflict code "already_acknowledged".
	Acknowledge(ctx context.Context, id, who, note string, at time.Time, also func(ctx context.Context, tx *sql.Tx) error) (breach.Event, error)
}

// exhibits are what belongs to events, by its hash. OpenBlob returns ErrNotFound
// for what no event names, and a Problem of code "evidence_damaged" for content
// that no longer has its hash. Of what was deleted it gives an Exhibit without content, and
// a Problem of kind ErrDeleted that says when and why.
//
// HoldEvidence keeps the evidence of an event whatever its age until ReleaseEvidence; both
// call also in the same transaction.
type exhibits interface {
	Evident(ctx context.Context, event string) (contract.Evident, error)
	OpenBlob(ctx context.Context, sha256 string) (*Exhibit, error)
	HoldEvidence(ctx context.Context, event string, h evidence.Hold, also func(context.Context, *sql.Tx) error) error
	ReleaseEvidence(ctx context.Context, event string, also func(context.Context, *sql.Tx) error) error
}

// instruments tell how the registered devices fare, by id.
type instruments interface {
	Devices() []contract.DeviceStatus
}

// cameras tell how the registered cameras fare, by id.
type cameras interface {
	Cameras() []contract.CameraStatus
}

// condition tells how the gateway itself fares.
type condition interface {
	Condition(ctx context.Context) (contract.Status, error) // Devices and Cameras are left to the caller
	Notices() []contract.Notice                             // that hold now

	// Losses gives at most most of the sites that are seen, and of none, newest first,
	// behind the next of the page before; the last page has none.
	Losses(ctx context.Context, before string, most int, sees func(site string) bool) (list []contract.Loss, next string, err error)
}

// platform tells how the gateway stands with the supervision platform.
type platform interface {
	Platform(ctx context.Context) (contract.PlatformStatus, error)
}

// hub fans live messages out, as package live does.
type hub interface {
	Tell(name, site string, data any) error
	Value(site, key string, value any)
	Idle() bool // nobody listens
	Renew(missed int64)
	Serve(ctx context.Context, w http.ResponseWriter, sees func(site string) bool, state func(ctx context.Context) (any, error), holds func() bool) error
}

// API serves the operations of this part.
type API struct {
	Backend
	desk   *request.Desk
	log    *slog.Logger
	opened time.Time
	once   *request.Once
}

// New makes the part at d. Nothing runs before [API.Run].
func New(d *request.Desk, b Backend, log *slog.Logger) *API {
	return &API{Backend: b, desk: d, log: log, opened: time.Now().UTC(), once: request.NewOnce(d)}
}

// Handlers names the handler of each operation.
func (a *API) Handlers() map[string]echo.HandlerFunc {
	return map[string]echo.HandlerFunc{
		"getLast": a.getLast, "listLast": a.listLast, "listReadings": a.listReadings,
		"listEvents": a.listEvents, "getEvent": a.getEvent, "acknowledgeEvent": a.acknowledgeEvent,
		"holdEvidence": a.holdEvidence, "releaseEvidence": a.releaseEvidence, "getBlob": a.getBlob,
		"verifyEvidence": a.verifyEvidence, "getEvidencePackage": a.getEvidencePackage,
		"getStatus": a.getStatus, "listLosses": a.listLosses, "watchLive": a.watchLive,
	}
}
