package registry

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"time"

	"offsite/devices"
)

// What happened to a thing, as the platform's resource list spells it.
const (
	opAdd    = "A"
	opUpdate = "U"
	opDelete = "D"
)

// Edit is a set of changes in the making. It belongs to the function that
// Update runs and must not outlive it.
type Edit struct {
	ctx context.Context // of the one call of Update that the edit lives in
	db  sealer
	tx  *sql.Tx
	now time.Time

	base     *Snapshot
	revision int64
	things   things                                 // inner maps are the base's until own holds their kind
	own      map[devices.Kind]bool                  //
	byPoint  map[string]map[string]*devices.Binding // live bindings of each point by id; nil until needed
	byDevice map[string]map[string]*devices.Binding // the same by device
	limits   map[string][]*devices.Limit            // live limits by point, "" for those of a kind of outlet; nil until needed
	broken   error                                  // a write that failed: the edit cannot be committed
	fresh    *Snapshot                              // of things, nil after a change
}

func newEdit(ctx context.Context, db sealer, tx *sql.Tx, base *Snapshot) *Edit {
	return &Edit{
		ctx: ctx, db: db, tx: tx, now: instant(time.Now()),
		base: base, revision: base.Revision, fresh: base,
		things: maps.Clone(base.things), own: make(map[devices.Kind]bool),
	}
}

// Tx is the transaction of the edit, for what must be stored together with it.
func (e *Edit) Tx() *sql.Tx { return e.tx }

// Snapshot gives all that is live as it stands inside the edit.
func (e *Edit) Snapshot() *Snapshot {
	if e.fresh == nil {
		e.fresh = newSnapshot(e.revision, maps.Clone(e.things))
		clear(e.own) // the snapshot now shares the maps
	}
	return e.fresh
}

// Get gives one live thing as it stands inside the edit, nil when there is
// none. It must not be changed.
func (e *Edit) Get(kind devices.Kind, id string) devices.Thing { return e.things[kind][id] }

// Broken says that a write has failed, so that nothing of the edit can be kept.
func (e *Edit) Broken() bool { return e.broken != nil }

func (e *Edit) changed() bool { return e.revision != e.base.Revision }

// Create registers t and fills in its Meta and, if it is empty, its id. It
// returns Problems of kind ErrInvalid that name every bad field and reference,
// or a Problem of kind ErrConflict, code id_used, when the id was ever used.
func (e *Edit) Create(t devices.Thing) error {
	if err := e.fillIn(t); err != nil {
		return err
	}
	if p := password(t); p != nil && p.Kept() {
		return hiddenPassword("password")
	}
	for field, p := range further(t) {
		if p.Kept() {
			return hiddenPassword(field)
		}
	}
	if err := e.check(t, nil); err != nil {
		return err
	}
	used, err := e.used(t.Kind(), t.Key())
	if err != nil {
		return err
	}
	if used {
		return idUsed(t)
	}
	*t.Life() = devices.Meta{Version: 1, Created: e.now, Updated: e.now}
	return e.put(opAdd, t)
}

// Replace puts t in the place of the live thing with its kind and id, of which
// the caller saw version. A password that is empty, and any secret as the API
// shows it, keeps the stored one. It returns Problems of kind ErrInvalid, or a Problem of kind
// ErrNotFound, or of kind ErrConflict with code version_changed.
func (e *Edit) Replace(t devices.Thing, version int64) error {
	old := e.Get(t.Kind(), t.Key())
	if old == nil {
		return NotFound(t.Kind(), t.Key())
	}
	if old.Life().Version != version {
		return versionChanged(old)
	}
	if p := password(t); p != nil && (*p == "" || p.Kept()) {
		*p = *password(old)
	}
	stored := further(old)
	for field, p := range further(t) {
		if !p.Kept() {
			continue
		}
		*p = ""
		if was := stored[field]; was != nil {
			*p = *was
		}
	}
	if b, ok := t.(*devices.Binding); ok {
		trimBinding(b, old.(*devices.Binding).From)
	}
	if err := e.check(t, old); err != nil {
		return err
	}
	*t.Life() = devices.Meta{Version: version + 1, Created: old.Life().Created, Updated: e.now}
	return e.put(opUpdate, t)
}

// Retire takes a thing out of use. It returns a Problem of kind ErrNotFound
// when no live thing has the id, or of kind ErrConflict, code in_use, which
// names the live things that refer to it.
func (e *Edit) Retire(kind devices.Kind, id string) error {
	old := e.Get(kind, id)
	if old == nil {
		return NotFound(kind, id)
	}
	if users := e.users(old); len(users) > 0 {
		return inUse(old, users)
	}
	for _, b := range e.bindingsOf(kind, id) {
		if err := e.Retire(devices.KindBinding, b.ID); err != nil {
			return err
		}
	}
	t, err := Clone(old)
	if err != nil {
		return err
	}
	m := t.Life()
	m.Version, m.Updated, m.Retired = m.Version+1, e.now, &e.now
	if b, ok := t.(*devices.Binding); ok && b.From.Before(e.now) && (b.To == nil || b.To.After(e.now)) {
		b.To = &e.now
	}
	return e.put(opDelete, t)
}

// put stores a copy of t and keeps it, or forgets it when it is retired.
func (e *Edit) put(op string, t devices.Thing) error {
	t, err := Clone(t)
	if err != nil {
		return err
	}
	if err := e.store(op, t); err != nil {
		e.broken = err
		return err
	}
	kind := t.Kind()
	if !e.own[kind] {
		e.things[kind] = maps.Clone(e.things[kind])
		e.own[kind] = true
	}
	old := e.things[kind][t.Key()]
	if op == opDelete {
		delete(e.things[kind], t.Key())
	} else {
		e.things[kind][t.Key()] = t
	}
	switch kind {
	case devices.KindBinding:
		e.reindex(old, t, op)
	case devices.KindLimit:
		e.limits = nil
	}
	e.fresh = nil
	return nil
}

// fillIn makes the id and the times that the caller left empty.
func (e *Edit) fillIn(t devices.Thing) error {
	if b, ok := t.(*devices.Binding); ok {
		trimBinding(b, e.now)
	}
	id := idField(t)
	if id == nil || *id != "" {
		return nil
	}
	for range 10 {
		*id = newID(t)
		used, err := e.used(t.Kind(), *id)
		if err != nil || !used {
			return err
		}
	}
	return fmt.Errorf("make an id for a %s: ten in a row were used", t.Kind())
}

// trimBinding brings the times to their resolution; a start left empty is from.
func trimBinding(b *devices.Binding, from time.Time) {
	if b.From.IsZero() {
		b.From = from
	}
	b.From = instant(b.From)
	if b.To != nil {
		to := instant(*b.To)
		b.To = &to
	}
}
