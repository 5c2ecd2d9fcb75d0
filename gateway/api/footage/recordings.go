package footage

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/recordings"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
	"offsite/streams/recording"
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
	tl, err := a.Recordings.Timeline(c.Request().Context(), t.Key(), from, to)
	if err != nil {
		return err
	}
	body := timelineBody(&tl)
	body.Recorder = a.recorderOf(c.Request().Context(), t.Key(), from, to)
	return c.JSON(http.StatusOK, body)
}

func timelineBody(tl *recordings.Timeline) contract.RecordingTimeline {
	body := contract.RecordingTimeline{
		Recorded: []contract.RecordingStretch{}, Gaps: gapsOf(tl), Events: []contract.RecordingMark{}, Bytes: tl.Bytes, Days: tl.Days, Oldest: tl.Oldest,
	}
	for _, s := range tl.Recorded {
		body.Recorded = append(body.Recorded, contract.RecordingStretch{From: s.From, To: s.To, Bytes: s.Bytes, Source: contract.Own})
	}
	for _, m := range tl.Marks {
		body.Events = append(body.Events, contract.RecordingMark{Event: m.Event, At: m.From})
	}
	return body
}

func gapsOf(tl *recordings.Timeline) []contract.RecordingGap {
	list := make([]contract.RecordingGap, 0, len(tl.Gaps))
	for _, g := range tl.Gaps {
		list = append(list, contract.RecordingGap{From: g.From, To: g.To, Why: *contract.ProblemOf(g.Why)})
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
	clip, err := a.film(c, t.Key(), from, to, source)
	if err != nil {
		return err
	}
	entry := audit.Entry{Act: "recording.view", What: "camera/" + clip.Camera, Detail: clip.detail()}
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
	clip.tell(h)
	http.ServeContent(c.Response(), c.Request(), "", time.Time{}, in)
	return nil
}

func disposition(download bool) string {
	if download {
		return "attachment"
	}
	return "inline"
}

// interval is how the trail names the time of a clip.
func interval(c *recording.Clip) string {
	return c.From.Format(time.RFC3339) + "/" + c.To.Format(time.RFC3339)
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
	e, err := a.export(c, t.Key(), &body)
	if err != nil {
		return err
	}
	gaps := []contract.RecordingGap{}
	if e.source() == contract.Own {
		tl, err := a.Recordings.Timeline(c.Request().Context(), t.Key(), e.From, e.To)
		if err != nil {
			return err
		}
		gaps = gapsOf(&tl)
	}
	return c.JSON(http.StatusOK, e.body(gaps))
}
