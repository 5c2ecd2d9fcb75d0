package breach

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/timeseries"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Rules are the limits in force, as one snapshot of the registry has them.
type Rules interface {
	// LimitsOf gives the limits of a point, always in the same order.
	LimitsOf(point string) []*devices.Limit
}

// Directory tells what an event says of the place it happened at.
type Directory interface {
	// Describe gives what is registered of a live point at the time at, and
	// false for a point that is not there.
	Describe(point string, at time.Time) (Place, bool)
}

// Place is what the registry knows of a point.
type Place struct {
	USCC     string // of the entity that answers for the site
	Region   string // its region code, GB/T 2260
	Site     string
	Outlet   string
	Factor   string
	Unit     string
	Measured bool // a device is bound to the point

	Maintained bool // it, or its device, is under maintenance: its readings are not to be judged
}

// Config of an Engine.
type Config struct {
	Directory Directory    // nil: events tell only what reading and limit say
	Log       *slog.Logger // nil means silence
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

type alarmKey struct{ limit, point string }

// Engine judges. Observe, Reconcile, Save, Saved and Reload belong to one
// goroutine, the follower of the log; all else may be called from anywhere.
type Engine struct {
	db     *state.DB
	cfg    Config
	cursor atomic.Uint64

	alarms map[alarmKey]*alarm
	dirty  []*alarm   // differ from what is stored
	gone   []alarmKey // forgotten since the last commit
	saving saving
}

// saving is what the last Save wrote, until Saved says that it is committed.
type saving struct {
	full   bool
	cursor uint64
	alarms []*alarm
}

// Open makes the tables and loads states and cursor.
func Open(ctx context.Context, db *state.DB, cfg Config) (*Engine, error) {
	cfg.setDefaults()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("breach: %w", err)
	}
	if err := db.Migrate(ctx, "breach", files); err != nil {
		return nil, fmt.Errorf("breach: %w", err)
	}
	e := &Engine{db: db, cfg: cfg}
	if err := e.Reload(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// Cursor is the sequence up to which everything is judged and stored.
func (e *Engine) Cursor() uint64 { return e.cursor.Load() }

// Observe judges the readings of one record, which must come in log order from
// [Engine.Cursor] on, and tells what became of the alarms. It works in memory;
// [Engine.Save] stores the outcome.
func (e *Engine) Observe(rec timeseries.Record, rules Rules) []Transition {
	var out []Transition
	for i := range rec.Readings {
		r := &rec.Readings[i]
		limits := rules.LimitsOf(r.Point)
		if len(limits) == 0 || !r.Quality.Usable() || (r.Repeat && r.Stamped) {
			continue
		}
		for _, l := range limits {
			if l.Averaging == devices.AveragingInstant && !excludes(l, r.Mark) {
				out = e.judge(out, &rec, r, l)
			}
		}
	}
	return out
}

// judge moves one alarm by one reading.
func (e *Engine) judge(out []Transition, rec *timeseries.Record, r *devices.Reading, l *devices.Limit) []Transition {
	a := e.alarms[alarmKey{l.ID, r.Point}]
	if !inForce(l, r.At) {
		return e.outlive(out, a, rec, r, l)
	}
	if a == nil {
		a = e.add(&alarm{limit: l.ID, point: r.Point, at: never, since: never})
	}
	at := r.At.UnixMilli()
	switch {
	case rec.Seq <= a.floor:
		return out
	case at <= a.at:
		return e.correct(out, a, rec, r, l)
	}
	e.touch(a, rec.Seq, at)
	if a.adopt(l) {
		out = append(out, Transition{Event: a.end(EndLimitChanged, r.At), Step: Closed})
	}
	if a.event == nil {
		if since := a.since; a.opens(l, r.Value, at) {
			out = append(out, Transition{Event: e.open(a, rec, r, l, since), Step: Opened})
		}
		return out
	}
	if a.recovers(l, r.Value, at) {
		return append(out, Transition{Event: a.end(EndRecovered, r.At), Step: Closed})
	}
	if a.climb(l, r.Value, at) {
		out = append(out, Transition{Event: *a.event, Step: Updated})
	}
	return out
}

// outlive ends an event whose limit is no longer in force at a newer reading.
func (e *Engine) outlive(out []Transition, a *alarm, rec *timeseries.Record, r *devices.Reading, l *devices.Limit) []Transition {
	at := r.At.UnixMilli()
	if a == nil || a.event == nil || rec.Seq <= a.floor || at <= a.at {
		return out
	}
	reason := EndLimitExpired
	if !expired(l, r.At) { // it was replaced by one that begins later
		reason = EndLimitChanged
	}
	e.touch(a, rec.Seq, at)
	return append(out, Transition{Event: a.end(reason, r.At), Step: Closed})
}

// open makes the event of an alarm whose on-delay has passed; since is when
// the breach began, or never if it did with this very reading.
func (e *Engine) open(a *alarm, rec *timeseries.Record, r *devices.Reading, l *devices.Limit, since int64) Event {
	at := r.At.UnixMilli()
	if since == never {
		since = at
	}
	place := e.place(r)
	unit := l.Unit
	if unit == "" {
		unit = place.Unit
	}
	ev := &Event{
		ID: eventID(l.ID, r.Point, rec.Seq, at), Kind: KindAlarm,
		USCC: place.USCC, Region: place.Region, Site: place.Site, Outlet: place.Outlet, Point: r.Point, Factor: place.Factor,
		Value: r.Value, Peak: r.Value, PeakAt: milli(at), Unit: unit,
		Averaging: l.Averaging, Limit: l.ID, LimitValue: l.Value, Level: l.Level, Standard: l.Standard, Clause: l.Clause,
		RuleVersion: l.Version, RegItem: l.RegItem, Mark: r.Mark, ValidRatio: 1,
		Since: milli(since), StartedAt: milli(at), ReceivedAt: milli(rec.Received.UnixMilli()),
		Evidence: EvidencePending, Seq: rec.Seq,
	}
	ev.settle()
	a.event, a.last, a.told, a.since = ev, ev.ID, r.Value, never
	return *ev
}

// place describes the reading's point as well as it is known.
func (e *Engine) place(r *devices.Reading) Place {
	if e.cfg.Directory != nil {
		if p, ok := e.cfg.Directory.Describe(r.Point, r.At); ok {
			return p
		}
	}
	outlet, _ := devices.SplitPoint(r.Point)
	return Place{Site: r.Site, Outlet: outlet}
}

// correct tells when a reading changes the one that opened the event which
// still stands. The alarm itself does not move.
func (e *Engine) correct(out []Transition, a *alarm, rec *timeseries.Record, r *devices.Reading, l *devices.Limit) []Transition {
	ev := a.event
	if ev == nil || !r.At.Equal(ev.StartedAt) || r.Value == ev.Value || rec.Seq <= ev.Seq {
		return out
	}
	if ev.Original == nil {
		first := ev.Value
		ev.Original = &first
	}
	ev.Value = r.Value
	if ev.PeakAt.Equal(ev.StartedAt) || distance(l, ev.LimitValue, r.Value) > distance(l, ev.LimitValue, ev.Peak) {
		ev.Peak, ev.PeakAt, a.peaked = r.Value, ev.StartedAt, true
	}
	e.touch(a, rec.Seq, a.at)
	return append(out, Transition{Event: *ev, Step: Corrected})
}

// Reconcile ends the events whose limit or point is no longer there, or which
// nothing measures any more, at the gateway's time at. It is to be called
// after each change of the registry and once at start, before Observe.
func (e *Engine) Reconcile(rules Rules, at time.Time) []Transition {
	var out []Transition
	at = milli(at.UnixMilli())
	for _, a := range e.sorted() {
		reason, forget := e.unfounded(a, rules, at)
		if reason == "" {
			continue
		}
		switch {
		case a.event != nil:
			out = append(out, Transition{Event: a.end(reason, at), Step: Closed})
			e.mark(a)
		case a.since != never: // a breach that is pending begins anew
			a.since = never
			e.mark(a)
		}
		if forget {
			e.forget(a)
		}
	}
	return out
}

// unfounded says why an alarm cannot stand, and whether its state is to be
// forgotten; an empty reason means that it can.
func (e *Engine) unfounded(a *alarm, rules Rules, at time.Time) (reason string, forget bool) {
	var l *devices.Limit
	for _, candidate := range rules.LimitsOf(a.point) {
		if candidate.ID == a.limit {
			l = candidate
		}
	}
	if l != nil && a.event == nil && a.since == never {
		return "", false // nothing to end, so the directory need not be asked
	}
	place, known := Place{Measured: true}, true
	if e.cfg.Directory != nil {
		place, known = e.cfg.Directory.Describe(a.point, at)
	}
	switch {
	case !known:
		return EndPointRetired, true
	case l == nil:
		return EndLimitRetired, true
	case expired(l, at):
		return EndLimitExpired, false
	case !place.Measured:
		return EndNotMeasured, false
	case place.Maintained:
		return EndMaintenance, false
	default:
		return "", false
	}
}

// touch notes that a reading was judged.
func (e *Engine) touch(a *alarm, seq uint64, at int64) {
	a.seq, a.at = seq, at
	e.mark(a)
}

// sorted gives the alarms in an order that is always the same.
func (e *Engine) sorted() []*alarm {
	return slices.SortedFunc(maps.Values(e.alarms), func(a, b *alarm) int {
		return cmp.Or(cmp.Compare(a.point, b.point), cmp.Compare(a.limit, b.limit))
	})
}

func (e *Engine) add(a *alarm) *alarm {
	e.alarms[alarmKey{a.limit, a.point}] = a
	return a
}

// forget drops an alarm whose limit or point is gone for good.
func (e *Engine) forget(a *alarm) {
	key := alarmKey{a.limit, a.point}
	delete(e.alarms, key)
	e.gone = append(e.gone, key)
	if a.dirty {
		e.dirty = slices.DeleteFunc(e.dirty, func(b *alarm) bool { return a == b })
	}
}

// mark notes that an alarm differs from what is stored.
func (e *Engine) mark(a *alarm) {
	if !a.dirty {
		a.dirty = true
		e.dirty = append(e.dirty, a)
	}
}
