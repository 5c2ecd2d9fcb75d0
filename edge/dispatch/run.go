package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/edge/dispatch/wire"
)

const (
	commandsMost = 8 // commands of the long poll that are executed at a time
	filesAtOnce  = 3 // results with files that are sent at a time
)

var messageIDForm = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// Run keeps the gateway present at its platform until ctx ends: heartbeat,
// resources, subscribed readings, commands and their results, each with its own
// retry. Before enrolment it waits. It returns an error only for ctx.
func (c *Client) Run(ctx context.Context, site Site) error {
	for c.identity.Load() == nil {
		c.reports.problem(PartPlatform, notEnrolled)
		select {
		case <-c.wakeIdentity:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err := c.recover(ctx); err != nil {
		return err
	}
	wake, stop := site.Watch()
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.repeat(ctx, PartPlatform, c.wakeHeartbeat, c.heartbeats(site)) })
	g.Go(func() error { return c.repeat(ctx, PartResources, c.wakeResources, c.resources(site)) })
	g.Go(func() error { return c.relay(ctx, wake) })
	g.Go(func() error { return c.repeat(ctx, PartReadings, c.wakeReadings, c.readings(site)) })
	g.Go(func() error { return c.repeat(ctx, PartResults, c.wakeResults, c.results(site, false)) })
	for range filesAtOnce {
		g.Go(func() error { return c.repeat(ctx, PartResults, c.wakeFiles, c.results(site, true)) })
	}
	g.Go(func() error { return c.commands(ctx, site) })
	return g.Wait()
}

// recover answers commands that an earlier process took and did not finish.
func (c *Client) recover(ctx context.Context) error {
	rows, err := c.store.unanswered(ctx)
	if err != nil {
		return fmt.Errorf("dispatch: %w", err)
	}
	for _, r := range rows {
		if !c.ledger.enter(r.ID) {
			continue // it came by Receive a moment ago
		}
		_, err := c.interrupted(ctx, r.ID)
		c.ledger.leave(r.ID)
		if err != nil {
			return fmt.Errorf("dispatch: %w", err)
		}
	}
	return nil
}

// relay passes the registry's wakes on.
func (c *Client) relay(ctx context.Context, wake <-chan struct{}) error {
	for {
		select {
		case <-wake:
			poke(c.wakeResources)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// step does a part's work once and says how long to rest if it was Done; a
// negative rest means until woken.
type step func(ctx context.Context) (rest time.Duration, a Answer)

// repeat does step after step. wake cuts a rest short, but no pause after a
// failure.
func (c *Client) repeat(ctx context.Context, part string, wake <-chan struct{}, do step) error {
	failures := 0
	for ctx.Err() == nil {
		rest, a := do(ctx)
		if a.Class == Refused { // a loop that is refused does not do its work
			c.reports.problem(part, a.Problem)
		} else {
			c.reports.answer(part, a)
		}
		wakes := wake
		if a.Class == Done {
			failures = 0
		} else {
			failures++
			rest = max(pause(failures, c.cfg.MaxPause), a.After)
			wakes = nil
			c.cfg.Log.DebugContext(ctx, "dispatch will try again", "part", part, "err", a.Problem, "after", rest)
		}
		c.rest(ctx, rest, wakes)
	}
	return context.Cause(ctx)
}

func (c *Client) rest(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	var due <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-due:
	case <-wake:
	case <-ctx.Done():
	}
}

func (c *Client) heartbeats(site Site) step {
	started := c.cfg.Now()
	pruned := time.Time{}
	return func(ctx context.Context) (time.Duration, Answer) {
		if now := c.cfg.Now(); now.Sub(pruned) > time.Hour {
			if err := c.store.prune(ctx, now.Add(-c.cfg.Keep), now.Add(-24*time.Hour)); err != nil {
				return 0, local(err)
			}
			pruned = now
		}
		h, taken := site.Status()
		a := c.heartbeat(ctx, h, started)
		if a.Class == Done {
			if err := taken(ctx); err != nil {
				c.cfg.Log.WarnContext(ctx, "losses will be told twice", "err", err)
			}
		}
		return c.cfg.Heartbeat, a
	}
}

func (c *Client) heartbeat(ctx context.Context, h wire.Heartbeat, started time.Time) Answer {
	id := c.identity.Load()
	revision, err := c.store.number(ctx, valueRevision)
	if err != nil {
		return local(err)
	}
	sent := c.cfg.Now()
	h.Version, h.Time, h.StartedAt, h.Clock, h.ResourcesRevision = c.cfg.Version, wire.At(sent), wire.At(started), c.Clock(), revision
	if h.State == "" {
		h.State = wire.HeartbeatStateOK
	}
	body, err := json.Marshal(h)
	if err != nil {
		return local(err)
	}
	var got wire.HeartbeatAnswer
	a := c.call(ctx, id, call{method: http.MethodPut, path: "/v1/gateways/" + id.Gateway, key: "heartbeat:" + wire.NewNonce(), body: body, into: &got})
	if a.Class != Done {
		return a
	}
	if !got.Time.IsZero() {
		c.clock.exact(got.Time.Time, sent, c.cfg.Now())
	}
	if got.Resync {
		if err := c.store.wantResync(ctx); err != nil {
			return local(err)
		}
		poke(c.wakeResources)
	}
	if got.RotateKeys {
		if err := c.Rotate(ctx, wire.RotationReasonRequested); err != nil {
			c.cfg.Log.WarnContext(ctx, "keys were not rotated", "err", err)
		}
	}
	return a
}

// results sends those with files or those without, so that a long recording holds
// up nothing.
func (c *Client) results(site Site, files bool) step {
	return func(ctx context.Context) (time.Duration, Answer) { return -1, c.deliver(ctx, site, files) }
}

// commands polls and executes, several at a time.
func (c *Client) commands(ctx context.Context, site Site) error {
	var g errgroup.Group
	g.SetLimit(commandsMost)
	err := c.repeat(ctx, PartCommands, nil, func(ctx context.Context) (time.Duration, Answer) {
		return c.pollOnce(ctx, func(s wire.SignedCommand) {
			g.Go(func() error { c.polled(ctx, site, s); return nil })
		})
	})
	_ = g.Wait() // none of them returns an error
	return err
}
