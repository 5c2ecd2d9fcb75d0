package snapshot

import (
	"context"
	"sync"
	"time"

	"offsite/streams"
)

// view is what pictures are kept for: a camera's main and its sub-stream have
// parameters of their own, its still address has none.
type view struct {
	camera string
	params *streams.Parameters
}

// shot is one picture, being made or made.
type shot struct {
	of    any           // what it is made of: a *streams.Frame, or what a still address is shown
	done  chan struct{} // closed when the picture is made or given up
	still streams.Still
	err   error
	made  time.Time // zero: given up, or not made yet

	fitting sync.Mutex
	sized   map[int]streams.Still // by width
}

// shoot gives the picture of the key frame, made once however many ask.
func (t *Taker) shoot(ctx context.Context, v view, frame *streams.Frame, width int) (streams.Still, error) {
	return t.once(ctx, v, frame, keepResults, width, func() (streams.Still, error) {
		still, why := t.make(ctx, frame)
		switch {
		case ctx.Err() != nil:
			return streams.Still{}, context.Cause(ctx)
		case why != nil:
			return streams.Still{}, why
		}
		return still, nil
	})
}

// once gives the picture that take makes, or that somebody else is making of the same
// or has made less than life ago.
func (t *Taker) once(ctx context.Context, v view, of any, life time.Duration, width int, take func() (streams.Still, error)) (streams.Still, error) {
	for {
		s, mine := t.claim(v, of, life)
		if mine {
			s.still, s.err = take()
			aborted := s.err != nil && ctx.Err() != nil
			t.settle(v, s, aborted)
			if aborted {
				return streams.Still{}, context.Cause(ctx)
			}
			return t.result(ctx, s, width)
		}
		select {
		case <-s.done:
		case <-ctx.Done():
			return streams.Still{}, context.Cause(ctx)
		}
		if !s.made.IsZero() {
			return t.result(ctx, s, width)
		}
		// Whoever made it gave up; try again.
	}
}

// result gives the shot in a width, made once for each of the few.
func (t *Taker) result(ctx context.Context, s *shot, width int) (streams.Still, error) {
	if s.err != nil {
		return streams.Still{}, s.err
	}
	width = atLeast(width, s.still.Width)
	if width == 0 || s.still.JPEG == nil {
		return s.still, nil
	}
	s.fitting.Lock()
	defer s.fitting.Unlock()
	if still, ok := s.sized[width]; ok {
		return still, nil
	}
	still, err := t.Fit(ctx, s.still, width)
	if err == nil {
		s.sized[width] = still
	}
	return still, err
}

// Fit makes the still smaller, to the next of a few widths that is at least width
// pixels.
func (t *Taker) Fit(ctx context.Context, still streams.Still, width int) (streams.Still, error) {
	width = atLeast(width, still.Width)
	if width == 0 {
		return still, nil
	}
	if err := t.turn.Acquire(ctx, 1); err != nil {
		return streams.Still{}, err
	}
	defer t.turn.Release(1)
	img, err := decodeJPEG(still.JPEG)
	if err != nil {
		return streams.Still{}, err
	}
	img = shrink(img, width)
	if still.JPEG, err = encodeJPEG(img); err != nil {
		return streams.Still{}, err
	}
	still.Width, still.Height = img.Bounds().Dx(), img.Bounds().Dy()
	return still, nil
}

// claim gives a shot of the same that serves, and whether the caller has to make it.
func (t *Taker) claim(v view, of any, life time.Duration) (s *shot, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for other, old := range t.shots { // so that retired cameras hold nothing
		if !old.made.IsZero() && time.Since(old.made) > keepResults {
			delete(t.shots, other)
		}
	}
	if s := t.shots[v]; s != nil && s.of == of && (s.made.IsZero() || time.Since(s.made) < life) {
		return s, false
	}
	s = &shot{of: of, done: make(chan struct{}), sized: map[int]streams.Still{}}
	t.shots[v] = s
	return s, true
}

// settle publishes the shot to those who wait; an aborted one is forgotten.
func (t *Taker) settle(v view, s *shot, aborted bool) {
	t.mu.Lock()
	if !aborted {
		s.made = time.Now()
	} else if t.shots[v] == s {
		delete(t.shots, v)
	}
	t.mu.Unlock()
	close(s.done)
}
