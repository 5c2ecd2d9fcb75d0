package evidence

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/streams"
)

//go:embed migrations/*.sql
var migrations embed.FS

// States of an item and of an event's evidence as a whole.
const (
	Pending  = "pending"  // still being taken
	Attached = "attached" // a picture is there; of an event: at least one
	None     = "none"     // there is none, and why
)

// Taker takes a still of a camera as it is now. Its error is a
// *devices.Problem that says why there is no picture, of kind ErrNotFound when
// the camera is not registered any more.
type Taker interface {
	Take(ctx context.Context, camera string) (streams.Still, error)
}

// Config of a Collector.
type Config struct {
	Deadline time.Duration  // for all tries of one camera together; 0 means 15 s
	Attempt  time.Duration  // for one try; 0 means 6 s
	Oldest   time.Duration  // how long after it was wanted a picture is still taken; 0 means 10 min
	Told     func([]string) // called with the events whose pictures are committed; it must not block
	Log      *slog.Logger   // nil means silence
}

func (c *Config) setDefaults() {
	if c.Deadline <= 0 {
		c.Deadline = 15 * time.Second
	}
	if c.Attempt <= 0 {
		c.Attempt = 6 * time.Second
	}
	if c.Oldest <= 0 {
		c.Oldest = 10 * time.Minute
	}
	if c.Told == nil {
		c.Told = func([]string) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Item is one camera's picture for one event, or the reason why there is none.
type Item struct {
	Event      string
	Camera     string
	State      string // pending, attached, none
	SHA256     string // of the file in the vault, lower-case hex
	MediaType  string // image/jpeg, or video/mp4 for a picture that could not be decoded here
	CapturedAt time.Time
	Distance   time.Duration // CapturedAt minus the breach; negative: taken before it
	Step       string        // of the ladder that gave it
	Width      int
	Height     int
	Problem    *devices.Problem // why there is none
}

// Result is what became of an event's pictures once all are settled.
type Result struct {
	Event   string
	State   string // attached or none
	Items   []Item
	Problem *devices.Problem // why there is none at all
}

// Blobs gives the hashes of the pictures.
func (r Result) Blobs() []string {
	var out []string
	for _, it := range r.Items {
		if it.SHA256 != "" {
			out = append(out, it.SHA256)
		}
	}
	return out
}

// Collector takes the pictures that events want. Its methods may be called
// from many goroutines; Run from one.
type Collector struct {
	db    *state.DB
	vault *Vault
	cfg   Config
	wake  chan struct{}
}

// Open makes the table. It takes nothing before Run.
func Open(ctx context.Context, db *state.DB, vault *Vault, cfg Config) (*Collector, error) {
	cfg.setDefaults()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	if err := db.Migrate(ctx, "evidence", files); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	return &Collector{db: db, vault: vault, cfg: cfg, wake: make(chan struct{}, 1)}, nil
}

// Expect notes, in the transaction that opens the event, that pictures of the
// cameras are wanted. Without cameras the event's evidence will be none, told
// like any other. The same again changes nothing. The caller calls Wake after
// the commit.
func (c *Collector) Expect(ctx context.Context, tx *sql.Tx, eventID string, breachAt time.Time, cameras []string) error {
	if len(cameras) == 0 {
		cameras = []string{""}
	}
	now := time.Now().UnixMilli()
	for _, camera := range cameras {
		if _, err := tx.ExecContext(ctx, sqlExpect, eventID, camera, breachAt.UnixMilli(), now); err != nil {
			return fmt.Errorf("expect evidence of event %s: %w", eventID, err)
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

// Of gives the items of an event in the order of its cameras, and their state
// as a whole; the state is empty when nothing was ever expected.
func (c *Collector) Of(ctx context.Context, eventID string) ([]Item, string, error) {
	items, err := queryItems(ctx, c.db.Read(), sqlOfEvent, eventID)
	if err != nil {
		return nil, "", fmt.Errorf("evidence of event %s: %w", eventID, err)
	}
	r := resultOf(eventID, items)
	return r.Items, r.State, nil
}

// ByHash gives the items that name a file: whoever may see one of their events
// may see it.
func (c *Collector) ByHash(ctx context.Context, sha string) ([]Item, error) {
	items, err := queryItems(ctx, c.db.Read(), sqlOfFile, sha)
	if err != nil {
		return nil, fmt.Errorf("evidence file %.12s…: %w", sha, err)
	}
	return items, nil
}

// MediaType tells what kind of file the vault keeps under a hash.
func (c *Collector) MediaType(sha string) string { return c.vault.MediaType(sha) }

// resultOf puts the rows of one event together. The row that says that there
// is no camera is not an item.
func resultOf(event string, rows []Item) Result {
	r := Result{Event: event}
	for _, it := range rows {
		switch {
		case it.State == Pending || r.State == Pending:
			r.State = Pending
		case it.State == Attached || r.State == "":
			r.State = it.State
		}
		if r.Problem == nil {
			r.Problem = it.Problem
		}
		if it.Camera != "" {
			r.Items = append(r.Items, it)
		}
	}
	if r.State != None {
		r.Problem = nil
	}
	return r
}

// querier is what a transaction and the read pool have in common.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func queryItems(ctx context.Context, q querier, query, arg string) ([]Item, error) {
	rows, err := q.QueryContext(ctx, query, arg)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var items []Item
	for rows.Next() {
		var it Item
		var breach int64
		var captured sql.NullInt64
		var why []byte
		err := rows.Scan(&it.Event, &it.Camera, &breach, &it.State, &it.SHA256, &it.MediaType, &captured, &it.Step, &it.Width, &it.Height, &why)
		if err != nil {
			return nil, err
		}
		if captured.Valid {
			it.CapturedAt = time.UnixMilli(captured.Int64).UTC()
			it.Distance = time.Duration(captured.Int64-breach) * time.Millisecond
		}
		if why != nil {
			it.Problem = devices.ReadStored(why)
		}
		items = append(items, it)
	}
	return items, rows.Err()
}
