package modbus

import (
	"context"
	"errors"
	"time"

	"github.com/goburrow/modbus"

	"offsite/devices"
)

// guest asks on a bus for somebody who does not poll: a probe, a scan, a set
// point. It waits its turn as drivers do, and neighbours have as little patience
// with it as with one of theirs.
type guest struct {
	bus *bus
	dev devices.Device
}

// visit lets a guest onto the bus of a device that has been checked, until
// leave. The error is a Problem or the context's.
func (p *Pool) visit(ctx context.Context, dev devices.Device) (*guest, error) {
	at, err := endpointOf(&dev)
	if err != nil {
		return nil, err
	}
	if dev.Timeout == 0 {
		dev.Timeout = devices.Duration(defaultTimeout)
	}
	b, err := p.enter(ctx, at)
	if err != nil {
		return nil, err
	}
	return &guest{bus: b, dev: dev}, nil
}

// ask puts one query. The error is a Problem or the context's.
func (g *guest) ask(ctx context.Context, q query) ([]byte, error) {
	q.unit, q.timeout = g.dev.Modbus.Unit, g.dev.Timeout.D()
	q.pause, q.settle = g.dev.Modbus.Pause.D(), g.dev.Modbus.Settle.D()
	if !sleep(ctx, g.bus.quiet(q.unit)) { // a late answer may still be under way
		return nil, context.Cause(ctx)
	}
	if q.patience, _ = g.bus.patience(nil, q); q.size() == 0 {
		q.patience = q.timeout // a write is rare, and may take a device long
	}
	data, _, err := g.bus.read(ctx, q)
	var exception *modbus.ModbusError
	var f *fault
	switch {
	case errors.As(err, &exception):
		return nil, refusal(q, exception)
	case errors.As(err, &f):
		return nil, f.problem(g.bus.at.addr, q.unit, q.timeout)
	}
	return data, err
}

// answered says that err, if any, is a device's own answer.
func answered(err error) bool {
	var exception *modbus.ModbusError
	return err == nil || (errors.As(err, &exception) && !unreached(exception))
}

// unreached says that a gateway answered for a unit that did not.
func unreached(e *modbus.ModbusError) bool {
	return e.ExceptionCode == modbus.ExceptionCodeGatewayPathUnavailable || e.ExceptionCode == modbus.ExceptionCodeGatewayTargetDeviceFailedToRespond
}

// polled says whether a driver runs on the bus.
func (b *bus) polled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.members) > 0
}

// reach connects if there is no connection.
func (b *bus) reach(ctx context.Context) (took time.Duration, err error) {
	t := &turn{queue: &b.queue}
	if err := t.take(ctx); err != nil {
		return 0, err
	}
	defer t.give()
	began := time.Now()
	err = b.connect(ctx)
	return time.Since(began), err
}
