// Package commissioning looks for devices and cameras that could be registered and
// tries those whose form is filled in, before anything is saved. It reaches out with
// what the form says, so that the audit trail has each attempt before it is made, and a
// stored password goes to no other address than its own.
package commissioning

import (
	"context"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/modbus"
	"offsite/devices/mqtt"
	"offsite/devices/mqtt/payload"
	"offsite/edge/audit"
	"offsite/edge/cameras"
	"offsite/gateway/api/request"
	"offsite/streams"
	"offsite/streams/onvif"
)

// Backend is what this part is served from.
type Backend struct {
	Prober    prober
	Discovery discovery
	Lookout   lookout
	Finder    finder
}

// prober tries unsaved devices, as [devices.Prober] says, of whichever driver.
type prober interface {
	Probe(ctx context.Context, dev devices.Device, bounds []devices.Bound) ([]devices.Step, error)
}

// discovery looks for devices that could be registered.
//
// Scan is [modbus.Pool.Scan], Listen is [mqtt.Listen]. Hear tells what a device
// publishes to the embedded broker, every device where the id is empty, as
// [broker.Broker.Listen] says. Loggers tells what data loggers sent last, as
// [hj212.Host.Heard] says; an error is that no host listens for them.
type discovery interface {
	Scan(ctx context.Context, s modbus.Scan, found func(modbus.Unit)) (next uint8, err error)
	Listen(ctx context.Context, dev devices.Device, what mqtt.ListenConfig) (*payload.Topics, error)
	Hear(ctx context.Context, device string, limit time.Duration) []payload.Heard
	Loggers(device string) ([]hj212.Heard, error)
}

// lookout tries cameras that need not be registered, as edge/cameras says.
type lookout interface {
	Probe(ctx context.Context, camera devices.Camera) (*streams.Trial, error)
}

// finder looks for cameras that could be registered, as edge/cameras says.
type finder interface {
	Find(ctx context.Context, s onvif.Search) ([]onvif.Found, error)
	Inspect(ctx context.Context, camera devices.Camera) (*cameras.Inspection, error)
}

// Limits of probes and searches: they keep engineers' connections busy, not the gateway.
const (
	probeTime   = 25 * time.Second
	probesAtAll = 4
)

// API serves the operations of this part.
type API struct {
	Backend
	desk    *request.Desk
	probing chan struct{} // has room for those that may be under way
}

// New makes the part at d.
func New(d *request.Desk, b Backend) *API {
	return &API{Backend: b, desk: d, probing: make(chan struct{}, probesAtAll)}
}

// Handlers names the handler of each operation.
func (a *API) Handlers() map[string]echo.HandlerFunc {
	return map[string]echo.HandlerFunc{
		"probeDevice": a.probeDevice, "scanDevices": a.scanDevices, "listenToDevices": a.listenToDevices,
		"probeCamera": a.probeCamera, "discoverCameras": a.discoverCameras, "inspectCamera": a.inspectCamera,
	}
}

// engage waits for one of the turns that probes and searches share, writes the attempt
// into the trail before it is made, and bounds what is then done. done ends it.
func (a *API) engage(c echo.Context, most time.Duration, attempt audit.Entry) (ctx context.Context, done func(), err error) {
	ctx, cancel := context.WithTimeout(c.Request().Context(), most)
	select {
	case a.probing <- struct{}{}:
		done = func() { <-a.probing; cancel() }
	case <-ctx.Done():
		cancel()
		return nil, nil, &devices.Problem{Kind: devices.ErrUnavailable, Code: "busy", ZH: "正在进行的测试太多，请稍后再试", EN: "too many probes are under way; try again"}
	}
	if err := a.desk.Record(c, attempt); err != nil {
		done()
		return nil, nil, err
	}
	return ctx, done, nil
}
