package hls

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"offsite/devices"
	"offsite/streams"
)

// Config bounds a muxer.
type Config struct {
	Log   *slog.Logger
	Bytes int64         // most that the segments of one feed hold, a sixteenth of it each; 128 MiB
	Grace time.Duration // that segments are still made for after the last request; 30 s

	// Patience is how long a request waits for pictures, and how long a feed may be
	// silent before the requests that wait for its next picture are given up; 10 s.
	Patience time.Duration
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Bytes <= 0 {
		c.Bytes = 128 << 20
	}
	if c.Grace <= 0 {
		c.Grace = 30 * time.Second
	}
	if c.Patience <= 0 {
		c.Patience = 10 * time.Second
	}
}

const (
	// prelude is how much of the past a first playlist holds where the feed still
	// has it, so that a player finds the three segments that it begins before the
	// end (RFC 8216, 6.3.3).
	prelude = 8 * time.Second
	// look is how often idleness and silence are looked for.
	look = time.Second
)

// Muxer makes the playlists and segments of one feed. It is safe for use by
// several goroutines.
type Muxer struct {
	feed  *streams.Feed
	cfg   Config
	asked chan struct{} // has room for one wake

	mu      sync.Mutex
	used    time.Time // of the newest request
	pending int       // requests under way
	now     *edition  // nil: none
	why     *devices.Problem
	renewed chan struct{} // closed when now or why has changed
}

// New gives the muxer of feed. It does nothing before Run.
func New(feed *streams.Feed, cfg Config) *Muxer {
	cfg.setDefaults()
	return &Muxer{feed: feed, cfg: cfg, asked: make(chan struct{}, 1), renewed: make(chan struct{})}
}

// Run makes segments while they are asked for, until ctx ends or the feed is
// closed.
func (m *Muxer) Run(ctx context.Context) error {
	for {
		if m.wanted() {
			if err := m.make(ctx); err != nil {
				return err
			}
			continue
		}
		select {
		case <-m.asked:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// wanted says whether anybody has asked of late.
func (m *Muxer) wanted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pending > 0 || (!m.used.IsZero() && time.Since(m.used) < m.cfg.Grace)
}

// enter and leave note a request.
func (m *Muxer) enter() {
	m.mu.Lock()
	m.pending++
	m.mu.Unlock()
	select {
	case m.asked <- struct{}{}:
	default:
	}
}

func (m *Muxer) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending--
	m.used = time.Now()
}

// make turns frames into segments until nobody asks any more.
func (m *Muxer) make(ctx context.Context) error {
	reader := m.feed.Follow(time.Now().Add(-prelude))
	defer reader.Close()
	defer m.replace(nil, nil)
	last := time.Now()
	for m.wanted() {
		short, cancel := context.WithTimeout(ctx, look)
		f, err := reader.Next(short)
		cancel()
		switch {
		case err == nil:
			last = time.Now()
			m.write(f)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case short.Err() == nil:
			return err // the feed is closed
		case time.Since(last) > m.cfg.Patience:
			m.replace(nil, silent(m.feed.State()))
		}
	}
	return nil
}

// write adds f to the edition, or begins another one with it.
func (m *Muxer) write(f *streams.Frame) {
	if st := m.feed.State(); !st.Connected || st.Connections != f.Connection {
		return // of a connection that has ended: not live
	}
	m.mu.Lock()
	e := m.now
	m.mu.Unlock()
	if e != nil && e.continues(f) {
		err := e.write(f)
		if err == nil {
			return
		}
		m.cfg.Log.Warn("HLS playlist begun anew", "err", err)
		m.replace(nil, tooLarge(err))
	}
	if !f.Key {
		return
	}
	e, why := newEdition(f.Params, m.step(), m.cfg)
	if why == nil {
		if err := e.write(f); err != nil {
			e.close()
			e, why = nil, tooLarge(err)
		}
	}
	m.replace(e, why)
}

// step is the distance of pictures in the current group.
func (m *Muxer) step() time.Duration {
	var decoded []time.Duration
	for _, f := range m.feed.Group() {
		decoded = append(decoded, f.DTS)
	}
	return stepOf(decoded)
}

// replace puts e, or the reason why there is none, in the place of the edition.
func (m *Muxer) replace(e *edition, why *devices.Problem) {
	m.mu.Lock()
	old := m.now
	m.now, m.why = e, why
	close(m.renewed)
	m.renewed = make(chan struct{})
	m.mu.Unlock()
	if old != nil {
		old.close()
	}
}

// await gives the edition as soon as there is one.
func (m *Muxer) await(ctx context.Context) (*edition, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Patience)
	defer cancel()
	for {
		m.mu.Lock()
		e, why, renewed := m.now, m.why, m.renewed
		m.mu.Unlock()
		switch {
		case e != nil:
			return e, nil
		case why != nil && why.Code == codeCannot:
			return nil, why
		}
		select {
		case <-renewed:
		case <-ctx.Done():
			if why == nil {
				why = silent(m.feed.State())
			}
			return nil, why
		}
	}
}
