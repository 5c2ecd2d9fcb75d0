// Package request is what every handler does with a request, whatever it is about: it
// knows who asks, finds what the request names within their rights, reads query and
// body strictly, telling all that is wrong with them at once, and writes what was done
// into the audit trail.
package request

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/edge/audit"
)

// trail is where acts are written, as [audit.Log] keeps it.
type trail interface {
	Append(ctx context.Context, tx *sql.Tx, e audit.Entry) error
	Record(ctx context.Context, e audit.Entry) error
}

// Desk is what every part of the API asks: what is registered, within the rights of
// who asks, and the audit trail.
type Desk struct {
	Registry *registry.Registry
	Trail    trail
}

// Thing gives the live thing that the path names, if who asks may see it.
func (d *Desk) Thing(c echo.Context, kind devices.Kind) (devices.Thing, error) {
	return Visible(Who(c), d.Registry.Snapshot(), kind, c.Param("id"))
}

// Edit changes the registry and writes the trail in one transaction.
func (d *Desk) Edit(c echo.Context, fn func(ctx context.Context, e *registry.Edit) (audit.Entry, error)) error {
	ctx := c.Request().Context()
	return d.Registry.Update(ctx, func(e *registry.Edit) error {
		entry, err := fn(ctx, e)
		if err != nil {
			return err
		}
		return d.Trail.Append(ctx, e.Tx(), By(c, entry))
	})
}

// Record writes an act into the trail before it is answered, or before it is tried.
func (d *Desk) Record(c echo.Context, e audit.Entry) error {
	if err := d.Trail.Record(c.Request().Context(), By(c, e)); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// Also gives what writes an act into the trail in the transaction of the act itself,
// so that both stand or fall together.
func (d *Desk) Also(c echo.Context, e audit.Entry) func(context.Context, *sql.Tx) error {
	e = By(c, e)
	return func(ctx context.Context, tx *sql.Tx) error { return d.Trail.Append(ctx, tx, e) }
}

// Attempt tries a command with two rows in the trail: one before, so that nothing
// happens which cannot be audited, and one with what became of it.
func (d *Desk) Attempt(c echo.Context, e audit.Entry, try func(ctx context.Context) (detail string, err error)) error {
	ctx := c.Request().Context()
	asked := e
	asked.Result = "asked"
	if err := d.Record(c, asked); err != nil {
		return err
	}
	detail, err := try(ctx)
	e.Detail = strings.Trim(e.Detail+"; "+detail, "; ")
	if err != nil {
		e.Result = devices.AllProblems(err)[0].Code
	}
	// Whoever has left does not leave the trail without the end.
	if failed := d.Trail.Record(context.WithoutCancel(ctx), By(c, e)); failed != nil {
		return errors.Join(err, fmt.Errorf("audit: %w", failed))
	}
	return err
}

// Refused writes into the trail that a handler has refused a command, and gives why.
func (d *Desk) Refused(c echo.Context, e audit.Entry, why error) error {
	e.Result = devices.AllProblems(why)[0].Code
	if err := d.Record(c, e); err != nil {
		return err
	}
	return why
}

// By fills in who, from where and when.
func By(c echo.Context, e audit.Entry) audit.Entry {
	who := Who(c)
	e.At, e.Who, e.From = time.Now().UTC(), who.ID, who.From
	if e.Result == "" {
		e.Result = "ok"
	}
	return e
}
