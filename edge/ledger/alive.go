package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"offsite/devices"
)

// Gateway is the gateway itself as the subject of a gap: while it did
// not run it missed what devices without a memory of their own would have said.
const Gateway = "gateway"

// Alive notes that the gateway runs, or that it stops in good order, and which
// time a reading that is received now gets.
func (g *Ledger) Alive(ctx context.Context, now, stamp time.Time, stops bool) error {
	if !g.resumed.Load() { // how long it was away is still to be told
		return nil
	}
	return g.db.Update(ctx, func(tx *sql.Tx) error { return saveAlive(ctx, tx, now, stamp, stops) })
}

func saveAlive(ctx context.Context, tx *sql.Tx, now, stamp time.Time, stops bool) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO alive (id, at_ms, stamp_ms, stopped) VALUES (1, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET at_ms = excluded.at_ms, stamp_ms = excluded.stamp_ms, stopped = excluded.stopped`, now.UnixMilli(), stamp.UnixMilli(), stops)
	return err
}

// Past is what is known of the former run. All of it is zero at a first start.
type Past struct {
	Last  time.Time // by its clock, when it ran last
	Stamp time.Time // the newest time that it noted to have given a reading at receipt

	stopped bool
}

// Resume tells how long the gateway itself was away: from the last that is
// known of its former run, be it a note of Alive or heard, the receipt of the
// log's last reading, to now. What the former run left open ends now too:
// whatever still fails will be told again.
func (g *Ledger) Resume(ctx context.Context, heard, now time.Time) (past Past, err error) {
	err = g.db.Update(ctx, func(tx *sql.Tx) (err error) {
		if past, err = lastAlive(ctx, tx); err != nil {
			return err
		}
		if heard.After(past.Last) {
			past.Last, past.stopped = heard, false
		}
		if _, err := tx.ExecContext(ctx, `UPDATE losses SET open = 0, to_ms = max(to_ms, ?) WHERE open = 1`, now.UnixMilli()); err != nil {
			return err
		}
		if !past.Last.IsZero() && past.Last.Before(now) {
			if err := Put(ctx, tx, Loss{Kind: LossGap, Subject: Gateway, Why: away(past.stopped), From: past.Last, To: now, Count: 1}); err != nil {
				return err
			}
		}
		return saveAlive(ctx, tx, now, latest(past.Stamp, now), false)
	})
	if err != nil {
		return Past{}, fmt.Errorf("tell of the time since the last run: %w", err)
	}
	g.resumed.Store(true)
	return past, nil
}

func lastAlive(ctx context.Context, tx *sql.Tx) (Past, error) {
	var p Past
	var at, stamp int64
	err := tx.QueryRowContext(ctx, `SELECT at_ms, stamp_ms, stopped FROM alive`).Scan(&at, &stamp, &p.stopped)
	if errors.Is(err, sql.ErrNoRows) {
		return Past{}, nil
	}
	p.Last, p.Stamp = time.UnixMilli(at).UTC(), time.UnixMilli(stamp).UTC()
	return p, err
}

func away(stopped bool) *devices.Problem {
	if stopped {
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: codeStopped,
			ZH: "网关曾停止运行，其间不能自行保存数据的设备没有读数；若非计划停机，请查明原因",
			EN: "the gateway was stopped; of devices that keep no data themselves there are no readings from that time; find out why if nobody meant it",
		}
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "gateway_cut_off",
		ZH: "网关曾非正常中断（断电、崩溃或被强制结束），其间不能自行保存数据的设备没有读数；请检查电源与系统日志",
		EN: "the gateway was cut off (power, crash or kill); of devices that keep no data themselves there are no readings from that time; check the power and the system's log",
	}
}
