package evidence

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"offsite/devices"
)

// Why files are deleted.
const (
	Aged  = "age"   // of an event that ended long ago
	Disk  = "disk"  // of an event, before its time, as the disk is nearly full
	Loose = "loose" // of no event
)

// Events tell what may be deleted, and are told what was.
type Events interface {
	// Over tells when an event ended, zero while it goes on, and whether a person has
	// taken notice of it. It returns ErrNotFound of an event that is not known.
	Over(ctx context.Context, event string) (ended time.Time, noticed bool, err error)
	// Unsent gives the events of which the platform has not acknowledged everything.
	Unsent(ctx context.Context) (map[string]bool, error)
	// Deleted writes a sum of deletions into the trail, in their transaction.
	Deleted(ctx context.Context, tx *sql.Tx, d Deletion) error
}

// Deletion is a sum of deletions.
type Deletion struct {
	Why      string
	Events   int
	Files    int
	Bytes    int64     // as far as it is known
	From, To time.Time // when the gateway learnt of the first and the last event
}

// Retention says how long files are kept.
type Retention struct {
	Keep   time.Duration // those of an event, since its end; 0: for ever
	Loose  time.Duration // those of no event, such as pictures that the platform asked for; 24 h
	Events Events
	Used   func() (float64, error) // part of the disk that is in use
	Full   float64                 // of it, from which files of no event go after an hour; 0.80
	Short  float64                 // from which files of events go before their time, clips first; 0.93
}

func (r *Retention) setDefaults() {
	if r.Loose <= 0 {
		r.Loose = 24 * time.Hour
	}
	if r.Full <= 0 {
		r.Full = 0.80
	}
	if r.Short <= 0 {
		r.Short = 0.93
	}
}

const (
	tidyEvery  = time.Hour
	lookEvery  = time.Minute        // at the disk
	justPut    = time.Hour          // what was put within it may be about to be named
	youngest   = 7 * 24 * time.Hour // evidence that is left alone on a full disk
	steady     = time.Hour          // that the clock must have run evenly before age is judged by it
	deletePart = 100                // events of one transaction
)

// Retain deletes what is over until ctx ends.
func (c *Collector) Retain(ctx context.Context, r Retention) error {
	r.setDefaults()
	s := &sweeper{Collector: c, Retention: r, began: time.Now()}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := s.sweep(ctx, time.Now()); err != nil {
			return err
		}
	}
}

// sweeper is one Retain.
type sweeper struct {
	*Collector
	Retention
	began time.Time // of an even run of the clock
	tidy  time.Time // when age was looked at last
}

// sweep deletes what is over now.
func (s *sweeper) sweep(ctx context.Context, now time.Time) error {
	used, err := s.Used()
	if err != nil {
		return fmt.Errorf("disk of the evidence: %w", err)
	}
	due := time.Since(s.tidy) >= tidyEvery
	if due {
		s.tidy = time.Now()
	}
	// A clock that has jumped makes everything old.
	if stepped := now.Round(0).Sub(s.began.Round(0)) - time.Since(s.began); stepped.Abs() > time.Minute {
		s.began = time.Now()
	}
	even := time.Since(s.began) >= steady
	switch {
	case !even:
	case used >= s.Full:
		err = s.loose(ctx, now.Add(-justPut))
	case due:
		err = s.loose(ctx, now.Add(-max(s.Loose, justPut)))
	}
	if err == nil && due && even && s.Keep > 0 {
		_, err = s.delete(ctx, now, now.Add(-s.Keep), "", Aged)
	}
	if err != nil || !even || used < s.Short {
		return err
	}
	for _, kind := range []string{Clip, Still} { // some at a time: then the disk is looked at again
		if n, err := s.delete(ctx, now, now.Add(-youngest), kind, Disk); err != nil || n > 0 {
			return err
		}
	}
	return nil
}

// loose deletes files that were put before cutoff and that no event names: what is deleted
// of events, where a crash came before its file was, is among them. It is in the trail
// before it is done.
func (s *sweeper) loose(ctx context.Context, cutoff time.Time) error {
	return s.vault.older(cutoff, func(names []string) error {
		names, err := s.unnamed(ctx, names)
		if err != nil || len(names) == 0 {
			return err
		}
		err = s.db.Update(ctx, func(tx *sql.Tx) error {
			return s.Events.Deleted(ctx, tx, Deletion{Why: Loose, Files: len(names)})
		})
		if err != nil {
			return fmt.Errorf("delete files that no event names: %w", err)
		}
		return s.remove(ctx, names, cutoff)
	})
}

// unnamed gives those of the files that no event names any more.
func (c *Collector) unnamed(ctx context.Context, names []string) ([]string, error) {
	list, err := json.Marshal(names)
	if err != nil {
		return nil, err
	}
	rows, err := c.db.Read().QueryContext(ctx, sqlUnnamed, string(list))
	if err != nil {
		return nil, fmt.Errorf("files that no event names: %w", err)
	}
	defer rows.Close()
	names = nil
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("files that no event names: %w", err)
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// remove deletes files that were put last before a time.
func (c *Collector) remove(ctx context.Context, names []string, before time.Time) error {
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := c.vault.remove(name, before); err != nil {
			return err
		}
	}
	return nil
}

// candidate is an event whose files may go.
type candidate struct {
	event string
	last  int64 // when something was expected of it last, Unix milliseconds
}

// delete deletes the files of a kind, empty of every kind, of events that ended before
// cutoff, and gives how many events that were. On a full disk it is one part of them, and
// none of which no person has taken notice.
func (s *sweeper) delete(ctx context.Context, now, cutoff time.Time, kind, why string) (events int, err error) {
	unsent, err := s.Events.Unsent(ctx)
	if err != nil {
		return 0, err
	}
	for at := (candidate{}); ; {
		list, err := s.candidates(ctx, cutoff, at, kind)
		if err != nil || len(list) == 0 {
			return events, err
		}
		at = list[len(list)-1]
		var over []string
		for _, cand := range list {
			if unsent[cand.event] {
				continue
			}
			ended, noticed, err := s.Events.Over(ctx, cand.event)
			switch {
			case errors.Is(err, devices.ErrNotFound):
			case err != nil:
				return events, err
			case ended.IsZero() || !ended.Before(cutoff) || (why == Disk && !noticed):
				continue
			}
			over = append(over, cand.event)
		}
		if len(over) == 0 {
			continue
		}
		if err := s.drop(ctx, now, over, kind, why); err != nil {
			return events, err
		}
		if events += len(over); why == Disk {
			return events, nil
		}
	}
}

// candidates gives the events behind at of which something is older than cutoff and not
// held, the oldest first.
func (c *Collector) candidates(ctx context.Context, cutoff time.Time, at candidate, kind string) ([]candidate, error) {
	rows, err := c.db.Read().QueryContext(ctx, sqlCandidates, cutoff.UnixMilli(), at.last, at.event, deletePart, kind)
	if err != nil {
		return nil, fmt.Errorf("list old evidence: %w", err)
	}
	defer rows.Close()
	var list []candidate
	for rows.Next() {
		var c candidate
		if err := rows.Scan(&c.event, &c.last); err != nil {
			return nil, fmt.Errorf("list old evidence: %w", err)
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

// drop deletes the files of events: first the rows say so, with the trail, then the files
// go that no other row names. What a crash leaves between the two is loose.
func (s *sweeper) drop(ctx context.Context, now time.Time, events []string, kind, why string) error {
	list, err := json.Marshal(events)
	if err != nil {
		return err
	}
	var names []string
	err = s.db.Update(ctx, func(tx *sql.Tx) error {
		d := Deletion{Why: why}
		if names, err = d.mark(ctx, tx, sqlDelete, now.UnixMilli(), why, string(list), kind); err != nil || d.Files == 0 {
			return err
		}
		return s.Events.Deleted(ctx, tx, d)
	})
	if err != nil {
		return fmt.Errorf("delete old evidence: %w", err)
	}
	s.cfg.Told(events)
	if names, err = s.unnamed(ctx, names); err != nil {
		return err
	}
	return s.remove(ctx, names, now.Add(-justPut))
}

// mark marks rows as deleted, sums them up, and gives the files that they name.
func (d *Deletion) mark(ctx context.Context, tx *sql.Tx, query string, args ...any) (names []string, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	events := map[string]bool{}
	for rows.Next() {
		var event, sha, marked string
		var expected, size int64
		if err := rows.Scan(&event, &sha, &marked, &expected, &size); err != nil {
			return nil, err
		}
		for _, name := range []string{sha, marked} {
			if name != "" {
				names = append(names, name)
				d.Files++
			}
		}
		events[event] = true
		d.Bytes += size
		at := time.UnixMilli(expected).UTC()
		if d.From.IsZero() || at.Before(d.From) {
			d.From = at
		}
		if at.After(d.To) {
			d.To = at
		}
	}
	d.Events = len(events)
	return names, rows.Err()
}

// deletedOn says when and why a file was deleted.
func deletedOn(at time.Time, why string) *devices.Problem {
	day := at.In(devices.Beijing).Format("2006-01-02")
	if why == Disk {
		return unavailable("evidence_deleted_disk", "磁盘空间不足，文件已于 "+day+"（北京时间）提前删除；哈希与清单仍保留", "deleted on "+day+" (Beijing time), before its time, as the disk was nearly full; its hash and the manifest are kept")
	}
	return unavailable("evidence_deleted", "已过保存期，文件已于 "+day+"（北京时间）删除；哈希与清单仍保留", "deleted by retention on "+day+" (Beijing time); its hash and the manifest are kept")
}

// Hold keeps the evidence of an event whatever its age, until somebody releases it.
type Hold struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

// longestReason bounds the reason of a Hold, characters.
const longestReason = 500

// Hold holds the evidence of an event, in place of a hold that stands. Its At is now.
func (*Collector) Hold(ctx context.Context, tx *sql.Tx, event string, h Hold) error {
	h.Reason = strings.TrimSpace(h.Reason)
	if h.Reason == "" || !utf8.ValidString(h.Reason) || utf8.RuneCountInString(h.Reason) > longestReason {
		return devices.Invalid("reason", "missing", "请写明保全原因，最长 500 个字", "say in at most 500 characters why it is held")
	}
	if _, err := tx.ExecContext(ctx, sqlHold, event, h.By, time.Now().UnixMilli(), h.Reason); err != nil {
		return fmt.Errorf("hold evidence of event %s: %w", event, err)
	}
	return nil
}

// Release ends a hold. It returns ErrNotFound where there is none.
func (*Collector) Release(ctx context.Context, tx *sql.Tx, event string) error {
	res, err := tx.ExecContext(ctx, sqlRelease, event)
	if err != nil {
		return fmt.Errorf("release evidence of event %s: %w", event, err)
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return &devices.Problem{Kind: devices.ErrNotFound, Code: "not_held", ZH: "该事件的证据没有被保全，无需解除", EN: "the evidence of this event is not held; nothing is left to release"}
}

// Held gives the hold of an event, or nil.
func (c *Collector) Held(ctx context.Context, event string) (*Hold, error) {
	var h Hold
	var at int64
	err := c.db.Read().QueryRowContext(ctx, sqlHeld, event).Scan(&h.By, &at, &h.Reason)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // no hold is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("hold of event %s: %w", event, err)
	}
	h.At = time.UnixMilli(at).UTC()
	return &h, nil
}
