package evidence

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/streams"
	"offsite/streams/clip"
)

//go:embed migrations/*.sql
var migrations embed.FS

// States of an item and of an event's evidence as a whole.
const (
	Pending  = "pending"  // still being taken
	Attached = "attached" // a file is there; of an event: at least one
	None     = "none"     // there is none, and why
)

// Watermarks.
const (
	MarkSubtitle = "subtitle" // a subtitle track of the clip
	MarkBurn     = "burn"     // that, and burnt into a copy of each still
	MarkNone     = "none"
)

// Cameras give pictures. Their error is a *devices.Problem that says why there is
// none, of kind ErrNotFound when the camera is not registered any more.
type Cameras interface {
	// Take takes a still as it is now.
	Take(ctx context.Context, camera string) (streams.Still, error)
	// Moment gives the picture nearest to at of those that are still held.
	Moment(ctx context.Context, camera string, at time.Time) (streams.Still, error)
	// Clip writes what the camera shows in [from, to) as streams/clip does.
	Clip(ctx context.Context, camera string, from, to time.Time, out io.WriteSeeker, cfg clip.Config) (clip.Clip, error)
}

// Config of a Collector.
type Config struct {
	Moments  []time.Duration // of stills, from the breach; nil means -5 s, 0 and 5 s
	Before   time.Duration   // that a clip begins before the breach; 0 means 10 s
	After    time.Duration   // that it ends after it; 0 means 10 s, less than zero means that there are no clips
	Deadline time.Duration   // for all tries of one still together; 0 means 15 s
	Attempt  time.Duration   // for one try; 0 means 6 s
	Oldest   time.Duration   // how long after it was wanted a piece is still taken; 0 means 10 min

	Watermark string // MarkSubtitle, the default, MarkBurn or MarkNone
	Version   string // of the program, for the manifest

	// About tells what a manifest and a watermark say of an event; nil: its id and no more.
	About func(ctx context.Context, event string) (Subject, error)
	Told  func([]string) // called with the events of which something is committed; it must not block
	Log   *slog.Logger   // nil means silence
}

func (c *Config) setDefaults() {
	if c.Moments == nil {
		c.Moments = []time.Duration{-5 * time.Second, 0, 5 * time.Second}
	}
	if c.Before <= 0 {
		c.Before = 10 * time.Second
	}
	if c.After == 0 {
		c.After = 10 * time.Second
	}
	if c.Deadline <= 0 {
		c.Deadline = 15 * time.Second
	}
	if c.Attempt <= 0 {
		c.Attempt = 6 * time.Second
	}
	if c.Oldest <= 0 {
		c.Oldest = 10 * time.Minute
	}
	if c.Watermark == "" {
		c.Watermark = MarkSubtitle
	}
	if c.About == nil {
		c.About = func(_ context.Context, event string) (Subject, error) { return Subject{ID: event}, nil }
	}
	if c.Told == nil {
		c.Told = func([]string) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Collector takes the pieces that events want. Its methods may be called
// from many goroutines; Run from one.
type Collector struct {
	db    *state.DB
	vault *Vault
	cfg   Config
	wake  chan struct{}
	began time.Time // what was wanted before it was wanted of a gateway that has stopped
}

// Open makes the tables. It takes nothing before Run.
func Open(ctx context.Context, db *state.DB, vault *Vault, cfg Config) (*Collector, error) {
	cfg.setDefaults()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	if err := db.Migrate(ctx, "evidence", files); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	return &Collector{db: db, vault: vault, cfg: cfg, wake: make(chan struct{}, 1), began: time.Now()}, nil
}

// Expect notes, in the transaction that opens the event, that pieces of the
// cameras are wanted. Without cameras the event's evidence will be none, told
// like any other. The same again changes nothing. The caller calls Wake after
// the commit.
func (c *Collector) Expect(ctx context.Context, tx *sql.Tx, eventID string, breachAt time.Time, cameras []string) error {
	now := time.Now().UnixMilli()
	expect := func(camera, kind string, moment time.Duration) error {
		if _, err := tx.ExecContext(ctx, sqlExpect, eventID, camera, kind, moment.Milliseconds(), breachAt.UnixMilli(), now); err != nil {
			return fmt.Errorf("expect evidence of event %s: %w", eventID, err)
		}
		return nil
	}
	if len(cameras) == 0 {
		return expect("", Still, 0)
	}
	for _, camera := range cameras {
		for _, m := range c.cfg.Moments {
			if err := expect(camera, Still, m); err != nil {
				return err
			}
		}
		if c.cfg.After > 0 {
			if err := expect(camera, Clip, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// Wake says that something is expected and committed.
func (c *Collector) Wake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Of gives what there is of an event, by camera, stills first; its state is empty
// when nothing was ever expected.
func (c *Collector) Of(ctx context.Context, eventID string) (Result, error) {
	items, err := queryItems(ctx, c.db.Read(), sqlOfEvent, eventID)
	if err != nil {
		return Result{}, fmt.Errorf("evidence of event %s: %w", eventID, err)
	}
	r := resultOf(eventID, items)
	err = c.db.Read().QueryRowContext(ctx, sqlManifest, eventID).Scan(&r.Manifest, &r.Size)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Result{}, fmt.Errorf("manifest of event %s: %w", eventID, err)
	}
	return r, nil
}

// File tells of a file in the vault: whoever may see one of its events may see it.
type File struct {
	Events    []string
	MediaType string
	Taken     time.Time        // zero for manifests
	Deleted   *devices.Problem // when and why it was; nil: it was not
}

// ByHash tells which events name a file; none do where File.Events is empty.
func (c *Collector) ByHash(ctx context.Context, sha string) (File, error) {
	items, err := queryItems(ctx, c.db.Read(), sqlOfFile, sha)
	if err != nil {
		return File{}, fmt.Errorf("evidence file %.12s…: %w", sha, err)
	}
	var f File
	for _, it := range items {
		if !slices.Contains(f.Events, it.Event) {
			f.Events = append(f.Events, it.Event)
		}
		f.Taken, f.MediaType = it.CapturedAt, it.MediaType
		if f.Deleted = nil; !it.DeletedAt.IsZero() {
			f.Deleted = it.Problem
		}
	}
	var event string
	err = c.db.Read().QueryRowContext(ctx, sqlManifestOf, sha).Scan(&event)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return f, nil
	case err != nil:
		return File{}, fmt.Errorf("evidence file %.12s…: %w", sha, err)
	}
	return File{Events: []string{event}, MediaType: mediaJSON}, nil
}

// MediaType tells what kind of file the vault keeps under a hash.
func (c *Collector) MediaType(sha string) string { return c.vault.MediaType(sha) }
