package accounts

import (
	"sync"
	"time"
)

// maxTickets bounds what waits to be used.
const maxTickets = 10000

type ticket struct {
	who             Identity
	purpose, target string
	expires         time.Time
}

// tickets are kept by the hash of their secret.
type tickets struct {
	mu      sync.Mutex
	waiting map[string]ticket
}

func newTickets() *tickets { return &tickets{waiting: map[string]ticket{}} }

// put keeps a ticket; it refuses when too many wait.
func (t *tickets) put(secret string, e ticket) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) >= maxTickets {
		t.sweep(time.Now())
	}
	if len(t.waiting) >= maxTickets {
		return false
	}
	t.waiting[string(hashOf(secret))] = e
	return true
}

// take gives a ticket that has not expired, and forgets it in any case.
func (t *tickets) take(secret string) (ticket, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := string(hashOf(secret))
	e, ok := t.waiting[key]
	delete(t.waiting, key)
	return e, ok && time.Now().Before(e.expires)
}

func (t *tickets) forgetExpired(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(now)
}

// sweep drops what has expired; t.mu is held.
func (t *tickets) sweep(now time.Time) {
	for key, e := range t.waiting {
		if !now.Before(e.expires) {
			delete(t.waiting, key)
		}
	}
}
