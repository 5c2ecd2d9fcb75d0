package upkeep

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"offsite/devices"
	"offsite/devices/state"
)

//go:embed migrations/*.sql
var migrations embed.FS

// markMaintenance is the data mark of HJ 212-2017 for readings taken under
// maintenance 维护.
const markMaintenance = "M"

// Bounds of maintenance.
const (
	longestMaintenance = 30 * 24 * time.Hour
	keepMaintenance    = 400 * 24 * time.Hour // since the end: late data of that time is still known for what it is
	longestReason      = 500                  // characters
)

// Maintenance is a time in which somebody works on a device or a point: its
// readings are kept, with mark M, and are not judged.
type Maintenance struct {
	Subject string // "device/pm-1", "point/gate.pm10"
	Reason  string
	Who     string
	From    time.Time
	To      time.Time // exclusive; the agreed end, or when it was ended before that
}

// covers says whether the maintenance holds at at.
func (m *Maintenance) covers(at time.Time) bool { return !at.Before(m.From) && at.Before(m.To) }

// Book keeps who maintains what, and until when. It is judged by the time at
// which a reading was true, not by that of its receipt, so that back-filled
// data and a log that is read again after a crash are judged alike.
type Book struct {
	db     *state.DB
	lapsed Lapsed

	mu    sync.Mutex                               // held over a change of the table and of known
	known atomic.Pointer[map[string][]Maintenance] // by subject, oldest first; never changed in place
}

// Lapsed is called, in the transaction that writes it, for every maintenance
// that has ended by the clock.
type Lapsed func(ctx context.Context, tx *sql.Tx, subject string, at time.Time) error

// Open makes the table and reads what is under maintenance.
func Open(ctx context.Context, db *state.DB, lapsed Lapsed) (*Book, error) {
	b := &Book{db: db, lapsed: lapsed}
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open maintenance: %w", err)
	}
	if err := db.Migrate(ctx, "upkeep", sub); err != nil {
		return nil, fmt.Errorf("open maintenance: %w", err)
	}
	err = db.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM maintenance WHERE ended = 1 AND to_ms < ?`, time.Now().Add(-keepMaintenance).UnixMilli())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("trim maintenance: %w", err)
	}
	return b, b.load(ctx)
}

func (b *Book) load(ctx context.Context) error {
	rows, err := b.db.Read().QueryContext(ctx, `SELECT subject, reason, who, from_ms, to_ms FROM maintenance WHERE from_ms < to_ms ORDER BY id`)
	if err != nil {
		return fmt.Errorf("list maintenance: %w", err)
	}
	defer rows.Close()
	known := map[string][]Maintenance{}
	for rows.Next() {
		var m Maintenance
		var from, to int64
		if err := rows.Scan(&m.Subject, &m.Reason, &m.Who, &from, &to); err != nil {
			return fmt.Errorf("read maintenance: %w", err)
		}
		m.From, m.To = time.UnixMilli(from).UTC(), time.UnixMilli(to).UTC()
		known[m.Subject] = append(known[m.Subject], m)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("list maintenance: %w", err)
	}
	b.known.Store(&known)
	return nil
}

// None says that nothing is, or lately was, under maintenance.
func (b *Book) None() bool { return len(*b.known.Load()) == 0 }

// At gives the maintenance of subject that holds at at, or nil.
func (b *Book) At(subject string, at time.Time) *Maintenance {
	list := (*b.known.Load())[subject]
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].covers(at) {
			return &list[i]
		}
	}
	return nil
}

// Of gives the maintenance that holds at at for what device says of point, that
// of the device first.
func (b *Book) Of(device, point string, at time.Time) *Maintenance {
	if b.None() {
		return nil
	}
	if m := b.At("device/"+device, at); device != "" && m != nil {
		return m
	}
	return b.At("point/"+point, at)
}

// Mark gives readings under maintenance their mark, and the quality by which
// history knows them. Where the device itself has said something worse than
// normal, its own word stands.
func (b *Book) Mark(d *devices.Delivery) {
	if b.None() {
		return
	}
	for i := range d.Readings {
		if r := &d.Readings[i]; (r.Mark == "" || r.Mark == "N") && b.Of(d.Origin.Device, r.Point, r.At) != nil {
			r.Mark = markMaintenance
			if r.Quality.Usable() {
				r.Quality = devices.BadMaintenance
			}
		}
	}
}

// Judged gives those of the readings that may be judged.
func (b *Book) Judged(device string, readings []devices.Reading) []devices.Reading {
	maintained := func(r devices.Reading) bool { return b.Of(device, r.Point, r.At) != nil }
	if b.None() || !slices.ContainsFunc(readings, maintained) {
		return readings
	}
	return slices.DeleteFunc(slices.Clone(readings), maintained)
}

// Times gives every maintenance of subject that is still known, oldest first.
func (b *Book) Times(subject string) []Maintenance { return (*b.known.Load())[subject] }

// Holding gives all maintenance that holds at at, by subject.
func (b *Book) Holding(at time.Time) []Maintenance {
	var list []Maintenance
	for subject := range *b.known.Load() {
		if m := b.At(subject, at); m != nil {
			list = append(list, *m)
		}
	}
	slices.SortFunc(list, func(x, y Maintenance) int { return strings.Compare(x.Subject, y.Subject) })
	return list
}

// Begin puts m.Subject under maintenance from now until m.To, in place of what
// holds now. also is called inside the transaction. It tells every fault of the
// request.
func (b *Book) Begin(ctx context.Context, m Maintenance, also func(context.Context, *sql.Tx) error) (Maintenance, error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	m.From, m.To, m.Reason = now, m.To.UTC().Truncate(time.Millisecond), strings.TrimSpace(m.Reason)
	if err := m.check(); err != nil {
		return m, err
	}
	return m, b.change(ctx, func(tx *sql.Tx) error {
		if _, err := endMaintenance(ctx, tx, m.Subject, now); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO maintenance (subject, reason, who, from_ms, to_ms, ended) VALUES (?, ?, ?, ?, ?, 0)`,
			m.Subject, m.Reason, m.Who, m.From.UnixMilli(), m.To.UnixMilli())
		if err != nil {
			return fmt.Errorf("begin maintenance of %s: %w", m.Subject, err)
		}
		return also(ctx, tx)
	})
}

func (m *Maintenance) check() error {
	var ps devices.Problems
	switch {
	case m.To.IsZero():
		ps.Add(devices.Invalid("until", "missing", "请填写维护结束时间", "say when the maintenance ends"))
	case !m.To.After(m.From):
		ps.Add(devices.Invalid("until", "in_the_past", "维护结束时间须晚于现在", "the maintenance must end after now"))
	case m.To.Sub(m.From) > longestMaintenance:
		ps.Add(devices.Invalid("until", "too_long", "一次维护最长 30 天；更久请停用绑定", "maintenance lasts at most 30 days; end the binding for a longer time"))
	}
	switch {
	case m.Reason == "":
		ps.Add(devices.Invalid("reason", "missing", "请写明维护原因", "say why it is maintained"))
	case !utf8.ValidString(m.Reason) || utf8.RuneCountInString(m.Reason) > longestReason:
		ps.Add(devices.Invalid("reason", "too_long", "维护原因须为文字，最长 500 个字", "write a reason of at most 500 characters"))
	}
	return ps.Err()
}

// End ends the maintenance of subject now. It returns ErrNotFound where there
// is none.
func (b *Book) End(ctx context.Context, subject string, also func(context.Context, *sql.Tx) error) error {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return b.change(ctx, func(tx *sql.Tx) error {
		ended, err := endMaintenance(ctx, tx, subject, now)
		if err != nil {
			return err
		}
		if ended == 0 {
			return &devices.Problem{
				Kind: devices.ErrNotFound, Code: "not_maintained",
				ZH: "当前不在维护中，无需结束", EN: "it is not under maintenance; nothing is left to end",
			}
		}
		return also(ctx, tx)
	})
}

func endMaintenance(ctx context.Context, tx *sql.Tx, subject string, now time.Time) (rows int64, err error) {
	res, err := tx.ExecContext(ctx, `UPDATE maintenance SET to_ms = ?1, ended = 1 WHERE subject = ?2 AND ended = 0 AND to_ms > ?1`, now.UnixMilli(), subject)
	if err != nil {
		return 0, fmt.Errorf("end maintenance of %s: %w", subject, err)
	}
	return res.RowsAffected()
}

// Lapse writes into the trail which maintenance has ended by the clock, and
// gives its subjects.
func (b *Book) Lapse(ctx context.Context, now time.Time) (subjects []string, err error) {
	var due int
	err = b.db.Read().QueryRowContext(ctx, `SELECT count(*) FROM maintenance WHERE ended = 0 AND to_ms <= ?`, now.UnixMilli()).Scan(&due)
	if err != nil || due == 0 {
		return nil, err
	}
	err = b.change(ctx, func(tx *sql.Tx) error {
		if subjects, err = endDue(ctx, tx, now); err != nil {
			return err
		}
		for _, s := range subjects {
			if err := b.lapsed(ctx, tx, s, now.UTC()); err != nil {
				return err
			}
		}
		return nil
	})
	return subjects, err
}

func endDue(ctx context.Context, tx *sql.Tx, now time.Time) (subjects []string, err error) {
	rows, err := tx.QueryContext(ctx, `UPDATE maintenance SET ended = 1 WHERE ended = 0 AND to_ms <= ? RETURNING subject`, now.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("end maintenance: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, fmt.Errorf("end maintenance: %w", err)
		}
		subjects = append(subjects, s)
	}
	return subjects, rows.Err()
}

// change changes the table and then what is known.
func (b *Book) change(ctx context.Context, do func(tx *sql.Tx) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.db.Update(ctx, do); err != nil {
		return err
	}
	return b.load(ctx)
}
