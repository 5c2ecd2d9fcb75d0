package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/timeseries"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Kinds of loss.
const (
	LossGap        = "gap"         // polls that failed, a camera or device that was away
	LossBacklog    = "backlog"     // readings that a remote store missed for longer than the backlog holds
	LossRefused    = "refused"     // readings that the store refused
	LossDeadLetter = "dead_letter" // messages that could not be understood
	LossRecording  = "recording"   // recordings that were deleted before their days were over
	LossClock      = "clock"       // readings that claimed a time in the future, and times in which the gateway's clock was set
	LossState      = "state"       // what was written since the backup that took the place of a database which was damaged or gone
	LossUnbound    = "unbound"     // messages on a topic, or values of a factor, that no point is bound to, and packets of no registered logger; a row for each, which is its detail
)

var lossKinds = [...]string{LossGap, LossBacklog, LossRefused, LossDeadLetter, LossRecording, LossClock, LossState, LossUnbound}

// Loss tells what was dropped or missed: what, how many, from, to and why.
type Loss struct {
	ID      int64            `json:"id"`
	Kind    string           `json:"kind"`
	Subject string           `json:"subject"` // "device/pm-1", "point/gate.pm10", "store/influx"
	From    time.Time        `json:"from"`
	To      time.Time        `json:"to"`
	Count   int64            `json:"count"`
	Open    bool             `json:"open"` // it goes on
	Detail  string           `json:"detail,omitempty"`
	Why     *devices.Problem `json:"-"`
}

// Ledger keeps what must be told although it is not there.
type Ledger struct {
	db      *state.DB
	resumed atomic.Bool

	mu     sync.Mutex
	counts map[string]int64 // losses since the start, by kind
}

// Open prepares the tables.
func Open(ctx context.Context, db *state.DB) (*Ledger, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, "ledger", sub); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	counts := map[string]int64{}
	for _, kind := range lossKinds {
		counts[kind] = 0
	}
	return &Ledger{db: db, counts: counts}, nil
}

// Losses that follow each other go on in one row, so that a babbling device
// fills no table.
const (
	sameLossSpan = time.Hour   // since the end of a row of the same kind, subject and code
	sameGapSpan  = time.Minute // the same for a gap, whose row should say how long it was
	gapsAnHour   = 6           // rows of one reason after which a flapping subject's gaps share one
	keepLosses   = 100_000     // rows; the oldest that are over go first
)

// Add adds l to a row of the same kind, subject and code that ended shortly
// before, or makes a new row.
func (g *Ledger) Add(ctx context.Context, l Loss) error {
	return g.write(ctx, []note{{Loss: l}})
}

// write writes notes in their order, all or none.
func (g *Ledger) write(ctx context.Context, notes []note) error {
	err := g.db.Update(ctx, func(tx *sql.Tx) error {
		for _, n := range notes {
			var err error
			if n.ends {
				err = endGaps(ctx, tx, n.Subject, n.To)
			} else {
				err = Put(ctx, tx, n.Loss)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range notes {
		if !n.ends {
			g.Count(n.Kind, n.Count)
		}
	}
	return nil
}

const extendLoss = `UPDATE losses SET to_ms = max(to_ms, ?), count = count + ?, open = ?, detail = ?
	WHERE id = (SELECT id FROM losses WHERE subject = ? AND kind = ? AND code = ? AND to_ms >= ? AND (kind <> '` + LossUnbound + `' OR detail = ?)
		ORDER BY id DESC LIMIT 1)`

const extendGap = `UPDATE losses SET to_ms = max(to_ms, ?1), count = count + ?2, open = ?3, detail = ?4
	WHERE id = (SELECT id FROM losses WHERE subject = ?5 AND kind = '` + LossGap + `' AND code = ?6 AND (open = 1 OR to_ms >= ?7 OR (to_ms >= ?8 AND
		(SELECT count(*) FROM losses WHERE subject = ?5 AND kind = '` + LossGap + `' AND code = ?6 AND to_ms >= ?8) >= ?9))
		ORDER BY id DESC LIMIT 1)`

const insertLoss = `INSERT INTO losses (kind, subject, code, field, zh, en, detail, from_ms, to_ms, count, open)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// Put is Add in the caller's transaction, after whose commit the caller counts it.
func Put(ctx context.Context, tx *sql.Tx, l Loss) error {
	n, err := extend(ctx, tx, l)
	if err != nil {
		return fmt.Errorf("extend loss: %w", err)
	}
	if n > 0 {
		return nil
	}
	_, err = tx.ExecContext(ctx, insertLoss, l.Kind, l.Subject, l.Why.Code, l.Why.Field, l.Why.ZH, l.Why.EN, l.Detail,
		l.From.UnixMilli(), l.To.UnixMilli(), l.Count, l.Open)
	if err != nil {
		return fmt.Errorf("insert loss: %w", err)
	}
	return nil
}

// extend adds l to the row that it goes on in and says how many rows that are.
func extend(ctx context.Context, tx *sql.Tx, l Loss) (rows int64, err error) {
	var res sql.Result
	if l.Kind != LossGap {
		res, err = tx.ExecContext(ctx, extendLoss, l.To.UnixMilli(), l.Count, l.Open, l.Detail,
			l.Subject, l.Kind, l.Why.Code, l.From.Add(-sameLossSpan).UnixMilli(), l.Detail)
	} else {
		if _, err = tx.ExecContext(ctx, `UPDATE losses SET open = 0, to_ms = max(to_ms, ?) WHERE subject = ? AND kind = ? AND open = 1 AND code <> ?`,
			l.From.UnixMilli(), l.Subject, LossGap, l.Why.Code); err != nil { // it goes on for another reason
			return 0, err
		}
		res, err = tx.ExecContext(ctx, extendGap, l.To.UnixMilli(), l.Count, l.Open, l.Detail, l.Subject, l.Why.Code,
			l.From.Add(-sameGapSpan).UnixMilli(), l.From.Add(-sameLossSpan).UnixMilli(), gapsAnHour)
	}
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// endGaps ends the open gaps of subject at at.
func endGaps(ctx context.Context, tx *sql.Tx, subject string, at time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE losses SET open = 0, to_ms = max(to_ms, ?) WHERE subject = ? AND kind = ? AND open = 1`,
		at.UnixMilli(), subject, LossGap)
	if err != nil {
		return fmt.Errorf("end gaps of %s: %w", subject, err)
	}
	return nil
}

// Trim deletes the oldest losses that are over, past the newest most rows.
func (g *Ledger) Trim(ctx context.Context, most int) error {
	return g.db.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM losses WHERE open = 0 AND id <= (SELECT id FROM losses ORDER BY id DESC LIMIT 1 OFFSET ?)`, most)
		return err
	})
}

// Filter chooses losses. What is empty does not choose.
type Filter struct {
	Before string                    // the Cursor of the last loss seen; the page begins behind it
	Of     func(subject string) bool // only of such
	Max    int                       // 0 means 100
}

const defaultPage = 100

// Cursor is the loss's place in the list, for Filter.Before. One that goes on moves
// up in it.
func (l *Loss) Cursor() string {
	return strconv.FormatInt(l.To.UnixMilli(), 10) + "." + strconv.FormatInt(l.ID, 10)
}

// place reads Before.
func (f *Filter) place() (to, id int64, err error) {
	if f.Before == "" {
		return math.MaxInt64, math.MaxInt64, nil
	}
	end, row, _ := strings.Cut(f.Before, ".")
	to, err = strconv.ParseInt(end, 10, 64)
	if err == nil {
		id, err = strconv.ParseInt(row, 10, 64)
	}
	if err != nil {
		err = devices.Invalid("before", "bad_cursor", "翻页位置无效，请使用上一页给出的值", "use the cursor that the page before gave")
	}
	return to, id, err
}

// Losses gives what f chooses, newest end first.
func (g *Ledger) Losses(ctx context.Context, f Filter) ([]Loss, error) {
	to, id, err := f.place()
	if err != nil {
		return nil, err
	}
	most := cmp.Or(f.Max, defaultPage)
	var list []Loss
	err = g.each(ctx, func(l Loss) bool {
		if f.Of == nil || f.Of(l.Subject) {
			list = append(list, l)
		}
		return len(list) < most
	}, `WHERE (to_ms, id) < (?, ?) ORDER BY to_ms DESC, id DESC`, to, id)
	return list, err
}

// list gives the rows that which chooses and orders.
func (g *Ledger) list(ctx context.Context, which string, args ...any) (list []Loss, err error) {
	err = g.each(ctx, func(l Loss) bool { list = append(list, l); return true }, which, args...)
	return list, err
}

// each gives do the rows that which chooses and orders, while it wants more.
func (g *Ledger) each(ctx context.Context, do func(Loss) (more bool), which string, args ...any) error {
	rows, err := g.db.Read().QueryContext(ctx, `SELECT id, kind, subject, code, field, zh, en, detail, from_ms, to_ms, count, open FROM losses `+which, args...)
	if err != nil {
		return fmt.Errorf("list losses: %w", err)
	}
	defer rows.Close()
	for more := true; more && rows.Next(); {
		l := Loss{Why: &devices.Problem{}}
		var from, to int64
		if err := rows.Scan(&l.ID, &l.Kind, &l.Subject, &l.Why.Code, &l.Why.Field, &l.Why.ZH, &l.Why.EN, &l.Detail, &from, &to, &l.Count, &l.Open); err != nil {
			return fmt.Errorf("read loss: %w", err)
		}
		l.From, l.To = time.UnixMilli(from).UTC(), time.UnixMilli(to).UTC()
		more = do(l)
	}
	return rows.Err()
}

// Count adds to what LossCounts gives.
func (g *Ledger) Count(kind string, n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.counts[kind] += n
}

// LossCounts gives how many losses of each kind there were since the start,
// for metrics.
func (g *Ledger) LossCounts() map[string]int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.counts)
}

// Refuse tells of a reading that the store of history will never take.
func (g *Ledger) Refuse(ctx context.Context, r timeseries.Refusal) error {
	return g.Add(ctx, Loss{
		Kind: LossRefused, Subject: "point/" + r.Series.Point, Why: r.Reason, From: r.At, To: r.At, Count: 1,
		Detail: fmt.Sprintf("seq %d value %g", r.Seq, r.Value),
	})
}

// PutDead tells of messages that could not be understood, in the caller's
// transaction, after whose commit the caller counts them.
func PutDead(ctx context.Context, tx *sql.Tx, dead []timeseries.Record) error {
	told := newWaiting()
	for i := len(dead) - 1; i >= 0; i-- { // what is told of a row is the newest's
		rec := &dead[i]
		told.add(note{Loss: Loss{
			Kind: LossDeadLetter, Subject: "device/" + rec.Origin.Device, Why: rec.Letter.Problem,
			From: rec.Received, To: rec.Received, Count: 1, Detail: rec.Letter.Topic,
		}})
	}
	for _, n := range told.notes() {
		if err := Put(ctx, tx, n.Loss); err != nil {
			return err
		}
	}
	return nil
}

// Correct commits, before the store is written, what a batch of the log
// changes. Saying it twice changes nothing.
func (g *Ledger) Correct(ctx context.Context, corrections []timeseries.Correction) error {
	if len(corrections) == 0 {
		return nil
	}
	return g.db.Update(ctx, func(tx *sql.Tx) error {
		for _, c := range corrections {
			if err := insertCorrection(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

func insertCorrection(ctx context.Context, tx *sql.Tx, c timeseries.Correction) error {
	_, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO corrections
		(point, at_ms, seq, old_value, old_quality, new_value, new_quality, found_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		c.Point, c.At.UnixMilli(), int64(c.Seq), c.Old.Value, c.Old.Quality, c.New.Value, c.New.Quality, time.Now().UnixMilli())
	if err != nil {
		return fmt.Errorf("insert correction: %w", err)
	}
	return nil
}

// Superseded says whether a record after seq has already corrected point at at:
// then a record that is written again after a restart corrects nothing.
func (g *Ledger) Superseded(ctx context.Context, point string, at time.Time, seq uint64) (bool, error) {
	var n int
	err := g.db.Read().QueryRowContext(ctx, `SELECT count(*) FROM corrections WHERE point = ? AND at_ms = ? AND seq >= ?`,
		point, at.UnixMilli(), int64(seq)).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look up correction: %w", err)
	}
	return n > 0, nil
}

// Corrections gives what later data changed of point within [from, to).
func (g *Ledger) Corrections(ctx context.Context, point string, from, to time.Time) ([]timeseries.Correction, error) {
	rows, err := g.db.Read().QueryContext(ctx, `SELECT at_ms, seq, old_value, old_quality, new_value, new_quality FROM corrections
		WHERE point = ? AND at_ms >= ? AND at_ms < ? ORDER BY at_ms, seq LIMIT 10000`, point, from.UnixMilli(), to.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("list corrections: %w", err)
	}
	defer rows.Close()
	var list []timeseries.Correction
	for rows.Next() {
		c := timeseries.Correction{Point: point}
		var at, seq int64
		if err := rows.Scan(&at, &seq, &c.Old.Value, &c.Old.Quality, &c.New.Value, &c.New.Quality); err != nil {
			return nil, fmt.Errorf("read correction: %w", err)
		}
		c.At, c.Seq = time.UnixMilli(at).UTC(), uint64(seq)
		c.Old.At, c.New.At = c.At, c.At
		list = append(list, c)
	}
	return list, rows.Err()
}
