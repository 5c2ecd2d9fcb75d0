package modbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"offsite/devices"
	"offsite/devices/modbus/bus"
)

// Scan is a search for units behind one address.
type Scan struct {
	Device      devices.Device // endpoint, timeout and settings; its unit does not matter
	First, Last uint8          // unit ids, 1 to 247
	Every       time.Duration  // between two requests; zero means 100 ms
	Table       string         // what each is asked for; empty means holding registers
	Address     uint16         // of the one register or bit that each is asked for
	Within      time.Duration  // no unit is asked after this time; zero means no bound
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

// Scan asks every unit id of the range once for one register, no faster than
// stated, and tells each that answers, be it by an exception. Where a driver
// polls it does not begin, and it ends when one comes (endpoint_polled): a unit
// that is not there holds up the others of its line. It gives the unit to go on
// from where Within has ended it, else 0. The error is about the form
// (Problems), a Problem, or the context's.
func (p *Pool) Scan(ctx context.Context, s Scan, found func(Unit)) (next uint8, err error) {
	dev, hello, err := s.prepare()
	if err != nil {
		return 0, err
	}
	g, err := p.visit(ctx, dev)
	if err != nil {
		return 0, err
	}
	defer g.seat.Leave()
	start := time.Now()
	if _, err := g.seat.Reach(ctx); err != nil {
		return 0, g.told(err)
	}
	for unit := int(s.First); unit <= int(s.Last); unit++ {
		began := time.Now()
		if s.Within > 0 && unit > int(s.First) && began.Sub(start) >= s.Within {
			return uint8(unit), nil
		}
		if g.seat.Polled() {
			return 0, endpointPolled(g.at.Addr)
		}
		g.dev.Modbus.Unit = uint8(unit)
		if u, ok := g.hail(ctx, hello); ok {
			found(u)
		}
		if !bus.Sleep(ctx, time.Until(began.Add(s.Every))) {
			return 0, context.Cause(ctx)
		}
	}
	return 0, context.Cause(ctx)
}

// prepare checks the search, fills in its defaults and gives the device as it is
// asked, with settings of its own, and the query that each unit gets.
func (s *Scan) prepare() (devices.Device, bus.Query, error) {
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
	hello := bus.Query{Function: reads(s.Table), Start: s.Address, Quantity: 1}
	switch {
	case s.First < 1 || s.Last > 247 || s.First > s.Last:
		return dev, hello, devices.Invalid("first", "empty_range", "单元号范围须在 1 至 247 之间，且起始不大于终止", "scan units from 1 to 247, the first not above the last")
	case !slices.Contains([]string{"", "holding", "input", "coil", "discrete"}, s.Table):
		return dev, hello, devices.Invalid("table", "not_one_of", "寄存器区须为 holding、input、coil 或 discrete", "ask for holding, input, coil or discrete")
	}
	return dev, hello, check(&dev, nil)
}

// hail asks the guest's unit whether it is there.
func (g *guest) hail(ctx context.Context, hello bus.Query) (Unit, bool) {
	began := time.Now()
	data, err := g.ask(ctx, hello)
	if !answered(err) {
		return Unit{}, false
	}
	u := Unit{ID: g.dev.Modbus.Unit, Took: devices.Duration(time.Since(began))}
	var exception bus.Exception
	if errors.As(err, &exception) {
		p := devices.AllProblems(err)[0]
		u.ZH, u.EN = p.ZH, p.EN
		return u, true
	}
	u.ZH, u.EN = fmt.Sprintf("地址 %d 为 % X", hello.Start, data), fmt.Sprintf("address %d is % X", hello.Start, data)
	return u, true
}

func endpointPolled(addr string) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrConflict, Code: "endpoint_polled", Field: "endpoint",
		ZH: fmt.Sprintf("%s 正由本网关采集，扫描会拖慢采集，未进行；请先停用该地址上的设备", addr),
		EN: fmt.Sprintf("this gateway polls %s and a scan would slow it down; stop the devices there first", addr),
	}
}
