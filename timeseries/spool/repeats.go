package spool

import (
	"github.com/cespare/xxhash/v2"

	"offsite/devices"
)

// A device can have sent again only what it had under way, and that is at most
// as much as waits for acknowledgement on one connection.
const repeatsADevice = 1024

// repeats knows the messages whose acknowledgement may not have reached their
// device: the last ones of each device that came within the window.
type repeats struct {
	window  int64 // ms
	latest  int64 // receipt of the latest message of any device, Unix ms
	devices map[string]*lately
}

// lately is a ring of the last messages of one device.
type lately struct {
	keys   []uint64
	at     []int64 // Unix ms of receipt
	next   int     // the oldest, once the ring is full
	newest int64
}

// known says whether the origin names a message that the device itself numbers.
func known(o *devices.Origin) bool { return o.Device != "" && o.ID != "" }

func repeatKey(o *devices.Origin) uint64 { return xxhash.Sum64String(o.ID)*0x9e3779b97f4a7c15 ^ o.Hash }

// note remembers a message that was appended.
func (r *repeats) note(o *devices.Origin, at int64) {
	if !known(o) {
		return
	}
	l := r.devices[o.Device]
	if l == nil {
		l = &lately{}
		r.devices[o.Device] = l
	}
	l.newest, r.latest = at, max(r.latest, at)
	switch {
	case len(l.keys) < repeatsADevice:
		l.keys, l.at = append(l.keys, repeatKey(o)), append(l.at, at)
	default:
		l.keys[l.next], l.at[l.next] = repeatKey(o), at
		l.next = (l.next + 1) % repeatsADevice
	}
}

// holds says whether the message was appended not longer ago than the window.
func (r *repeats) holds(o *devices.Origin, at int64) bool {
	l := r.devices[o.Device]
	if l == nil || !known(o) {
		return false
	}
	key := repeatKey(o)
	for i, k := range l.keys {
		if k == key && at-l.at[i] <= r.window {
			return true
		}
	}
	return false
}

// forget drops the devices that have been silent for longer than the window.
func (r *repeats) forget() {
	for id, l := range r.devices {
		if r.latest-l.newest > r.window {
			delete(r.devices, id)
		}
	}
}
