package commissioning

import (
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/modbus"
	"offsite/devices/mqtt"
	"offsite/devices/registry"
	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// Bounds of looking for devices. An answer comes before phones and proxies lose
// their patience; a scan goes on from where it stopped.
const (
	scanWithin   = 8 * time.Second
	scanPatience = 3 * time.Second // with one unit
	listenFor    = 8 * time.Second
	listenMost   = 20 * time.Second
	mostFilters  = 16
)

// scanDevices asks some units of a bus whether they are there.
func (a *API) scanDevices(c echo.Context) error {
	var body contract.ScanRequest
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	scan, err := a.scanOf(request.Who(c), &body)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s units %d-%d", scan.Device.Endpoint, scan.First, scan.Last)
	ctx, done, err := a.engage(c, scanWithin+scanPatience+probeTime, audit.Entry{Act: "device.scan", What: what})
	if err != nil {
		return err
	}
	defer done()
	report := contract.ScanReport{Units: []contract.ScanUnit{}}
	next, err := a.Discovery.Scan(ctx, scan, func(u modbus.Unit) { report.Units = append(report.Units, u) })
	if err != nil {
		return err
	}
	report.Next = int(next)
	return c.JSON(http.StatusOK, report)
}

// scanOf reads the form of a scan. All its faults are told at once.
func (a *API) scanOf(who request.Principal, body *contract.ScanRequest) (modbus.Scan, error) {
	scan := modbus.Scan{Device: body.Device, First: 1, Last: 247, Every: body.Every.D(), Table: body.Table, Address: body.Address, Within: scanWithin}
	scan.Device.Driver = devices.DriverModbus
	var ps devices.Problems
	for _, n := range [...]struct {
		field string
		given int
		into  *uint8
	}{{"first", body.First, &scan.First}, {"last", body.Last, &scan.Last}} {
		switch {
		case n.given < 0 || n.given > 247:
			ps.Add(devices.Invalid(n.field, "out_of_range", "单元号须为 1 至 247", "units have ids from 1 to 247"))
		case n.given != 0:
			*n.into = uint8(n.given)
		}
	}
	if d := scan.Device.Timeout.D(); d < 0 || d > scanPatience {
		ps.Add(devices.Invalid("device.timeout", "out_of_range", "扫描时每个单元最多等 3s", "a scan waits at most 3s for a unit"))
	}
	if d := scan.Every; d != 0 && (d < 10*time.Millisecond || d > 5*time.Second) {
		ps.Add(devices.Invalid("every", "out_of_range", "间隔须在 10ms 与 5s 之间", "ask every 10ms to 5s"))
	}
	ps.Add(request.MayChange(who, a.desk.Registry.Snapshot(), &scan.Device, true))
	return scan, ps.Err()
}

// listenToDevices tells what is published on a broker, or what data loggers send.
func (a *API) listenToDevices(c echo.Context) error {
	var body contract.ListenRequest
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	who, s := request.Who(c), a.desk.Registry.Snapshot()
	if err := checkListen(who, s, &body); err != nil {
		return err
	}
	dev := a.withSecrets(who, s, body.Device)
	ctx, done, err := a.engage(c, body.For.D()+probeTime, audit.Entry{Act: "device.listen", What: "device/" + dev.ID + " " + dev.Endpoint})
	if err != nil {
		return err
	}
	defer done()
	hearing := hearing{registered: s, sees: func(t devices.Thing) bool { return request.Sees(who, s, t) }, device: &dev}
	if dev.Driver == devices.DriverHJ212 {
		heard, err := a.Discovery.Loggers(dev.ID)
		if err != nil {
			return err
		}
		return c.JSON(http.StatusOK, contract.ListenReport{Sources: hearing.loggers(heard, len(who.Sites) == 0)})
	}
	if dev.Driver == devices.DriverBroker {
		return c.JSON(http.StatusOK, contract.ListenReport{Sources: hearing.own(a.Discovery.Hear(ctx, dev.ID, body.For.D()))})
	}
	topics, err := a.Discovery.Listen(ctx, dev, mqtt.ListenConfig{Filters: body.Filters, For: body.For.D()})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, hearing.external(topics))
}

// checkListen tells what is wrong with the form and fills in its defaults.
func checkListen(who request.Principal, s *registry.Snapshot, body *contract.ListenRequest) error {
	var ps devices.Problems
	switch dev := &body.Device; dev.Driver {
	case devices.DriverMQTT:
		ps.Add(request.MayChange(who, s, dev, true))
	case devices.DriverBroker, devices.DriverHJ212: // what others may not see is left out of the answer
	default:
		ps.Add(devices.Invalid("device.driver", "not_heard", "只能收听 mqtt、broker 或 hj212 设备", "listen to mqtt, broker or hj212"))
	}
	if body.For == 0 {
		body.For = devices.Duration(listenFor)
	}
	if d := body.For.D(); d < time.Second || d > listenMost {
		ps.Add(devices.Invalid("for", "out_of_range", "收听时长须在 1s 与 20s 之间", "listen for 1s to 20s"))
	}
	if len(body.Filters) > mostFilters {
		ps.Add(devices.Invalid("filters", "too_many", "最多 16 个主题过滤器", "give at most 16 topic filters"))
	}
	return ps.Err()
}
