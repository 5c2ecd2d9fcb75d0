package registry

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"offsite/devices"
)

//go:embed migrations/*.sql
var migrations embed.FS

// database is what the registry asks of *state.DB, whose room it may not enter.
type database interface {
	Migrate(ctx context.Context, owner string, migrations fs.FS) error
	Update(ctx context.Context, fn func(tx *sql.Tx) error) error
	Read() *sql.DB
	sealer
}

// sealer encrypts the secrets of one row.
type sealer interface {
	Seal(row string, s devices.Secret) ([]byte, error)
	Unseal(row string, sealed []byte) (devices.Secret, error)
}

// Registry is what is registered. Its methods may be called from many
// goroutines.
type Registry struct {
	db   database
	snap atomic.Pointer[Snapshot]

	editing sync.Mutex // held through one Update: each edit builds on the one before

	mu       sync.Mutex
	watchers map[chan struct{}]struct{}
}

// Change is one step in the life of a thing.
type Change struct {
	Revision int64
	Op       string // A created, U replaced, D retired
	Kind     devices.Kind
	ID       string
	Thing    devices.Thing // as it is now, without its secrets
}

// Open brings the tables in db, a *state.DB, up to date and reads what is
// registered.
func Open(ctx context.Context, db database) (*Registry, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	if err := db.Migrate(ctx, "registry", files); err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	r := &Registry{db: db, watchers: make(map[chan struct{}]struct{})}
	snap, err := r.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	r.snap.Store(snap)
	return r, nil
}

// Snapshot gives all that is registered and live. It takes no lock.
func (r *Registry) Snapshot() *Snapshot { return r.snap.Load() }

// Update runs fn and commits all that it did, or nothing when it returns an
// error. It returns after the commit is on disk and the new snapshot is out;
// watchers are woken once. fn may be run again (see state.DB.Update) and must
// not call Update. After an error of kind ErrUnavailable the work may have
// been stored all the same; the snapshot then shows what is.
func (r *Registry) Update(ctx context.Context, fn func(e *Edit) error) error {
	r.editing.Lock()
	defer r.editing.Unlock()
	var edit *Edit
	err := r.db.Update(ctx, func(tx *sql.Tx) error {
		edit = newEdit(ctx, r.db, tx, r.Snapshot())
		if err := fn(edit); err != nil {
			return err
		}
		return edit.broken
	})
	switch {
	case err == nil:
		if edit.changed() {
			r.publish(edit.Snapshot())
		}
		return nil
	case errors.Is(err, devices.ErrUnavailable):
		return errors.Join(err, r.reload(context.WithoutCancel(ctx)))
	default:
		return err
	}
}

// reload publishes what is in the database after a commit that may or may not
// have been stored.
func (r *Registry) reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	snap, err := r.load(ctx)
	if err != nil {
		return fmt.Errorf("read the registry again: %w", err)
	}
	if snap.Revision != r.Snapshot().Revision {
		r.publish(snap)
	}
	return nil
}

func (r *Registry) publish(s *Snapshot) {
	r.snap.Store(s)
	r.mu.Lock()
	defer r.mu.Unlock()
	for wake := range r.watchers {
		select {
		case wake <- struct{}{}:
		default: // one wake is pending already; whoever takes it sees this snapshot
		}
	}
}

// Watch gives a channel that holds at most one wake, put there after a new
// snapshot is out. stop ends it; the channel is not closed.
func (r *Registry) Watch() (wake <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers[ch] = struct{}{}
	return ch, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, ch)
	}
}
