// Package intake is where every reading comes in: its time is settled, its range
// checked, and it goes into the log before it is acknowledged.
package intake

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

// Config of a Pipeline.
type Config struct {
	Tolerance time.Duration                  // how far a device's clock may run ahead
	Point     func(id string) *devices.Point // nil if unknown
	Warn      func(device string, at time.Time, count int64, p *devices.Problem)
	Refresh   func([]devices.Reading) // shows what is not kept
}

// Pipeline is the one road that every reading takes. Drivers call Accept.
type Pipeline struct {
	cfg Config
	log atomic.Pointer[appender]

	lead atomic.Int64 // of times of receipt before the machine's clock, nanoseconds; see Clock

	mu      sync.Mutex
	newest  map[string]int64 // by point: At of the newest reading accepted, Unix milliseconds
	placed  map[string]int64 // by point: At that the last reading of a wrong clock was given
	claimed map[string]int64 // by point: At that it claimed
}

// New gives a Pipeline that is closed.
func New(cfg Config) *Pipeline {
	return &Pipeline{cfg: cfg, newest: map[string]int64{}, placed: map[string]int64{}, claimed: map[string]int64{}}
}

// Open lets deliveries through to log; nil closes the road.
func (p *Pipeline) Open(log appender) {
	if log == nil {
		p.log.Store(nil)
		return
	}
	p.log.Store(&log)
}

// ErrNoLog is what a device's driver hears while the readings' store is closed:
// it acknowledges nothing, so that the device keeps its data and sends again.
var ErrNoLog = &devices.Problem{
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
		done(ErrNoLog)
		return
	}
	ahead, early := p.settle(&d)
	device, received, readings := d.Origin.Device, d.Received, d.Readings
	(*log).Append(d, func(err error) {
		if err != nil {
			p.forget(readings)
			err = fmt.Errorf("record %d readings of %s: %w", len(readings), device, err)
		}
		done(err)
	})
	if ahead != nil {
		p.cfg.Warn(device, received, early, ahead)
	}
}

// settle gives every reading its final time and quality and takes out repeats
// that bring nothing new. It returns the problem of a clock that runs ahead and
// how many readings have it.
func (p *Pipeline) settle(d *devices.Delivery) (ahead *devices.Problem, early int64) {
	var repeats []devices.Reading
	kept, lead := d.Readings[:0], time.Duration(p.lead.Load()).Milliseconds()
	p.mu.Lock()
	for _, r := range d.Readings {
		last, known := p.newest[r.Point]
		at := r.At.UnixMilli()
		if r.Stamped {
			at += lead
		}
		switch {
		case r.Repeat && (r.Stamped || known && at <= last):
			repeats = append(repeats, r)
			continue
		case r.Stamped && known && at <= last:
			at = last + 1
		case r.Stamped && len(p.placed) > 0 && at <= p.placed[r.Point]:
			at = p.placed[r.Point] + 1
		case !r.Stamped && r.At.Sub(d.Received) > p.cfg.Tolerance:
			if r.Repeat && p.claimed[r.Point] == at {
				r.Claimed, r.Quality, r.At = r.At, devices.BadClock, d.Received
				repeats = append(repeats, r)
				continue
			}
			p.claimed[r.Point] = at
			ahead = clockAhead(r.At.Sub(d.Received))
			r.Claimed, r.Quality = r.At, devices.BadClock
			at, early = p.place(r.Point, d.Received), early+1
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
		p.cfg.Refresh(repeats)
	}
	return ahead, early
}

// forget takes back that readings were accepted: they are not on disk, and a
// retained value among them must not pass for seen when it comes again.
func (p *Pipeline) forget(readings []devices.Reading) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range readings {
		r := &readings[i]
		if p.newest[r.Point] == r.At.UnixMilli() {
			delete(p.newest, r.Point)
		}
		delete(p.claimed, r.Point)
	}
}

// Prime tells what the disk holds newest of a point, before the road is opened
// for the first time.
func (p *Pipeline) Prime(point string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newest[point] = max(p.newest[point], at.UnixMilli())
}

// GoOn leads times of receipt on from last, the newest that a former run has
// given, where the clock now stands before it: it was set back, and perhaps the
// lead was not yet made up. It is called before the road is opened for the first
// time.
func (p *Pipeline) GoOn(last, now time.Time) { p.lead.Store(int64(max(0, last.Sub(now)))) }

// Stamp is the time that a reading without one of its own gets which is received
// at that time.
func (p *Pipeline) Stamp(received time.Time) time.Time {
	return received.Add(time.Duration(p.lead.Load()))
}

// place gives a reading of a wrong clock a time at or just after its receipt at
// which the point has no other reading, for that one would be lost. p.mu is held.
func (p *Pipeline) place(point string, received time.Time) int64 {
	at := received.UnixMilli()
	if last, ok := p.placed[point]; ok {
		at = max(at, last+1)
	}
	if newest, ok := p.newest[point]; ok && newest == at {
		at++
	}
	p.placed[point] = at
	return at
}

// judgeRange marks a value that the instrument cannot have measured.
func (p *Pipeline) judgeRange(r *devices.Reading) {
	point := p.cfg.Point(r.Point)
	if point == nil || r.Quality != devices.Good {
		return
	}
	if (point.Min != nil && r.Value < *point.Min) || (point.Max != nil && r.Value > *point.Max) {
		r.Quality = devices.UncertainRange
	}
}

func clockAhead(by time.Duration) *devices.Problem {
	zh, en := spoken(by)
	return &devices.Problem{
		Kind: devices.ErrInvalid, Code: "device_clock_ahead", Field: "time",
		ZH: "设备时钟快 " + zh + "，读数按接收时间保存并标为 bad/clock，不参与判定；请校准设备时钟",
		EN: "the device's clock is " + en + " ahead; its readings are kept at their receipt time as bad/clock and are not judged; set the device's clock",
	}
}

// spoken gives a duration as people say it.
func spoken(d time.Duration) (zh, en string) {
	units := []struct {
		size   time.Duration
		zh, en string
	}{{24 * time.Hour, "天", "d"}, {time.Hour, "小时", "h"}, {time.Minute, "分钟", "min"}, {time.Second, "秒", "s"}}
	d = d.Round(time.Second)
	for i, u := range units {
		if d < u.size && i < len(units)-1 {
			continue
		}
		zh, en = fmt.Sprintf("%d %s", d/u.size, u.zh), fmt.Sprintf("%d %s", d/u.size, u.en)
		if rest := d % u.size; i < len(units)-1 && rest >= units[i+1].size {
			next := units[i+1]
			zh += fmt.Sprintf(" %d %s", rest/next.size, next.zh)
			en += fmt.Sprintf(" %d %s", rest/next.size, next.en)
		}
		break
	}
	return zh, en
}
