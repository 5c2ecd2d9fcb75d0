package cameras

import (
	"context"
	"errors"

	"offsite/devices"
)

// Shed ends what people watch live and lets nobody in, for the reason given,
// until it is called with nil: pictures go on to be taken, kept and recorded.
func (f *Feeds) Shed(why *devices.Problem) {
	f.mu.Lock()
	f.short = why
	var ends []context.CancelCauseFunc
	if why != nil {
		for _, end := range f.viewers {
			ends = append(ends, end)
		}
	}
	f.mu.Unlock()
	for _, end := range ends {
		end(why)
	}
	if why != nil {
		f.cfg.WebRTC.EndAll()
	}
}

// admitted says why nobody may watch live now; nil while everybody may.
func (f *Feeds) admitted() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.short != nil {
		return f.short
	}
	return nil
}

// watching runs view for a viewer, who is sent away when live view is shed.
func (f *Feeds) watching(ctx context.Context, view func(context.Context) error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	f.mu.Lock()
	if why := f.short; why != nil {
		f.mu.Unlock()
		return why
	}
	f.viewed++
	id := f.viewed
	f.viewers[id] = end
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.viewers, id)
	}()
	err := view(ctx)
	var why *devices.Problem
	if errors.As(context.Cause(ctx), &why) {
		return why
	}
	return err
}
