package fmp4

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// line takes rate bytes a second and answers after trip.
type line struct {
	rate float64
	trip time.Duration

	mu   sync.Mutex
	free time.Time // when all that was written has gone
}

// write queues n bytes and gives the time at which they arrive.
func (l *line) write(n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	return l.free.Add(l.trip / 2)
}

func (l *line) Ping(ctx context.Context) error {
	at := l.write(0).Add(l.trip / 2)
	select {
	case <-time.After(time.Until(at)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A camera of 2 Mbit/s, 25 pictures and a group of one second is sent over
// lines good and bad.
func TestLagOverLines(t *testing.T) {
	tests := []struct {
		name      string
		line      *line
		skips     bool
		worst     time.Duration // lag on arrival after the first five seconds
		delivered float64       // least share of the line, or of the stream, that is used
	}{
		{"local network", &line{rate: 10e6, trip: time.Millisecond}, false, 100 * time.Millisecond, 0.99},
		{"mobile network", &line{rate: 1e6, trip: 100 * time.Millisecond}, false, 300 * time.Millisecond, 0.99},
		{"satellite", &line{rate: 1e6, trip: 400 * time.Millisecond}, false, 500 * time.Millisecond, 0.99},
		{"half the stream's rate", &line{rate: 125e3, trip: 50 * time.Millisecond}, true, 2 * time.Second, 0.6},
		{"a fifth of the stream's rate", &line{rate: 50e3, trip: 50 * time.Millisecond}, true, 2 * time.Second, 0.6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const step, frame, group = 40 * time.Millisecond, 10000, 25
				ctx, cancel := context.WithCancel(t.Context())
				p := newPacer()
				go func() { _ = p.ping(ctx, ctx, tt.line, time.Minute) }()
				began := time.Now()
				sent, skipped := 0, 0
				var worst time.Duration
				for i := 0; i < 60*group; i++ { // a minute
					made := began.Add(time.Duration(i) * step)
					time.Sleep(max(0, time.Until(made)))
					if now := int(time.Since(began) / step); now-i > group {
						skipped += now/group*group - i
						i = now / group * group
						made = began.Add(time.Duration(i) * step)
					}
					arrives := tt.line.write(frame)
					sent++
					if i > 5*group {
						worst = max(worst, arrives.Sub(made))
					}
					if err := p.sent(ctx, frame, time.Second); err != nil {
						t.Fatal(err)
					}
				}
				cancel()
				share := float64(sent*frame) / min(tt.line.rate, frame*group) / time.Since(began).Seconds()
				t.Logf("sent %d, skipped %d, worst lag %v, share %.2f", sent, skipped, worst, share)
				if (skipped > 0) != tt.skips || worst > tt.worst || share < tt.delivered {
					t.Errorf("sent %d, skipped %d, worst lag %v, share %.2f", sent, skipped, worst, share)
				}
			})
		})
	}
}
