package footage

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/streams/recording"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Source says who has recorded.
type Source string

// The sources. None of them stands for both.
const (
	Own      Source = "own"      // the gateway
	Recorder Source = "recorder" // the camera's recorder (NVR)
)

// Span is a time.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Reason is a time of which something is missing, and why.
type Reason struct {
	Span
	Why *devices.Problem
}

// Stored is a stretch of the gateway's own recording.
type Stored struct {
	Span
	Bytes int64
}

// Kept is what the gateway has of an interval.
type Kept struct {
	Recorded []Stored // oldest first
	Gaps     []Reason // between them
	Marks    []Mark
	Bytes    int64     // of all that is kept of the camera
	Oldest   time.Time // UTC day of the oldest; zero where there is nothing
	Days     int       // that recordings are kept
}

// Mark is an event within an interval.
type Mark struct {
	Event string
	At    time.Time
}

// Holding is what a recorder keeps of an interval.
type Holding struct {
	Host  string
	Known bool   // else it does not tell what it keeps: one has to try
	Held  []Span // oldest first
	Skew
}

// Skew is how the clock of a recorder stands against the gateway's.
type Skew struct {
	Offset *time.Duration // that it is ahead; nil: not known
	Asked  time.Time      // when that was asked; zero where it is not known
	Shift  time.Duration  // that the recorder's times are less here than by its clock; zero: they are its own
}

// Fetched is a clip of what a recorder keeps.
type Fetched struct {
	*recording.Clip
	Host    string
	Skew                     // of its clock when it was fetched
	Stamped bool             // it told when each picture was taken, else the first counts as taken at the beginning
	Cut     *devices.Problem // why the end is missing; nil: it is not
}

// Taken is a clip that is taken out: Hold writes in a transaction that its bytes are
// held, and Held is called after the commit.
type Taken struct {
	SHA256 string
	Hold   func(ctx context.Context, tx *sql.Tx) error
	Held   func()
}

// own is the gateway's recording of all cameras.
type own interface {
	Kept(ctx context.Context, camera string, from, to time.Time) (Kept, error)
	Clip(ctx context.Context, camera string, from, to time.Time) (*recording.Clip, error)
	Take(ctx context.Context, camera string, from, to time.Time) (*recording.Clip, Taken, error)
	Exported(ctx context.Context, sha256 string) (*recording.Clip, error)
	Play(ctx context.Context, camera string, from, until time.Time) (*recording.Player, error)
}

// recorders are those of all cameras. A camera without one gives ErrNotFound.
type recorders interface {
	Holding(ctx context.Context, camera string, from, to time.Time) (Holding, error)
	Clip(ctx context.Context, camera string, from, to time.Time) (Fetched, error)
	Take(ctx context.Context, camera string, from, to time.Time) (Fetched, Taken, error)
	Exported(ctx context.Context, sha256 string) (*recording.Clip, error)
	Play(ctx context.Context, camera string, from, to time.Time) (*recording.Player, error)
}

// Config of a Footage.
type Config struct {
	Own       own
	Recorders recorders
	Longest   time.Duration // that is fetched from recorders for one who asks; 10 min
	Patience  time.Duration // that a recorder may take to say what it keeps; 5 s
	Version   string        // of the gateway, for manifests
	Name      func(camera string) string
	Platform  func() *time.Duration // that the platform's clock is ahead of the gateway's; nil: not known
}

func (c *Config) setDefaults() {
	if c.Longest <= 0 {
		c.Longest = 10 * time.Minute
	}
	if c.Patience <= 0 {
		c.Patience = 5 * time.Second
	}
	if c.Name == nil {
		c.Name = func(string) string { return "" }
	}
	if c.Platform == nil {
		c.Platform = func() *time.Duration { return nil }
	}
}

// Footage gives what cameras have shown. It is safe for use by several goroutines.
type Footage struct {
	cfg   Config
	db    *state.DB
	heard heard
}

// Open prepares the table.
func Open(ctx context.Context, db *state.DB, cfg Config) (*Footage, error) {
	cfg.setDefaults()
	sub, err := fs.Sub(migrations, "migrations")
	if err == nil {
		err = db.Migrate(ctx, "footage", sub)
	}
	if err != nil {
		return nil, fmt.Errorf("open footage: %w", err)
	}
	return &Footage{cfg: cfg, db: db}, nil
}
