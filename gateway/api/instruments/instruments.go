// Package instruments serves those who look after the devices in the field: how they
// fare and who maintains them, set points and commands that are sent to them, and the
// messages of theirs that could not be understood. A command is in the audit trail
// before it is tried, with what became of it after.
package instruments

import (
	"context"
	"database/sql"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// Backend is what this part is served from.
type Backend struct {
	Health  health
	Writers map[string]Writer // by driver; the others cannot write
	Loggers loggers           // nil: the gateway does not listen for any
	Letters letters
}

// health tells how the field fares, and keeps who maintains what.
//
// Maintain and EndMaintenance call also inside the transaction that changes.
// subject is "device/<id>" or "point/<id>". Maintain tells every fault of the
// request, EndMaintenance returns ErrNotFound where nothing holds.
type health interface {
	Health(ctx context.Context, want func(*devices.Device) bool) (contract.FieldHealth, error) // without formulas
	Maintain(ctx context.Context, subject, who string, r contract.MaintenanceRequest, also func(context.Context, *sql.Tx) error) (contract.Maintenance, error)
	EndMaintenance(ctx context.Context, subject string, also func(context.Context, *sql.Tx) error) error
}

// Writer writes set points into the devices of one driver.
//
// Write reads what stands at the place of b, asks agree, writes value, which is
// in the point's unit, and reads it back; an error of agree ends it. A Problem
// of code "not_taken" or "write_unsure" comes with what is known.
type Writer interface {
	Write(ctx context.Context, dev devices.Device, b devices.Binding, value float64, agree func(before float64) error) (devices.Written, error)
}

// loggers send commands to data loggers, as [hj212.Host] does.
type loggers interface {
	Request(ctx context.Context, device string, c hj212.Command) (hj212.Result, error)
}

// letters are the messages of devices that could not be understood and wait for
// their bindings to be mended.
//
// Letters lists them, newest first. Replay reads those of the ids again by the
// present bindings; it returns when what was understood is on disk.
type letters interface {
	Letters(ctx context.Context, f LetterFilter) ([]contract.DeadLetter, error)
	Replay(ctx context.Context, ids []int64) (contract.ReplayResult, error)
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
		"listHealth": a.listHealth, "getDeviceHealth": a.getDeviceHealth,
		"maintainDevice": a.maintain(devices.KindDevice), "endDeviceMaintenance": a.endMaintenance(devices.KindDevice),
		"maintainPoint": a.maintain(devices.KindPoint), "endPointMaintenance": a.endMaintenance(devices.KindPoint),
		"writePoint": a.writePoint, "commandDevice": a.commandDevice, "listLoggerCommands": listLoggerCommands,
		"listDeadLetters": a.listLetters, "replayDeadLetters": a.replayLetters,
	}
}
