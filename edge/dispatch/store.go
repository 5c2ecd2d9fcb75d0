package dispatch

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/edge/dispatch/wire"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Names in dispatch_value.
const (
	valuePlatform     = "platform"      // base URL
	valueGateway      = "gateway"       // id that the platform gave
	valueEnrolment    = "enrolment"     // idempotency key of an enrolment under way, and what it is for
	valueRotation     = "rotation"      // idempotency key of a rotation under way
	valueSubscription = "subscription"  // JSON of Subscription
	valueRevision     = "revision"      // registry revision that the platform has
	valueResync       = "resync_wanted" // counts the requests for a full run
	valueSynced       = "resync_done"   // value of resync_wanted that the last full run answered
)

// store holds the SQL of this package.
type store struct{ db *state.DB }

func openStore(ctx context.Context, db *state.DB) (*store, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, "dispatch", files); err != nil {
		return nil, err
	}
	return &store{db}, nil
}

// value reads one value, "" if it was never set.
func (s *store) value(ctx context.Context, name string) (string, error) {
	var v string
	err := s.db.Read().QueryRowContext(ctx, `SELECT value FROM dispatch_value WHERE name = ?`, name).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return v, err
}

func (s *store) number(ctx context.Context, name string) (int64, error) {
	v, err := s.value(ctx, name)
	if err != nil || v == "" {
		return 0, err
	}
	return strconv.ParseInt(v, 10, 64)
}

func setValue(ctx context.Context, tx *sql.Tx, name, value string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO dispatch_value (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}

func (s *store) set(ctx context.Context, name, value string) error {
	return s.db.Update(ctx, func(tx *sql.Tx) error { return setValue(ctx, tx, name, value) })
}

// wantResync counts up the requests for a full run of resources.
func wantResync(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO dispatch_value (name, value) VALUES (?, '1')
		ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)`, valueResync)
	return err
}

func (s *store) wantResync(ctx context.Context) error {
	return s.db.Update(ctx, func(tx *sql.Tx) error { return wantResync(ctx, tx) })
}

// resync gives the number of the last request for a full run, and whether a
// run has answered it. A gateway that never sent its directory wants one.
func (s *store) resync(ctx context.Context) (wanted int64, due bool, err error) {
	wanted, err = s.number(ctx, valueResync)
	if err != nil {
		return 0, false, err
	}
	done, err := s.number(ctx, valueSynced)
	return wanted, done != wanted || wanted == 0, err
}

// setSynced notes that the platform has the directory as of revision.
func (s *store) setSynced(ctx context.Context, wanted, revision int64) error {
	return s.db.Update(ctx, func(tx *sql.Tx) error {
		return errors.Join(
			setValue(ctx, tx, valueSynced, strconv.FormatInt(wanted, 10)),
			setValue(ctx, tx, valueRevision, strconv.FormatInt(revision, 10)))
	})
}

func (s *store) subscription(ctx context.Context) (wire.Subscription, error) {
	raw, err := s.value(ctx, valueSubscription)
	if err != nil || raw == "" {
		return wire.Subscription{}, err
	}
	var sub wire.Subscription
	err = json.Unmarshal([]byte(raw), &sub)
	return sub, err
}

func setSubscription(ctx context.Context, tx *sql.Tx, sub wire.Subscription) error {
	if sub.Items == nil {
		sub.Items = []wire.SubscriptionItem{}
	}
	raw, err := json.Marshal(sub)
	if err != nil {
		return err
	}
	return setValue(ctx, tx, valueSubscription, string(raw))
}

// keys gives the live keys of a direction, newest first.
func (s *store) keys(ctx context.Context, direction string, now time.Time) ([]wire.Key, error) {
	rows, err := s.db.Read().QueryContext(ctx, `SELECT id, algorithm, sealed FROM dispatch_key
		WHERE direction = ? AND (ends_at IS NULL OR ends_at > ?) ORDER BY ends_at IS NULL DESC, added_at DESC`, direction, now.UnixMilli())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var keys []wire.Key
	for rows.Next() {
		var k wire.Key
		var sealed []byte
		if err := rows.Scan(&k.ID, &k.Algorithm, &sealed); err != nil {
			return nil, err
		}
		secret, err := s.db.Unseal(keyRow(direction, k.ID), sealed)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", k.ID, err)
		}
		k.Secret = []byte(secret.Reveal())
		keys = append(keys, k)
	}
	return keys, rows.Err()
}

func keyRow(direction, id string) string { return "dispatch_key/" + direction + "/" + id }

// putKey makes k the newest key of its direction; the others end at ends.
func (s *store) putKey(ctx context.Context, tx *sql.Tx, direction string, k wire.Key, now, ends time.Time) error {
	sealed, err := s.db.Seal(keyRow(direction, k.ID), devices.Secret(k.Secret))
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE dispatch_key SET ends_at = ? WHERE direction = ? AND id <> ? AND (ends_at IS NULL OR ends_at > ?)`,
		ends.UnixMilli(), direction, k.ID, ends.UnixMilli()); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM dispatch_key WHERE ends_at <= ?`, now.UnixMilli()); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO dispatch_key (id, direction, algorithm, sealed, added_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (id, direction) DO UPDATE SET algorithm = excluded.algorithm, sealed = excluded.sealed, ends_at = NULL`,
		k.ID, direction, string(k.Algorithm), sealed, now.UnixMilli())
	return err
}

// row is one command of the ledger.
type row struct {
	ID         string
	BodyHash   string
	Result     []byte // nil until it was executed
	ResultSent bool
	Act        []byte
	ActSent    bool
}

func (s *store) command(ctx context.Context, id string) (row, bool, error) {
	r := row{ID: id}
	err := s.db.Read().QueryRowContext(ctx, `SELECT body_hash, result, result_sent, act, act_sent FROM dispatch_command WHERE id = ?`, id).
		Scan(&r.BodyHash, &r.Result, &r.ResultSent, &r.Act, &r.ActSent)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, false, nil
	}
	return r, err == nil, err
}

// nonceUse is the command that a nonce came with, "" if it is new.
func (s *store) nonceUse(ctx context.Context, nonce string) (string, error) {
	var id string
	err := s.db.Read().QueryRowContext(ctx, `SELECT command FROM dispatch_nonce WHERE nonce = ?`, nonce).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id, err
}

// insertCommand notes a command with its nonce; false if the ledger has the
// command or the nonce already.
func insertCommand(ctx context.Context, tx *sql.Tx, id, bodyHash, nonce string, now time.Time) (bool, error) {
	for _, q := range []struct {
		text string
		args []any
	}{
		{`INSERT INTO dispatch_nonce (nonce, command, seen_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, []any{nonce, id, now.UnixMilli()}},
		{`INSERT INTO dispatch_command (id, body_hash, received_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, []any{id, bodyHash, now.UnixMilli()}},
	} {
		res, err := tx.ExecContext(ctx, q.text, q.args...)
		if err != nil {
			return false, err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return false, err
		}
	}
	return true, nil
}

// setResult stores what a command gave. It is sent unless sent; act may be nil.
func setResult(ctx context.Context, tx *sql.Tx, id string, result, act []byte) error {
	_, err := tx.ExecContext(ctx, `UPDATE dispatch_command SET result = ?, result_sent = 0, act = ?, act_sent = ? WHERE id = ? AND result IS NULL`,
		result, act, act == nil, id)
	return err
}

// again marks a stored result to be sent once more.
func (s *store) again(ctx context.Context, id string) error {
	return s.mark(ctx, `UPDATE dispatch_command SET result_sent = 0 WHERE id = ?`, id)
}

func (s *store) resultSent(ctx context.Context, id string) error {
	return s.mark(ctx, `UPDATE dispatch_command SET result_sent = 1 WHERE id = ?`, id)
}

func (s *store) actSent(ctx context.Context, id string) error {
	return s.mark(ctx, `UPDATE dispatch_command SET act_sent = 1 WHERE id = ?`, id)
}

func (s *store) mark(ctx context.Context, query, id string) error {
	return s.db.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, id)
		return err
	})
}

// unsent gives answered commands of which something is still to be sent: those
// whose result names files, or the others.
func (s *store) unsent(ctx context.Context, files bool, max int) ([]row, error) {
	return s.rows(ctx, `SELECT id, body_hash, result, result_sent, act, act_sent FROM dispatch_command
		WHERE (result_sent = 0 OR act_sent = 0) AND result IS NOT NULL
		AND (result_sent = 0 AND coalesce(json_array_length(CAST(result AS TEXT), '$.blobs'), 0) > 0) = ? ORDER BY received_at LIMIT ?`, files, max)
}

// unanswered gives commands that were taken and have no result.
func (s *store) unanswered(ctx context.Context) ([]row, error) {
	return s.rows(ctx, `SELECT id, body_hash, result, result_sent, act, act_sent FROM dispatch_command
		WHERE result_sent = 0 AND result IS NULL LIMIT 1000`)
}

func (s *store) rows(ctx context.Context, query string, args ...any) ([]row, error) {
	rows, err := s.db.Read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.ID, &r.BodyHash, &r.Result, &r.ResultSent, &r.Act, &r.ActSent); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// prune forgets commands answered and told before a time, and nonces that the
// time window alone keeps out.
func (s *store) prune(ctx context.Context, commands, nonces time.Time) error {
	return s.db.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM dispatch_command WHERE received_at < ? AND result_sent = 1 AND act_sent = 1`, commands.UnixMilli())
		_, err2 := tx.ExecContext(ctx, `DELETE FROM dispatch_nonce WHERE seen_at < ?`, nonces.UnixMilli())
		return errors.Join(err, err2)
	})
}
