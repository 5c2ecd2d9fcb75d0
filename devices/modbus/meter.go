package modbus

import (
	"slices"
	"time"

	"offsite/devices"
)

// metered tells a sink that wants to hear of every poll how this one went; r is
// nil where the device was not asked.
func (d *Driver) metered(sink devices.Sink, r *round, leftOut bool) {
	meter, ok := sink.(devices.Meter)
	if !ok {
		return
	}
	poll := devices.Poll{Device: d.dev.ID, At: time.Now().UTC(), LeftOut: leftOut}
	if r != nil {
		poll.Answered, poll.Took = r.answered && r.problem == nil, r.took
		for id, p := range r.points {
			if p != nil {
				poll.Failed = append(poll.Failed, id)
			}
		}
		slices.Sort(poll.Failed)
	}
	meter.Polled(poll)
}
