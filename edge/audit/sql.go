package audit

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// querier is what a transaction and the read pool have in common.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

const rowColumns = `seq, at, who, origin, act, what, purpose, before, after, result, detail, mac`

// selectHead gives the zero link when there is no head.
func selectHead(ctx context.Context, q querier) (k link, err error) {
	err = q.QueryRowContext(ctx, `SELECT seq, last, mac FROM audit_head`).Scan(&k.seq, &k.last, &k.mac)
	if errors.Is(err, sql.ErrNoRows) {
		return link{}, nil
	}
	return k, err
}

// selectEnd gives the head and the number of the newest row there is.
func selectEnd(ctx context.Context, q querier) (k link, newest int64, err error) {
	err = q.QueryRowContext(ctx, `SELECT seq, last, mac, (SELECT coalesce(max(seq), 0) FROM audit) FROM audit_head`).Scan(&k.seq, &k.last, &k.mac, &newest)
	if errors.Is(err, sql.ErrNoRows) {
		return link{}, 0, nil
	}
	return k, newest, err
}

// selectLast gives the newest row itself, whatever the head says.
func selectLast(ctx context.Context, q querier) (link, error) {
	k := link{last: zeroMAC()}
	err := q.QueryRowContext(ctx, `SELECT seq, mac FROM audit ORDER BY seq DESC LIMIT 1`).Scan(&k.seq, &k.last)
	if errors.Is(err, sql.ErrNoRows) {
		return k, nil
	}
	return k, err
}

func upsertHead(ctx context.Context, tx *sql.Tx, k link) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO audit_head (one, seq, last, mac) VALUES (1, ?, ?, ?)
		ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, last = excluded.last, mac = excluded.mac`, k.seq, k.last, k.mac)
	return err
}

func insertRow(ctx context.Context, tx *sql.Tx, seq int64, e Entry, mac []byte) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO audit (`+rowColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		seq, e.At.UnixMilli(), e.Who, e.From, e.Act, e.What, e.Purpose, e.Before, e.After, e.Result, e.Detail, mac)
	return err
}

func selectKey(ctx context.Context, q querier) (sealed []byte, err error) {
	err = q.QueryRowContext(ctx, `SELECT sealed FROM audit_key`).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return sealed, err
}

func insertKey(ctx context.Context, tx *sql.Tx, sealed []byte) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO audit_key (one, sealed) VALUES (1, ?)`, sealed)
	return err
}

// selectTriggers counts the triggers that this package's migrations made.
func selectTriggers(ctx context.Context, q querier) (n int, err error) {
	err = q.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name IN ('audit', 'audit_head', 'audit_key')`).Scan(&n)
	return n, err
}

// eachRow calls fn with every row in order until it returns an error.
func eachRow(ctx context.Context, q querier, fn func(seq int64, e Entry, mac []byte) error) error {
	rows, err := q.QueryContext(ctx, `SELECT `+rowColumns+` FROM audit ORDER BY seq`)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		seq, e, mac, err := scanRow(rows)
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		if err := fn(seq, e, mac); err != nil {
			return err
		}
	}
	return rows.Err()
}

func scanRow(rows *sql.Rows) (seq int64, e Entry, mac []byte, err error) {
	var at int64
	targets := []any{&seq, &at}
	for _, text := range e.texts() {
		targets = append(targets, text)
	}
	err = rows.Scan(append(targets, &mac)...)
	e.At = time.UnixMilli(at).UTC()
	return seq, e, mac, err
}

// Filter chooses rows; what is zero chooses all.
type Filter struct {
	Before   int64     // rows with a number below; 0 begins at the end
	Max      int       // at most so many
	Who      string    // a person's name, as Entry has it
	Act      string    // an act, or all that begin with "camera."
	What     string    // what the act was done to, or "camera/" for all of a kind
	From, To time.Time // from included, to excluded
}

// List gives the newest rows with a number below before, newest first, at most
// max. A before of 0 begins at the end.
func (l *Log) List(ctx context.Context, before int64, max int) ([]Row, error) {
	return l.Search(ctx, Filter{Before: before, Max: max})
}

// Search gives the rows that f chooses, newest first.
func (l *Log) Search(ctx context.Context, f Filter) ([]Row, error) {
	where, args := f.where()
	rows, err := l.db.Read().QueryContext(ctx, `SELECT `+rowColumns+` FROM audit WHERE `+where+` ORDER BY seq DESC LIMIT ?`, append(args, f.Max)...)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	defer rows.Close()
	var list []Row
	for rows.Next() {
		seq, e, mac, err := scanRow(rows)
		if err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
		list = append(list, Row{Seq: seq, Entry: e, MAC: hex.EncodeToString(mac)})
	}
	return list, rows.Err()
}

func (f Filter) where() (conditions string, args []any) {
	conditions, args = "seq < ?", []any{int64(math.MaxInt64)}
	if f.Before > 0 {
		args[0] = f.Before
	}
	and := func(condition string, values ...any) {
		conditions += " AND " + condition
		args = append(args, values...)
	}
	if f.Who != "" {
		and("who = ?", f.Who)
	}
	for column, text := range map[string]string{"act": f.Act, "what": f.What} {
		switch {
		case text == "":
		case strings.HasSuffix(text, ".") || strings.HasSuffix(text, "/"):
			and("substr("+column+", 1, length(?)) = ?", text, text)
		default:
			and(column+" = ?", text)
		}
	}
	if !f.From.IsZero() {
		and("at >= ?", f.From.UnixMilli())
	}
	if !f.To.IsZero() {
		and("at < ?", f.To.UnixMilli())
	}
	return conditions, args
}
