package health

import (
	"slices"
	"time"
)

// DeviceCounts are what was counted of a device.
type DeviceCounts struct {
	Quarantined bool  // it was silent and is asked rarely, so that the neighbours on its bus are not held up
	Hour, Day   Count // polls, or where it sends by itself messages: answered or understood, and not
	Answers     int   // how many of the last answers the next two are of; 0 where none was asked for
	Mean, P99   time.Duration
}

// PointCounts are what was counted of a point.
type PointCounts struct {
	Point     string
	Device    string        // bound now; empty if none is
	Heard     time.Time     // receipt of the newest that was new itself; zero if none since the start
	Expected  time.Duration // period, as stated or learned; zero if not known yet
	Stale     bool
	Hour, Day Count // readings that came and could be used, and those that failed or could not be used
}

// StalePoints gives the stale points of each device, by id, as they were last told.
func (t *Tracker) StalePoints() map[string][]string {
	return t.points(func(p *pointHealth) bool { return p.stale && p.device != "" })
}

// Points gives the points of each device, by id.
func (t *Tracker) Points() map[string][]string {
	return t.points(func(*pointHealth) bool { return true })
}

func (t *Tracker) points(want func(*pointHealth) bool) map[string][]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := map[string][]string{}
	for id, p := range t.byPoint {
		if want(p) {
			list[p.device] = append(list[p.device], id)
		}
	}
	for _, points := range list {
		slices.Sort(points)
	}
	return list
}

// DeviceOf gives the device bound to a point now, or "".
func (t *Tracker) DeviceOf(point string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.byPoint[point]; p != nil {
		return p.device
	}
	return ""
}

// Of gives what was counted of a device and of those of its points.
func (t *Tracker) Of(device string, points []string, now time.Time) (d DeviceCounts, list []PointCounts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	dev := t.byDevice[device]
	if dev == nil {
		return d, nil
	}
	d.Hour, d.Day = dev.tally.sums(now.Unix())
	d.Answers, d.Mean, d.P99 = dev.answers()
	d.Quarantined = dev.leftOut
	for _, id := range points {
		p := t.byPoint[id]
		if p == nil { // retired meanwhile
			continue
		}
		point := PointCounts{Point: id, Device: p.device, Heard: p.heard, Expected: p.period(), Stale: p.silent(now)}
		point.Hour, point.Day = p.tally.sums(now.Unix())
		if dev.polled { // what failed as a whole failed for each point
			point.Hour.Bad += d.Hour.Bad
			point.Day.Bad += d.Day.Bad
		}
		list = append(list, point)
	}
	return d, list
}
