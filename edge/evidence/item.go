package evidence

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/clip"
)

// Kinds of pieces.
const (
	Still = "still"
	Clip  = "clip"
)

// Item is one piece of evidence of one event, or the reason why there is none.
type Item struct {
	Event      string
	Camera     string
	Kind       string        // still, clip
	Moment     time.Duration // from the breach, that was wanted of a still; zero of a clip
	State      string        // pending, attached, none
	SHA256     string        // of the file in the vault, lower-case hex
	Marked     string        // of the copy with the watermark burnt in; empty: there is none
	CapturedAt time.Time     // of a clip: its first picture; by the gateway's clock
	Distance   time.Duration // CapturedAt minus the breach; negative: taken before it
	DeletedAt  time.Time     // its file; zero: it was not
	Problem    *devices.Problem
	details
}

// details are what is known of a piece besides; the JSON of one column, to which
// fields may be added.
type details struct {
	MediaType   string             `json:"media_type,omitempty"` // image/jpeg, or video/mp4: a clip, or a picture that could not be decoded here
	Size        int64              `json:"size,omitempty"`       // bytes
	TakenAt     time.Time          `json:"taken_at,omitzero"`    // as CapturedAt, by the clock of TimeSource
	TimeSource  streams.TimeSource `json:"time_source,omitempty"`
	ClockOffset *int64             `json:"clock_offset,omitempty"` // the camera's clock less the gateway's, milliseconds; nil: not known
	Step        string             `json:"step,omitempty"`         // of the ladder that gave a still
	Width       int                `json:"width,omitempty"`
	Height      int                `json:"height,omitempty"`
	Until       time.Time          `json:"until,omitzero"` // end of a clip
	Frames      int                `json:"frames,omitempty"`
	Codec       streams.Codec      `json:"codec,omitempty"`
	Gaps        []clip.Span        `json:"gaps,omitempty"`
}

// timed notes whose clock told when a picture was taken.
func (d *details) timed(taken time.Time, source streams.TimeSource, clock streams.Clock) {
	d.TakenAt, d.TimeSource = taken.UTC().Truncate(time.Millisecond), source
	if source == "" {
		d.TakenAt, d.TimeSource = time.Time{}, streams.ArrivalTime
	}
	if clock.Known {
		offset := clock.Offset.Milliseconds()
		d.ClockOffset = &offset
	}
}

// Result is what became of an event's evidence, so far or for good.
type Result struct {
	Event    string
	State    string // pending while nothing is there yet, attached or none
	Complete bool   // nothing is wanted any more
	Items    []Item
	Manifest string           // SHA-256; empty before it is complete, and without files
	Size     int64            // of the manifest, bytes
	Problem  *devices.Problem // why there is none at all
}

// Blobs gives the hashes of all files, each once.
func (r Result) Blobs() []string {
	var out []string
	seen := map[string]bool{"": true}
	add := func(sha string) {
		if !seen[sha] {
			out = append(out, sha)
		}
		seen[sha] = true
	}
	for _, it := range r.Items {
		add(it.SHA256)
		add(it.Marked)
	}
	add(r.Manifest)
	return out
}

// resultOf puts the rows of one event together. The row that says that there
// is no camera is not an item.
func resultOf(event string, rows []Item) Result {
	r := Result{Event: event, Complete: true}
	for _, it := range rows {
		r.Complete = r.Complete && it.State != Pending
		if it.State == Attached || r.State == "" || (it.State == Pending && r.State == None) {
			if r.State != Attached {
				r.State = it.State
			}
		}
		if it.State == None && r.Problem == nil {
			r.Problem = it.Problem
		}
		if it.Camera != "" {
			r.Items = append(r.Items, it)
		}
	}
	if r.State != None {
		r.Problem = nil
	}
	return r
}

// early says that the stills up to the breach are settled.
func early(rows []Item) bool {
	for _, it := range rows {
		if isEarly(it.Kind, it.Moment) && it.State == Pending {
			return false
		}
	}
	return true
}

func isEarly(kind string, moment time.Duration) bool { return kind == Still && moment <= 0 }

// querier is what a transaction and the read pool have in common.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func queryItems(ctx context.Context, q querier, query, arg string) ([]Item, error) {
	rows, err := q.QueryContext(ctx, query, arg)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var items []Item
	for rows.Next() {
		var it Item
		var breach, moment int64
		var captured, deleted sql.NullInt64
		var reason string
		var about, why []byte
		if err := rows.Scan(&it.Event, &it.Camera, &it.Kind, &moment, &breach, &it.State, &it.SHA256, &it.Marked, &captured, &about, &why, &deleted, &reason); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(about, &it.details); err != nil {
			return nil, fmt.Errorf("piece of event %s: %w", it.Event, err)
		}
		it.Moment = time.Duration(moment) * time.Millisecond
		if captured.Valid {
			it.CapturedAt = time.UnixMilli(captured.Int64).UTC()
			it.Distance = time.Duration(captured.Int64-breach) * time.Millisecond
		}
		if why != nil {
			it.Problem = devices.ReadStored(why)
		}
		if deleted.Valid {
			it.DeletedAt = time.UnixMilli(deleted.Int64).UTC()
			it.Problem = deletedOn(it.DeletedAt, reason)
		}
		items = append(items, it)
	}
	return items, rows.Err()
}
