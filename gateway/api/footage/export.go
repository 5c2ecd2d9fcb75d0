package footage

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/footage"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// Exports under way at once, and how long they may take.
const (
	exportsAtAll = 2
	exportsEach  = 1                // of one person or token
	exportTime   = 10 * time.Minute // that hashing may take
)

func (a *API) getExport(c echo.Context) error {
	t, err := a.cameraEver(c)
	if err != nil {
		return err
	}
	who := request.Who(c).ID
	if err := a.playing.Enter(who); err != nil {
		return err
	}
	defer a.playing.Leave(who)
	ctx := c.Request().Context()
	p, err := a.Films.Package(ctx, t.Key(), c.Param("export"))
	if err != nil {
		return err
	}
	if err := a.once.Record(c, audit.Entry{Act: "recording.view", What: "camera/" + t.Key(), Detail: "export " + p.ID}); err != nil {
		return err
	}
	if err := request.AllowBytes(c, p.Bytes()); err != nil {
		return fmt.Errorf("export %s: %w", p.ID, err)
	}
	h := c.Response().Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", p.Name()))
	c.Response().WriteHeader(http.StatusOK)
	return p.Write(ctx, c.Response())
}

func (a *API) exportRecording(c echo.Context) error {
	t, err := a.cameraEver(c)
	if err != nil {
		return err
	}
	var body contract.RecordingExportRequest
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	body.Reason = strings.TrimSpace(body.Reason)
	if p := request.Reasoned(body.Reason); p != nil {
		return p
	}
	who := request.Who(c).ID
	if err := a.exporting.Enter(who); err != nil {
		return err
	}
	defer a.exporting.Leave(who)
	if err := request.AllowFor(c, fetchTime+exportTime); err != nil {
		return fmt.Errorf("export of %s: %w", t.Key(), err)
	}
	order := footage.Order{Camera: t.Key(), From: body.From, To: body.To, Source: footage.Source(body.Source)}
	e, err := a.Films.Export(c.Request().Context(), order, func(ctx context.Context, tx *sql.Tx, e *footage.Export) error {
		return a.desk.Trail.Append(ctx, tx, request.By(c, audit.Entry{
			Act: "recording.export", What: "camera/" + e.Camera, Purpose: body.Reason, Detail: e.Detail(), After: e.SHA256,
		}))
	})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, exportBody(e))
}

// exportBody is the answer to an export, which names what proves it.
func exportBody(e *footage.Export) contract.RecordingExport {
	camera := contract.Base + "/cameras/" + e.Camera
	body := contract.RecordingExport{
		ID: e.ID, From: e.Asked.From, To: e.Asked.To, Bytes: e.Bytes, ManifestSha256: e.SHA256, Parts: []contract.RecordingPart{}, Gaps: gapsOf(e.Missing),
		Name: e.Name(), URL: camera + "/exports/" + e.ID,
	}
	for _, p := range e.Parts {
		// Not what was asked for: where that is not over yet more may come, and the hash is of this.
		ask := url.Values{"from": {p.From.Format(time.RFC3339Nano)}, "to": {p.To.Format(time.RFC3339Nano)}, "download": {"true"}, "source": {string(p.Source)}}
		part := contract.RecordingPart{
			Source: contract.RecordingSource(p.Source), From: p.From, To: p.To, Bytes: p.Bytes, Sha256: p.SHA256, Codec: p.Codec, Width: p.Width, Height: p.Height, Name: p.Name,
			URL: camera + "/clip?" + ask.Encode(), Host: p.Clock.Host, ClockZh: p.Clock.ZH, ClockEn: p.Clock.EN, Why: wordBody(p.Instead), Cut: wordBody(p.Cut),
		}
		if ms := p.Clock.AheadMS; ms != nil {
			ahead := time.Duration(*ms) * time.Millisecond
			part.ClockOffset = offsetOf(&ahead)
			part.Shift = devices.Duration(time.Duration(p.Clock.ShiftMS) * time.Millisecond)
		}
		body.Parts = append(body.Parts, part)
	}
	return body
}

// wordBody gives a reason of a manifest; nothing where there is none.
func wordBody(w *footage.Word) contract.FieldProblem {
	if w == nil {
		return contract.FieldProblem{}
	}
	return contract.FieldProblem{Code: w.Code, Zh: w.ZH, En: w.EN}
}
