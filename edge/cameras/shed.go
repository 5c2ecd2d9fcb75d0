package cameras

import (
	"context"
	"errors"

	"offsite/devices"
)

// Shed sends those who watch live away and lets nobody in, for the reason given,
// until it is called with nil: pictures go on to be taken, kept and recorded.
func (f *Feeds) Shed(why *devices.Problem) {
	f.mu.Lock()
	f.short = why
	var leave []func(*devices.Problem)
	if why != nil {
		for _, away := range f.viewers {
			leave = append(leave, away)
		}
	}
	f.mu.Unlock()
	for _, away := range leave {
		away(why)
	}
	if why != nil {
		f.cfg.WebRTC.EndAll(why)
	}
}

// Admitted says why nobody may watch live now; nil while everybody may.
func (f *Feeds) Admitted() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.short != nil {
		return f.short
	}
	return nil
}

// Enter lets somebody watch who calls left in the end, whom away sends away with the
// reason when live view is shed. The error is why nobody may watch.
func (f *Feeds) Enter(away func(why *devices.Problem)) (left func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.short != nil {
		return nil, f.short
	}
	f.viewed++
	id := f.viewed
	f.viewers[id] = away
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.viewers, id)
	}, nil
}

// watching runs view for a viewer, who is sent away when live view is shed.
func (f *Feeds) watching(ctx context.Context, view func(context.Context) error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	left, err := f.Enter(func(why *devices.Problem) { end(why) })
	if err != nil {
		return err
	}
	defer left()
	err = view(ctx)
	var why *devices.Problem
	if errors.As(context.Cause(ctx), &why) {
		return why
	}
	return err
}
