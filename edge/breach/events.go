package breach

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"offsite/devices"
)

// Pages of a listing.
const (
	defaultPage = 100
	largestPage = 1000
)

// Filter chooses events. What is empty does not choose.
type Filter struct {
	Sites  []string  // ids; nil means every site, empty but not nil means none
	Point  string    // id
	What   string    // breach: of a point; camera, recognised: of a camera, any of these; else its Limit, such as camera_lost
	Camera *Seen     // of what it sees
	Device []Span    // of the points that it measured; nil means any, empty but not nil means none
	State  string    // open, closed, unacknowledged
	From   time.Time // StartedAt in [From, To)
	To     time.Time
	Before string // the Place in the list of the last event seen; the page begins behind it
	Max    int    // 0 means 100; at most 1,000
}

// Seen is what a camera has to do with: itself, and the points of the outlets that it watches.
type Seen struct {
	Camera  string
	Outlets []string
}

// Span is a time in [From, To) in which a point was measured by a device.
type Span struct {
	Point    string
	From, To time.Time // a zero To does not end
}

// Cursor is the event's place in the list, for Filter.Before.
func (ev *Event) Cursor() string {
	return strconv.FormatInt(ev.StartedAt.UnixMilli(), 10) + "." + ev.ID
}

// Events lists what f chooses, newest start first.
func (e *Engine) Events(ctx context.Context, f Filter) ([]Event, error) {
	where, args, err := f.where()
	if err != nil {
		return nil, err
	}
	page := f.Max
	if page <= 0 {
		page = defaultPage
	}
	events, err := e.query(ctx, e.db.Read(), sqlEvents+where+sqlEventOrder, append(args, min(page, largestPage))...)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	return events, nil
}

// Event gives one event, or ErrNotFound.
func (e *Engine) Event(ctx context.Context, id string) (Event, error) {
	ev, err := e.queryOne(ctx, e.db.Read(), sqlEvent, id)
	return ev, found(id, err)
}

// where writes the filter as SQL.
func (f *Filter) where() (string, []any, error) {
	terms := []string{"1 = 1"}
	var args []any
	add := func(term string, values ...any) {
		terms = append(terms, term)
		args = append(args, values...)
	}
	if f.Sites != nil {
		add("site IN (SELECT value FROM json_each(?))", jsonList(f.Sites))
	}
	if f.Point != "" {
		add("point = ?", f.Point)
	}
	f.whose(add)
	switch f.State {
	case "":
	case "open":
		add("ended_at IS NULL")
	case "closed":
		add("ended_at IS NOT NULL")
	case "unacknowledged":
		add("acknowledged_at IS NULL")
	default:
		return "", nil, devices.Invalid("state", "not_one_of", "请选择 open、closed 或 unacknowledged", "choose open, closed or unacknowledged")
	}
	if !f.From.IsZero() {
		add("started_at >= ?", f.From.UnixMilli())
	}
	if !f.To.IsZero() {
		add("started_at < ?", f.To.UnixMilli())
	}
	if f.Before != "" {
		ms, id, ok := strings.Cut(f.Before, ".")
		at, err := strconv.ParseInt(ms, 10, 64)
		if !ok || err != nil {
			return "", nil, devices.Invalid("before", "bad_cursor", "翻页位置无效，请使用上一页给出的值", "use the cursor that the page before gave")
		}
		add("(started_at, id) < (?, ?)", at, id)
	}
	return strings.Join(terms, " AND "), args, nil
}

// whose adds the terms of what the events are about.
func (f *Filter) whose(add func(term string, values ...any)) {
	switch f.What {
	case "":
	case "breach":
		add("point <> ''")
	default:
		add("point = '' AND (limit_id = ? OR instr(limit_id, ?) = 1)", f.What, f.What+"_")
	}
	if f.Camera != nil {
		add("(frozen ->> 'camera' = ? OR point <> '' AND frozen ->> 'outlet' IN (SELECT value FROM json_each(?)))", f.Camera.Camera, jsonList(f.Camera.Outlets))
	}
	if f.Device != nil {
		add("EXISTS (SELECT 1 FROM json_each(?) WHERE point = value ->> 0 AND started_at >= value ->> 1 AND started_at < value ->> 2)", jsonList(f.spans()))
	}
}

// spans gives each as its point, first and end in Unix milliseconds.
func (f *Filter) spans() [][3]any {
	list := make([][3]any, 0, len(f.Device))
	for _, s := range f.Device {
		end := int64(math.MaxInt64)
		if !s.To.IsZero() {
			end = s.To.UnixMilli()
		}
		list = append(list, [3]any{s.Point, s.From.UnixMilli(), end})
	}
	return list
}

func jsonList[T any](words []T) string {
	text, _ := json.Marshal(words) // texts and whole numbers always marshal
	return string(text)
}

// querier is what a transaction and the read pool have in common.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (e *Engine) query(ctx context.Context, q querier, query string, args ...any) ([]Event, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	events := []Event{}
	for rows.Next() {
		ev, err := scanEvent(rows)
		if err != nil {
			return nil, err
		}
		events = append(events, ev)
	}
	return events, rows.Err()
}

// queryOne gives the one event that the query finds, or sql.ErrNoRows.
func (e *Engine) queryOne(ctx context.Context, q querier, query string, args ...any) (Event, error) {
	events, err := e.query(ctx, q, query, args...)
	if err != nil {
		return Event{}, err
	}
	if len(events) == 0 {
		return Event{}, sql.ErrNoRows
	}
	return events[0], nil
}

func scanEvent(rows *sql.Rows) (Event, error) {
	var (
		ev                  Event
		started, peak       int64
		original            sql.NullFloat64
		ended, acknowledged sql.NullInt64
		by, note            string
		text                []byte
		f                   frozen
	)
	err := rows.Scan(&ev.ID, &ev.Revision, &ev.Site, &ev.Point, &ev.Limit, &started, &ev.Value, &original, &ev.Peak, &peak,
		&ended, &ev.EndReason, &acknowledged, &by, &note, &ev.Evidence, &text)
	if err != nil {
		return Event{}, err
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return Event{}, fmt.Errorf("event %s: %w", ev.ID, err)
	}
	ev.thaw(f)
	ev.StartedAt, ev.PeakAt = milli(started), milli(peak)
	if original.Valid {
		ev.Original = &original.Float64
	}
	if ended.Valid {
		at := milli(ended.Int64)
		ev.EndedAt = &at
	}
	if acknowledged.Valid {
		ev.Acknowledgment = &Acknowledgment{By: by, At: milli(acknowledged.Int64), Note: note}
	}
	ev.settle()
	return ev, nil
}

// found names the event in an error.
func found(id string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return &devices.Problem{
			Kind: devices.ErrNotFound, Code: "event_not_found", Field: "id",
			ZH: "没有编号为 " + id + " 的事件", EN: "there is no event " + id,
		}
	default:
		return fmt.Errorf("event %s: %w", id, err)
	}
}

func alreadyAcknowledged(ev Event) *devices.Problem {
	by := ev.Acknowledgment.By
	return &devices.Problem{
		Kind: devices.ErrConflict, Code: "already_acknowledged",
		ZH: "该事件已由 " + by + " 确认，无需再次确认", EN: by + " has already acknowledged this event; nothing is left to do",
	}
}

func checkNote(note string) *devices.Problem {
	if utf8.ValidString(note) && utf8.RuneCountInString(note) <= 1000 {
		return nil
	}
	return devices.Invalid("note", "too_long", "备注须为文字，最长 1000 个字", "write a note of at most 1,000 characters")
}
