package registry

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"offsite/devices"
)

// All SQL of the package stands in this file.
const (
	selectLive    = `SELECT kind, id, version, created, updated, retired, body, secrets FROM things WHERE retired IS NULL`
	selectRetired = `SELECT kind, id, version, created, updated, retired, body, NULL FROM things WHERE kind = ? AND retired IS NOT NULL ORDER BY id`
	selectUsed    = `SELECT 1 FROM things WHERE kind = ? AND id = ?`
	selectPoints  = `SELECT 1 FROM things WHERE kind = 'point' AND id >= ? || '.' AND id < ? || '/' LIMIT 1` // '/' follows '.' in ASCII
	selectLast    = `SELECT coalesce(max(revision), 0) FROM changes`
	selectChanges = `SELECT c.revision, c.op, t.kind, t.id, t.version, t.created, t.updated, t.retired, t.body, NULL
		FROM changes c JOIN things t ON t.kind = c.kind AND t.id = c.id WHERE c.revision > ? ORDER BY c.revision LIMIT ?`
	insertThing  = `INSERT INTO things (kind, id, version, created, updated, retired, body, secrets) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
	updateThing  = `UPDATE things SET version = ?, updated = ?, retired = ?, body = ?, secrets = ? WHERE kind = ? AND id = ?`
	insertChange = `INSERT INTO changes (op, kind, id) VALUES (?, ?, ?)`
)

// load reads every live thing, in one transaction with the revision.
func (r *Registry) load(ctx context.Context) (*Snapshot, error) {
	tx, err := r.db.Read().BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // it only reads
	var revision int64
	if err := tx.QueryRowContext(ctx, selectLast).Scan(&revision); err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, selectLive)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := make(things)
	for _, kind := range Kinds() {
		all[kind] = make(map[string]devices.Thing)
	}
	for rows.Next() {
		t, err := scanThing(rows, r.db)
		if err != nil {
			return nil, err
		}
		all[t.Kind()][t.Key()] = t
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return newSnapshot(revision, all), nil
}

// scanThing reads one row behind the columns of before. db unseals; nil leaves
// secrets out.
func scanThing(rows *sql.Rows, db sealer, before ...any) (devices.Thing, error) {
	var (
		kind, id                  string
		version, created, updated int64
		retired                   *int64
		body, sealed              []byte
	)
	if err := rows.Scan(append(before, &kind, &id, &version, &created, &updated, &retired, &body, &sealed)...); err != nil {
		return nil, err
	}
	meta := devices.Meta{Version: version, Created: time.UnixMilli(created).UTC(), Updated: time.UnixMilli(updated).UTC()}
	if retired != nil {
		at := time.UnixMilli(*retired).UTC()
		meta.Retired = &at
	}
	var s secrets
	if db != nil && len(sealed) > 0 {
		text, err := db.Unseal(rowName(devices.Kind(kind), id), sealed)
		if err != nil {
			return nil, err
		}
		if s, err = parseSecrets(text); err != nil {
			return nil, fmt.Errorf("secrets of %s %s: not an object", kind, id)
		}
	}
	t, err := decode(devices.Kind(kind), body, meta, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	return t, nil
}

// rowName is what the secrets of a thing are sealed for.
func rowName(kind devices.Kind, id string) string { return string(kind) + "/" + id }

// Retired gives the retired things of a kind by id, without their secrets.
func (r *Registry) Retired(ctx context.Context, kind devices.Kind) ([]devices.Thing, error) {
	rows, err := r.db.Read().QueryContext(ctx, selectRetired, string(kind))
	if err != nil {
		return nil, fmt.Errorf("retired %ss: %w", kind, err)
	}
	defer rows.Close()
	var list []devices.Thing
	for rows.Next() {
		t, err := scanThing(rows, nil)
		if err != nil {
			return nil, fmt.Errorf("retired %ss: %w", kind, err)
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

// Changes gives the next changes after revision since, at most max, oldest
// first. A thing that changed several times is told several times, each time
// as it is now.
func (r *Registry) Changes(ctx context.Context, since int64, max int) ([]Change, error) {
	rows, err := r.db.Read().QueryContext(ctx, selectChanges, since, max)
	if err != nil {
		return nil, fmt.Errorf("changes since %d: %w", since, err)
	}
	defer rows.Close()
	var list []Change
	for rows.Next() {
		var c Change
		if c.Thing, err = scanThing(rows, nil, &c.Revision, &c.Op); err != nil {
			return nil, fmt.Errorf("changes since %d: %w", since, err)
		}
		c.Kind, c.ID = c.Thing.Kind(), c.Thing.Key()
		list = append(list, c)
	}
	return list, rows.Err()
}

// used says whether the id was ever used.
func (e *Edit) used(kind devices.Kind, id string) (bool, error) {
	return e.exists(selectUsed, string(kind), id)
}

// hadPoints says whether the outlet ever had a point.
func (e *Edit) hadPoints(outlet string) (bool, error) {
	return e.exists(selectPoints, outlet, outlet)
}

func (e *Edit) exists(query string, args ...any) (bool, error) {
	var one int
	err := e.tx.QueryRowContext(e.ctx, query, args...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// store writes t and tells of the change.
func (e *Edit) store(op string, t devices.Thing) error {
	body, err := encode(t)
	if err != nil {
		return err
	}
	text, err := secretsOf(t).text()
	if err != nil {
		return fmt.Errorf("secrets of %s %s: %w", t.Kind(), t.Key(), err)
	}
	sealed, err := e.db.Seal(rowName(t.Kind(), t.Key()), text)
	if err != nil {
		return err
	}
	m := t.Life()
	var retired *int64
	if m.Retired != nil {
		at := m.Retired.UnixMilli()
		retired = &at
	}
	kind, id := string(t.Kind()), t.Key()
	if op == opAdd {
		_, err = e.tx.ExecContext(e.ctx, insertThing, kind, id, m.Version, m.Created.UnixMilli(), m.Updated.UnixMilli(), retired, string(body), sealed)
	} else {
		_, err = e.tx.ExecContext(e.ctx, updateThing, m.Version, m.Updated.UnixMilli(), retired, string(body), sealed, kind, id)
	}
	if err != nil {
		return fmt.Errorf("store %s %s: %w", kind, id, err)
	}
	result, err := e.tx.ExecContext(e.ctx, insertChange, op, kind, id)
	if err != nil {
		return fmt.Errorf("store change of %s %s: %w", kind, id, err)
	}
	e.revision, err = result.LastInsertId()
	return err
}
