package table

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"offsite/devices"
	"offsite/devices/registry"
)

// How says in what way a table is taken over.
type How struct {
	DryRun bool // tell what would happen and change nothing
	ByRow  bool // take the good rows although others are bad; else one fault keeps out all

	// May says why a thing may not become or be changed from what it is, nil
	// for nothing wrong. nil: everything may.
	May func(s *registry.Snapshot, t devices.Thing, isNew bool) *devices.Problem

	// Also runs in the same transaction when something was changed.
	Also func(ctx context.Context, e *registry.Edit, r *Outcome) error
}

// Outcome is what became of a table.
type Outcome struct {
	Rows, Created, Replaced, Unchanged int
	Faults                             []Fault // by line, at most 1,000
	More                               int     // faults beyond those
	Stored                             bool    // at least one thing was changed, for good
}

var errNotTaken = errors.New("not taken over")

// Import registers what the rows of t hold: new ids are created, known ones
// replaced, where a column that the file does not have keeps its value, and a
// secret that is left empty stays. An error means that nothing was decided
// about the rows; their faults are in the result.
func (t *Rows) Import(ctx context.Context, r *registry.Registry, how How) (Outcome, error) {
	var done Outcome
	err := r.Update(ctx, func(e *registry.Edit) error {
		w := &importing{table: t, how: how, edit: e, base: e.Snapshot(), lines: map[string]int{}}
		if err := w.rows(ctx); err != nil {
			return err
		}
		done = w.result()
		if how.DryRun || (!how.ByRow && len(done.Faults) > 0) {
			return errNotTaken
		}
		done.Stored = done.Created+done.Replaced > 0
		if done.Stored && how.Also != nil {
			return how.Also(ctx, e, &done)
		}
		return nil
	})
	if errors.Is(err, errNotTaken) {
		return done, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	return done, nil
}

// importing is one run over the rows of a table.
type importing struct {
	table                        *Rows
	how                          How
	edit                         *registry.Edit
	base                         *registry.Snapshot
	lines                        map[string]int // where an id stood first
	created, replaced, unchanged int
	bad                          map[int][]Fault // by row
}

// rows takes over every row. Those at fault are tried again once others have
// changed: two bindings may swap their registers.
func (w *importing) rows(ctx context.Context) error {
	w.bad = map[int][]Fault{}
	waiting := make([]int, len(w.table.rows))
	for i := range waiting {
		waiting[i] = i
	}
	const mostRounds = 3
	for range mostRounds {
		var again []int
		for _, i := range waiting {
			if err := ctx.Err(); err != nil {
				return err
			}
			faults, err := w.row(i)
			if err != nil {
				return err
			}
			if delete(w.bad, i); len(faults) > 0 {
				w.bad[i] = faults
				again = append(again, i)
			}
		}
		if len(again) == 0 || len(again) == len(waiting) {
			return nil
		}
		waiting = again
	}
	return nil
}

// row takes over one row, or tells its faults. An error is the database's.
func (w *importing) row(i int) ([]Fault, error) {
	r := w.table.rows[i]
	var found []Fault
	id := w.table.idOf(r)
	if first, twice := w.lines[id]; twice && id != "" && first != r.line {
		p := devices.Invalid("id", "named_twice", fmt.Sprintf("编号已在第 %d 行出现", first), fmt.Sprintf("the id stands on line %d already", first))
		return []Fault{w.table.fault(r, p)}, nil
	}
	w.lines[id] = r.line
	old := w.edit.Get(w.table.kind, id)
	fresh, found, err := w.table.thing(r, old)
	if err != nil || len(found) > 0 {
		return found, err
	}
	if old != nil && registry.Same(old, fresh) {
		w.unchanged++
		return nil, nil
	}
	if p := w.may(old, fresh); p != nil {
		return []Fault{w.table.fault(r, p)}, nil
	}
	if old == nil {
		err = w.edit.Create(fresh)
	} else {
		err = w.edit.Replace(fresh, old.Life().Version)
	}
	if err != nil {
		if w.edit.Broken() || !decided(err) {
			return nil, err
		}
		for _, p := range devices.AllProblems(err) {
			found = append(found, w.table.fault(r, p))
		}
		return found, nil
	}
	if old == nil {
		w.created++
	} else {
		w.replaced++
	}
	return nil, nil
}

// decided says that err is about the row, not about the database.
func decided(err error) bool {
	return errors.Is(err, devices.ErrInvalid) || errors.Is(err, devices.ErrConflict) || errors.Is(err, devices.ErrNotFound)
}

func (w *importing) may(old, fresh devices.Thing) *devices.Problem {
	if w.how.May == nil {
		return nil
	}
	if old != nil {
		if p := w.how.May(w.base, old, false); p != nil {
			return p
		}
	}
	return w.how.May(w.base, fresh, old == nil)
}

func (w *importing) result() Outcome {
	told := w.table.faults
	told.list = slices.Clone(told.list)
	for i := range w.table.rows {
		for _, f := range w.bad[i] {
			told.add(f)
		}
	}
	slices.SortStableFunc(told.list, func(a, b Fault) int { return a.Line - b.Line })
	return Outcome{
		Rows: len(w.table.rows), Created: w.created, Replaced: w.replaced, Unchanged: w.unchanged, Faults: told.list, More: told.more,
	}
}
