package api

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/breach"
	"offsite/edge/evidence"
)

func (a *API) listEvents(c echo.Context) error {
	q := query{c: c}
	f := breach.Filter{
		Point: q.text("point"), What: q.text("what"), State: q.text("state"), From: q.time("from"), To: q.time("to"),
		Before: q.text("before"), Max: q.number("max", 100, 1000),
	}
	most := f.Max
	f.Max = min(most+1, 1000)
	q.known("site", "point", "camera", "device", "what", "state", "from", "to", "before", "max")
	if err := q.ps.Err(); err != nil {
		return err
	}
	f.Sites = sitesWanted(Who(c), q.text("site"))
	f.Camera = a.seenBy(q.text("camera"))
	var err error
	if f.Device, err = a.measuredBy(c.Request().Context(), q.text("device")); err != nil {
		return err
	}
	list, err := a.Events.Events(c.Request().Context(), f)
	if err != nil {
		return err
	}
	body := EventList{Items: list}
	if len(list) > most || len(list) == 1000 {
		body.Items = list[:min(most, len(list))]
		body.Next = body.Items[len(body.Items)-1].Cursor()
	}
	return c.JSON(http.StatusOK, body)
}

// seenBy gives what a camera has to do with; nil where none is asked for. One that
// is retired watches no outlet any more.
func (a *API) seenBy(camera string) *breach.Seen {
	if camera == "" {
		return nil
	}
	seen := &breach.Seen{Camera: camera, Outlets: []string{}}
	if x := a.Registry.Snapshot().Cameras[camera]; x != nil {
		seen.Outlets = append(seen.Outlets, x.Outlets...)
	}
	return seen
}

// measuredBy gives what a device has measured and when, also by bindings that are
// retired; nil where none is asked for.
func (a *API) measuredBy(ctx context.Context, device string) ([]breach.Span, error) {
	if device == "" {
		return nil, nil
	}
	retired, err := a.Registry.Retired(ctx, devices.KindBinding)
	if err != nil {
		return nil, err
	}
	spans := []breach.Span{}
	for _, t := range slices.Concat(a.Registry.Snapshot().List(devices.KindBinding), retired) {
		b, ok := t.(*devices.Binding)
		if !ok || b.Device != device {
			continue
		}
		span := breach.Span{Point: b.Point, From: b.From}
		for _, end := range []*time.Time{b.To, b.Retired} {
			if end != nil && (span.To.IsZero() || end.Before(span.To)) {
				span.To = *end
			}
		}
		spans = append(spans, span)
	}
	return spans, nil
}

// sitesWanted narrows the asker's sites to one; nil means every site.
func sitesWanted(p Principal, site string) []string {
	switch {
	case site == "" && len(p.Sites) == 0:
		return nil
	case site == "":
		return p.Sites
	case p.Sees(site):
		return []string{site}
	default:
		return []string{}
	}
}

// event gives the event that the path names, if who asks may see it.
func (a *API) event(c echo.Context) (breach.Event, error) {
	id := c.Param("id")
	ev, err := a.Events.Event(c.Request().Context(), id)
	if err == nil && !Who(c).Sees(ev.Site) {
		err = devices.ErrNotFound
	}
	if errors.Is(err, devices.ErrNotFound) {
		return ev, notFound("没有事件 "+id, "there is no event "+id)
	}
	return ev, err
}

func (a *API) detail(c echo.Context, ev breach.Event) error {
	evident, err := a.Evidence.Evident(c.Request().Context(), ev.ID)
	if err != nil {
		return fmt.Errorf("evidence of event %s: %w", ev.ID, err)
	}
	if evident.Pictures == nil {
		evident.Pictures = []Picture{}
	}
	return c.JSON(http.StatusOK, Detail{Event: ev, Evident: evident})
}

func (a *API) getEvent(c echo.Context) error {
	ev, err := a.event(c)
	if err != nil {
		return err
	}
	return a.detail(c, ev)
}

func (a *API) acknowledgeEvent(c echo.Context) error {
	ev, err := a.event(c)
	if err != nil {
		return err
	}
	var body Acknowledgement
	if err := decode(c, &body); err != nil {
		return err
	}
	entry := by(c, audit.Entry{Act: "event.acknowledge", What: "event/" + ev.ID, Detail: body.Note})
	ev, err = a.Events.Acknowledge(c.Request().Context(), ev.ID, Who(c).ID, body.Note, entry.At,
		func(ctx context.Context, tx *sql.Tx) error { return a.Audit.Append(ctx, tx, entry) })
	if err != nil {
		return err
	}
	return a.detail(c, ev)
}

func (a *API) holdEvidence(c echo.Context) error {
	ev, err := a.event(c)
	if err != nil {
		return err
	}
	var body EvidenceHolding
	if err := decode(c, &body); err != nil {
		return err
	}
	entry := by(c, audit.Entry{Act: "evidence.hold", What: "event/" + ev.ID, Detail: shorten(body.Reason, 500)})
	err = a.Evidence.HoldEvidence(c.Request().Context(), ev.ID, evidence.Hold{By: Who(c).ID, Reason: body.Reason},
		func(ctx context.Context, tx *sql.Tx) error { return a.Audit.Append(ctx, tx, entry) })
	if err != nil {
		return err
	}
	return a.detail(c, ev)
}

func (a *API) releaseEvidence(c echo.Context) error {
	ev, err := a.event(c)
	if err != nil {
		return err
	}
	entry := by(c, audit.Entry{Act: "evidence.release", What: "event/" + ev.ID})
	err = a.Evidence.ReleaseEvidence(c.Request().Context(), ev.ID, func(ctx context.Context, tx *sql.Tx) error { return a.Audit.Append(ctx, tx, entry) })
	if err != nil {
		return err
	}
	return a.detail(c, ev)
}

var hashPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (a *API) getBlob(c echo.Context) error {
	sum := c.Param("sha256")
	missing := notFound("没有该证据文件", "there is no such piece of evidence")
	if !hashPattern.MatchString(sum) {
		return missing
	}
	ctx := c.Request().Context()
	x, err := a.Evidence.OpenBlob(ctx, sum)
	if err == nil {
		defer func() { _ = x.Close() }()
	}
	if who := Who(c); errors.Is(err, devices.ErrNotFound) || x != nil && len(who.Sites) > 0 && !slices.ContainsFunc(x.Sites, who.Sees) {
		return missing
	}
	if err != nil {
		return err
	}
	if err := a.auditBlob(c, sum, x.ContentType); err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("ETag", `"`+sum+`"`)
	h.Set("Content-Type", x.ContentType)
	h.Set("Content-Disposition", fmt.Sprintf("inline; filename=%q", sum[:16]+extension(x.ContentType)))
	if err := allowTime(c, x); err != nil {
		return fmt.Errorf("blob %s: %w", sum, err)
	}
	http.ServeContent(c.Response(), c.Request(), "", x.Taken, x)
	return nil
}

// auditBlob writes who sees a piece of evidence into the trail: each time, but one
// playback of a clip once.
func (a *API) auditBlob(c echo.Context, sum, contentType string) error {
	entry := audit.Entry{Act: "blob.view", What: "blob/" + sum}
	if contentType == "video/mp4" {
		return a.auditPlayback(c, entry)
	}
	if err := a.Audit.Record(c.Request().Context(), by(c, entry)); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// slowest is the line that is still good enough for evidence, bytes a second.
const slowest = 16 << 10

// allowTime gives a large answer more time than the server's deadline.
func allowTime(c echo.Context, content io.Seeker) error {
	size, err := content.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = content.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	deadline := time.Now().Add(2*time.Minute + time.Duration(size/slowest)*time.Second)
	return http.NewResponseController(c.Response()).SetWriteDeadline(deadline)
}

func extension(contentType string) string {
	switch contentType {
	case "image/jpeg":
		return ".jpg"
	case "video/mp4":
		return ".mp4"
	case "application/json":
		return ".json"
	default:
		return ".bin"
	}
}
