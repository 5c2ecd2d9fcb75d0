package cameras

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/streams/rtsp"
)

// run pulls the streams of a camera, small for its sub-stream, and tells how it fares until ctx ends.
// Frames of another address than it pulls from are forgotten before: they show another
// place, and may not become evidence of this one.
func (f *Feeds) run(ctx context.Context, cam *camera, small *stream, thing devices.Camera) error {
	f.mu.Lock()
	if cam.shows != "" && cam.shows != thing.URL {
		cam.feed.Forget()
	}
	cam.shows = thing.URL
	f.mu.Unlock()
	main, err := rtsp.Open(thing, f.cfg.RTSP)
	if err != nil {
		cam.feed.Disconnected(devices.AllProblems(err)[0])
		f.tell(cam)
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.watch(ctx, cam) })
	g.Go(func() error { return f.serve(ctx, &cam.stream, main) })
	g.Go(func() error { return cam.hls.Run(ctx) })
	if thing.SubURL != "" {
		sub, err := rtsp.Open(thing.In(devices.SubProfile), f.cfg.RTSP)
		if err != nil { // Check of the whole has found nothing
			sub = main
		}
		g.Go(func() error { return f.serve(ctx, small, sub) })
		g.Go(func() error { return small.hls.Run(ctx) })
	}
	return g.Wait()
}

// watch tells the changes of the main stream.
func (f *Feeds) watch(ctx context.Context, cam *camera) error {
	wake, stop := cam.feed.Watch()
	defer stop()
	for {
		f.tell(cam)
		select {
		case <-wake:
			if ctx.Err() == nil { // a camera that we leave has not gone away
				continue
			}
		case <-ctx.Done():
		}
		return context.Cause(ctx)
	}
}

// serve pulls a stream while it is wanted.
func (f *Feeds) serve(ctx context.Context, s *stream, source *rtsp.Source) error {
	for {
		if !s.feed.Wanted() {
			s.feed.Rest()
		}
		if err := s.feed.AwaitReader(ctx); err != nil {
			return err
		}
		wanted, cancel := context.WithCancel(ctx)
		g, wanted := errgroup.WithContext(wanted)
		g.Go(func() error {
			defer cancel()
			return s.feed.AwaitIdle(wanted, f.cfg.Grace)
		})
		g.Go(func() error { return f.pull(wanted, ctx, s, source) })
		_ = g.Wait()
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// steady is how long a connection must last for the failures before it to be
// forgotten.
const steady = 30 * time.Second

// pull connects again and again until wanted ends. A camera that has refused the
// password is not tried again before a person asks for it, whoever comes to watch
// meanwhile: it is this camera's entry, whose life is ctx, that is wrong.
func (f *Feeds) pull(wanted, ctx context.Context, s *stream, source *rtsp.Source) error {
	for failures := 0; ; failures++ {
		began := time.Now()
		err := source.Run(wanted, s.feed)
		if wanted.Err() != nil {
			return context.Cause(wanted)
		}
		if source.Halts(err) {
			s.feed.Halt(true)
			f.cfg.Log.WarnContext(ctx, "camera refused the password; it waits for a person", "err", err)
			select {
			case <-s.retry:
				s.feed.Halt(false)
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if time.Since(began) > steady {
			failures = 0
		}
		pause := time.NewTimer(f.cfg.Pause(failures))
		select {
		case <-pause.C:
		case <-s.retry:
			pause.Stop()
		case <-wanted.Done():
			pause.Stop()
			return context.Cause(wanted)
		}
	}
}
