package health

import (
	"bytes"
	"compress/flate"
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"offsite/devices/state"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	saveEvery  = 5 * time.Minute
	mostCounts = 64 << 20 // bytes of one row's JSON
)

// Open makes the table and takes up what the former run had counted. Nothing
// is known of what is bound before Follow.
func Open(ctx context.Context, db *state.DB, log *slog.Logger) (*Tracker, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open health: %w", err)
	}
	if err := db.Migrate(ctx, "health", sub); err != nil {
		return nil, fmt.Errorf("open health: %w", err)
	}
	t := newTracker()
	t.db, t.log = db, log
	return t, t.load(ctx)
}

// Run writes the counts until ctx ends, then once more.
func (t *Tracker) Run(ctx context.Context) error {
	ticker := time.NewTicker(saveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := t.save(ctx); err != nil && ctx.Err() == nil {
				t.log.WarnContext(ctx, "counts of health not written", "err", err)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := t.save(last); err != nil {
				t.log.WarnContext(last, "counts of health not written", "err", err)
			}
			return context.Cause(ctx)
		}
	}
}

// keptDevice is a row of the table.
type keptDevice struct {
	Device tally            `json:"device"`
	Polled bool             `json:"polled"`
	Took   []uint32         `json:"took"`
	Next   int              `json:"next"`
	Points map[string]tally `json:"points"`
}

// kept copies what is to be written, so that nobody waits for the disk.
func (t *Tracker) kept() map[string]*keptDevice {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := make(map[string]*keptDevice, len(t.byDevice))
	for id, d := range t.byDevice {
		rows[id] = &keptDevice{Device: d.tally, Polled: d.polled, Took: slices.Clone(d.took), Next: d.next, Points: map[string]tally{}}
	}
	for id, p := range t.byPoint {
		if row := rows[p.device]; row != nil {
			row.Points[id] = p.tally
		}
	}
	return rows
}

// save writes every device's row and deletes those of devices that are gone.
func (t *Tracker) save(ctx context.Context) error {
	var ids []string
	packed := map[string][]byte{}
	for id, row := range t.kept() {
		data, err := pack(row)
		if err != nil {
			return fmt.Errorf("write counts of %s: %w", id, err)
		}
		ids, packed[id] = append(ids, id), data
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return fmt.Errorf("write counts: %w", err)
	}
	return t.db.Update(ctx, func(tx *sql.Tx) error {
		for id, data := range packed {
			if _, err := tx.ExecContext(ctx, `INSERT INTO health (device, counts) VALUES (?, ?) ON CONFLICT (device) DO UPDATE SET counts = excluded.counts`, id, data); err != nil {
				return fmt.Errorf("write counts of %s: %w", id, err)
			}
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM health WHERE device NOT IN (SELECT value FROM json_each(?))`, string(list))
		return err
	})
}

// load takes up every row. One that cannot be read must not keep the gateway
// from starting: it counts from nothing.
func (t *Tracker) load(ctx context.Context) error {
	rows, err := t.db.Read().QueryContext(ctx, `SELECT device, counts FROM health`)
	if err != nil {
		return fmt.Errorf("read counts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var data []byte
		if err := rows.Scan(&id, &data); err != nil {
			return fmt.Errorf("read counts: %w", err)
		}
		row, err := unpack(data)
		if err != nil {
			t.log.WarnContext(ctx, "counts of health begin anew", "device", id, "err", err)
			continue
		}
		t.byDevice[id] = &deviceHealth{tally: row.Device, polled: row.Polled, took: row.Took, next: row.Next}
		for point, y := range row.Points {
			t.byPoint[point] = &pointHealth{tally: y}
		}
	}
	return rows.Err()
}

func pack(row *keptDevice) ([]byte, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	if err := json.NewEncoder(w).Encode(row); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func unpack(data []byte) (*keptDevice, error) {
	var row keptDevice
	if err := json.NewDecoder(io.LimitReader(flate.NewReader(bytes.NewReader(data)), mostCounts)).Decode(&row); err != nil {
		return nil, fmt.Errorf("read counts: %w", err)
	}
	if len(row.Took) > keptAnswers || row.Next < 0 || row.Next >= keptAnswers || (len(row.Took) < keptAnswers && row.Next != len(row.Took)) {
		row.Took, row.Next = nil, 0
	}
	return &row, nil
}

// keptTally is a tally as it is written.
type keptTally struct {
	ShortAt int64         `json:"short_at"`
	Short   [12][2]uint32 `json:"short"`
	LongAt  int64         `json:"long_at"`
	Long    [24][2]uint32 `json:"long"`
}

// MarshalJSON writes the slots as pairs.
func (t tally) MarshalJSON() ([]byte, error) {
	k := keptTally{ShortAt: t.shortAt, LongAt: t.longAt}
	for i, c := range t.short {
		k.Short[i] = [2]uint32{c.OK, c.Bad}
	}
	for i, c := range t.long {
		k.Long[i] = [2]uint32{c.OK, c.Bad}
	}
	return json.Marshal(k)
}

// UnmarshalJSON reads them. Slots before the beginning of Unix time are none.
func (t *tally) UnmarshalJSON(data []byte) error {
	var k keptTally
	if err := json.Unmarshal(data, &k); err != nil {
		return err
	}
	if k.ShortAt < 0 || k.LongAt < 0 {
		return fmt.Errorf("slots %d and %d", k.ShortAt, k.LongAt)
	}
	*t = tally{shortAt: k.ShortAt, longAt: k.LongAt}
	for i, c := range k.Short {
		t.short[i] = Count{c[0], c[1]}
	}
	for i, c := range k.Long {
		t.long[i] = Count{c[0], c[1]}
	}
	return nil
}
