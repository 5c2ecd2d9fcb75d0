package letters

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
	"offsite/devices/registry"
	"offsite/devices/state"
	"offsite/timeseries"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Bounds of the table.
const (
	keepLetters   = 10000              // rows
	keepPayloads  = 64 << 20           // bytes of all messages together; the oldest that are over go first
	keepPayload   = devices.MaxPayload // bytes of each message, so that it can be read again
	lettersAtOnce = 32                 // of one device among some thousand records
)

// lettersAtATime is how many dead letters one listing gives and one replay takes.
const lettersAtATime = 1000

// Office keeps the dead letters and reads them again.
type Office struct {
	db  *state.DB
	cfg Config
}

// Config of an Office.
type Config struct {
	Registry *registry.Registry
	Formats  payload.Formats                                // of payloads, besides JSON
	Accept   func(d devices.Delivery, done func(err error)) // takes what is understood after all; see edge/intake
	History  past
}

// past is the history as the Office asks it; see edge/history.
type past interface {
	Range(ctx context.Context, s timeseries.Series, from, to time.Time, most int) ([]timeseries.Sample, error)
}

// Open makes the table.
func Open(ctx context.Context, db *state.DB, cfg Config) (*Office, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open dead letters: %w", err)
	}
	if err := db.Migrate(ctx, "letters", sub); err != nil {
		return nil, fmt.Errorf("open dead letters: %w", err)
	}
	return &Office{db: db, cfg: cfg}, nil
}

// Letter is a message that could not be understood, and waits for its device's
// bindings to be mended.
type Letter struct {
	Seq      uint64 // in the log
	Device   string
	Topic    string
	Payload  []byte // at most 64 KiB of it
	Received time.Time
	Problem  *devices.Problem
}

// Filter says which dead letters are meant; zero fields do not matter.
type Filter struct {
	Device string
	Seqs   []uint64
	Before uint64 // only those with a lower Seq
	Most   int    // zero means 1,000, which is also the most
}

// List gives the dead letters that wait, newest first.
func (o *Office) List(ctx context.Context, f Filter) ([]Letter, error) {
	where, args := []string{"replayed_ms IS NULL"}, []any{}
	if f.Device != "" {
		where, args = append(where, "device = ?"), append(args, f.Device)
	}
	if f.Before != 0 {
		where, args = append(where, "seq < ?"), append(args, int64(f.Before))
	}
	if len(f.Seqs) > 0 {
		where = append(where, "seq IN (?"+strings.Repeat(", ?", len(f.Seqs)-1)+")")
		for _, seq := range f.Seqs {
			args = append(args, int64(seq))
		}
	}
	most := f.Most
	if most <= 0 || most > lettersAtATime {
		most = lettersAtATime
	}
	rows, err := o.db.Read().QueryContext(ctx, `SELECT seq, device, topic, payload, code, field, zh, en, received_ms FROM dead_letters WHERE `+
		strings.Join(where, " AND ")+` ORDER BY seq DESC LIMIT ?`, append(args, most)...)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	defer rows.Close()
	var list []Letter
	for rows.Next() {
		l, p, ms := Letter{}, &devices.Problem{Kind: devices.ErrInvalid}, int64(0)
		if err := rows.Scan(&l.Seq, &l.Device, &l.Topic, &l.Payload, &p.Code, &p.Field, &p.ZH, &p.EN, &ms); err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		l.Problem, l.Received = p, time.UnixMilli(ms).UTC()
		list = append(list, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return list, nil
}

// Bury keeps the dead letters of a batch, in the transaction that moves the
// judging cursor past them, and gives those that were not buried before. Of
// each device the newest few are kept, so that one that sends nothing else holds
// up no judgement. Saying it twice changes nothing.
func (o *Office) Bury(ctx context.Context, tx *sql.Tx, letters []timeseries.Record) (fresh []timeseries.Record, err error) {
	if len(letters) == 0 {
		return nil, nil
	}
	var newest uint64 // it is always kept, so that what comes again is known by it
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM dead_letters`).Scan(&newest); err != nil {
		return nil, fmt.Errorf("look up dead letters: %w", err)
	}
	first := len(letters)
	for kept := map[string]int{}; first > 0 && letters[first-1].Seq > newest; first-- {
		rec := &letters[first-1]
		if kept[rec.Origin.Device]++; kept[rec.Origin.Device] > lettersAtOnce {
			continue
		}
		if err := insertLetter(ctx, tx, rec); err != nil {
			return nil, err
		}
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM dead_letters WHERE seq <= (SELECT seq FROM dead_letters ORDER BY seq DESC LIMIT 1 OFFSET ?)
		OR seq <= (SELECT max(seq) FROM (SELECT seq, sum(length(payload)) OVER (ORDER BY seq DESC) AS bytes FROM dead_letters) WHERE bytes > ?)`, keepLetters, keepPayloads)
	return letters[first:], err
}

func insertLetter(ctx context.Context, tx *sql.Tx, rec *timeseries.Record) error {
	l := rec.Letter
	_, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO dead_letters
		(seq, device, topic, payload, code, field, zh, en, received_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		int64(rec.Seq), rec.Origin.Device, l.Topic, l.Payload[:min(len(l.Payload), keepPayload)], l.Problem.Code, l.Problem.Field, l.Problem.ZH, l.Problem.EN,
		rec.Received.UnixMilli())
	if err != nil {
		return fmt.Errorf("insert dead letter: %w", err)
	}
	return nil
}

// settle takes note of what a replay brought: letters that were understood wait
// no more, the others have a new reason.
func (o *Office) settle(ctx context.Context, understood, failed []Letter) error {
	err := o.db.Update(ctx, func(tx *sql.Tx) error {
		now := time.Now().UnixMilli()
		for _, l := range understood { // the row stays, its payload is in the readings now
			if _, err := tx.ExecContext(ctx, `UPDATE dead_letters SET replayed_ms = ?, payload = x'' WHERE seq = ?`, now, int64(l.Seq)); err != nil {
				return err
			}
		}
		for _, l := range failed {
			p := l.Problem
			if _, err := tx.ExecContext(ctx, `UPDATE dead_letters SET code = ?, field = ?, zh = ?, en = ? WHERE seq = ?`, p.Code, p.Field, p.ZH, p.EN, int64(l.Seq)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("settle dead letters: %w", err)
	}
	return nil
}
