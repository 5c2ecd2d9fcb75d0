package relay

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/streams"
)

// session is one order under way. It is the streams.Publication of its
// publisher, whose goroutine alone calls Next and Again.
type session struct {
	relay *Relay
	order Order
	began time.Time
	first chan struct{} // closed when the first frame is on its way
	done  chan struct{} // closed when end is set
	end   End
	wake  chan struct{} // the expiry is another; has room for one
	ended chan error    // asks for the end; has room for one

	mu      sync.Mutex
	told    Session
	expires time.Time

	// Of the publisher's goroutine.
	pictures pictures
	gate     gate
	given    bool // a frame has been given
	counts   struct{ frames, bytes int64 }
}

func newSession(r *Relay, o Order) *session {
	now := time.Now()
	var from pictures = &live{feed: o.Feed}
	if o.Past != nil {
		from = past{o.Past}
	}
	return &session{
		pictures: from, relay: r, order: o, began: now, expires: now.Add(o.For), gate: gate{upload: r.upload},
		first: make(chan struct{}), done: make(chan struct{}), wake: make(chan struct{}, 1), ended: make(chan error, 1),
		told: Session{ID: o.ID, Camera: o.Camera, Officer: o.Officer, Purpose: o.Purpose, Opened: now},
	}
}

// session tells how it stands.
func (s *session) session() Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.told
	now.Expires = s.expires
	return now
}

// opened says whether the first frame has gone out.
func (s *session) opened() bool {
	select {
	case <-s.first:
		return true
	default:
		return false
	}
}

func (s *session) renew(d time.Duration) {
	s.mu.Lock()
	s.expires = time.Now().Add(d)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// stop asks for the end; the first reason stays.
func (s *session) stop(why error) {
	select {
	case s.ended <- why:
	default:
	}
}

func (s *session) finish(end End) {
	s.end = end
	close(s.done)
}

// run publishes to the end.
func (s *session) run(ctx context.Context) End {
	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return s.attend(running) })
	g.Go(func() error {
		defer s.pictures.close()
		params, err := s.await(running)
		if err != nil {
			return err
		}
		publish := s.relay.cfg.Publish[s.order.To.URL.Scheme]
		if err := publish(running, s.order.To, params, s); err != nil {
			return err
		}
		return errClosed
	})
	err := g.Wait()
	end := End{
		Session: s.session(), At: time.Now(), Frames: s.counts.frames, Bytes: s.counts.bytes, LeftOut: s.gate.left, Lost: s.pictures.lost(),
	}
	end.Reason, end.Problem = reasonOf(ctx, err)
	return end
}

// reasonOf sorts what ended a session.
func reasonOf(ctx context.Context, err error) (Reason, *devices.Problem) {
	var at *ending
	switch {
	case ctx.Err() != nil:
		return Stopped, nil
	case errors.Is(err, errClosed), errors.Is(err, errGivenUp):
		return Closed, nil
	case errors.Is(err, errExpired):
		return Expired, nil
	case errors.As(err, &at):
		return at.reason, at.problem
	}
	return PeerGone, devices.AllProblems(err)[0]
}

// why is the Problem of a session that was never opened.
func (e *End) why() *devices.Problem {
	switch {
	case e.Problem != nil:
		return e.Problem
	case e.Reason == Stopped:
		return stopping()
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "stream_late", ZH: "未能及时发出首帧，请检查摄像机和流媒体服务器", EN: "no frame went out in time; check the camera and the media server",
	}
}

// ending ends a session for a reason that is not the receiver's.
type ending struct {
	reason  Reason
	problem *devices.Problem
}

func (e *ending) Error() string { return e.problem.Error() }

// attend ends the session when its time is up or somebody asks for it.
func (s *session) attend(ctx context.Context) error {
	for {
		s.mu.Lock()
		left := time.Until(s.expires)
		s.mu.Unlock()
		if left <= 0 {
			return errExpired
		}
		due := time.NewTimer(left)
		select {
		case <-due.C:
		case <-s.wake:
		case err := <-s.ended:
			due.Stop()
			return err
		case <-ctx.Done():
			due.Stop()
			return context.Cause(ctx)
		}
		due.Stop()
	}
}

// await waits for the camera's first picture and tells how it is coded.
func (s *session) await(ctx context.Context) (*streams.Parameters, error) {
	s.Again()
	f, _, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.told.Codec, s.told.Width, s.told.Height = f.Params.Codec, f.Params.Width, f.Params.Height
	s.mu.Unlock()
	return f.Params, nil
}

// read gives the next frame, or tells that there is none any more.
func (s *session) read(ctx context.Context) (*streams.Frame, bool, error) {
	limited, cancel := context.WithTimeout(ctx, s.relay.cfg.Absent)
	defer cancel()
	f, late, err := s.pictures.next(limited)
	switch {
	case err == nil:
		return f, late, nil
	case ctx.Err() != nil:
		return nil, false, context.Cause(ctx)
	}
	return nil, false, s.pictures.over(err)
}

// Next gives the next frame that the upload has room for.
func (s *session) Next(ctx context.Context) (*streams.Frame, bool, error) {
	if !s.given {
		s.Again() // what came during the negotiation is old
	} else if !s.opened() {
		s.mu.Lock()
		s.told.FirstFrame = time.Since(s.began)
		s.mu.Unlock()
		close(s.first)
	}
	since := time.Now()
	for {
		f, late, err := s.read(ctx)
		if err != nil {
			return nil, false, err
		}
		if s.gate.admits(f, time.Now()) {
			s.given = true
			s.counts.frames++
			s.counts.bytes += int64(f.Size())
			return f, late, nil
		}
		if time.Since(since) > s.relay.cfg.Starved {
			return nil, false, &ending{UploadFull, &devices.Problem{
				Kind: devices.ErrUnavailable, Code: "upload_full", ZH: "上行带宽已用尽，请改用子码流或关闭其他推流", EN: "the upload is full; use the sub-stream or close another stream",
			}}
		}
	}
}

// Again begins anew with the current group.
func (s *session) Again() {
	s.pictures.again()
	s.gate.shut()
}
