// Package notice keeps what people must know about the gateway itself while it holds.
package notice

import (
	"maps"
	"slices"
	"sync"
	"time"

	"offsite/devices"
)

// The notices that may hold.
const (
	Storage      = "storage"        // the log of readings cannot be written
	History      = "history"        // the store of history is away or refuses
	Judging      = "judging"        // judgements cannot be committed
	Broker       = "broker"         // the embedded broker does not listen
	Insecure     = "insecure"       // plain MQTT off loopback
	Loggers      = "hj212"          // the host for data loggers does not listen
	PlainLoggers = "hj212_insecure" // plain HJ 212 off loopback
	WebRTC       = "webrtc"         // the ports of WebRTC are not listened on
	Recording    = "recording"      // cameras are not recorded, or recordings were deleted early
	Watched      = "watched"        // the platform watches cameras
	Platform     = "platform"       // the platform is away or refuses
	Delivery     = "delivery"       // messages to the platform do not arrive although it is there
	Outbox       = "outbox"         // messages to the platform are held or were given up
	Disk         = "disk"           // the disk of the state fills up
	Clock        = "clock"          // the gateway's clock was set lately
	Memory       = "memory"         // memory is short, and live view has stopped
	State        = "state"          // the database was damaged, and a backup took its place
)

// Names are all of them.
var Names = [...]string{
	Storage, History, Judging, Broker, Insecure, Loggers, PlainLoggers, WebRTC, Recording, Watched, Platform, Delivery, Outbox, Disk, Clock, Memory, State,
}

// Notice is something about the gateway itself that people must see while it holds.
type Notice struct {
	Name    string // one of Names
	Since   time.Time
	Problem *devices.Problem
}

// Board keeps the notices that hold.
type Board struct {
	changed func()

	mu    sync.Mutex
	holds map[string]Notice
}

// NewBoard gives an empty Board. changed is called when a notice begins, ends or
// has another reason.
func NewBoard(changed func()) *Board {
	return &Board{changed: changed, holds: map[string]Notice{}}
}

// Set makes a notice hold from now on, or ends it when p is nil.
func (b *Board) Set(name string, p *devices.Problem) {
	b.mu.Lock()
	old, held := b.holds[name]
	switch {
	case p == nil:
		delete(b.holds, name)
	case held:
		b.holds[name] = Notice{Name: name, Since: old.Since, Problem: p}
	default:
		b.holds[name] = Notice{Name: name, Since: time.Now().UTC(), Problem: p}
	}
	b.mu.Unlock()
	if held != (p != nil) || (held && old.Problem.Code != p.Code) {
		b.changed()
	}
}

// List gives the notices that hold, by name. What is known of the platform
// itself explains undelivered messages too, and is told once.
func (b *Board) List() []Notice {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Notice, 0, len(b.holds))
	_, away := b.holds[Platform]
	for _, name := range slices.Sorted(maps.Keys(b.holds)) {
		if name == Delivery && away {
			continue
		}
		list = append(list, b.holds[name])
	}
	return list
}

// Why gives the problem of a notice that holds, else nil.
func (b *Board) Why(name string) *devices.Problem {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.holds[name].Problem
}
