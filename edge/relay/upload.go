package relay

import (
	"errors"
	"io"
	"sync"
	"time"

	"offsite/streams"
)

// Bounds of an Upload, in seconds of its rate.
const (
	uploadAhead = 2.0 // that may be sent at once after a pause: a group to begin with
	uploadDebt  = 2.0 // that a group which was begun may owe
	uploadLeft  = 1.0 // that what is sent by the way leaves for a group
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

// refill adds what the time has brought; u.mu is held.
func (u *Upload) refill(now time.Time) {
	if !u.at.IsZero() {
		u.have = min(u.have+now.Sub(u.at).Seconds()*u.rate, uploadAhead*u.rate)
	}
	u.at = now
}

// take spends n bytes on a frame. One that begins a group is refused while
// something is owed, another one when too much is.
func (u *Upload) take(n int64, begins bool, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.refill(now)
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

// spare spends n bytes, at most a quarter of a second's, where the sessions leave
// them; else it says after which time to ask again.
func (u *Upload) spare(n int64, now time.Time) (again time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.refill(now)
	if missing := uploadLeft*u.rate + float64(n) - u.have; missing > 0 {
		return time.Duration(missing/u.rate*float64(time.Second)) + time.Millisecond
	}
	u.have -= float64(n)
	return 0
}

// force spends n bytes, be they there or not.
func (u *Upload) force(n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.have -= float64(n)
}

const (
	spareMost  = 32 << 10        // bytes that are read at once
	spareAlive = 5 * time.Second // without a byte: then some go out whatever the sessions take, so that nobody on the way hangs up
)

// Spare gives a reader of in that gives what the sessions leave of the upload.
func (r *Relay) Spare(in io.ReadCloser) io.ReadCloser {
	return &spare{in: in, upload: r.upload, closed: make(chan struct{})}
}

type spare struct {
	upload *Upload
	once   sync.Once
	closed chan struct{}

	mu sync.Mutex
	in io.ReadCloser
}

// Read is that of [io.Reader].
func (s *spare) Read(b []byte) (int, error) {
	b = b[:min(len(b), spareMost, max(int(s.upload.rate/4), 1))]
	for since := time.Now(); ; {
		again := s.upload.spare(int64(len(b)), time.Now())
		if again == 0 {
			break
		}
		left := spareAlive - time.Since(since)
		if left <= 0 {
			s.upload.force(int64(len(b)))
			break
		}
		pause := time.NewTimer(min(again, left))
		select {
		case <-pause.C:
		case <-s.closed:
			pause.Stop()
			return 0, errors.New("reader of an upload is closed")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in.Read(b)
}

// Close is that of [io.Closer]; it ends a Read that waits.
func (s *spare) Close() error {
	s.once.Do(func() { close(s.closed) })
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in.Close()
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
