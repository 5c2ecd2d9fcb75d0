package devices

import (
	"context"
	"time"
)

// Bound is a binding with all that a driver must know to read and place it.
type Bound struct {
	Binding Binding
	Point   Point
	Site    string // site id
}

// Driver acquires the readings of one device.
//
// Run dials nothing before it is called and returns only when every goroutine
// it started has ended. It returns an error when it cannot go on; whoever
// started it starts it again after a pause. Everything it reads goes to
// sink.Accept; it acknowledges a message to the device only in done and only
// when done's error is nil. It tells sink.Report of each change between
// working and failing, no more often, with the reason as a *Problem.
type Driver interface {
	Run(ctx context.Context, sink Sink) error
}

// Sink is where drivers leave what they read.
//
// Accept never blocks on the disk. It calls done exactly once, in order of
// acceptance, after the delivery is on disk or could not be put there; done
// must only enqueue. The driver gives up the delivery and its slices.
//
// Report never blocks.
type Sink interface {
	Accept(d Delivery, done func(error))
	Report(Report)
}

// Report tells how a device, or some of its points, fare from At on.
type Report struct {
	Device  string
	Points  []string // point ids; nil means the device as a whole
	At      time.Time
	Problem *Problem // nil: it works again
}

// Opener checks a device with its bindings and gives its driver. It opens no
// connection. All faults are told at once as Problems.
type Opener func(Device, []Bound) (Driver, error)

// Poll tells how one poll of a device went.
type Poll struct {
	Device   string
	At       time.Time     // its end, UTC
	Took     time.Duration // of the slowest exchange that was answered
	Answered bool          // the device answered, be it with an exception
	LeftOut  bool          // it was not asked, for it has been silent and shares its bus: quarantine
	Failed   []string      // ids of the points that could not be read although it answered
}

// Meter is a Sink that also wants to hear of every poll, and how long answers
// took of devices that are not polled: a data logger's to commands, a broker's to
// the pings of its session, which count for each device behind it. Neither
// method blocks.
type Meter interface {
	Polled(Poll)
	Answered(device string, took time.Duration)
}
