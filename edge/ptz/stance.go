package ptz

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"offsite/devices"
	"offsite/streams/onvif"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Stance is where a camera looks, as far as it was steered from here. The zero Stance is
// home: it was never steered.
type Stance struct {
	Place  string    `json:"place"`          // token of the preset it was sent to last; empty: home, where it stood before
	Astray bool      `json:"astray"`         // it was turned by hand, to no preset; Place is empty
	Moves  bool      `json:"moves"`          // it is being turned, or has not come to rest yet
	Since  time.Time `json:"since,omitzero"` // the last movement; zero: none
}

// standing is a Stance as it is kept, with the patrol that is under way.
type standing struct {
	place  string
	astray bool
	since  time.Time
	patrol string // its name; empty: none
	who    Mover  // that has begun it
}

// lasting is what of a standing must outlive the process: when it began is not worth a
// write for each push of a button.
func (s standing) lasting() standing {
	s.since = time.Time{}
	return s
}

func (r *Room) openStances(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("open stances of cameras: %w", err)
	}
	if err := r.cfg.DB.Migrate(ctx, "ptz", files); err != nil {
		return fmt.Errorf("open stances of cameras: %w", err)
	}
	rows, err := r.cfg.DB.Read().QueryContext(ctx, `SELECT camera, place, astray, since_ms, patrol, who, who_name FROM ptz_stances`)
	if err != nil {
		return fmt.Errorf("list stances of cameras: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var s standing
		var since int64
		if err := rows.Scan(&id, &s.place, &s.astray, &since, &s.patrol, &s.who.ID, &s.who.Name); err != nil {
			return fmt.Errorf("read stance of a camera: %w", err)
		}
		s.since = time.UnixMilli(since).UTC()
		r.stances[id] = s
	}
	return rows.Err()
}

// Stance tells where a camera looks. After a start of the gateway it counts as moving for
// as long as it takes to come to rest: what was under way is not known.
func (r *Room) Stance(id string) Stance {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, steered := r.stances[id]
	if !steered {
		return Stance{}
	}
	st := Stance{Place: s.place, Astray: s.astray, Since: s.since}
	last := s.since
	if r.began.After(last) {
		last = r.began
	}
	c := r.list[id]
	st.Moves = time.Since(last) < r.cfg.Settle || (c != nil && c.moving)
	return st
}

// Home says that a camera stands at home, although it was turned away: what it shows says
// so, or a person does. It changes nothing where the camera has moved since it was seen as
// it is said to stand.
func (r *Room) Home(ctx context.Context, id string, seen Stance) {
	r.note(ctx, id, func(s *standing) {
		if s.since.Equal(seen.Since) && s.patrol == "" {
			s.place, s.astray = "", false
		}
	})
}

// Tidy forgets cameras that are not registered any more.
func (r *Room) Tidy(ctx context.Context) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	var gone []string
	for id := range r.stances {
		if r.cfg.Camera(id) == nil {
			gone = append(gone, id)
		}
	}
	r.mu.Unlock()
	for _, id := range gone {
		err := r.cfg.DB.Update(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `DELETE FROM ptz_stances WHERE camera = ?`, id)
			return err
		})
		if err != nil {
			return fmt.Errorf("forget stance of camera %s: %w", id, err)
		}
		r.mu.Lock()
		delete(r.stances, id)
		r.mu.Unlock()
	}
	return nil
}

// turn has a camera turn and notes where it looks: astray while it is under way, for a
// crash may come between, then as it was told, or as before where it has refused.
func (r *Room) turn(ctx context.Context, c *camera, then standing, send func() error) error {
	before := r.note(ctx, c.id, func(s *standing) { s.place, s.astray, s.since = "", true, time.Now() })
	err := send()
	switch {
	case err == nil:
		r.note(ctx, c.id, func(s *standing) { s.place, s.astray, s.since = then.place, then.astray, time.Now() })
	case refuses(err):
		r.note(ctx, c.id, func(s *standing) { s.place, s.astray, s.since = before.place, before.astray, before.since })
	}
	return err
}

// Where a camera looks after it was turned.
var byHand = standing{astray: true}

func at(preset string) standing { return standing{place: preset} }

// refuses says that the camera has answered and not moved.
func refuses(err error) bool {
	p, ok := errors.AsType[*devices.Problem](err)
	return ok && (p.Code == onvif.CodeRefused || p.Code == onvif.CodeUnknown || p.Code == onvif.CodePassword)
}

// note changes what is known of a camera and gives what was known before. Where that
// cannot be written it is told and stands until the process ends: nobody is kept from
// steering by a full disk.
func (r *Room) note(ctx context.Context, id string, change func(s *standing)) (before standing) {
	ctx = context.WithoutCancel(ctx)
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	before = r.stances[id]
	s := before
	change(&s)
	s.since = s.since.UTC().Truncate(time.Millisecond)
	if s != before {
		r.stances[id] = s
	}
	r.mu.Unlock()
	if s.lasting() == before.lasting() {
		return before
	}
	err := r.cfg.DB.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO ptz_stances (camera, place, astray, since_ms, patrol, who, who_name) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			id, s.place, s.astray, s.since.UnixMilli(), s.patrol, s.who.ID, s.who.Name)
		return err
	})
	if err != nil {
		r.cfg.Log.ErrorContext(ctx, "where a camera looks is not kept over a restart", "camera", id, "err", err)
	}
	return before
}
