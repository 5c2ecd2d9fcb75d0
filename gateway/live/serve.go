package live

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"offsite/devices"
)

// Listener is one who listens.
type Listener struct {
	Sees  func(site string) bool                 // what may be told
	State func(ctx context.Context) (any, error) // everything as it stands, asked at the start and after a loss
	Holds func() bool                            // may still listen; asked at each heartbeat
}

// Serve streams to w until the listener leaves, may no longer listen, or ctx
// ends. It returns a Problem of kind [devices.ErrUnavailable] before anything
// is written when too many listen already.
func (h *Hub) Serve(ctx context.Context, w http.ResponseWriter, l Listener) error {
	s := newSubscriber(l.Sees)
	if !h.join(s) {
		return &devices.Problem{Kind: devices.ErrUnavailable, Code: "too_many_listeners", ZH: "实时连接过多，请稍后再试", EN: "too many live connections; try again later"}
	}
	defer h.leave(s)
	out := &stream{ctl: http.NewResponseController(w), w: w, deadline: h.cfg.Deadline}
	// The first state is asked before the header is written, so that a failure
	// can still be told as a problem. What changes meanwhile waits in s.
	first, err := h.state(ctx, l)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy in between passes each message on at once
	w.WriteHeader(http.StatusOK)
	if err := out.send(first); err != nil {
		return err
	}
	return h.pump(ctx, s, out, l)
}

func (h *Hub) join(s *subscriber) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.subs) >= h.cfg.Most {
		return false
	}
	h.subs[s] = struct{}{}
	h.listeners.Store(int64(len(h.subs)))
	return true
}

func (h *Hub) leave(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
	h.listeners.Store(int64(len(h.subs)))
}

func (h *Hub) state(ctx context.Context, l Listener) ([]byte, error) {
	state, err := l.State(ctx)
	if err != nil {
		return nil, err
	}
	return frame(nameState, state)
}

// pump sends what waits, at most once in Config.Coalesce.
func (h *Hub) pump(ctx context.Context, s *subscriber, out *stream, l Listener) error {
	beat := time.NewTicker(h.cfg.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-s.wake:
		case <-beat.C:
			if !l.Holds() {
				return nil
			}
			if err := out.send([]byte(": \n\n")); err != nil {
				return err
			}
			continue
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		select {
		case <-time.After(h.cfg.Coalesce):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := h.flush(ctx, s, out, l); err != nil {
			return err
		}
	}
}

func (h *Hub) flush(ctx context.Context, s *subscriber, out *stream, l Listener) error {
	queue, values, lost := s.take()
	if lost > 0 {
		told, err := frame(nameLost, map[string]int64{"count": lost})
		if err != nil {
			return err
		}
		state, err := h.state(ctx, l)
		if err != nil {
			return err
		}
		return out.send(told, state)
	}
	if len(values) > 0 {
		f, err := frame(nameValues, map[string][]any{"items": values})
		if err != nil {
			return err
		}
		queue = append(queue, f)
	}
	return out.send(queue...)
}

// stream writes to one listener.
type stream struct {
	w        http.ResponseWriter
	ctl      *http.ResponseController
	deadline time.Duration
}

func (s *stream) send(frames ...[]byte) error {
	if len(frames) == 0 {
		return nil
	}
	if err := s.ctl.SetWriteDeadline(time.Now().Add(s.deadline)); err != nil {
		return fmt.Errorf("set deadline of a live stream: %w", err)
	}
	for _, f := range frames {
		if _, err := s.w.Write(f); err != nil {
			return fmt.Errorf("write to a live stream: %w", err)
		}
	}
	if err := s.ctl.Flush(); err != nil {
		return fmt.Errorf("write to a live stream: %w", err)
	}
	return nil
}
