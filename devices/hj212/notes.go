package hj212

import (
	"sort"
	"sync"
	"time"

	"offsite/devices"
)

// mostNotes is how many notes are remembered.
const mostNotes = 256

// CodeUnknownFactor is the code of a note on a factor that no point is bound to;
// each such factor has a note of its own.
const CodeUnknownFactor = "unknown_factor"

// Note is something that a logger, or somebody who claims to be one, did again
// and again: a frame of an unknown MN, a wrong password, another connection's
// MN, a replay, a factor that no point is bound to.
type Note struct {
	Device  string           // device id; empty where none has the MN
	MN      string           // as it was sent, at most 64 bytes
	Remote  string           // address it came from last
	Detail  string           // which factor, which packet
	Problem *devices.Problem // what, and the cure
	At      time.Time        // of the last
	Count   int64
}

type notes struct {
	mu  sync.Mutex
	all map[[3]string]*Note // by MN, code and what detail distinguishes
}

// add counts n, once or as often as its Count says, with those of the same MN and
// code and, where apart, detail. It says whether it is the first.
func (ns *notes) add(n Note, apart bool) bool {
	n.MN = n.MN[:min(len(n.MN), 64)]
	n.Count = max(n.Count, 1)
	key := [3]string{n.MN, n.Problem.Code}
	if apart {
		key[2] = n.Detail
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	old := ns.all[key]
	if old == nil {
		if ns.all == nil {
			ns.all = make(map[[3]string]*Note)
		}
		if len(ns.all) >= mostNotes {
			ns.forgetOldest()
		}
		ns.all[key] = &n
		return true
	}
	n.Count += old.Count
	*old = n
	return false
}

func (ns *notes) forgetOldest() {
	var oldest [3]string
	for key, n := range ns.all {
		if o := ns.all[oldest]; o == nil || n.At.Before(o.At) {
			oldest = key
		}
	}
	delete(ns.all, oldest)
}

func (ns *notes) list() []Note {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	list := make([]Note, 0, len(ns.all))
	for _, n := range ns.all {
		list = append(list, *n)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].At.After(list[j].At) })
	return list
}

// Places without a point are noted once a minute each, and not more of them than
// a person would read.
const (
	lonelyEvery = time.Minute
	lonelyMost  = 64
)

// lonely is a place with values that no point is bound to.
type lonely struct {
	noted time.Time
	count int64 // of packets since
}

// unbound counts the places and gives how often those have come that are to be
// noted now.
func (l *logger) unbound(places []devices.FactorPlace, at time.Time) map[devices.FactorPlace]int64 {
	if len(places) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var due map[devices.FactorPlace]int64
	for _, place := range places {
		one := l.lonely[place]
		if one == nil {
			if len(l.lonely) >= lonelyMost {
				continue
			}
			one = &lonely{}
			l.lonely[place] = one
		}
		if one.count++; at.Sub(one.noted) < lonelyEvery {
			continue
		}
		if due == nil {
			due = make(map[devices.FactorPlace]int64)
		}
		due[place] = one.count
		one.noted, one.count = at, 0
	}
	return due
}
