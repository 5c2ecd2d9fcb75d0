package mqtt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

// forget is how long what the formats of a device have learnt outlives its driver.
const forget = time.Hour

// Pool makes drivers that share one session for each broker and account. Its
// lock comes before that of a session.
type Pool struct {
	cfg    Config
	counts counters

	mu       sync.Mutex
	sessions map[account]*session
	closing  map[account]*session // the last session of an account, while it ends
	learnt   map[string]*learnt   // by device id
}

// learnt is what the formats of a device remember.
type learnt struct {
	formats payload.Formats
	users   int       // drivers that run
	idle    time.Time // since when there is none
}

// account is what devices of one session have in common.
type account struct {
	address                string
	encrypted              bool
	username               string
	password, key          devices.Secret
	authority, certificate string
	clientID               string // chosen for the device; "" for the gateway's own
	share                  string
}

// id is the client id of the account: the same at every start, another for every
// gateway, broker and user, and not touched by a new password.
func (a account) id(gateway string) string {
	if a.clientID != "" {
		return a.clientID
	}
	h := sha256.New()
	for _, part := range []string{a.address, a.username, a.share} {
		_, _ = io.WriteString(h, part+"\x00")
	}
	if a.username == "" { // then the certificate says who it is
		_, _ = io.WriteString(h, a.certificate)
	}
	return "offsite-" + gateway + "-" + hex.EncodeToString(h.Sum(nil)[:4])
}

// New gives a pool without any session.
func New(cfg Config) *Pool {
	cfg.setDefaults()
	return &Pool{cfg: cfg, sessions: map[account]*session{}, closing: map[account]*session{}, learnt: map[string]*learnt{}}
}

// Open checks dev and bounds and returns the driver. It opens no connection. All
// faults are told at once as Problems.
func (p *Pool) Open(dev devices.Device, bounds []devices.Bound) (devices.Driver, error) {
	d, err := p.open(dev, bounds)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// memory gives what the formats of a device have learnt.
func (p *Pool) memory(device string) *learnt {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, l := range p.learnt {
		if l.users == 0 && now.Sub(l.idle) > forget {
			delete(p.learnt, id)
		}
	}
	l := p.learnt[device]
	if l == nil {
		l = &learnt{formats: p.cfg.Formats.Remembering(), idle: now}
		p.learnt[device] = l
	}
	return l
}

// join makes d a guest of the session of its account, which the first one begins.
func (p *Pool) join(d *Driver, sink devices.Sink) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	d.learnt.users++
	s := p.sessions[d.account]
	if s == nil {
		s = newSession(d, &p.counts)
		p.sessions[d.account] = s
		ctx, cancel := context.WithCancel(context.Background()) // it lasts as long as any of its devices, and the last one waits for it
		s.cancel = cancel
		before := p.closing[d.account]
		go func() {
			defer close(s.ended)
			if before != nil {
				<-before.ended // so that one client id never has two connections
			}
			s.run(ctx)
		}()
	}
	s.users++
	s.add(d, sink)
	return s
}

// leave ends what join began. Behind the last guest the session ends.
func (p *Pool) leave(d *Driver, s *session) {
	if !p.left(d, s) {
		return
	}
	s.cancel()
	<-s.ended
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing[d.account] == s {
		delete(p.closing, d.account)
	}
}

// left says whether d was the last guest.
func (p *Pool) left(d *Driver, s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.users--
	s.remove(d, s.users == 0)
	if d.learnt.users--; d.learnt.users == 0 {
		d.learnt.idle = time.Now()
	}
	if s.users > 0 {
		return false
	}
	delete(p.sessions, d.account)
	p.closing[d.account] = s
	return true
}

// Counts are totals since the pool was made, for the metrics.
type Counts struct {
	Sessions  int64 // connected now
	Devices   int64 // that they serve, connected or not
	Accepted  int64 // messages that are on disk
	Failed    int64 // messages that could not be stored and were not acknowledged
	Unclaimed int64 // messages that no device wanted
	Lost      int64 // connections that failed or ended
}

type counters struct {
	sessions, accepted, failed, unclaimed, lost atomic.Int64
}

// Counts gives the totals.
func (p *Pool) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &p.counts
	counts := Counts{
		Sessions: c.sessions.Load(), Accepted: c.accepted.Load(), Failed: c.failed.Load(),
		Unclaimed: c.unclaimed.Load(), Lost: c.lost.Load(),
	}
	for _, s := range p.sessions {
		counts.Devices += int64(s.users)
	}
	return counts
}
