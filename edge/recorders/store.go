package recorders

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"offsite/devices"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	selectFetches = `SELECT id, camera, host, from_ms, to_ms, asked_ms, offset_ms, clock_ms, shift_ms, stamped, cut, fetched_ms, keep_ms FROM recorder_fetches ORDER BY fetched_ms, id`
	insertFetch   = `INSERT INTO recorder_fetches (id, camera, host, from_ms, to_ms, asked_ms, offset_ms, clock_ms, shift_ms, stamped, cut, fetched_ms, keep_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)`
	holdFetch     = `UPDATE recorder_fetches SET keep_ms = max(keep_ms, ?) WHERE id = ?`
	deleteFetch   = `DELETE FROM recorder_fetches WHERE id = ?`
	insertExport  = `INSERT OR REPLACE INTO recorder_exports (sha256, fetch, from_ms, to_ms) VALUES (?, ?, ?, ?)`
	selectExport  = `SELECT fetch, from_ms, to_ms FROM recorder_exports WHERE sha256 = ?`

	keepExports = 90 * 24 * time.Hour
	tidyEvery   = time.Minute
)

// reason is a Problem in the table.
type reason struct {
	Code string `json:"code"`
	ZH   string `json:"zh"`
	EN   string `json:"en"`
}

func (r *Recorders) openFetches(ctx context.Context) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("open fetches: %w", err)
	}
	if err := r.db.Migrate(ctx, "recorders", sub); err != nil {
		return fmt.Errorf("open fetches: %w", err)
	}
	rows, err := r.db.Read().QueryContext(ctx, selectFetches)
	if err != nil {
		return fmt.Errorf("list fetches: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		f, err := readFetch(rows)
		if err != nil {
			return fmt.Errorf("read fetch: %w", err)
		}
		r.fetches = append(r.fetches, f)
	}
	return rows.Err()
}

func readFetch(rows *sql.Rows) (*fetch, error) {
	f := &fetch{}
	var from, to, asked, fetched, keep int64
	var offset, clock sql.NullInt64
	var shift int64
	var cut string
	if err := rows.Scan(&f.id, &f.camera, &f.host, &from, &to, &asked, &offset, &clock, &shift, &f.stamped, &cut, &fetched, &keep); err != nil {
		return nil, err
	}
	f.from, f.to, f.asked, f.fetched = time.UnixMilli(from).UTC(), time.UnixMilli(to).UTC(), time.UnixMilli(asked).UTC(), time.UnixMilli(fetched).UTC()
	if keep > 0 {
		f.keep = time.UnixMilli(keep).UTC()
	}
	f.skew.Shift = time.Duration(shift) * time.Millisecond
	if offset.Valid {
		ahead := time.Duration(offset.Int64) * time.Millisecond
		f.skew.Offset = &ahead
	}
	if clock.Valid {
		f.skew.Asked = time.UnixMilli(clock.Int64).UTC()
	}
	if cut != "" {
		var why reason
		if err := json.Unmarshal([]byte(cut), &why); err != nil {
			return nil, err
		}
		f.cut = &devices.Problem{Kind: devices.ErrUnavailable, Code: why.Code, ZH: why.ZH, EN: why.EN}
	}
	return f, nil
}

// keep writes a fetch down, so that others find it.
func (r *Recorders) keep(ctx context.Context, f *fetch) error {
	// As they are read again: who asks for the same must find it now and after a start.
	f.from, f.to, f.asked = f.from.UTC().Truncate(time.Millisecond), f.to.UTC().Truncate(time.Millisecond), f.asked.UTC()
	var offset, clock sql.NullInt64
	if f.skew.Offset != nil {
		offset = sql.NullInt64{Int64: f.skew.Offset.Milliseconds(), Valid: true}
		clock = sql.NullInt64{Int64: f.skew.Asked.UnixMilli(), Valid: true}
	}
	cut := ""
	if f.cut != nil {
		b, err := json.Marshal(reason{f.cut.Code, f.cut.ZH, f.cut.EN})
		if err != nil {
			return err
		}
		cut = string(b)
	}
	err := r.db.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, insertFetch, f.id, f.camera, f.host, f.from.UnixMilli(), f.to.UnixMilli(), f.asked.UnixMilli(), offset, clock, f.skew.Shift.Milliseconds(), f.stamped, cut, f.fetched.UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("write fetch of %s: %w", f.camera, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetches = append(r.fetches, f)
	return nil
}

// Taken is a clip that somebody takes out, with what proves it.
type Taken struct {
	*Clip
	SHA256 string // of all its bytes, lower-case hex

	room  *Recorders
	until time.Time
}

// Take fetches a clip and hashes it to take it out. Its bytes are held for 90 days once Hold has written
// that in a transaction, and Held is called after its commit; the clip of the same interval then has the same bytes.
func (r *Recorders) Take(ctx context.Context, camera string, from, to time.Time) (*Taken, error) {
	clip, err := r.Clip(ctx, camera, from, to)
	if err != nil {
		return nil, err
	}
	t := &Taken{Clip: clip, room: r, until: time.Now().Add(keepExports).UTC()}
	if t.SHA256, err = clip.SHA256(ctx); err != nil {
		return nil, fmt.Errorf("export of %s: %w", camera, err)
	}
	return t, nil
}

// Hold writes that the clip is held.
func (t *Taken) Hold(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, holdFetch, t.until.UnixMilli(), t.fetch.id)
	if err == nil {
		_, err = tx.ExecContext(ctx, insertExport, t.SHA256, t.fetch.id, t.From.UnixMilli(), t.To.UnixMilli())
	}
	if err != nil {
		return fmt.Errorf("hold the export of %s: %w", t.Camera, err)
	}
	return nil
}

// Held says that what Hold has written is committed.
func (t *Taken) Held() {
	t.room.mu.Lock()
	defer t.room.mu.Unlock()
	t.fetch.keep = t.until
}

// Exported lays out again what was exported, by its hash, while it is held. It returns
// ErrNotFound for what was not; its bytes are not looked at.
func (r *Recorders) Exported(ctx context.Context, sha256 string) (*Clip, error) {
	none := &devices.Problem{Kind: devices.ErrNotFound, Code: "no_export", Field: "sha256", ZH: "没有该哈希的导出录像", EN: "no export has this hash"}
	var id string
	var from, to int64
	err := r.db.Read().QueryRowContext(ctx, selectExport, sha256).Scan(&id, &from, &to)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, none
	}
	if err != nil {
		return nil, fmt.Errorf("find export: %w", err)
	}
	r.mu.Lock()
	i := slices.IndexFunc(r.fetches, func(f *fetch) bool { return f.id == id })
	var f *fetch
	if i >= 0 {
		f = r.fetches[i]
	}
	r.mu.Unlock()
	if f == nil {
		return nil, none
	}
	// What is in the table begins up to a millisecond before the clip's key frame.
	return r.clip(f, time.UnixMilli(from+1).UTC(), time.UnixMilli(to).UTC())
}

// Run deletes what is over until ctx ends.
func (r *Recorders) Run(ctx context.Context) error {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		if err := r.tidy(ctx, time.Now()); err != nil && ctx.Err() == nil {
			r.cfg.Log.WarnContext(ctx, "fetches not tidied", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tidy deletes what has no row, what has been kept long enough, and the oldest of what is
// not held until the rest fits its bound and the disk has room.
func (r *Recorders) tidy(ctx context.Context, now time.Time) error {
	used, err := r.cfg.Used()
	if err != nil {
		return err
	}
	usage := r.archive.Usage()
	r.mu.Lock()
	list, idle := slices.Clone(r.fetches), len(r.under) == 0
	r.mu.Unlock()
	total, known := int64(0), map[string]bool{}
	for _, f := range list {
		known[f.id] = true
		total += usage[f.id].Bytes
	}
	for id := range usage {
		if idle && !known[id] { // else it may be the one that is being fetched
			r.drop(id)
		}
	}
	for _, f := range list {
		r.mu.Lock()
		held := now.Before(f.keep)
		r.mu.Unlock()
		if held || (now.Sub(f.fetched) < r.cfg.Keep && total <= r.cfg.Total && used < r.cfg.Stop) {
			continue
		}
		if err := r.delete(ctx, f); err != nil {
			return err
		}
		total -= usage[f.id].Bytes
	}
	return nil
}

// delete forgets a fetch, and then its files.
func (r *Recorders) delete(ctx context.Context, f *fetch) error {
	err := r.db.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, deleteFetch, f.id)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete fetch of %s: %w", f.camera, err)
	}
	r.mu.Lock()
	r.fetches = slices.DeleteFunc(r.fetches, func(o *fetch) bool { return o == f })
	r.mu.Unlock()
	r.drop(f.id)
	return nil
}

// drop deletes the files of a fetch; what cannot be deleted is tried again by tidy.
func (r *Recorders) drop(id string) {
	list, err := r.archive.Segments(id, time.Unix(0, 0), time.Now().AddDate(100, 0, 0))
	for _, s := range list {
		err = errors.Join(err, r.archive.Remove(s))
	}
	if err != nil {
		r.cfg.Log.Warn("files of a fetch not deleted", "err", err)
	}
}
