package bus

import (
	"context"
	"slices"
	"sync"
	"time"
)

// queue hands the bus to one at a time, in order of arrival.
type queue struct {
	mu      sync.Mutex
	busy    bool
	waiting []chan struct{}
}

// join takes a place. The channel is closed when it is this place's turn.
func (q *queue) join() chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	place := make(chan struct{})
	if !q.busy {
		q.busy = true
		close(place)
		return place
	}
	q.waiting = append(q.waiting, place)
	return place
}

// leave gives a place up, whether its turn has come or not.
func (q *queue) leave(place chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.waiting, place); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		return
	}
	if len(q.waiting) == 0 {
		q.busy = false
		return
	}
	close(q.waiting[0])
	q.waiting = slices.Delete(q.waiting, 0, 1)
}

// contested says that somebody waits for the bus.
func (q *queue) contested() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) > 0
}

// turn is one caller's hold on the queue, which it may give up and take again.
type turn struct {
	queue *queue
	place chan struct{} // nil while it is not held
	since time.Time
	spent time.Duration // how long others had to wait for it
}

// take waits for the turn.
func (t *turn) take(ctx context.Context) error {
	place := t.queue.join()
	select {
	case <-place:
		t.hold(place)
		return nil
	case <-ctx.Done():
		t.queue.leave(place)
		return context.Cause(ctx)
	}
}

func (t *turn) hold(place chan struct{}) {
	t.place, t.since = place, time.Now()
}

// give hands the bus on; without the turn it does nothing.
func (t *turn) give() {
	if t.place == nil {
		return
	}
	t.spent += time.Since(t.since)
	t.queue.leave(t.place)
	t.place = nil
}
