package streams

import (
	"context"
	"slices"
	"sync"
	"time"

	"offsite/devices"
)

// State tells how a feed fares.
type State struct {
	Connected   bool
	Idle        bool               // not connected because nobody watches
	Halted      bool               // not tried again until a person acts: the camera is edited or told to retry
	Since       time.Time          // of being connected or not
	Problem     *devices.Problem   // why it is not connected; nil before the first attempt has ended
	Warnings    []*devices.Problem // what is odd although it is connected, by code; not to be changed
	Clock       Clock              // of the camera, on this connection
	LastFrame   time.Time          // arrival of the newest frame; zero if there never was one
	Params      *Parameters        // of the newest frame; nil if there never was one
	KeyInterval time.Duration      // longer one of the last two distances of key frames; zero if unknown
	Connections uint64             // since start
	Frames      uint64             // published since start
	Bytes       uint64             // published since start
	Damaged     uint64             // access units that the source left out because part was missing
	Lost        uint64             // frames that slow readers missed, all readers together
	Readers     int
	RingFrames  int
	RingBytes   int64
}

// Clock tells how a camera's clock stands against the gateway's, by its RTCP
// sender reports (RFC 3550, 6.4.1).
type Clock struct {
	Known  bool
	Offset time.Duration // the camera's time less the gateway's; it takes in the way of the network, some milliseconds
	Drift  float64       // that the offset grows, microseconds a second; zero in the first minute
}

// State tells how the feed fares now.
func (f *Feed) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.state
	s.Readers = len(f.readers)
	s.RingBytes = f.bytes
	for _, g := range f.groups {
		s.RingFrames += len(g.frames)
	}
	return s
}

// Watch gives a channel that receives after the camera has come, gone or changed
// its parameters, a warning has come or gone, and the first reader has come or
// the last one gone: look at State then. Several changes may be one. Call stop.
func (f *Feed) Watch() (wake <-chan struct{}, stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := make(chan struct{}, 1)
	f.watches[w] = struct{}{}
	return w, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watches, w)
	}
}

// changed wakes the watchers; f.mu is held.
func (f *Feed) changed() {
	for w := range f.watches {
		signal(w)
	}
}

// signal leaves one pending wake.
func signal(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// alter changes the state and wakes the watchers.
func (f *Feed) alter(change func(*State)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.state)
	f.changed()
}

// Connected tells that the source plays. Frames of an older connection stay in
// the ring but no longer count as current.
func (f *Feed) Connected() {
	f.alter(func(s *State) {
		s.Connected, s.Idle, s.Halted = true, false, false
		s.Since = time.Now()
		s.Problem, s.Warnings, s.Clock = nil, nil, Clock{}
		s.Connections++
	})
}

// Disconnected tells that the source has ended, with the reason. The first
// time of silence is kept through repeated failures.
func (f *Feed) Disconnected(why *devices.Problem) {
	f.alter(func(s *State) {
		if s.Connected {
			s.Connected = false
			s.Since = time.Now()
		}
		s.Idle = false
		s.Problem, s.Warnings = why, nil
	})
}

// Rest tells that the camera is not pulled because nobody watches.
func (f *Feed) Rest() {
	f.alter(func(s *State) {
		if s.Connected {
			s.Connected = false
			s.Since = time.Now()
		}
		s.Idle, s.Problem, s.Warnings = true, nil, nil
	})
}

// Halt tells that the camera, which is not connected, is not tried again until
// a person acts, or that it is.
func (f *Feed) Halt(on bool) { f.alter(func(s *State) { s.Halted = on }) }

// Warn tells that something is odd although the camera is connected. It stands
// in the place of an older warning of the same code.
func (f *Feed) Warn(p *devices.Problem) {
	f.alter(func(s *State) {
		s.Warnings = append(without(s.Warnings, p.Code), p)
		slices.SortFunc(s.Warnings, func(a, b *devices.Problem) int {
			if a.Code < b.Code {
				return -1
			}
			return 1
		})
	})
}

// Unwarn takes the warning of this code back.
func (f *Feed) Unwarn(code string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if kept := without(f.state.Warnings, code); len(kept) != len(f.state.Warnings) {
		f.state.Warnings = kept
		f.changed()
	}
}

// without gives a copy that lacks the warning of this code: who has asked for
// the state holds the list itself.
func without(list []*devices.Problem, code string) []*devices.Problem {
	var kept []*devices.Problem
	for _, p := range list {
		if p.Code != code {
			kept = append(kept, p)
		}
	}
	return kept
}

// Tick tells how the camera's clock stands.
func (f *Feed) Tick(c Clock) {
	f.mu.Lock()
	f.state.Clock = c
	f.mu.Unlock()
}

// Damaged counts access units that the source had to leave out.
func (f *Feed) Damaged(n uint64) {
	f.mu.Lock()
	f.state.Damaged += n
	f.mu.Unlock()
}

// AwaitReader returns nil once the feed is Wanted, else ctx's cause or ErrClosed.
func (f *Feed) AwaitReader(ctx context.Context) error {
	return f.await(ctx, func() bool { return len(f.readers)+f.holds > 0 })
}

// Hold is demand without reading, until release is called.
func (f *Feed) Hold() (release func()) {
	f.addHold(1)
	return sync.OnceFunc(func() { f.addHold(-1) })
}

func (f *Feed) addHold(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holds += n
	f.changed()
}

// Wanted says whether the feed has readers or is held.
func (f *Feed) Wanted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.readers)+f.holds > 0
}

// AwaitIdle returns nil once the feed has not been Wanted for grace, else
// ctx's cause or ErrClosed.
func (f *Feed) AwaitIdle(ctx context.Context, grace time.Duration) error {
	for {
		if err := f.await(ctx, func() bool { return len(f.readers)+f.holds == 0 }); err != nil {
			return err
		}
		short, cancel := context.WithTimeout(ctx, grace)
		err := f.AwaitReader(short)
		timeUp := short.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case timeUp && err != nil:
			return nil
		case err != nil:
			return err
		}
	}
}

// await returns once holds, which is called under f.mu, says yes.
func (f *Feed) await(ctx context.Context, holds func() bool) error {
	wake, stop := f.Watch()
	defer stop()
	for {
		f.mu.Lock()
		yes, closed := holds(), f.closed
		f.mu.Unlock()
		switch {
		case closed:
			return ErrClosed
		case yes:
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
