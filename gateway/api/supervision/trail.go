package supervision

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

func (a *API) listAudit(c echo.Context) error {
	q := request.QueryOf(c)
	f := audit.Filter{
		Before: int64(q.Number("before", 1<<62, 1<<62)), Max: q.Number("max", 100, 1000),
		Who: q.Text("who"), Act: q.Text("act"), What: q.Text("what"), From: q.Time("from"), To: q.Time("to"),
	}
	q.Known("before", "max", "who", "act", "what", "from", "to")
	if err := q.Err(); err != nil {
		return err
	}
	rows, err := a.Trail.Search(c.Request().Context(), f)
	if err != nil {
		return err
	}
	body := contract.AuditList{Items: make([]contract.AuditRow, len(rows))}
	for i, r := range rows {
		body.Items[i] = auditRow(r)
	}
	if len(rows) == f.Max {
		body.Next = body.Items[f.Max-1].Seq
	}
	return c.JSON(http.StatusOK, body)
}

func auditRow(r audit.Row) contract.AuditRow {
	return contract.AuditRow{
		Seq: r.Seq, At: r.At, Who: r.Who, From: r.From, Act: r.Act, What: r.What, Purpose: r.Purpose,
		Before: r.Before, After: r.After, Result: r.Result, Detail: r.Detail, Hash: r.MAC,
	}
}

// getAuditChain walks the whole chain, about 3 s for a million rows.
func (a *API) getAuditChain(c echo.Context) error {
	ctx := c.Request().Context()
	broken := &devices.Problem{}
	err := a.Trail.Verify(ctx)
	if err != nil && (!errors.As(err, &broken) || broken.Code != "audit_broken") {
		return err
	}
	head, headErr := a.Trail.Head(ctx)
	if headErr != nil {
		return headErr
	}
	body := contract.AuditChain{Whole: err == nil, Seq: head.Seq, Hash: head.MAC}
	if err != nil {
		body.Problem = *contract.ProblemOf(broken)
	}
	return c.JSON(http.StatusOK, body)
}
