package modbus

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"offsite/devices"
	"offsite/devices/modbus/bus"
	"offsite/devices/modbus/register"
)

// Driver polls one device.
type Driver struct {
	pool   *Pool
	dev    devices.Device
	at     bus.Endpoint
	blocks []*block
	log    *slog.Logger

	seat    *bus.Seat // while Run runs
	breaker breaker
	teller  *teller
	onTime  int // polls since the last missed one
	lost    lost
}

var _ devices.Driver = (*Driver)(nil)

// lost passes what became of deliveries from done to Run.
type lost struct {
	failing atomic.Pointer[devices.Problem]
	count   atomic.Int64
}

// Run polls at once and then on a grid that all devices of one period share, so
// that many wake the machine once (a second of 100 devices costs a sixth of what
// it does when each wakes it by itself), until ctx ends or another device uses
// the same address with the other framing. A moment at which the previous poll
// is still at work is missed, and told.
func (d *Driver) Run(ctx context.Context, sink devices.Sink) error {
	seat, err := d.pool.buses.Join(ctx, d.at, wishes(&d.dev))
	if err != nil {
		return err
	}
	defer seat.Leave()
	d.seat, d.teller, d.breaker, d.onTime = seat, newTeller(d.dev.ID, sink), breaker{}, onTimeAgain
	if len(d.blocks) == 0 {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	start, period := gridStart(time.Now(), d.dev.Period.D()), d.dev.Period.D()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for tick := int64(0); ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		}
		d.poll(ctx, sink)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		next := max(tick+1, int64(time.Since(start)/period))
		d.missed(next - tick - 1)
		tick = next
		timer.Reset(time.Until(start.Add(time.Duration(tick) * period)))
	}
}

// wishes are those of a device that has been checked.
func wishes(dev *devices.Device) bus.Wishes {
	return bus.Wishes{Period: dev.Period.D(), Pause: dev.Modbus.Pause.D(), Settle: dev.Modbus.Settle.D()}
}

// gridStart is the multiple of period on the clock that now has passed last.
func gridStart(now time.Time, period time.Duration) time.Time {
	return now.Add(-now.Round(0).Sub(now.Truncate(period)))
}

// poll asks for every block once and hands on what came.
func (d *Driver) poll(ctx context.Context, sink devices.Sink) {
	quiet := d.seat.Quiet(d.dev.Modbus.Unit)
	leftOut := d.breaker.open(time.Now()) && !d.seat.RevivedSince(d.breaker.failed)
	if leftOut || quiet >= d.dev.Period.D() || !bus.Sleep(ctx, quiet) {
		d.metered(sink, nil, leftOut)
		return // a gap that was told when it began
	}
	r := round{d: d, points: map[string]*devices.Problem{}}
	work := d.blocks
	d.blocks = nil
	for len(work) > 0 {
		b := work[0]
		work = work[1:]
		parts := r.ask(ctx, b)
		if ctx.Err() != nil || r.over {
			d.blocks = append(append(work, d.blocks...), b) // the one that failed comes last next time
			break
		}
		if parts != nil {
			work = append(parts, work...)
			continue
		}
		d.blocks = append(d.blocks, b)
	}
	if ctx.Err() == nil || len(r.readings) > 0 {
		d.finish(&r, sink)
	}
}

// finish tells how a round went and hands on its readings.
func (d *Driver) finish(r *round, sink devices.Sink) {
	now := time.Now().UTC()
	if r.answered && r.problem == nil {
		d.breaker.succeed()
		d.seat.LeaveOut(false)
	}
	d.metered(sink, r, d.breaker.tripped())
	d.teller.points(now, r.points)
	if r.answered || r.problem != nil {
		d.teller.device(now, d.overall(r))
	}
	if len(r.readings) == 0 {
		return
	}
	sink.Accept(devices.Delivery{Origin: devices.Origin{Device: d.dev.ID}, Received: now.Truncate(time.Millisecond), Readings: r.readings}, d.stored)
}

// overall is the worst that is wrong with the device as a whole.
func (d *Driver) overall(r *round) *devices.Problem {
	if r.problem != nil {
		return r.problem
	}
	if p := d.lost.failing.Load(); p != nil {
		return p
	}
	if d.onTime < onTimeAgain {
		return overrun(d.dev.Period.D())
	}
	return nil
}

// stored is the done of a delivery. Modbus cannot be asked to say it again: a
// poll that could not be stored is a gap, told with the next poll.
func (d *Driver) stored(err error) {
	if err == nil {
		d.lost.failing.Store(nil)
		return
	}
	d.lost.failing.Store(notStored(d.lost.count.Add(1), err))
}

// missed notes n moments of the grid that passed without a poll.
func (d *Driver) missed(n int64) {
	if n == 0 {
		d.onTime++
		return
	}
	if d.onTime >= onTimeAgain {
		d.log.Warn("polls missed", "count", n)
	}
	if d.onTime = 0; d.teller.state == nil {
		d.teller.device(time.Now().UTC(), overrun(d.dev.Period.D()))
	}
}

// round is one poll.
type round struct {
	d        *Driver
	answered bool
	took     time.Duration               // by the slowest exchange that was answered
	over     bool                        // the unit or the bus is not to be asked any more
	problem  *devices.Problem            // of the device as a whole
	points   map[string]*devices.Problem // of each point that was asked for; nil is well
	readings []devices.Reading
}

// ask reads one block. It gives the parts to ask for instead, if the device
// refuses the block as a whole.
func (r *round) ask(ctx context.Context, b *block) []*block {
	now := time.Now()
	if b.breaker.open(now) {
		return nil
	}
	timeout := r.d.dev.Timeout.D()
	q := b.query()
	q.Unit, q.Timeout = r.d.dev.Modbus.Unit, timeout
	short, others := r.d.seat.Patience(q)
	q.Patience = short
	if r.d.at.Framing.Untagged() && (r.d.breaker.long(now, timeout) || b.breaker.long(now, timeout)) {
		q.Patience = timeout // on TCP it has its whole timeout anyway
	}
	data, held, err := r.d.seat.Ask(ctx, q)
	at := time.Now().UTC().Truncate(time.Millisecond)
	var exception bus.Exception
	var f *bus.Fault
	if err == nil || errors.As(err, &exception) {
		r.took = max(r.took, held)
	}
	switch {
	case err == nil:
		r.answered = true
		b.breaker.succeed()
		r.take(b, data, at)
	case errors.As(err, &exception):
		return r.refused(b, exception, min(held, short), others)
	case errors.As(err, &f):
		r.failed(b, f, min(held, short), others)
	}
	return nil
}

// take turns the bytes of a block into readings.
func (r *round) take(b *block, data []byte, at time.Time) {
	for _, bound := range b.bounds {
		v, problem := register.Value(&bound.Binding, b.of(bound, data))
		r.points[bound.Point.ID] = problem
		if problem == nil {
			r.readings = append(r.readings, devices.Reading{Site: bound.Site, Point: bound.Point.ID, Value: v, At: at, Quality: register.Quality(&bound.Point, v), Stamped: true})
		}
	}
}

// refused deals with an exception. Those by which a gateway says that the unit
// does not answer are failures of the unit, and cost the bus as much.
func (r *round) refused(b *block, e bus.Exception, held time.Duration, others int) []*block {
	if e.Unreached() {
		r.over, r.problem = true, e.Problem(b.query())
		r.d.leaveOut(held, others)
		return nil
	}
	if e == bus.IllegalAddress {
		if parts := b.split(); parts != nil {
			r.answered = true
			r.d.log.Info("device refuses a block; reading it in parts", "start", b.start, "quantity", b.quantity, "parts", len(parts))
			return parts
		}
	}
	r.answered = true
	b.breaker.succeed()
	r.blame(b, e.Problem(b.query()))
	return nil
}

// failed deals with an exchange that gave nothing. If the unit has answered in
// this round only the block is at fault.
func (r *round) failed(b *block, f *bus.Fault, held time.Duration, others int) {
	problem := f.Problem(r.d.at.Addr, r.d.dev.Modbus.Unit, r.d.dev.Timeout.D())
	r.d.log.Debug("poll failed", "start", b.start, "err", f)
	if r.answered && f.Kind != bus.Unreachable {
		b.breaker.fail(time.Now(), held, r.d.dev.Timeout.D(), others)
		r.blame(b, problem)
		r.over = r.d.at.Framing.Untagged() // a late answer of this unit may still come
		return
	}
	r.over, r.problem = true, problem
	if f.Kind != bus.Unreachable {
		r.d.leaveOut(held, others)
	}
}

func (r *round) blame(b *block, p *devices.Problem) {
	for _, bound := range b.bounds {
		r.points[bound.Point.ID] = p
	}
}

// leaveOut counts a failure of the whole unit. Alone on its bus a unit takes
// nothing from anybody and is asked on.
func (d *Driver) leaveOut(held time.Duration, others int) {
	if !d.seat.Shared() {
		return
	}
	d.breaker.fail(time.Now(), held, d.dev.Timeout.D(), others)
	if d.breaker.tripped() {
		d.seat.LeaveOut(true)
	}
}
