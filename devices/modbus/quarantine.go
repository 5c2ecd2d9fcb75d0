package modbus

import "time"

// Numbers of the quarantine.
const (
	failuresToOpen = 2               // in a row; then the unit is left out
	shareOfBus     = 100             // a silent unit may cost one part in so many of the bus's time
	shortestPause  = 5 * time.Second // between two tries of a unit that is left out
	longProbeAfter = 20              // timeouts after opening, the first try with the whole timeout (RTU)
	longProbeEvery = 200             // timeouts between two such tries
)

// breaker leaves out what does not answer. It is open until a moment; the
// first try after that decides.
type breaker struct {
	failures int
	failed   time.Time // last
	until    time.Time // not tried before
	longAt   time.Time // the next try with the whole timeout
}

// open says that now is too early to try again.
func (b *breaker) open(now time.Time) bool { return now.Before(b.until) }

// tripped says that the unit is left out, or being tried.
func (b *breaker) tripped() bool { return b.failures >= failuresToOpen }

// fail notes a failure that held the bus up for held; others is how many
// besides this one are left out on the same bus.
func (b *breaker) fail(now time.Time, held, timeout time.Duration, others int) {
	b.failures++
	b.failed = now
	if !b.tripped() {
		return
	}
	if b.failures == failuresToOpen {
		b.longAt = now.Add(longProbeAfter * timeout)
	}
	b.until = now.Add(max(shortestPause, held*shareOfBus*time.Duration(others+1)))
}

// long says whether this try may take the whole timeout.
func (b *breaker) long(now time.Time, timeout time.Duration) bool {
	if !b.tripped() || now.Before(b.longAt) {
		return false
	}
	b.longAt = now.Add(longProbeEvery * timeout)
	return true
}

func (b *breaker) succeed() { *b = breaker{} }
