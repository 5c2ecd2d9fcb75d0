package modbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goburrow/modbus"

	"offsite/devices"
)

// Scan is a search for units behind one address.
type Scan struct {
	Device      devices.Device // endpoint, timeout and settings; its unit does not matter
	First, Last uint8          // unit ids, 1 to 247
	Every       time.Duration  // between two requests; zero means 100 ms
}

// Defaults of a scan.
const (
	scanEvery   = 100 * time.Millisecond
	scanTimeout = 500 * time.Millisecond
)

// Unit is one that answered a scan.
type Unit struct {
	ID   uint8            `json:"unit"`
	Took devices.Duration `json:"took"`
	ZH   string           `json:"zh"` // what it answered
	EN   string           `json:"en"`
}

// Scan asks every unit id of the range once for holding register 0, no faster
// than stated, and tells each that answers, be it by an exception. Where a driver
// polls it does not begin, and it ends when one comes (endpoint_polled): a unit
// that is not there holds up the others of its line. The error is about the form
// (Problems), a Problem, or the context's.
func (p *Pool) Scan(ctx context.Context, s Scan, found func(Unit)) error {
	dev, _ := filledIn(s.Device, nil)
	settings := devices.ModbusSettings{}
	if dev.Modbus != nil {
		settings = *dev.Modbus
	}
	settings.Unit, dev.Modbus = s.First, &settings
	if dev.Timeout == 0 {
		dev.Timeout = devices.Duration(scanTimeout)
	}
	if s.Every <= 0 {
		s.Every = scanEvery
	}
	if s.First < 1 || s.Last > 247 || s.First > s.Last {
		return devices.Invalid("first", "empty_range", "单元号范围须在 1 至 247 之间，且起始不大于终止", "scan units from 1 to 247, the first not above the last")
	}
	if err := check(&dev, nil); err != nil {
		return err
	}
	g, err := p.visit(ctx, dev)
	if err != nil {
		return err
	}
	defer p.exit(g.bus)
	if _, err := g.bus.reach(ctx); err != nil {
		return told(err, g)
	}
	for unit := int(s.First); unit <= int(s.Last); unit++ {
		began := time.Now()
		if g.bus.polled() {
			return endpointPolled(g.bus.at.addr)
		}
		settings.Unit = uint8(unit)
		if u, ok := g.hail(ctx); ok {
			found(u)
		}
		if !sleep(ctx, time.Until(began.Add(s.Every))) {
			return context.Cause(ctx)
		}
	}
	return context.Cause(ctx)
}

// hail asks the guest's unit whether it is there.
func (g *guest) hail(ctx context.Context) (Unit, bool) {
	began := time.Now()
	data, err := g.ask(ctx, query{function: readHolding, quantity: 1})
	if !answered(err) {
		return Unit{}, false
	}
	u := Unit{ID: g.dev.Modbus.Unit, Took: devices.Duration(time.Since(began))}
	var exception *modbus.ModbusError
	if errors.As(err, &exception) {
		p := devices.AllProblems(err)[0]
		u.ZH, u.EN = p.ZH, p.EN
		return u, true
	}
	u.ZH, u.EN = fmt.Sprintf("保持寄存器 0 为 % X", data), fmt.Sprintf("holding register 0 is % X", data)
	return u, true
}

// told gives a fault of the bus as a Problem.
func told(err error, g *guest) error {
	var f *fault
	if errors.As(err, &f) {
		return f.problem(g.bus.at.addr, g.dev.Modbus.Unit, g.dev.Timeout.D())
	}
	return err
}

func endpointPolled(addr string) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrConflict, Code: "endpoint_polled", Field: "endpoint",
		ZH: fmt.Sprintf("%s 正由本网关采集，扫描会拖慢采集，未进行；请先停用该地址上的设备", addr),
		EN: fmt.Sprintf("this gateway polls %s and a scan would slow it down; stop the devices there first", addr),
	}
}
