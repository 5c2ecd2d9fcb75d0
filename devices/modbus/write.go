package modbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"offsite/devices"
	"offsite/devices/modbus/bus"
	"offsite/devices/modbus/register"
	"offsite/devices/modbus/wire"
)

// Numbers of reading back.
const (
	readBacks     = 3                      // tries: some devices show a set point late
	readBackPause = 200 * time.Millisecond // between them
)

// Write sets the place of a binding to value, given in the point's unit, and
// reads it back, on the connection of the running polls where there are any.
// Whether anybody may do so, and who has done so, is the caller's to check and to
// record. agree is asked with what stands there before anything is written; its
// error ends the matter. nil agrees to all.
//
// Only holding registers and coils can be written, and only those that can be
// read: the place is read first, so that nothing is written to a device that
// does not answer and the bits beside a bit stay as they are. No write is ever
// repeated by itself. The error is Problems about the binding or the value, or a
// Problem: why the device refused, not_taken if it says otherwise when read back,
// write_unsure if nobody knows. With these two, Written tells what is known.
func (p *Pool) Write(ctx context.Context, dev devices.Device, b devices.Binding, value float64, agree func(before float64) error) (devices.Written, error) {
	if err := check(&dev, []devices.Bound{{Binding: b}}); err != nil {
		return devices.Written{}, err
	}
	if t := b.Register.Table; t != "holding" && t != "coil" {
		return devices.Written{}, devices.Invalid("register.table", "read_only", "输入寄存器与离散输入不能写入；请选保持寄存器或线圈", "input registers and discrete inputs cannot be written; choose holding or coil")
	}
	raw := b.Conversion().Raw(value)
	if _, problem := register.Encode(b.Register, raw, make([]byte, 2)); problem != nil {
		return devices.Written{}, problem
	}
	g, err := p.visit(ctx, dev)
	if err != nil {
		return devices.Written{}, err
	}
	defer g.seat.Leave()
	done, err := g.seat.Alone(ctx) // two at once would each undo the other's bits
	if err != nil {
		return devices.Written{}, err
	}
	defer done()
	return g.write(ctx, &b, raw, agree)
}

func (g *guest) write(ctx context.Context, b *devices.Binding, raw float64, agree func(float64) error) (devices.Written, error) {
	before, bytes, err := g.readOne(ctx, b)
	if err != nil {
		return devices.Written{}, err
	}
	if agree != nil {
		if err := agree(before); err != nil {
			return devices.Written{Before: before, After: before}, err
		}
	}
	sent, problem := register.Encode(b.Register, raw, bytes)
	if problem != nil {
		return devices.Written{}, problem
	}
	w := devices.Written{Before: before, After: before, Raw: fmt.Sprintf("% X", sent)}
	putErr := g.put(ctx, b.Register, sent)
	if putErr != nil && answered(putErr) {
		return w, putErr
	}
	want, err := register.Decode(b.Register, sent)
	if err != nil {
		return w, fmt.Errorf("write register %d: %w", b.Register.Address, err) // encode wrote it
	}
	for try := range readBacks {
		if try > 0 && !bus.Sleep(ctx, readBackPause) {
			break
		}
		if w.After, bytes, err = g.readOne(ctx, b); err != nil {
			continue
		}
		if got, _ := register.Decode(b.Register, bytes); got == want {
			return w, nil
		}
	}
	if err != nil || ctx.Err() != nil {
		return w, unsure(b.Register, errors.Join(putErr, err, ctx.Err()))
	}
	return w, notTaken(b.Register, w.After)
}

// readOne reads what stands at a binding; v is 0 if that is no number.
func (g *guest) readOne(ctx context.Context, bound *devices.Binding) (v float64, data []byte, err error) {
	block := plan([]*devices.Bound{{Binding: *bound}}, caps{})[0]
	answer, err := g.ask(ctx, block.query())
	if err != nil {
		return 0, nil, err
	}
	data = block.of(block.bounds[0], answer)
	v, _ = register.Value(bound, data) // what stands there now need not be a number
	return v, data, nil
}

// put writes once; a device that lacks the function for one place gets that for
// several, for which nothing has been written yet.
func (g *guest) put(ctx context.Context, reg *devices.Register, sent []byte) error {
	q := bus.Query{Function: wire.WriteRegisters, Start: reg.Address, Quantity: uint16(len(sent) / 2), Values: sent}
	second := q
	switch {
	case reg.Table == "coil":
		on := sent[1] & 1
		q = bus.Query{Function: wire.WriteCoil, Start: reg.Address, Quantity: 1, Values: []byte{on * 0xff, 0}}
		second = bus.Query{Function: wire.WriteCoils, Start: reg.Address, Quantity: 1, Values: []byte{on}}
	case len(sent) == 2:
		q.Function = wire.WriteRegister
	}
	_, err := g.ask(ctx, q)
	var exception bus.Exception
	if q.Function != second.Function && errors.As(err, &exception) && exception == bus.IllegalFunction {
		_, err = g.ask(ctx, second)
	}
	return err
}

func notTaken(reg *devices.Register, is float64) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "not_taken",
		ZH: fmt.Sprintf("设备应答了写入，但寄存器 %d 回读仍为 %g；请检查仪表是否处于远程模式、数值是否在其允许范围内", reg.Address, is),
		EN: fmt.Sprintf("the device answered the write, but register %d still reads %g; check whether it is in remote mode and takes this value", reg.Address, is),
	}
}

func unsure(reg *devices.Register, cause error) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "write_unsure", Cause: cause,
		ZH: fmt.Sprintf("寄存器 %d 已发出写入，但未能回读，设备是否执行未知；请到现场或稍后核对", reg.Address),
		EN: fmt.Sprintf("register %d was written but could not be read back, and nobody knows whether the device took it; look at the device or read it later", reg.Address),
	}
}
