package relay

import (
	"sync"
	"time"

	"offsite/streams"
)

// Bounds of an Upload, in seconds of its rate.
const (
	uploadAhead = 2.0 // that may be sent at once after a pause: a group to begin with
	uploadDebt  = 2.0 // that a group which was begun may owe
)

// Upload is what all sessions may send together. A group is begun when nothing
// is owed; what it takes beyond the rate is owed, and while it is, no other group
// begins. So the mean is within the rate, and whole groups are left out.
type Upload struct {
	rate float64 // bytes a second

	mu   sync.Mutex
	have float64
	at   time.Time
}

// NewUpload gives an Upload of so many bits a second.
func NewUpload(bits int64) *Upload {
	rate := float64(bits) / 8
	return &Upload{rate: rate, have: uploadAhead * rate}
}

// take spends n bytes on a frame. One that begins a group is refused while
// something is owed, another one when too much is.
func (u *Upload) take(n int64, begins bool, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.at.IsZero() {
		u.have = min(u.have+now.Sub(u.at).Seconds()*u.rate, uploadAhead*u.rate)
	}
	u.at = now
	least := -uploadDebt * u.rate
	if begins {
		least = 0
	}
	if u.have < least {
		return false
	}
	u.have -= float64(n)
	return true
}

// gate lets whole groups of one session pass.
type gate struct {
	upload *Upload
	open   bool
	left   int64 // frames left out
}

func (g *gate) shut() { g.open = false }

// admits says whether f goes out. When the end of a group is left out, what was
// sent of it can be decoded.
func (g *gate) admits(f *streams.Frame, now time.Time) bool {
	if !f.Key && !g.open {
		g.left++
		return false
	}
	g.open = g.upload.take(onWire(f), f.Key, now)
	if !g.open {
		g.left++
	}
	return g.open
}

// onWire is about what a frame takes on its way: a packet of 1,150 bytes has 70
// more of RTP, its encryption, UDP and IP.
func onWire(f *streams.Frame) int64 {
	n := int64(f.Size())
	return n + 70*(n/1150+1)
}
