package rtsp

import "time"

const (
	meterWindow = 5 * time.Second
	meterLearn  = 6       // windows until what is usual is known
	meterLeast  = 1 << 18 // bytes a second below which nothing is remarkable
	muchMore    = 4       // times the usual rate that is remarkable
)

// meter watches how much a camera sends. Its usual rate is learnt slowly, and
// not from windows in which it sends much more.
type meter struct {
	from   time.Time
	bytes  int64
	usual  float64 // bytes a second
	known  int     // windows that it was learnt from
	excess bool
}

// note takes n bytes and says whether excess has begun or ended.
func (m *meter) note(n int, now time.Time) (changed bool) {
	if m.from.IsZero() {
		m.from = now
	}
	m.bytes += int64(n)
	passed := now.Sub(m.from)
	if passed < meterWindow {
		return false
	}
	rate := float64(m.bytes) / passed.Seconds()
	m.from, m.bytes = now, 0
	excess := m.known >= meterLearn && rate > meterLeast && rate > muchMore*m.usual
	if !excess {
		m.known++
		m.usual += (rate - m.usual) / float64(min(m.known, 60))
	}
	changed = excess != m.excess
	m.excess = excess
	return changed
}
