package registration

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/edge/audit"
	"offsite/gateway/api/request"
)

// registering is things being registered that belong together.
type registering struct {
	desk     *request.Desk
	c        echo.Context
	ctx      context.Context // of the one request
	edit     *registry.Edit
	before   *registry.Snapshot
	takeOver bool // ends the present bindings of the points
	at       time.Time
	result   tally
	ps       devices.Problems
}

// tally keeps what is registered and knows where a fault of what comes next
// stands.
type tally interface {
	add(t devices.Thing)
	field(t devices.Thing, name string) string
}

// register runs fn, which gives w the result, made afresh, and registers things one by
// one. It keeps them all, or none where anything is wrong with one of them. fn may run
// again.
func (a *API) register(c echo.Context, fn func(w *registering) error) error {
	ctx := c.Request().Context()
	return a.desk.Registry.Update(ctx, func(e *registry.Edit) error {
		w := &registering{desk: a.desk, c: c, ctx: ctx, edit: e, before: e.Snapshot(), at: time.Now().UTC().Truncate(time.Millisecond)}
		if err := fn(w); err != nil {
			return err
		}
		return w.ps.Err()
	})
}

// thing registers one and writes the trail. What is wrong with it is kept to be
// told with all others; an error ends the edit.
func (w *registering) thing(t devices.Thing) error {
	if p, ok := t.(*devices.Point); ok && w.before.Points[p.ID] != nil {
		w.known(p)
		return nil
	}
	if p := request.MayChange(request.Who(w.c), w.before, t, true); p != nil {
		w.tell(t, p)
		return nil
	}
	if b, ok := t.(*devices.Binding); ok {
		if len(w.ps) > 0 {
			return nil // what it refers to is missing for a reason that is told
		}
		b.From = w.at
		if w.takeOver {
			if err := w.release(b.Point); err != nil {
				return err
			}
		}
	}
	if _, ok := t.(*devices.Limit); ok && len(w.ps) > 0 {
		return nil
	}
	if err := w.edit.Create(t); err != nil {
		if !errors.Is(err, devices.ErrInvalid) && !errors.Is(err, devices.ErrConflict) {
			return err
		}
		for _, p := range devices.AllProblems(err) {
			w.tell(t, p)
		}
		return nil
	}
	w.result.add(t)
	return w.record(string(t.Kind())+".create", t, nil)
}

func (w *registering) tell(t devices.Thing, p *devices.Problem) {
	named := *p
	named.Field = w.result.field(t, p.Field)
	w.ps.Add(&named)
}

// known lets a point that exists go on with its history if it is the same
// quantity.
func (w *registering) known(p *devices.Point) {
	old := w.before.Points[p.ID]
	switch {
	case !request.Sees(request.Who(w.c), w.before, old):
		w.tell(p, request.MayChange(request.Who(w.c), w.before, old, false))
	case old.Factor != p.Factor || old.Unit != p.Unit:
		w.tell(p, devices.Invalid("id", "point_differs",
			fmt.Sprintf("测点“%s”已登记为 %s（%s）；请为新测点换一个编号，或先统一因子和单位", p.ID, old.Factor, old.Unit),
			fmt.Sprintf("point %q is registered already as %s in %q; give the new one another id, or make factor and unit agree first", p.ID, old.Factor, old.Unit)))
	default:
		w.result.add(old)
	}
}

// release ends the bindings of a point that hold now or later.
func (w *registering) release(point string) error {
	for _, t := range w.before.List(devices.KindBinding) {
		old := t.(*devices.Binding)
		if old.Point != point || (old.To != nil && !old.To.After(w.at)) {
			continue
		}
		if !old.From.Before(w.at) {
			if err := w.edit.Retire(devices.KindBinding, old.ID); err != nil {
				return err
			}
			if err := w.record("binding.retire", nil, old); err != nil {
				return err
			}
			continue
		}
		ended := *old
		ended.To = &w.at
		if err := w.edit.Replace(&ended, old.Version); err != nil {
			return err
		}
		if err := w.record("binding.replace", &ended, old); err != nil {
			return err
		}
	}
	return nil
}

func (w *registering) record(act string, after, before devices.Thing) error {
	entry := audit.Entry{Act: act}
	for t, hash := range map[devices.Thing]*string{after: &entry.After, before: &entry.Before} {
		if t != nil {
			entry.What = string(t.Kind()) + "/" + t.Key()
			*hash = audit.Hash(t)
		}
	}
	return w.desk.Trail.Append(w.ctx, w.edit.Tx(), request.By(w.c, entry))
}

// named makes an id of a name where there is none.
func (w *registering) named(kind devices.Kind, id *string, name string) (err error) {
	if *id == "" {
		*id, err = w.edit.Unused(kind, name)
	}
	return err
}
