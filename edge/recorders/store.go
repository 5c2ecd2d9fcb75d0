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
	selectFetches = `SELECT id, camera, host, from_ms, to_ms, asked_ms, offset_ms, stamped, cut, fetched_ms, keep_ms FROM recorder_fetches ORDER BY fetched_ms, id`
	insertFetch   = `INSERT INTO recorder_fetches (id, camera, host, from_ms, to_ms, asked_ms, offset_ms, stamped, cut, fetched_ms, keep_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)`
	holdFetch     = `UPDATE recorder_fetches SET keep_ms = max(keep_ms, ?) WHERE id = ?`
	deleteFetch   = `DELETE FROM recorder_fetches WHERE id = ?`

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
	var offset sql.NullInt64
	var cut string
	if err := rows.Scan(&f.id, &f.camera, &f.host, &from, &to, &asked, &offset, &f.stamped, &cut, &fetched, &keep); err != nil {
		return nil, err
	}
	f.from, f.to, f.asked, f.fetched = time.UnixMilli(from).UTC(), time.UnixMilli(to).UTC(), time.UnixMilli(asked).UTC(), time.UnixMilli(fetched).UTC()
	if keep > 0 {
		f.keep = time.UnixMilli(keep).UTC()
	}
	if offset.Valid {
		ahead := time.Duration(offset.Int64) * time.Millisecond
		f.offset = &ahead
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
	var offset sql.NullInt64
	if f.offset != nil {
		offset = sql.NullInt64{Int64: f.offset.Milliseconds(), Valid: true}
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
		_, err := tx.ExecContext(ctx, insertFetch, f.id, f.camera, f.host, f.from.UnixMilli(), f.to.UnixMilli(), f.asked.UnixMilli(), offset, f.stamped, cut, f.fetched.UnixMilli())
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

// Export is a clip that somebody took out, with what proves it.
type Export struct {
	*Clip
	ID     string
	SHA256 string // of all its bytes, lower-case hex
}

// Export fetches a clip and takes it out: its bytes are hashed and held for 90 days, and
// write, which is called inside the transaction that holds them, puts it into the trail. The
// clip of the same interval then has the same bytes.
func (r *Recorders) Export(ctx context.Context, camera string, from, to time.Time, write func(ctx context.Context, tx *sql.Tx, e Export) error) (Export, error) {
	clip, err := r.Clip(ctx, camera, from, to)
	if err != nil {
		return Export{}, err
	}
	e := Export{Clip: clip, ID: newID()}
	if e.SHA256, err = clip.SHA256(ctx); err != nil {
		return Export{}, fmt.Errorf("export of %s: %w", camera, err)
	}
	until := time.Now().Add(keepExports)
	err = r.db.Update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, holdFetch, until.UnixMilli(), clip.fetch.id); err != nil {
			return err
		}
		return write(ctx, tx, e)
	})
	if err != nil {
		return Export{}, fmt.Errorf("hold the export of %s: %w", camera, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	clip.fetch.keep = until.UTC()
	return e, nil
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
