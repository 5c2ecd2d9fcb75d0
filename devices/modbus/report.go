package modbus

import (
	"fmt"
	"slices"
	"time"

	"offsite/devices"
)

const (
	onTimeAgain = 3                // polls in a row after which missed ones are forgiven
	newReason   = 10 * time.Second // a failing device's new reason is told at most this often
)

// teller tells a sink of changes only.
type teller struct {
	id    string
	sink  devices.Sink
	known bool // the device's state has been told
	state *devices.Problem
	told  time.Time
	bad   map[string]bad // by point id
}

// bad is what was told of a point that fails.
type bad struct {
	code string
	told time.Time
}

func newTeller(id string, sink devices.Sink) *teller {
	return &teller{id: id, sink: sink, bad: map[string]bad{}}
}

// device tells how the device as a whole fares: the first time, when it turns
// from well to ill or back, and when the reason has become another.
func (t *teller) device(now time.Time, p *devices.Problem) {
	changed := !t.known || (p == nil) != (t.state == nil)
	if !changed && p != nil && p.Code != t.state.Code && now.Sub(t.told) >= newReason {
		changed = true
	}
	if !changed {
		return
	}
	t.known, t.state, t.told = true, p, now
	t.sink.Report(devices.Report{Device: t.id, At: now, Problem: p})
}

// points tells which of the points that were asked for changed, those with one
// reason together.
func (t *teller) points(now time.Time, asked map[string]*devices.Problem) {
	groups := map[*devices.Problem][]string{}
	for id, p := range asked {
		was, failing := t.bad[id]
		switch {
		case p == nil && failing:
			delete(t.bad, id)
		case p != nil && (!failing || (was.code != p.Code && now.Sub(was.told) >= newReason)):
			t.bad[id] = bad{p.Code, now}
		default:
			continue
		}
		groups[p] = append(groups[p], id)
	}
	ordered := make([]devices.Report, 0, len(groups))
	for p, ids := range groups {
		slices.Sort(ids)
		ordered = append(ordered, devices.Report{Device: t.id, Points: ids, At: now, Problem: p})
	}
	slices.SortFunc(ordered, func(a, b devices.Report) int { return slices.Compare(a.Points, b.Points) })
	for _, r := range ordered {
		t.sink.Report(r)
	}
}

// overrun says that the device cannot be polled as often as it is asked to.
func overrun(period time.Duration) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "polls_missed",
		ZH: fmt.Sprintf("部分采集未能按 %s 的周期进行；请延长周期，或减少同一总线上的设备", period),
		EN: fmt.Sprintf("some polls did not fit the period of %s; lengthen it or put fewer devices on the bus", period),
	}
}

// notStored says that readings were lost between device and disk.
func notStored(count int64, err error) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "not_stored", Cause: err,
		ZH: fmt.Sprintf("读数未能存盘，已缺 %d 次采集；请检查磁盘空间与状态", count),
		EN: fmt.Sprintf("readings could not be stored, %d polls are missing; check the disk", count),
	}
}
