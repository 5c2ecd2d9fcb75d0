package recordings

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/devices/state"
	"offsite/streams"
	"offsite/streams/recording"
)

// feeds gives the feed of a camera; an error says that there is none yet.
type feeds interface {
	Feed(camera string, profile devices.Profile) (*streams.Feed, error)
}

// notes is the ledger of losses as this room needs it; nothing of it waits for
// a disk. See edge/ledger.
type notes interface {
	Miss(subject string, at time.Time, why *devices.Problem)
	End(subject string, at time.Time)
}

// Happening is an event as far as recordings care.
type Happening struct {
	Event    string // id
	Outlet   string
	Camera   string    // that has found it or that it is about, besides those of the outlet; "" for none
	Often    bool      // it happens all the time, as motion does: recorded, but not held
	From, To time.Time // To is zero while it goes on
}

// Reason tells why something may be missing in a time.
type Reason struct {
	From, To time.Time
	Why      *devices.Problem
}

// Deletion tells of segments that went before their days were over.
type Deletion struct {
	Camera   string
	From, To time.Time
	Segments int64
	Why      *devices.Problem
}

// Config of the Recordings.
type Config struct {
	Dir       string
	Segment   time.Duration // length of a segment; 1 min
	PerCamera int64         // most bytes of one camera; 0: no bound
	Total     int64         // most bytes of all; 0: no bound

	Before  time.Duration // recorded before an event, as far as the feed's ring goes back; 30 s
	After   time.Duration // recorded after its end; 1 min
	Longest time.Duration // most that is recorded, and held, of one event; 30 min

	Tidy, Stop, Resume float64 // of the disk: the oldest recordings go, recording stops, it goes on; 0.85, 0.90, 0.88
	Used               func() (float64, error)

	Registry  *registry.Registry
	Feeds     feeds
	Notes     notes
	Happened  func(ctx context.Context, since time.Time, going []string) ([]Happening, error) // events begun since, and those of the ids
	Reasons   func(ctx context.Context, camera string, from, to time.Time) ([]Reason, error)  // why the camera may be missing
	Deleted   func(Deletion)
	Notice    func(*devices.Problem) // what people must know; nil: nothing any more
	Supervise func(ctx context.Context, name string, task func(context.Context) error) error
	Log       *slog.Logger
}

func (c *Config) setDefaults() {
	for d, fallback := range map[*time.Duration]time.Duration{
		&c.Segment: time.Minute, &c.Before: 30 * time.Second, &c.After: time.Minute, &c.Longest: 30 * time.Minute,
	} {
		if *d <= 0 {
			*d = fallback
		}
	}
	for f, fallback := range map[*float64]float64{&c.Tidy: 0.85, &c.Stop: 0.90, &c.Resume: 0.88} {
		if *f <= 0 {
			*f = fallback
		}
	}
	if c.Used == nil {
		c.Used = func() (float64, error) { return recording.DiskUsed(c.Dir) }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Recordings keeps what cameras have shown. Its methods may be called from many
// goroutines; Run from one.
type Recordings struct {
	cfg     Config
	db      *state.DB
	archive *recording.Archive

	ready   chan struct{} // closed when the archive is loaded
	stopped atomic.Bool   // the disk is too full to record

	mu     sync.Mutex
	paused map[string]bool   // cameras of which it is told that recording has stopped
	holds  map[string][]hold // by camera
	early  concern           // recordings were deleted before their days were over
	fails  concern           // the disk does not take what is recorded
}

// concern is what people must know for a while.
type concern struct {
	why   *devices.Problem
	until time.Time
}

// Open opens the directory and the table. Nothing is recorded before Run.
func Open(ctx context.Context, db *state.DB, cfg Config) (*Recordings, error) {
	cfg.setDefaults()
	archive, err := recording.Open(cfg.Dir, recording.Config{Segment: cfg.Segment, Log: cfg.Log, Missed: func(camera string, from, to time.Time) {
		cfg.Notes.Miss(subject(camera), from, tooLate)
		cfg.Notes.End(subject(camera), to)
	}})
	if err != nil {
		return nil, err
	}
	r := &Recordings{cfg: cfg, db: db, archive: archive, ready: make(chan struct{}), holds: map[string][]hold{}, paused: map[string]bool{}}
	if err := r.openHolds(ctx); err != nil {
		_ = archive.Close() // the first error is the one to tell
		return nil, err
	}
	return r, nil
}

// Close gives the directory up. Run has returned.
func (r *Recordings) Close() error { return r.archive.Close() }

// Counts gives the counters since the start.
func (r *Recordings) Counts() recording.Counts { return r.archive.Counts() }

// Usage gives what is kept of each camera.
func (r *Recordings) Usage() map[string]recording.Usage { return r.archive.Usage() }

// Days is how many days recordings of a camera are kept.
func (r *Recordings) Days(camera string) int {
	s := r.cfg.Registry.Snapshot()
	cam := s.Cameras[camera]
	switch {
	case cam == nil: // retired: at least as long as any
		return hazardousDays
	case cam.RecordDays > 0:
		return cam.RecordDays
	}
	if site := s.Sites[cam.Site]; site != nil && site.SiteKind == "chemical" {
		return hazardousDays
	}
	return usualDays
}

// Days that recordings are kept where nothing else is said.
const (
	usualDays     = 15
	hazardousDays = 30
)

// Clip gives what was recorded of [from, to); see [recording.Archive.Clip].
func (r *Recordings) Clip(ctx context.Context, camera string, from, to time.Time) (*recording.Clip, error) {
	if err := r.await(ctx); err != nil {
		return nil, err
	}
	return r.archive.Clip(camera, from, to)
}

// Play gives what was recorded of [from, until) at its own pace; see [recording.Archive.Play].
func (r *Recordings) Play(ctx context.Context, camera string, from, until time.Time) (*recording.Player, error) {
	if err := r.await(ctx); err != nil {
		return nil, err
	}
	return r.archive.Play(camera, from, until)
}

// await waits until the archive is loaded, which may take some seconds after a start.
func (r *Recordings) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	select {
	case <-r.ready:
		return nil
	case <-ctx.Done():
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "recordings_loading", ZH: "录像索引正在建立，请稍后再试", EN: "the recordings are being counted; try again shortly",
		}
	}
}
