package outbox

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"sync"
	"time"

	"offsite/devices"
	"offsite/devices/state"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Bounds of a pause before the next try, and of what a destination may ask for.
const (
	shortestPause = time.Second
	longestPause  = 5 * time.Minute
	longestAsked  = time.Hour
	tries         = 3 // refusals that make a dead letter
)

// Message is what is handed over.
type Message struct {
	Key     string // idempotency key; made once, never changed
	Lane    string // strict order inside
	After   string // key that must be delivered first; empty if none
	Kind    string // of message, for the one who delivers
	Event   string // id of the event it belongs to, if any
	Body    []byte
	Blobs   []string // SHA-256 in hex of what must be there before it
	Created time.Time
}

// Class says what became of a delivery.
type Class int

// The classes. The zero Class is Retry, so that an empty Verdict loses nothing.
const (
	Retry   Class = iota // not delivered, may be later
	Done                 // delivered, or known to have been before
	Pause                // the destination takes nothing from us
	Refused              // this message will not be taken
)

func (c Class) String() string {
	return [...]string{"retry", "done", "pause", "refused"}[c]
}

// Verdict is the outcome of one delivery.
type Verdict struct {
	Class  Class
	After  time.Duration    // how long the destination wants to be left alone; 0 if it did not say
	Reason *devices.Problem // why it is not Done
}

// Status tells that the destination is left alone, and why.
type Status struct {
	Until  time.Time        // zero: it is not
	Reason *devices.Problem // of the last Pause
}

// Config of an Outbox.
type Config struct {
	Workers int           // deliveries at the same time; 0 means 8
	Pause   time.Duration // how long after a Pause nothing is sent; 0 means 1 min
	Spread  time.Duration // first tries after a start or an outage begin at random within it; 0 means at once
	Keep    time.Duration // how long delivered messages are kept; 0 means 30 days
	Lanes   int           // lanes held in memory, a few hundred bytes each; more wait on disk; 0 means 20,000

	// Report, if set, is called when a pause begins, is renewed and ends. It must not block.
	Report func(Status)
	// Buried, if set, is called in the transaction that makes m a dead letter.
	Buried func(ctx context.Context, tx *sql.Tx, m Message, reason *devices.Problem) error

	Log *slog.Logger // nil means silence
}

func (c *Config) setDefaults() {
	if c.Workers <= 0 {
		c.Workers = 8
	}
	if c.Pause <= 0 {
		c.Pause = time.Minute
	}
	if c.Keep <= 0 {
		c.Keep = 30 * 24 * time.Hour
	}
	if c.Lanes <= 0 {
		c.Lanes = 20000
	}
	if c.Report == nil {
		c.Report = func(Status) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Outbox is one destination's queue. Its methods may be called from many
// goroutines; Run from one.
type Outbox struct {
	db     *state.DB
	id     string // of this installation
	cfg    Config
	wake   chan struct{}
	resume chan struct{}

	mu     sync.Mutex
	status Status
}

// Open makes the table. It sends nothing before Run.
func Open(ctx context.Context, db *state.DB, cfg Config) (*Outbox, error) {
	cfg.setDefaults()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	if err := db.Migrate(ctx, "outbox", files); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	id, err := installation(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	return &Outbox{db: db, id: id, cfg: cfg, wake: make(chan struct{}, 1), resume: make(chan struct{}, 1)}, nil
}

// Installation is the id of this state, as [installation] made it at the first start.
func (o *Outbox) Installation() string { return o.id }

// Put adds m in the caller's transaction, an Update of the state that the
// Outbox stands on; its delivery begins with the commit. A key that was put
// before changes nothing.
func (o *Outbox) Put(ctx context.Context, tx *sql.Tx, m Message) error {
	if m.Key == "" || m.Lane == "" || m.After == m.Key {
		return fmt.Errorf("outbox: message %q in lane %q after %q: needs a key and a lane, and cannot wait for itself", m.Key, m.Lane, m.After)
	}
	if m.Created.IsZero() {
		m.Created = time.Now()
	}
	if m.Body == nil {
		m.Body = []byte{}
	}
	blobs, err := json.Marshal(m.Blobs)
	if err != nil {
		return fmt.Errorf("outbox: message %s: %w", m.Key, err)
	}
	if _, err := tx.ExecContext(ctx, sqlPut, m.Key, m.Lane, m.After, m.Kind, m.Event, m.Body, string(blobs), m.Created.UnixMilli()); err != nil {
		return fmt.Errorf("outbox: put %s: %w", m.Key, err)
	}
	o.db.AfterCommit(tx, o.Wake)
	return nil
}

// Wake has waiting messages looked for at once.
func (o *Outbox) Wake() { signal(o.wake) }

// Resume ends a pause at once, for instance after a new enrolment.
func (o *Outbox) Resume() { signal(o.resume) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Depth is how much waits.
type Depth struct {
	Waiting int       // messages not yet delivered
	Oldest  time.Time // Created of the oldest of them; zero if none
	Dead    int       // dead letters
	Status  Status    // whether the destination is left alone
}

// Depth counts what waits.
func (o *Outbox) Depth(ctx context.Context) (Depth, error) {
	var d Depth
	var oldest sql.NullInt64
	if err := o.db.Read().QueryRowContext(ctx, sqlDepth).Scan(&d.Waiting, &d.Dead, &oldest); err != nil {
		return Depth{}, fmt.Errorf("outbox depth: %w", err)
	}
	if oldest.Valid {
		d.Oldest = time.UnixMilli(oldest.Int64).UTC()
	}
	d.Status = o.Status()
	return d, nil
}

// Unsent gives the events of which a message waits or is a dead letter.
func (o *Outbox) Unsent(ctx context.Context) (map[string]bool, error) {
	rows, err := o.db.Read().QueryContext(ctx, sqlUnsent)
	if err != nil {
		return nil, fmt.Errorf("list unsent events: %w", err)
	}
	defer rows.Close()
	events := map[string]bool{}
	for rows.Next() {
		var event string
		if err := rows.Scan(&event); err != nil {
			return nil, fmt.Errorf("list unsent events: %w", err)
		}
		events[event] = true
	}
	return events, rows.Err()
}

// Status tells whether the destination is left alone.
func (o *Outbox) Status() Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.status
}

func (o *Outbox) setStatus(s Status) {
	o.mu.Lock()
	o.status = s
	o.mu.Unlock()
	o.cfg.Report(s)
}

// DeadLetter is a message that the destination refused for good.
type DeadLetter struct {
	Seq int64 // place in the list
	Message
	Refusals int
	Reason   *devices.Problem
	At       time.Time // when it was given up
}

// Dead lists dead letters, newest first, those with a Seq below before; before
// 0 begins at the newest.
func (o *Outbox) Dead(ctx context.Context, before int64, limit int) ([]DeadLetter, error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	rows, err := o.db.Read().QueryContext(ctx, sqlDead, before, limit)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	defer rows.Close()
	var out []DeadLetter
	for rows.Next() {
		var d DeadLetter
		var created, finished int64
		var blobs, why []byte
		if err := rows.Scan(&d.Seq, &d.Key, &d.Lane, &d.After, &d.Kind, &d.Event, &d.Body, &blobs, &created, &d.Refusals, &why, &finished); err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		if err := json.Unmarshal(blobs, &d.Blobs); err != nil {
			return nil, fmt.Errorf("dead letter %s: %w", d.Key, err)
		}
		d.Created, d.At, d.Reason = time.UnixMilli(created).UTC(), time.UnixMilli(finished).UTC(), devices.ReadStored(why)
		out = append(out, d)
	}
	return out, rows.Err()
}
