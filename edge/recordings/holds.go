package recordings

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"offsite/devices"
	"offsite/streams/recording"
)

//go:embed migrations/*.sql
var migrations embed.FS

// hold keeps what reaches into [from, to).
type hold struct {
	kind, subject   string
	from, to, until time.Time
}

// Kinds of holds and how long they keep.
const (
	holdEvent  = "event"
	holdExport = "export"
	holdOften  = "often" // an event that happens all the time: recorded, but deleted like all else

	keepEvents  = 180 * 24 * time.Hour
	keepExports = 90 * 24 * time.Hour
)

func (r *Recordings) openHolds(ctx context.Context) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("open recordings: %w", err)
	}
	if err := r.db.Migrate(ctx, "recordings", sub); err != nil {
		return fmt.Errorf("open recordings: %w", err)
	}
	rows, err := r.db.Read().QueryContext(ctx, `SELECT kind, subject, camera, from_ms, to_ms, until_ms FROM recording_holds`)
	if err != nil {
		return fmt.Errorf("list holds: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var h hold
		var camera string
		var from, to, until int64
		if err := rows.Scan(&h.kind, &h.subject, &camera, &from, &to, &until); err != nil {
			return fmt.Errorf("read hold: %w", err)
		}
		h.from, h.to, h.until = time.UnixMilli(from).UTC(), time.UnixMilli(to).UTC(), time.UnixMilli(until).UTC()
		r.holds[camera] = append(r.holds[camera], h)
	}
	return rows.Err()
}

// put writes a hold in the place of that of the same kind and subject.
func (r *Recordings) put(ctx context.Context, camera string, h hold) error {
	err := r.db.Update(ctx, func(tx *sql.Tx) error { return insertHold(ctx, tx, camera, h) })
	if err != nil {
		return fmt.Errorf("hold the recording of %s: %w", camera, err)
	}
	r.remember(camera, h)
	return nil
}

func insertHold(ctx context.Context, tx *sql.Tx, camera string, h hold) error {
	_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO recording_holds (kind, subject, camera, from_ms, to_ms, until_ms) VALUES (?, ?, ?, ?, ?, ?)`,
		h.kind, h.subject, camera, h.from.UnixMilli(), h.to.UnixMilli(), h.until.UnixMilli())
	return err
}

// remember has a hold that is in the table keep what it covers.
func (r *Recordings) remember(camera string, h hold) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.DeleteFunc(r.holds[camera], func(o hold) bool { return o.kind == h.kind && o.subject == h.subject })
	r.holds[camera] = append(list, h)
}

// release forgets the holds that are over.
func (r *Recordings) release(ctx context.Context, now time.Time) error {
	err := r.db.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM recording_holds WHERE until_ms <= ?`, now.UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("end holds: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for camera, list := range r.holds {
		list = slices.DeleteFunc(list, func(h hold) bool { return !h.until.After(now) })
		if r.holds[camera] = list; len(list) == 0 {
			delete(r.holds, camera)
		}
	}
	return nil
}

// held gives the holds of a camera that reach into [from, to).
func (r *Recordings) held(camera string, from, to time.Time) []hold {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []hold
	for _, h := range r.holds[camera] {
		if h.from.Before(to) && h.to.After(from) {
			list = append(list, h)
		}
	}
	return list
}

// kept says whether [from, to) of a camera must not be deleted.
func (r *Recordings) kept(camera string, from, to time.Time) bool {
	return slices.ContainsFunc(r.held(camera, from, to), func(h hold) bool { return h.kind != holdOften })
}

// Taken is a clip that somebody takes out, with what proves it.
type Taken struct {
	*recording.Clip
	SHA256 string // of all its bytes, lower-case hex

	room *Recordings
	hold hold
}

// Take hashes a clip to take it out. Its segments are held for 90 days once Hold has written that in
// a transaction, and Held is called after its commit; the clip of the same interval then has the same bytes.
func (r *Recordings) Take(ctx context.Context, camera string, from, to time.Time) (*Taken, error) {
	clip, err := r.Clip(ctx, camera, from, to)
	if err != nil {
		return nil, err
	}
	t := &Taken{Clip: clip, room: r}
	if t.SHA256, err = clip.SHA256(ctx); err != nil {
		return nil, fmt.Errorf("export of %s: %w", camera, err)
	}
	t.hold = hold{
		kind: holdExport, subject: t.SHA256, from: clip.From.Truncate(time.Millisecond), to: clip.To.Truncate(time.Millisecond), until: time.Now().Add(keepExports),
	}
	return t, nil
}

// Hold writes that the clip is held.
func (t *Taken) Hold(ctx context.Context, tx *sql.Tx) error {
	if err := insertHold(ctx, tx, t.Camera, t.hold); err != nil {
		return fmt.Errorf("hold the recording of %s: %w", t.Camera, err)
	}
	return nil
}

// Held says that what Hold has written is committed.
func (t *Taken) Held() { t.room.remember(t.Camera, t.hold) }

// Exported lays out again what was exported, by its hash, while it is held. It
// returns ErrNotFound for what was not; its bytes are not looked at.
func (r *Recordings) Exported(ctx context.Context, sha256 string) (*recording.Clip, error) {
	r.mu.Lock()
	var camera string
	var found hold
	for of, list := range r.holds {
		if i := slices.IndexFunc(list, func(h hold) bool { return h.kind == holdExport && h.subject == sha256 }); i >= 0 {
			camera, found = of, list[i]
		}
	}
	r.mu.Unlock()
	if camera == "" {
		return nil, &devices.Problem{Kind: devices.ErrNotFound, Code: "no_export", Field: "sha256", ZH: "没有该哈希的导出录像", EN: "no export has this hash"}
	}
	// The hold begins up to a millisecond before the clip's key frame.
	return r.Clip(ctx, camera, found.from.Add(time.Millisecond), found.to)
}
