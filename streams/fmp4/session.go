package fmp4

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/streams"
)

// Config is what all sessions share.
type Config struct {
	Log     *slog.Logger
	Timeout time.Duration // for one message to go out and for a viewer to answer a ping; 15 s
	Told    time.Duration // how often a viewer hears why no picture comes; 5 s, players take three times that for a line that is cut
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Timeout <= 0 {
		c.Timeout = 15 * time.Second
	}
	if c.Told <= 0 {
		c.Told = 5 * time.Second
	}
}

const (
	leastLag = time.Second     // that a viewer is granted
	patience = 2 * time.Second // without a frame, until the reason is told
	lastWord = time.Second     // for what is on its way when a session ends
)

type live struct {
	Mode   string `json:"mode"`
	Codec  string `json:"codec,omitempty"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

type lag struct {
	Mode string `json:"mode"`
	MS   int64  `json:"ms"`
	Lost uint64 `json:"lost"`
}

type wait struct {
	Mode string `json:"mode"`
	Code string `json:"code"`
	ZH   string `json:"zh"`
	EN   string `json:"en"`
}

// Serve sends the feed's pictures to one viewer until ctx ends, the viewer
// leaves or the feed is closed, and closes conn. A viewer who is sent away, because
// the cause of ctx is a Problem, is told so first. What the viewer sends is not
// read beyond control frames: a data message ends the session.
func (m *Muxer) Serve(ctx context.Context, conn *websocket.Conn) error {
	reader := m.feed.Subscribe()
	defer reader.Close()
	m.join()
	defer m.leave()
	s := &session{muxer: m, conn: conn, reader: reader, pacer: newPacer()}
	line, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	left := conn.CloseRead(line)
	g, within := errgroup.WithContext(ctx)
	defer context.AfterFunc(within, func() { time.AfterFunc(lastWord, cut) })()
	g.Go(func() error { return s.send(within, line) })
	g.Go(func() error { return s.pacer.ping(within, line, conn, m.cfg.Timeout) })
	g.Go(func() error {
		select {
		case <-left.Done():
			return context.Cause(left)
		case <-within.Done():
			return context.Cause(within)
		}
	})
	err := g.Wait()
	m.cfg.Log.Debug("viewer left", "err", err, "lost", reader.Lost())
	var why *devices.Problem
	switch {
	case errors.Is(err, streams.ErrClosed):
		_ = conn.Close(websocket.StatusGoingAway, "the stream has ended")
	case errors.As(context.Cause(ctx), &why):
		s.sendAway(line, why)
	default:
		_ = conn.CloseNow()
	}
	return err
}

// sendAway tells a viewer why there are no more pictures, where the line takes it, and
// closes conn.
func (s *session) sendAway(line context.Context, why *devices.Problem) {
	_ = s.write(line, websocket.MessageText, waiting(why))
	_ = s.conn.Close(websocket.StatusTryAgainLater, why.Code)
}

// session is one viewer.
type session struct {
	muxer  *Muxer
	conn   *websocket.Conn
	reader *streams.Reader
	pacer  *pacer

	head    *header   // sent last; nil before the first and after a wait
	skipped uint64    // group that could not be followed
	told    time.Time // when the lag was told
	newest  time.Time // when the picture that was sent last was taken
}

// send sends pictures until ctx ends. A message that is cut off takes the connection with it,
// so that the last may go on until line ends.
func (s *session) send(ctx, line context.Context) error {
	for ctx.Err() == nil {
		f, err := s.next(ctx, line)
		if err != nil {
			return err
		}
		if f.Group == s.skipped {
			continue
		}
		head, fragment, err := s.muxer.message(f)
		if err != nil {
			// A frame that cannot be packed, or a group begun too late: go on
			// with the next key frame.
			s.muxer.cfg.Log.Debug("group skipped", "err", err)
			s.skipped = f.Group
			continue
		}
		if head != s.head {
			if err := s.begin(line, head); err != nil {
				return err
			}
		}
		if err := s.write(line, websocket.MessageBinary, fragment); err != nil {
			return err
		}
		granted := max(leastLag, s.muxer.feed.State().KeyInterval)
		if err := s.pacer.sent(ctx, len(fragment), granted); err != nil {
			return err
		}
		if err := s.tellLag(line, f); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// tellLag tells from time to time how old f is when it arrives.
func (s *session) tellLag(ctx context.Context, f *streams.Frame) error {
	now := time.Now()
	s.newest = f.At
	if s.told.IsZero() {
		s.told = now
	}
	if now.Sub(s.told) < time.Second {
		return nil
	}
	return s.tellAge(ctx, now)
}

func (s *session) tellAge(ctx context.Context, now time.Time) error {
	s.told = now
	age := now.Sub(s.newest) + s.pacer.trip
	b, _ := json.Marshal(lag{Mode: "lag", MS: age.Milliseconds(), Lost: s.reader.Lost()}) // never fails
	return s.write(ctx, websocket.MessageText, b)
}

func (s *session) begin(ctx context.Context, head *header) error {
	if err := s.write(ctx, websocket.MessageText, head.message); err != nil {
		return err
	}
	s.head = head
	if head.init == nil {
		return nil
	}
	return s.write(ctx, websocket.MessageBinary, head.init)
}

// next waits for a frame. While none comes the viewer is told why, again and again:
// it takes a long silence for a line that is cut.
func (s *session) next(ctx, line context.Context) (*streams.Frame, error) {
	began, told := time.Now(), false
	for {
		wait := min(patience, s.muxer.cfg.Told)
		if s.head == nil && !told && !s.muxer.feed.State().Connected {
			wait = time.Millisecond // who joins a camera that is away is told at once
		}
		short, cancel := context.WithTimeout(ctx, wait)
		f, err := s.reader.Next(short)
		cancel()
		if err == nil || ctx.Err() != nil || errors.Is(err, streams.ErrClosed) {
			return f, err
		}
		state := s.muxer.feed.State()
		if time.Since(began) < s.muxer.cfg.Told && (told || state.Connected) {
			continue
		}
		began, told = time.Now(), true
		if err := s.tellWhy(line, state); err != nil {
			return nil, err
		}
	}
}

// tellWhy tells why no frame comes or, where the camera only pauses, how old the newest is by now.
func (s *session) tellWhy(ctx context.Context, state streams.State) error {
	if state.Connected && s.head != nil {
		return s.tellAge(ctx, time.Now())
	}
	s.head = nil
	return s.write(ctx, websocket.MessageText, waiting(state.Problem))
}

// waiting tells why no picture comes; nil: the camera is being connected to.
func waiting(p *devices.Problem) []byte {
	w := wait{Mode: "wait", Code: "camera_connecting", ZH: "正在连接摄像机", EN: "connecting to the camera"}
	if p != nil {
		w.Code, w.ZH, w.EN = p.Code, p.ZH, p.EN
	}
	b, _ := json.Marshal(w) // strings only: never fails
	return b
}

func (s *session) write(ctx context.Context, kind websocket.MessageType, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.muxer.cfg.Timeout)
	defer cancel()
	return s.conn.Write(ctx, kind, data)
}
