package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/streams"
)

// Publisher sends the pictures of from to a receiver until ctx or from ends, or
// the receiver goes; see streams/push and streams/rtsp.
type Publisher func(ctx context.Context, to streams.Receiver, params *streams.Parameters, from streams.Publication) error

// Config of a Relay.
type Config struct {
	Publish  map[string]Publisher // by scheme of the receiver's URL
	Sessions int                  // most at once; 4
	Longest  time.Duration        // most that an order lasts from its opening or renewal; 1 h
	Upload   int64                // bits a second that all may send together; 8 Mbit/s
	Absent   time.Duration        // without a picture until the camera counts as lost; 20 s
	Starved  time.Duration        // without upload until a session is given up; 30 s

	Ended   func(End) // called once for each session that was opened
	Changed func()    // called when List is another
	Log     *slog.Logger
}

func (c *Config) setDefaults() {
	positive := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	if c.Sessions <= 0 {
		c.Sessions = 4
	}
	if c.Upload <= 0 {
		c.Upload = 8_000_000
	}
	positive(&c.Longest, time.Hour)
	positive(&c.Absent, 20*time.Second)
	positive(&c.Starved, 30*time.Second)
	if c.Ended == nil {
		c.Ended = func(End) {}
	}
	if c.Changed == nil {
		c.Changed = func() {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Order asks for the pictures of a camera. Whatever becomes of it, Open sees to the
// closing of Past.
type Order struct {
	ID      string // of the session; the one who orders chooses it
	Camera  string
	Feed    *streams.Feed // what it shows now
	Past    Past          // instead of Feed: what it has shown; the session closes it
	To      streams.Receiver
	For     time.Duration // how long
	Officer string        // who watches
	Purpose string
}

// Session tells of one that is open.
type Session struct {
	ID, Camera       string
	Officer, Purpose string
	Opened, Expires  time.Time
	Codec            streams.Codec
	Width, Height    int
	FirstFrame       time.Duration // from the order to the first frame on its way
}

// Reason says why a session ended.
type Reason string

// The reasons.
const (
	Closed     Reason = "closed"      // by whoever ordered it
	Expired    Reason = "expired"     // its time is up
	CameraLost Reason = "camera_lost" // no picture for long, or the camera is retired
	PeerGone   Reason = "peer_gone"   // the receiver has gone or takes no more
	UploadFull Reason = "upload_full" // for long no group could be sent
	Stopped    Reason = "stopped"     // the gateway stops

	RecordingOver Reason = "recording_over" // there is no more of the past
	MemoryShort   Reason = "memory_short"   // the gateway's memory is very short
)

// End tells how a session went.
type End struct {
	Session
	At      time.Time
	Reason  Reason
	Problem *devices.Problem // behind CameraLost, PeerGone, UploadFull, RecordingOver, MemoryShort
	Frames  int64            // sent
	Bytes   int64
	LeftOut int64 // frames, for the upload
	Lost    int64 // frames, because the way was too slow
}

// Relay holds the sessions. Its methods may be called by several goroutines.
type Relay struct {
	cfg    Config
	upload *Upload

	showing sync.Mutex // one Changed at a time: the last one shows the last List

	mu       sync.Mutex
	admit    chan *session // to Run; nil while it does not run
	over     <-chan struct{}
	sessions map[string]*session // open, or about to be
	short    *devices.Problem    // why none may be opened; nil: they may
}

// New gives a Relay without a session.
func New(cfg Config) *Relay {
	cfg.setDefaults()
	return &Relay{cfg: cfg, upload: NewUpload(cfg.Upload), sessions: map[string]*session{}}
}

// Run holds the sessions until ctx ends. It returns when all have ended and
// been told.
func (r *Relay) Run(ctx context.Context) error {
	admit := make(chan *session)
	r.set(admit, ctx.Done())
	var g errgroup.Group
	defer func() { _ = g.Wait() }()
	defer r.set(nil, nil)
	for {
		select {
		case s := <-admit:
			g.Go(func() error {
				r.hold(ctx, s)
				return nil
			})
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (r *Relay) set(admit chan *session, over <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.admit, r.over = admit, over
}

// hold runs one session to its end.
func (r *Relay) hold(ctx context.Context, s *session) {
	end := s.run(ctx)
	r.mu.Lock()
	delete(r.sessions, s.order.ID)
	r.mu.Unlock()
	if s.opened() {
		r.cfg.Log.InfoContext(ctx, "camera's pictures no longer go out", "camera", end.Camera, "reason", string(end.Reason), "took", end.At.Sub(end.Opened))
		r.show()
		r.cfg.Ended(end)
	}
	s.finish(end)
}

// show tells that List is another.
func (r *Relay) show() {
	r.showing.Lock()
	defer r.showing.Unlock()
	r.cfg.Changed()
}

// Open begins a session and returns when its first frame is on its way. The
// error is a Problem that says why it is not.
func (r *Relay) Open(ctx context.Context, o Order) (Session, error) {
	o.For = min(o.For, r.cfg.Longest)
	s := newSession(r, o)
	if err := r.begin(ctx, s); err != nil {
		s.pictures.close()
		return Session{}, err
	}
	select {
	case <-s.first:
		r.cfg.Log.InfoContext(ctx, "camera's pictures go out", "camera", o.Camera, "took", s.session().FirstFrame)
		r.show()
		return s.session(), nil
	case <-s.done:
	case <-ctx.Done():
		s.stop(errGivenUp)
		<-s.done
	}
	if s.opened() {
		return s.session(), nil
	}
	return Session{}, s.end.why()
}

// begin hands a session to Run.
func (r *Relay) begin(ctx context.Context, s *session) error {
	if r.cfg.Publish[s.order.To.URL.Scheme] == nil {
		return devices.Invalid("push_url", "push_scheme", "推流地址须以 https（WHIP）、rtsps 或 rtsp 开头", "push to https (WHIP), rtsps or rtsp")
	}
	admit, over, err := r.enter(s)
	if err != nil {
		return err
	}
	select {
	case admit <- s:
		return nil
	case <-over:
		r.leave(s.order.ID)
		return stopping()
	case <-ctx.Done():
		r.leave(s.order.ID)
		return context.Cause(ctx)
	}
}

// enter takes a place for a session.
func (r *Relay) enter(s *session) (chan<- *session, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.admit == nil:
		return nil, nil, stopping()
	case r.short != nil:
		return nil, nil, r.short
	case r.sessions[s.order.ID] != nil:
		return nil, nil, &devices.Problem{Kind: devices.ErrConflict, Code: "stream_open", ZH: "该路推流已打开", EN: "this stream is open already"}
	case len(r.sessions) >= r.cfg.Sessions:
		return nil, nil, &devices.Problem{
			Kind: devices.ErrConflict, Code: "streams_full",
			ZH: fmt.Sprintf("已有 %d 路推流，达到上限；请先关闭一路", len(r.sessions)),
			EN: fmt.Sprintf("%d streams are open, which is the most; close one first", len(r.sessions)),
		}
	}
	r.sessions[s.order.ID] = s
	return r.admit, r.over, nil
}

func (r *Relay) leave(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, id)
}

func stopping() *devices.Problem {
	return &devices.Problem{Kind: devices.ErrUnavailable, Code: "gateway_stopping", ZH: "网关正在停止", EN: "the gateway is stopping"}
}

// of gives an open session.
func (r *Relay) of(id string) (*session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sessions[id]; s != nil && s.opened() {
		return s, nil
	}
	return nil, &devices.Problem{Kind: devices.ErrNotFound, Code: "no_stream", Field: "stream", ZH: "没有这路推流，或已结束", EN: "there is no such stream, or it is over"}
}

// Renew lets a session last so long from now on.
func (r *Relay) Renew(id string, d time.Duration) (Session, error) {
	s, err := r.of(id)
	if err != nil {
		return Session{}, err
	}
	s.renew(min(d, r.cfg.Longest))
	return s.session(), nil
}

// Close ends a session and tells how it went.
func (r *Relay) Close(ctx context.Context, id string) (End, error) {
	s, err := r.of(id)
	if err != nil {
		return End{}, err
	}
	s.stop(errClosed)
	select {
	case <-s.done:
		return s.end, nil
	case <-ctx.Done():
		return End{}, context.Cause(ctx)
	}
}

// Shed ends every session and has none opened, because memory is very short as the
// reason tells, until it is called with nil.
func (r *Relay) Shed(why *devices.Problem) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.short = why
	if why == nil {
		return
	}
	for _, s := range r.sessions {
		s.stop(&ending{MemoryShort, why})
	}
}

// List gives the open sessions, oldest first.
func (r *Relay) List() []Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []Session
	for _, s := range r.sessions {
		if s.opened() {
			list = append(list, s.session())
		}
	}
	slices.SortFunc(list, func(a, b Session) int { return a.Opened.Compare(b.Opened) })
	return list
}

// What ends a session besides its publisher.
var (
	errClosed  = errors.New("closed")
	errExpired = errors.New("expired")
	errGivenUp = errors.New("given up before the first frame")
)
