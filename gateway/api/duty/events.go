package duty

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/breach"
	"offsite/edge/evidence"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

func (a *API) listEvents(c echo.Context) error {
	q := request.QueryOf(c)
	f := breach.Filter{
		Point: q.Text("point"), What: q.Text("what"), State: q.Text("state"), From: q.Time("from"), To: q.Time("to"),
		Before: q.Text("before"), Max: q.Number("max", 100, 1000),
	}
	most := f.Max
	f.Max = min(most+1, 1000)
	q.Known("site", "point", "camera", "device", "what", "state", "from", "to", "before", "max")
	if err := q.Err(); err != nil {
		return err
	}
	f.Sites = sitesWanted(request.Who(c), q.Text("site"))
	f.Camera = a.seenBy(q.Text("camera"))
	var err error
	if f.Device, err = a.measuredBy(c.Request().Context(), q.Text("device")); err != nil {
		return err
	}
	list, err := a.Events.Events(c.Request().Context(), f)
	if err != nil {
		return err
	}
	body := contract.EventList{Items: list}
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
	if x := a.desk.Registry.Snapshot().Cameras[camera]; x != nil {
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
	retired, err := a.desk.Registry.Retired(ctx, devices.KindBinding)
	if err != nil {
		return nil, err
	}
	spans := []breach.Span{}
	for _, t := range slices.Concat(a.desk.Registry.Snapshot().List(devices.KindBinding), retired) {
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
func sitesWanted(p request.Principal, site string) []string {
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
	if err == nil && !request.Who(c).Sees(ev.Site) {
		err = devices.ErrNotFound
	}
	if errors.Is(err, devices.ErrNotFound) {
		return ev, request.NotFound("没有事件 "+id, "there is no event "+id)
	}
	return ev, err
}

func (a *API) detail(c echo.Context, ev breach.Event) error {
	evident, err := a.Evidence.Evident(c.Request().Context(), ev.ID)
	if err != nil {
		return fmt.Errorf("evidence of event %s: %w", ev.ID, err)
	}
	if evident.Pictures == nil {
		evident.Pictures = []contract.Picture{}
	}
	return c.JSON(http.StatusOK, contract.Detail{Event: ev, Evident: evident})
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
	var body contract.Acknowledgement
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	entry := request.By(c, audit.Entry{Act: "event.acknowledge", What: "event/" + ev.ID, Detail: body.Note})
	ev, err = a.Events.Acknowledge(c.Request().Context(), ev.ID, request.Who(c).ID, body.Note, entry.At,
		func(ctx context.Context, tx *sql.Tx) error { return a.desk.Trail.Append(ctx, tx, entry) })
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
	var body contract.EvidenceHolding
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	entry := audit.Entry{Act: "evidence.hold", What: "event/" + ev.ID, Detail: request.Shorten(body.Reason, 500)}
	err = a.Evidence.HoldEvidence(c.Request().Context(), ev.ID, evidence.Hold{By: request.Who(c).ID, Reason: body.Reason}, a.desk.Also(c, entry))
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
	err = a.Evidence.ReleaseEvidence(c.Request().Context(), ev.ID, a.desk.Also(c, audit.Entry{Act: "evidence.release", What: "event/" + ev.ID}))
	if err != nil {
		return err
	}
	return a.detail(c, ev)
}
