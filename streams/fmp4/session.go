package fmp4

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"

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
// leaves or the feed is closed, and closes conn. What the viewer sends is not
// read beyond control frames: a data message ends the session.
func (m *Muxer) Serve(ctx context.Context, conn *websocket.Conn) error {
	reader := m.feed.Subscribe()
	defer reader.Close()
	m.join()
	defer m.leave()
	s := &session{muxer: m, conn: conn, reader: reader, pacer: newPacer()}
	g, ctx := errgroup.WithContext(conn.CloseRead(ctx))
	g.Go(func() error { return s.send(ctx) })
	g.Go(func() error { return s.pacer.ping(ctx, conn, m.cfg.Timeout) })
	err := g.Wait()
	m.cfg.Log.Debug("viewer left", "err", err, "lost", reader.Lost())
	if errors.Is(err, streams.ErrClosed) {
		_ = conn.Close(websocket.StatusGoingAway, "the stream has ended")
	} else {
		_ = conn.CloseNow()
	}
	return err
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

func (s *session) send(ctx context.Context) error {
	for {
		f, err := s.next(ctx)
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
			if err := s.begin(ctx, head); err != nil {
				return err
			}
		}
		if err := s.write(ctx, websocket.MessageBinary, fragment); err != nil {
			return err
		}
		granted := max(leastLag, s.muxer.feed.State().KeyInterval)
		if err := s.pacer.sent(ctx, len(fragment), granted); err != nil {
			return err
		}
		if err := s.tellLag(ctx, f); err != nil {
			return err
		}
	}
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
func (s *session) next(ctx context.Context) (*streams.Frame, error) {
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
		if err := s.tellWhy(ctx, state); err != nil {
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
	return s.write(ctx, websocket.MessageText, waiting(state))
}

func waiting(state streams.State) []byte {
	w := wait{Mode: "wait", Code: "camera_connecting", ZH: "正在连接摄像机", EN: "connecting to the camera"}
	if p := state.Problem; p != nil {
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
