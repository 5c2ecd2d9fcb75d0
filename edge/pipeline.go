package edge

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"offsite/devices"
)

// appender is the log as the pipeline needs it; see timeseries/spool.
type appender interface {
	Append(d devices.Delivery, done func(error))
}

// Pipeline is the one road that every reading takes. Drivers call Accept.
type Pipeline struct {
	tolerance time.Duration
	point     func(id string) *devices.Point // nil if unknown
	warn      func(device string, at time.Time, p *devices.Problem)
	refresh   func([]devices.Reading) // live view only

	log atomic.Pointer[appender]

	mu     sync.Mutex
	newest map[string]int64 // by point: At of the newest reading accepted, Unix milliseconds
}

func newPipeline(tolerance time.Duration, point func(string) *devices.Point,
	warn func(string, time.Time, *devices.Problem), refresh func([]devices.Reading),
) *Pipeline {
	return &Pipeline{tolerance: tolerance, point: point, warn: warn, refresh: refresh, newest: map[string]int64{}}
}

// open lets deliveries through to log; nil closes the road.
func (p *Pipeline) open(log appender) {
	if log == nil {
		p.log.Store(nil)
		return
	}
	p.log.Store(&log)
}

// errNoLog is what a device's driver hears while the readings' store is closed:
// it acknowledges nothing, so that the device keeps its data and sends again.
var errNoLog = &devices.Problem{
	Kind: devices.ErrUnavailable, Code: "log_closed",
	ZH: "读数日志暂不可写，设备将重发", EN: "the log of readings cannot be written now; devices will send again",
}

// Accept settles the times of d, puts it into the log and calls done once it is
// on disk or has failed. A delivery with nothing to keep, such as a retained
// value seen before, passes through the log's queue too, so that done keeps its
// order.
func (p *Pipeline) Accept(d devices.Delivery, done func(error)) {
	log := p.log.Load()
	if log == nil {
		done(errNoLog)
		return
	}
	ahead := p.settle(&d)
	device, received, n := d.Origin.Device, d.Received, len(d.Readings)
	(*log).Append(d, func(err error) {
		if err != nil {
			err = fmt.Errorf("record %d readings of %s: %w", n, device, err)
		}
		done(err)
	})
	if ahead != nil {
		p.warn(device, received, ahead)
	}
}

// settle gives every reading its final time and quality and takes out repeats
// that bring nothing new. It returns the problem of a clock that runs ahead.
func (p *Pipeline) settle(d *devices.Delivery) (ahead *devices.Problem) {
	var repeats []devices.Reading
	kept := d.Readings[:0]
	p.mu.Lock()
	for _, r := range d.Readings {
		last, known := p.newest[r.Point]
		at := r.At.UnixMilli()
		switch {
		case r.Repeat && (r.Stamped || known && at <= last):
			repeats = append(repeats, r)
			continue
		case r.Stamped && known && at <= last:
			at = last + 1
		case !r.Stamped && r.At.Sub(d.Received) > p.tolerance:
			ahead = clockAhead(r.At.Sub(d.Received))
			r.Claimed, r.Quality = r.At, devices.BadClock
			at = d.Received.UnixMilli()
		}
		r.At = time.UnixMilli(at).UTC()
		if r.Quality != devices.BadClock && (!known || at > last) {
			p.newest[r.Point] = at
		}
		kept = append(kept, r)
	}
	p.mu.Unlock()
	for i := range kept {
		p.judgeRange(&kept[i])
	}
	d.Readings = kept
	if len(repeats) > 0 {
		p.refresh(repeats)
	}
	return ahead
}

// judgeRange marks a value that the instrument cannot have measured.
func (p *Pipeline) judgeRange(r *devices.Reading) {
	point := p.point(r.Point)
	if point == nil || r.Quality != devices.Good {
		return
	}
	if (point.Min != nil && r.Value < *point.Min) || (point.Max != nil && r.Value > *point.Max) {
		r.Quality = devices.UncertainRange
	}
}

func clockAhead(by time.Duration) *devices.Problem {
	by = by.Round(time.Second)
	return &devices.Problem{
		Kind: devices.ErrInvalid, Code: "device_clock_ahead",
		ZH: fmt.Sprintf("设备时钟快 %s，读数按接收时间保存并标为 bad/clock，不参与判定；请校准设备时钟", by),
		EN: fmt.Sprintf("the device's clock is %s ahead; its readings are kept at their receipt time as bad/clock and are not judged; set the device's clock", by),
	}
}
