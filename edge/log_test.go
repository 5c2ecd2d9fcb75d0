package edge

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/edge/yardtest"
	"offsite/timeseries"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logOf is a log that holds recs and never grows.
type logOf struct {
	recs     []timeseries.Record
	cursor   map[string]uint64
	caughtUp func() // called when a cursor has reached the end
	idle     func() // called when somebody waits for more
}

func (l *logOf) Durable() uint64 { return uint64(len(l.recs)) }

func (l *logOf) Wait(ctx context.Context, after uint64) error {
	if after < l.Durable() {
		return nil
	}
	if l.idle != nil {
		l.idle()
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func (l *logOf) Read(after uint64, most int) ([]timeseries.Record, error) {
	end := min(uint64(len(l.recs)), after+uint64(most))
	return l.recs[min(after, end):end], nil
}

func (l *logOf) Cursor(name string) uint64 { return l.cursor[name] }

func (l *logOf) Advance(name string, seq uint64) error {
	l.cursor[name] = seq
	if seq == l.Durable() && l.caughtUp != nil {
		l.caughtUp()
	}
	return nil
}

// records makes one record of each (millisecond, value).
func records(pairs ...[2]float64) []timeseries.Record {
	recs := make([]timeseries.Record, len(pairs))
	for i, p := range pairs {
		recs[i] = timeseries.Record{Seq: uint64(i + 1), Delivery: devices.Delivery{Readings: []devices.Reading{{Site: "s", Point: "o.p", At: yardtest.After(int(p[0])), Value: p[1]}}}}
	}
	return recs
}
