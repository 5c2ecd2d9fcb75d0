package recording

import (
	"context"
	"errors"
	"time"

	"offsite/streams"
)

// silent is how long a camera gives nothing before its segment ends.
const silent = 5 * time.Second

// Record writes the pictures of feed that arrived since from, as far as its ring
// goes back, and all that follow, until ctx ends, the feed is closed or the disk
// takes no more; its error is then a Problem. It never holds the feed up: what the
// ring has forgotten before it could be written is missing. One Record of a
// camera runs at a time.
func (a *Archive) Record(ctx context.Context, camera string, feed *streams.Feed, from time.Time) error {
	reader := feed.Follow(from)
	defer func() { reader.Close() }()
	w := &writer{a: a, camera: camera}
	ended, cancel := context.WithCancel(context.WithoutCancel(ctx)) // who waits with it takes what is there
	cancel()
	tick := time.NewTicker(a.cfg.Fragment)
	defer tick.Stop()
	heard, lost := time.Now(), uint64(0)
	for {
		n, err := w.drain(ended, reader)
		now := time.Now()
		if n > 0 {
			heard = now
		}
		if missed := reader.Lost(); missed > lost {
			a.lose(missed - lost)
			lost = missed
		}
		switch {
		case errors.Is(err, streams.ErrReplaced): // no segment is of two cameras
			reader.Close()
			reader, lost = feed.Follow(time.Time{}), 0
			err = w.finish(nil)
		case errors.Is(err, streams.ErrClosed):
			return errors.Join(err, w.finish(nil))
		case err != nil:
			return err
		case now.Sub(heard) >= silent:
			err = w.finish(nil)
		default:
			err = w.sync(now)
		}
		if err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			_, err := w.drain(ended, reader)
			return errors.Join(context.Cause(ctx), err, w.finish(nil))
		}
	}
}

// drain writes what the reader has now. Looking at it once a second rather than
// with every frame is what makes a recording cheap.
func (w *writer) drain(ended context.Context, r *streams.Reader) (n int, err error) {
	for {
		f, err := r.Next(ended)
		if errors.Is(err, context.Canceled) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		n++
		if err := w.add(f); err != nil {
			return n, err
		}
	}
}

func (a *Archive) lose(n uint64) {
	a.mu.Lock()
	a.counts.Lost += n
	a.mu.Unlock()
}
