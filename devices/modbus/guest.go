package modbus

import (
	"context"
	"errors"

	"offsite/devices"
	"offsite/devices/modbus/bus"
)

// guest asks on a bus for somebody who does not poll: a probe, a scan, a set
// point. It waits its turn as drivers do, and neighbours have as little patience
// with it as with one of theirs.
type guest struct {
	seat *bus.Seat
	at   bus.Endpoint
	dev  devices.Device
}

// visit lets a guest onto the bus of a device that has been checked, until
// it leaves its seat. The error is a Problem or the context's.
func (p *Pool) visit(ctx context.Context, dev devices.Device) (*guest, error) {
	at, err := bus.EndpointOf(&dev)
	if err != nil {
		return nil, err
	}
	seat, err := p.buses.Visit(ctx, at, wishes(&dev))
	if err != nil {
		return nil, err
	}
	return newGuest(seat, at, dev), nil
}

func newGuest(seat *bus.Seat, at bus.Endpoint, dev devices.Device) *guest {
	if dev.Timeout == 0 {
		dev.Timeout = devices.Duration(defaultTimeout)
	}
	return &guest{seat: seat, at: at, dev: dev}
}

// ask puts one query. The error is a Problem or the context's.
func (g *guest) ask(ctx context.Context, q bus.Query) ([]byte, error) {
	q.Unit, q.Timeout = g.dev.Modbus.Unit, g.dev.Timeout.D()
	if !bus.Sleep(ctx, g.seat.Quiet(q.Unit)) { // a late answer may still be under way
		return nil, context.Cause(ctx)
	}
	q.Patience, _ = g.seat.Patience(q)
	if len(q.Values) > 0 {
		q.Patience = q.Timeout // a write is rare, and may take a device long
	}
	data, _, err := g.seat.Ask(ctx, q)
	var exception bus.Exception
	if errors.As(err, &exception) {
		return nil, exception.Problem(q)
	}
	return data, g.told(err)
}

// told gives a fault of the bus as a Problem, and any other error as it is.
func (g *guest) told(err error) error {
	var f *bus.Fault
	if errors.As(err, &f) {
		return f.Problem(g.at.Addr, g.dev.Modbus.Unit, g.dev.Timeout.D())
	}
	return err
}

// answered says that err, if any, is a device's own answer.
func answered(err error) bool {
	var exception bus.Exception
	return err == nil || (errors.As(err, &exception) && !exception.Unreached())
}
