package e2e

import (
	"fmt"
	"testing"
	"time"
)

// measurement is a [testing.TB] whose faults wait until it is known what was measured.
type measurement struct {
	testing.TB
	faults []string
}

func (m *measurement) Errorf(format string, args ...any) {
	m.faults = append(m.faults, fmt.Sprintf(format, args...))
}

func (m *measurement) Error(args ...any) { m.faults = append(m.faults, fmt.Sprint(args...)) }

// measure takes a measurement that is held to the clock. One with faults, in which this
// process too was woken later than slack after it had asked, says nothing of the gateway
// and is taken anew; the third one counts.
func measure(t *testing.T, slack time.Duration, take func(t testing.TB)) {
	t.Helper()
	for i := 1; ; i++ {
		m := &measurement{TB: t}
		late := lateness(func() { take(m) })
		if len(m.faults) > 0 && late > slack && i < 3 {
			t.Logf("taken anew: the machine was %v late, and %q", late, m.faults)
			continue
		}
		for _, fault := range m.faults {
			t.Error(fault)
		}
		return
	}
}

// lateness gives the longest that a timer of this process came late while do ran.
func lateness(do func()) (worst time.Duration) {
	ended, told := make(chan struct{}), make(chan time.Duration)
	go func() {
		const every = 10 * time.Millisecond
		for {
			asked := time.Now()
			select {
			case <-time.After(every):
				worst = max(worst, time.Since(asked)-every)
			case <-ended:
				told <- worst
				return
			}
		}
	}()
	do()
	close(ended)
	return <-told
}
