package fmp4

import (
	"context"
	"time"
)

const (
	pingEvery = 250 * time.Millisecond // while the viewer keeps up
	firstSend = 16 << 10               // bytes that may be under way before anything is known
	mostSend  = 64 << 20               // bytes that may be under way at the best of rates
)

// pacer keeps what is on its way to a viewer small. Data waits in many buffers,
// in this machine's kernel and beyond, and only an answer tells what has
// arrived: at most one ping is under way between the fragments. An answer that
// takes half of the lag that is granted longer than the quickest shows a line that is full;
// it gives the rate of the line, and what may wait on it shrinks to a quarter of
// the lag at this rate. Quick answers let it grow by a quarter each, and
// twofold as long as the line never was full. While the bound is reached nothing
// is sent, the feed's reader falls behind and skips to a key frame.
type pacer struct {
	due      chan struct{}      // asks for a ping; has room for one
	answered chan time.Duration // its trip; has room for one

	// Of the sending goroutine.
	pinged    time.Time     // of the ping under way; zero if none
	last      time.Time     // of the newest ping
	written   int64         // bytes since the beginning
	arrived   int64         // of them, known to have arrived
	pingedAt  int64         // value of written at the ping under way
	allowance int64         // that may be under way
	filled    bool          // the line has been full
	trip      time.Duration // newest trip
	least     time.Duration // shortest trip: that of the empty line
}

func newPacer() *pacer {
	return &pacer{due: make(chan struct{}, 1), answered: make(chan time.Duration, 1), allowance: firstSend, least: time.Hour}
}

// sent notes n bytes and returns when more may follow.
func (p *pacer) sent(ctx context.Context, n int, lag time.Duration) error {
	p.written += int64(n)
	for {
		select {
		case trip := <-p.answered:
			p.answer(trip, lag)
		default:
		}
		full := p.written-p.arrived > p.allowance
		if p.pinged.IsZero() && (full || time.Since(p.last) >= pingEvery) {
			p.pinged = time.Now()
			p.last, p.pingedAt = p.pinged, p.written
			p.due <- struct{}{}
		}
		if !full && (p.pinged.IsZero() || time.Since(p.pinged) < lag) {
			return nil
		}
		select {
		case trip := <-p.answered:
			p.answer(trip, lag)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// answer notes that all that was written before the ping has arrived.
func (p *pacer) answer(trip, lag time.Duration) {
	p.pinged = time.Time{}
	came := float64(p.pingedAt - p.arrived)
	p.trip, p.least = trip, min(p.least, trip)
	p.arrived = p.pingedAt
	switch {
	case trip-p.least > lag/2:
		p.filled = true
		p.allowance = int64(came / trip.Seconds() * (p.least + lag/4).Seconds())
	case p.filled:
		p.allowance += p.allowance/4 + 1
	default:
		p.allowance *= 2
	}
	p.allowance = min(p.allowance, mostSend)
}

// pinger is the viewer's connection.
type pinger interface {
	Ping(ctx context.Context) error // returns when the viewer has answered
}

// ping sends the pings that are due until ctx ends, on a line that may stand a little longer. A
// viewer that does not answer in time is gone.
func (p *pacer) ping(ctx, line context.Context, conn pinger, timeout time.Duration) error {
	for {
		select {
		case <-p.due:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		began := time.Now()
		limited, cancel := context.WithTimeout(line, timeout)
		err := conn.Ping(limited)
		cancel()
		if err != nil {
			return err
		}
		p.answered <- time.Since(began) // has room: sent takes it before it asks again
	}
}
