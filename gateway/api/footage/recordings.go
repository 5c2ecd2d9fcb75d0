package footage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/footage"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

const (
	clipsAtAll   = 48               // under way at once; a player that is paused holds one
	clipsEach    = 12               // of one person or token
	exportsAtAll = 2                // hashed at once
	exportsEach  = 1                // of one person or token
	exportTime   = 10 * time.Minute // that hashing may take
)

// stretchOf reads from and to, which must both be there.
func stretchOf(q *request.Query) (from, to time.Time) {
	from, to = q.Time("from"), q.Time("to")
	for name, at := range map[string]time.Time{"from": from, "to": to} {
		if at.IsZero() && q.Text(name) == "" {
			q.Add(devices.Invalid(name, "missing", "请填写时间", "give the time"))
		}
	}
	return from, to
}

// cameraEver gives the camera that is named, also one that has been retired: what it
// has shown stays until its days are over.
func (a *API) cameraEver(c echo.Context) (devices.Thing, error) {
	t, err := a.desk.Thing(c, devices.KindCamera)
	if err == nil {
		return t, nil
	}
	was, failed := request.Retired[*devices.Camera](c.Request().Context(), a.desk.Registry, devices.KindCamera, c.Param("id"))
	if was == nil || failed != nil || !request.Sees(request.Who(c), a.desk.Registry.Snapshot(), was) {
		return nil, errors.Join(failed, err)
	}
	return was, nil
}

func (a *API) listRecordings(c echo.Context) error {
	t, err := a.cameraEver(c)
	if err != nil {
		return err
	}
	q := request.QueryOf(c)
	from, to := stretchOf(q)
	q.Known("from", "to")
	if err := q.Err(); err != nil {
		return err
	}
	tl, err := a.Films.Timeline(c.Request().Context(), t.Key(), from, to)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, timelineBody(tl))
}

func timelineBody(tl *footage.Timeline) contract.RecordingTimeline {
	body := contract.RecordingTimeline{
		Stretches: []contract.RecordingStretch{}, Gaps: gapsOf(tl.Gaps), Events: []contract.RecordingMark{}, Bytes: tl.Own.Bytes, Days: tl.Own.Days, Oldest: tl.Own.Oldest,
	}
	for _, s := range tl.Stretches {
		one := contract.RecordingStretch{From: s.From, To: s.To, Bytes: s.Bytes, Source: contract.RecordingSource(s.Source)}
		if s.Why != nil {
			one.Why = *contract.ProblemOf(s.Why)
		}
		body.Stretches = append(body.Stretches, one)
	}
	for _, m := range tl.Own.Marks {
		body.Events = append(body.Events, contract.RecordingMark{Event: m.Event, At: m.At})
	}
	if tl.Recorder != nil {
		body.Recorder = recorderBody(tl.Recorder)
	}
	return body
}

func recorderBody(told *footage.Told) contract.RecorderTimeline {
	body := contract.RecorderTimeline{Held: []contract.RecordingSpan{}, Known: told.Known, Host: told.Host, ClockOffset: offsetOf(told.Offset)}
	for _, s := range told.Held {
		body.Held = append(body.Held, contract.RecordingSpan(s))
	}
	if told.Why != nil {
		body.Why = *contract.ProblemOf(told.Why)
	}
	return body
}

func gapsOf(gaps []footage.Gap) []contract.RecordingGap {
	list := make([]contract.RecordingGap, 0, len(gaps))
	for _, g := range gaps {
		one := contract.RecordingGap{From: g.From, To: g.To, Why: *contract.ProblemOf(g.Why)}
		if g.Recorder != nil {
			one.Recorder = *contract.ProblemOf(g.Recorder)
		}
		list = append(list, one)
	}
	return list
}

func (a *API) getClip(c echo.Context) error {
	t, err := a.cameraEver(c)
	if err != nil {
		return err
	}
	q := request.QueryOf(c)
	from, to := stretchOf(q)
	download, source := q.Yes("download"), sourceOf(q)
	q.Known("from", "to", "download", "source")
	if err := q.Err(); err != nil {
		return err
	}
	who := request.Who(c).ID
	if err := a.playing.Enter(who); err != nil {
		return err
	}
	defer a.playing.Leave(who)
	if err := http.NewResponseController(c.Response()).SetWriteDeadline(time.Now().Add(fetchTime)); err != nil {
		return fmt.Errorf("clip of %s: %w", t.Key(), err)
	}
	clip, err := a.Films.Clip(c.Request().Context(), t.Key(), from, to, source)
	if err != nil {
		return err
	}
	entry := audit.Entry{Act: "recording.view", What: "camera/" + clip.Camera, Detail: detailOf(clip)}
	if err := a.once.Record(c, entry); err != nil {
		return err
	}
	in := clip.Open()
	defer func() { _ = in.Close() }() // only read
	if err := request.AllowTime(c, in); err != nil {
		return fmt.Errorf("clip of %s: %w", t.Key(), err)
	}
	h := c.Response().Header()
	h.Set("ETag", `"`+clip.Tag+`"`)
	h.Set("Content-Type", "video/mp4")
	h.Set("Content-Disposition", fmt.Sprintf("%s; filename=%q", disposition(download), clipName(clip)))
	tellClip(h, clip)
	http.ServeContent(c.Response(), c.Request(), "", time.Time{}, in)
	return nil
}

func disposition(download bool) string {
	if download {
		return "attachment"
	}
	return "inline"
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
	if err := http.NewResponseController(c.Response()).SetWriteDeadline(time.Now().Add(fetchTime + exportTime)); err != nil {
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
