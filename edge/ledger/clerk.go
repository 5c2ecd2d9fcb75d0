package ledger

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"offsite/devices"
)

// Clerk writes to the Ledger, once a second, what it is told. Whoever tells it
// something never waits for the disk.
type Clerk struct {
	ledger *Ledger
	stamp  func(received time.Time) time.Time
	log    *slog.Logger

	mu      sync.Mutex
	waiting waiting
}

// NewClerk gives a Clerk that writes while it runs. stamp tells which time a
// reading is given at its receipt.
func NewClerk(g *Ledger, stamp func(received time.Time) time.Time, log *slog.Logger) *Clerk {
	return &Clerk{ledger: g, stamp: stamp, log: log, waiting: newWaiting()}
}

const (
	writeEvery = time.Second      // between two writings
	aliveEvery = 10 * time.Second // between two notes that the gateway is alive
	trimEvery  = time.Hour        // between two trimmings
)

// Miss tells that a gap of subject begins or goes on, and why.
func (c *Clerk) Miss(subject string, at time.Time, why *devices.Problem) {
	c.add(note{Loss: Loss{Kind: LossGap, Subject: subject, Why: why, From: at, To: at, Count: 1, Open: true}})
}

// End tells that the gaps of subject are over.
func (c *Clerk) End(subject string, at time.Time) {
	c.add(note{Loss: Loss{Kind: LossGap, Subject: subject, To: at}, ends: true})
}

// Unbound tells of count things that came and that nothing is bound to. Each
// detail has a row of its own: whoever tells bounds how many there are.
func (c *Clerk) Unbound(subject, detail string, at time.Time, count int64, why *devices.Problem) {
	c.Tell(Loss{Kind: LossUnbound, Subject: subject, Why: why, From: at, To: at, Count: count, Detail: detail})
}

// Tell tells of any other loss. What one second brings of a kind is written together.
func (c *Clerk) Tell(l Loss) { c.add(note{Loss: l}) }

func (c *Clerk) add(n note) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting.add(n)
}

// Run writes until ctx ends, then writes the rest.
func (c *Clerk) Run(ctx context.Context) error {
	ticker := time.NewTicker(writeEvery)
	defer ticker.Stop()
	alive, trimmed := time.Now(), time.Now()
	for {
		select {
		case now := <-ticker.C:
			c.write(ctx)
			if now.Sub(alive) >= aliveEvery {
				alive = now
				c.complain(ctx, c.ledger.Alive(ctx, now, c.stamp(now), false))
			}
			if now.Sub(trimmed) >= trimEvery {
				trimmed = now
				c.complain(ctx, c.ledger.Trim(ctx, keepLosses))
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			c.write(last)
			now := time.Now()
			c.complain(last, c.ledger.Alive(last, now, c.stamp(now), true))
			return context.Cause(ctx)
		}
	}
}

func (c *Clerk) complain(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		c.log.ErrorContext(ctx, "ledger of losses not written", "err", err)
	}
}

// write gives the ledger what waits for it. What it does not take waits on.
func (c *Clerk) write(ctx context.Context) {
	c.mu.Lock()
	w := c.waiting
	c.waiting = newWaiting()
	c.mu.Unlock()
	list := w.notes()
	if len(list) == 0 {
		return
	}
	err := c.ledger.write(ctx, list)
	c.complain(ctx, err)
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.waiting.notes() {
		w.add(n)
	}
	c.waiting = w
}
