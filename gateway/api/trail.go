package api

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
)

func (a *API) listAudit(c echo.Context) error {
	q := query{c: c}
	f := audit.Filter{
		Before: int64(q.number("before", 1<<62, 1<<62)), Max: q.number("max", 100, 1000),
		Who: q.text("who"), Act: q.text("act"), What: q.text("what"), From: q.time("from"), To: q.time("to"),
	}
	q.known("before", "max", "who", "act", "what", "from", "to")
	if err := q.ps.Err(); err != nil {
		return err
	}
	rows, err := a.Audit.Search(c.Request().Context(), f)
	if err != nil {
		return err
	}
	body := AuditList{Items: make([]AuditRow, len(rows))}
	for i, r := range rows {
		body.Items[i] = auditRow(r)
	}
	if len(rows) == f.Max {
		body.Next = body.Items[f.Max-1].Seq
	}
	return c.JSON(http.StatusOK, body)
}

func auditRow(r audit.Row) AuditRow {
	return AuditRow{
		Seq: r.Seq, At: r.At, Who: r.Who, From: r.From, Act: r.Act, What: r.What, Purpose: r.Purpose,
		Before: r.Before, After: r.After, Result: r.Result, Detail: r.Detail, Hash: r.MAC,
	}
}

// getAuditChain walks the whole chain, about 3 s for a million rows.
func (a *API) getAuditChain(c echo.Context) error {
	ctx := c.Request().Context()
	broken := &devices.Problem{}
	err := a.Audit.Verify(ctx)
	if err != nil && (!errors.As(err, &broken) || broken.Code != "audit_broken") {
		return err
	}
	head, headErr := a.Audit.Head(ctx)
	if headErr != nil {
		return headErr
	}
	body := AuditChain{Whole: err == nil, Seq: head.Seq, Hash: head.MAC}
	if err != nil {
		body.Problem = *ProblemOf(broken)
	}
	return c.JSON(http.StatusOK, body)
}
