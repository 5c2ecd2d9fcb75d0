// Package scenes keeps what each camera ought to show: the references by which
// streams/scene tells that a camera was moved, over restarts of the gateway.
//
// # Tables
//
//	scene_references  one row for each camera, place and mode, by day or by night (infrared):
//	                  place is the token of the preset that it stands at, empty for home,
//	                  where it stands unless it is steered; made_at in Unix milliseconds; set_by is the id of who has said that
//	                  the camera stands as it should, empty where it was learnt; edges as
//	                  [scene.Watch.Reference] gives them; still is a small JPEG of it, for
//	                  people, and sha256 the hash of that in hex. Version 2.
package scenes

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"offsite/devices"
	"offsite/devices/state"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Reference is what a camera ought to show at one place in one mode.
type Reference struct {
	Camera string
	Place  string // token of a preset; empty: home
	Night  bool
	MadeAt time.Time // of its picture, UTC in whole milliseconds
	SetBy  string    // who has set it; empty: it was learnt
	SHA256 string    // of Still, in hex
	Edges  []byte    // as streams/scene writes them
	Still  []byte    // JPEG
}

// References are those of all cameras. It may be used by several goroutines.
type References struct{ db *state.DB }

// Open makes the table.
func Open(ctx context.Context, db *state.DB) (*References, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err == nil {
		err = db.Migrate(ctx, "scenes", files)
	}
	if err != nil {
		return nil, fmt.Errorf("references of cameras: %w", err)
	}
	return &References{db}, nil
}

const columns = `camera, place, night, made_at, set_by, edges, still, sha256`

// Of gives the references of a camera by place, home first, and of a place that of the
// day first.
func (r *References) Of(ctx context.Context, camera string) ([]Reference, error) {
	rows, err := r.db.Read().QueryContext(ctx, `SELECT `+columns+` FROM scene_references WHERE camera = ? ORDER BY place, night`, camera)
	if err != nil {
		return nil, fmt.Errorf("references of camera %s: %w", camera, err)
	}
	defer rows.Close()
	list := []Reference{}
	for rows.Next() {
		var ref Reference
		var made int64
		if err := rows.Scan(&ref.Camera, &ref.Place, &ref.Night, &made, &ref.SetBy, &ref.Edges, &ref.Still, &ref.SHA256); err != nil {
			return nil, fmt.Errorf("references of camera %s: %w", camera, err)
		}
		ref.MadeAt = time.UnixMilli(made).UTC()
		list = append(list, ref)
	}
	return list, rows.Err()
}

// Set makes ref the reference of its place that a person has set, and gives it complete.
// The place's other mode has none then: it may be of another view.
func (r *References) Set(ctx context.Context, tx *sql.Tx, ref Reference) (Reference, error) {
	if err := forget(ctx, tx, `camera = ? AND place = ?`, ref.Camera, ref.Place); err != nil {
		return ref, err
	}
	ref.complete()
	return ref, r.insert(ctx, tx, ref)
}

// Learn keeps a reference that was learnt of a place and mode that has none; it changes nothing
// where a person was faster.
func (r *References) Learn(ctx context.Context, ref Reference) error {
	ref.SetBy = ""
	ref.complete()
	return r.db.Update(ctx, func(tx *sql.Tx) error { return r.insert(ctx, tx, ref) })
}

func (ref *Reference) complete() {
	sum := sha256.Sum256(ref.Still)
	ref.SHA256, ref.MadeAt = hex.EncodeToString(sum[:]), ref.MadeAt.UTC().Truncate(time.Millisecond)
}

func (*References) insert(ctx context.Context, tx *sql.Tx, ref Reference) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO scene_references (`+columns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		ref.Camera, ref.Place, ref.Night, ref.MadeAt.UnixMilli(), ref.SetBy, ref.Edges, ref.Still, ref.SHA256)
	if err != nil {
		return fmt.Errorf("keep reference of camera %s: %w", ref.Camera, err)
	}
	return nil
}

// Follow keeps the slow changes that the reference has taken in since; it changes
// nothing where another one has taken its place.
func (r *References) Follow(ctx context.Context, ref Reference) error {
	return r.db.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE scene_references SET edges = ? WHERE camera = ? AND place = ? AND night = ? AND made_at = ?`,
			ref.Edges, ref.Camera, ref.Place, ref.Night, ref.MadeAt.UnixMilli())
		if err != nil {
			return fmt.Errorf("keep reference of camera %s: %w", ref.Camera, err)
		}
		return nil
	})
}

// Cameras gives every camera that has a reference, with when a person has set one
// last; zero where none was set.
func (r *References) Cameras(ctx context.Context) (map[string]time.Time, error) {
	rows, err := r.db.Read().QueryContext(ctx, `SELECT camera, max(iif(set_by = '', 0, made_at)) FROM scene_references GROUP BY camera`)
	if err != nil {
		return nil, fmt.Errorf("list references: %w", err)
	}
	defer rows.Close()
	set := map[string]time.Time{}
	for rows.Next() {
		var camera string
		var at int64
		if err := rows.Scan(&camera, &at); err != nil {
			return nil, fmt.Errorf("list references: %w", err)
		}
		set[camera] = time.Time{}
		if at != 0 {
			set[camera] = time.UnixMilli(at).UTC()
		}
	}
	return set, rows.Err()
}

// Forget removes the references of a camera.
func (r *References) Forget(ctx context.Context, camera string) error {
	return r.db.Update(ctx, func(tx *sql.Tx) error { return forget(ctx, tx, `camera = ?`, camera) })
}

// Void removes those of one place, which is another view from now on, or none.
func (r *References) Void(ctx context.Context, camera, place string) error {
	return r.db.Update(ctx, func(tx *sql.Tx) error { return forget(ctx, tx, `camera = ? AND place = ?`, camera, place) })
}

// forget removes the references of a camera, args[0], that a condition names.
func forget(ctx context.Context, tx *sql.Tx, where string, args ...any) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM scene_references WHERE `+where, args...); err != nil {
		return fmt.Errorf("forget references of camera %s: %w", args[0], err)
	}
	return nil
}

// Still gives the picture of a place and a mode, or ErrNotFound; one that is not what was kept is
// a Problem of code reference_damaged.
func (r *References) Still(ctx context.Context, camera, place string, night bool) (Reference, error) {
	list, err := r.Of(ctx, camera)
	if err != nil {
		return Reference{}, err
	}
	for _, ref := range list {
		if ref.Place != place || ref.Night != night {
			continue
		}
		if sum := sha256.Sum256(ref.Still); hex.EncodeToString(sum[:]) != ref.SHA256 {
			return ref, &devices.Problem{Kind: devices.ErrUnavailable, Code: "reference_damaged", ZH: "参考画面已损坏，请重新设定", EN: "the reference picture is damaged; set it again", Cause: errors.New(camera)}
		}
		return ref, nil
	}
	return Reference{}, &devices.Problem{Kind: devices.ErrNotFound, Code: "no_reference", ZH: "该摄像机在此位置还没有参考画面", EN: "this camera has no reference picture of this place yet"}
}
