package edge

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Pause says how long to wait after so many failures in a row.
type Pause func(failures int) time.Duration

// steady is how long a task must run for its failures to be forgotten.
const steady = time.Minute

// BackOff doubles from least to most, each pause drawn from its upper half.
func BackOff(least, most time.Duration) Pause {
	return func(failures int) time.Duration {
		d := most
		if failures < 16 {
			d = min(most, least<<failures)
		}
		return d/2 + rand.N(d/2+1)
	}
}

// Supervise runs task again and again until ctx ends, with a pause after each
// return. It is the only thing here that restarts anything.
func Supervise(ctx context.Context, log *slog.Logger, pause Pause, task func(context.Context) error) error {
	for failures := 0; ; failures++ {
		started := time.Now()
		err := task(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Since(started) > steady {
			failures = 0
		}
		if err == nil {
			err = errors.New("ended by itself")
		}
		log.WarnContext(ctx, "task stopped; will restart", "err", err, "failures", failures+1)
		select {
		case <-time.After(pause(failures)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
